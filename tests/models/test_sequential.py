"""Sequential as a Keras user meets it: names, counts, fit, evaluate, predict, weights."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl as keras
from fastdl import layers
from fastdl.errors import DataError, ShapeError
from fastdl.models import data
from fastdl.models.session import Session

Array = np.ndarray[Any, Any]


def blobs(rows: int = 600, seed: int = 0) -> tuple[Array, Array]:
    """Three overlapping clouds in eight dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    centres = np.random.default_rng(99).standard_normal((3, 8)) * 1.5
    return centres[labels] + rng.standard_normal((rows, 8)), labels


def classifier(**options: Any) -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ],
        **options,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_the_textbooks_batch_norm_net_counts_2368_non_trainable_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(300, activation="relu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.summary()
    printed = capsys.readouterr().out
    for line in ("Total params: 271,346", "Trainable params: 268,978", "Non-trainable params: 2,368"):
        assert line in printed
    assert (
        f"FLOPs per sample: {2 * (784 + 300 + 100) + 2 * (784 * 300 + 300 * 100 + 1000) + 410 + 400 + 50:,}" in printed
    )
    assert "(None, 784)" in printed
    assert "(BatchNormalization)" in printed
    assert [(v.name, v.trainable) for v in model.layers[1].variables] == [
        ("gamma", True),
        ("beta", True),
        ("moving_mean", False),
        ("moving_variance", False),
    ]


def test_fit_learns_and_reports() -> None:
    keras.utils.set_random_seed(1)
    x, y = blobs()
    model = classifier()
    history = model.fit(x, y, epochs=20, validation_data=blobs(200, seed=1), verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.epoch == list(range(20))
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    loss, accuracy = model.evaluate(*blobs(200, seed=1))
    assert accuracy > 0.9
    assert history.history["val_loss"][-1] == loss
    assert history.history["val_accuracy"][-1] == accuracy
    probabilities = model.predict(x)
    assert probabilities.shape == (600, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)


def test_evaluate_equals_a_formula_on_predict() -> None:
    x, y = blobs(333)
    model = classifier()
    model.fit(x, y, verbose=0)
    p = model.predict(x).astype(np.float64)
    loss, accuracy = model.evaluate(x, y)
    assert loss == pytest.approx(-np.log(p[np.arange(333), y]).mean(), rel=1e-5)
    assert accuracy == (p.argmax(1) == y).mean()


# name: (last activation, loss, metrics, their formulas on predictions and targets)
LOSSES: dict[str, tuple[str | None, str, list[str], Any]] = {
    "mse": (None, "mse", ["mae"], lambda p, t: (((p - t) ** 2).mean(), np.abs(p - t).mean())),
    "binary": (
        "sigmoid",
        "binary_crossentropy",
        ["accuracy"],
        lambda p, t: (-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(), ((p > 0.5) == t).mean()),
    ),
    "categorical": (
        "softmax",
        "categorical_crossentropy",
        ["accuracy"],
        lambda p, t: (-(t * np.log(p)).sum(1).mean(), (p.argmax(1) == t.argmax(1)).mean()),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_train_and_evaluate(name: str) -> None:
    activation, loss, metrics, expected = LOSSES[name]
    keras.utils.set_random_seed(0)
    x, labels = blobs()
    targets = np.eye(3)[labels] if name != "binary" else (labels == 1).astype(float)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1 if name == "binary" else 3, activation=activation)])
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=metrics)
    history = model.fit(x, targets, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    got, metric = model.evaluate(x, targets)
    p, t = model.predict(x).astype(np.float64), targets.reshape(len(x), -1)
    assert (got, metric) == pytest.approx(expected(p, t), rel=1e-5)


def test_from_logits_equals_softmax() -> None:
    x, y = blobs(100)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    other = keras.Sequential([keras.Input((8,)), layers.Dense(3), layers.Softmax()])
    other.set_weights(model.get_weights())
    other.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for _ in range(5):
        assert model.train_on_batch(x, y) == other.train_on_batch(x, y)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="ends in softmax, or from_logits=True"):
        model.fit(x, y, verbose=0)


def test_validation_split_takes_the_last_rows_before_shuffling() -> None:
    x, y = blobs(100)
    keras.utils.set_random_seed(3)
    split, apart = classifier(), classifier()
    apart.set_weights(split.get_weights())
    keras.utils.set_random_seed(4)
    first = split.fit(x, y, epochs=2, validation_split=0.25, verbose=0).history
    keras.utils.set_random_seed(4)
    second = apart.fit(x[:75], y[:75], epochs=2, validation_data=(x[75:], y[75:]), verbose=0).history
    assert first == second


def test_without_shuffle_fit_is_train_on_batch_in_order() -> None:
    x, y = blobs(100)
    model, other = classifier(), classifier()
    other.set_weights(model.get_weights())
    history = model.fit(x, y, batch_size=40, shuffle=False, verbose=0).history
    losses = [other.train_on_batch(x[i : i + 40], y[i : i + 40])[0] for i in (0, 40, 80)]
    assert history["loss"] == [pytest.approx((40 * losses[0] + 40 * losses[1] + 20 * losses[2]) / 100)]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_initial_epoch_and_a_second_fit_continue() -> None:
    x, y = blobs(100)
    model = classifier()
    assert model.fit(x, y, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert model.optimizer is not None
    assert model.optimizer.iterations == 2 * 4
    model.fit(x, y, verbose=0)
    assert model.optimizer.iterations == 3 * 4


def test_shape_comes_from_input_layer_argument_or_data() -> None:
    x, y = blobs(50)
    for first in (
        [keras.Input((8,)), layers.Dense(3)],
        [layers.Dense(3, input_shape=(8,))],
        [layers.Dense(3)],
    ):
        model = keras.Sequential(first)
        model.compile("sgd", "mse")
        model.fit(x, np.eye(3)[y], verbose=0)
        assert model.input_shape == (None, 8)
        assert model.output_shape == (None, 3)
    unbuilt = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="no input shape yet"):
        unbuilt.summary()
    unbuilt.build((None, 5))
    assert unbuilt.count_params() == 18


def test_weights_go_out_and_in() -> None:
    model, other = classifier(), classifier()
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(8, 16), (16,), (16,), (16,), (16,), (16,), (16, 3), (3,)]
    other.set_weights(weights)
    x, _ = blobs(10)
    assert np.array_equal(model.predict(x), other.predict(x))
    before = other.get_weights()
    with pytest.raises(ShapeError, match=r"kernel has shape \(16, 3\), the new value \(3, 16\)"):
        other.set_weights([w + 1 for w in weights[:6]] + [weights[6].T, weights[7]])
    with pytest.raises(ShapeError, match="8 weight arrays, 1 were given"):
        other.set_weights(weights[:1])
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True)), "all or none"
    model.layers[0].set_weights([np.zeros((8, 16)), np.zeros(16)])
    assert not model.get_weights()[0].any()
    assert weights[0].any(), "get_weights gives copies"


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "rows reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "float64": lambda x: x.astype(np.float64),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_and_dtypes_give_the_same_bits(name: str) -> None:
    x, y = blobs(70)
    x = x.astype(np.float32)
    keras.utils.set_random_seed(5)
    model, other = classifier(), classifier()
    other.set_weights(model.get_weights())
    twisted = LAYOUTS[name](x)
    for m, rows in ((model, x), (other, twisted)):
        keras.utils.set_random_seed(6)
        m.fit(rows, y, epochs=2, verbose=0)
    assert np.array_equal(model.predict(x), other.predict(twisted))


@pytest.mark.parametrize("name", LAYOUTS)
def test_programs_are_given_aligned_native_rows(name: str) -> None:
    twisted = LAYOUTS[name](blobs(70)[0].astype(np.float32))
    rows = data.as_rows("x", twisted, (None, 8), np.dtype(np.float32))
    assert rows.flags.aligned
    assert rows.dtype.isnative
    assert rows.strides[1] == 4


def test_read_only_and_integer_input() -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 8), dtype=np.uint8)
    x.flags.writeable = False
    model = classifier()
    model.fit(x, np.zeros(40, np.int8), verbose=0)
    assert np.array_equal(model.predict(x), model.predict(x.astype(np.float32)))


BAD = np.nan
X, Y = blobs(20)


def with_value(array: Array, row: int, value: float) -> Array:
    copy = array.astype(float)
    copy[row] = value
    return copy


# what is wrong: (x, y, exception, what the message names)
WRONG_DATA: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "x none": (None, Y, DataError, "x is missing"),
    "y none": (X, None, DataError, "y is missing"),
    "x empty": (np.zeros((0, 8)), np.zeros(0), DataError, "x is empty"),
    "x scalar": (3.0, 1, DataError, "x is empty"),
    "y empty": (X, np.zeros(0), DataError, "y is empty"),
    "x narrow": (X[:, :5], Y, ShapeError, r"x has shape \(20, 5\), the model takes \(rows, 8\)"),
    "x no features": (X[:, :0], Y, ShapeError, r"\(20, 0\)"),
    "x 1-D": (X[0], Y, ShapeError, r"x has shape \(8,\)"),
    "x 3-D": (X[None], Y, ShapeError, r"\(1, 20, 8\)"),
    "lengths": (X, Y[:19], DataError, "x has 20 rows, y has 19"),
    "x complex": (X + 0j, Y, DataError, "complex"),
    "x strings": (X.astype(str), Y, DataError, "real numbers"),
    "x objects": (X.astype(object), Y, DataError, "object"),
    "x ragged": ([[1, 2], [3]], Y, DataError, "x is not a regular array"),
    "x dates": (X.astype("datetime64[s]"), Y, DataError, "datetime64"),
    "x nan": (with_value(X, 7, np.nan), Y, DataError, "x has NaN or Inf in row 7"),
    "x inf": (with_value(X, 3, -np.inf), Y, DataError, "x has NaN or Inf in row 3"),
    "x nan and inf": (with_value(with_value(X, 9, np.inf), 8, -np.inf), Y, DataError, r"row 8 \(2 of 20"),
    "x too large for float32": (with_value(X, 5, 1e60), Y, DataError, "too large for float32, in row 5"),
    "label too large": (
        X,
        with_value(Y, 4, 3),
        DataError,
        "label 3.0 in row 4; the model has classes 0 to 2",
    ),
    "label negative": (X, np.where(np.arange(20) == 6, -1, Y), DataError, "label -1 in row 6"),
    "label fraction": (X, with_value(Y, 2, 0.5), DataError, "label 0.5 in row 2"),
    "label nan": (X, with_value(Y, 2, np.nan), DataError, "label nan in row 2"),
    "labels one-hot": (X, np.eye(3)[Y], ShapeError, "categorical_crossentropy"),
    "labels strings": (X, Y.astype(str), DataError, "real numbers"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_wrong_data_is_refused_in_one_line_and_weights_stay(name: str, method: str) -> None:
    x, y, error, message = WRONG_DATA[name]
    model = classifier()
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        getattr(model, method)(x, y)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", [name for name in WRONG_DATA if name.startswith("x ") and "nan" not in name])
def test_predict_refuses_wrong_x(name: str) -> None:
    x, _, error, message = WRONG_DATA[name]
    if "inf" in name:
        assert classifier().predict(x).shape == (20, 3)
        return
    with pytest.raises(error, match=message):
        classifier().predict(x)


def test_wrong_targets_of_a_regression() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ShapeError, match=r"y has shape \(20,\), the model takes \(rows, 2\)"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(DataError, match="y has NaN or Inf in row 1"):
        model.fit(X, with_value(np.zeros((20, 2)), 1, np.nan), verbose=0)


def test_check_input_can_be_left_out() -> None:
    model = classifier()
    model.fit(with_value(X, 7, np.nan), Y, check_input=False, verbose=0)
    assert np.isnan(model.get_weights()[0]).any()


def test_nan_in_nan_out() -> None:
    predictions = classifier().predict(with_value(X, 7, np.nan))
    assert np.array_equal(np.flatnonzero(np.isnan(predictions).any(1)), [7])


def compiled_with(metrics: list[str], loss: str = "mse") -> keras.Sequential:
    model = classifier()
    model.compile("sgd", loss, metrics=metrics)
    return model


WRONG_CALLS: dict[str, tuple[Any, type[Exception], str]] = {
    "not compiled": (
        lambda: keras.Sequential([keras.Input((8,)), layers.Dense(3)]).fit(X, Y),
        RuntimeError,
        "not compiled",
    ),
    "no layers": (lambda: keras.Sequential().predict(X), ValueError, "no layers"),
    "unknown loss": (lambda: classifier().compile("sgd", "entropy"), ValueError, "unknown loss 'entropy'"),
    "unknown optimizer": (lambda: classifier().compile("sdg", "mse"), ValueError, "unknown optimizer 'sdg'"),
    "no loss": (lambda: [m := classifier(), m.compile("sgd"), m.fit(X, Y)], ValueError, "needs a loss"),
    "batch size": (lambda: classifier().fit(X, Y, batch_size=0), ValueError, "batch_size must be a positive"),
    "epochs": (lambda: classifier().fit(X, Y, epochs=1.5), ValueError, "epochs must be a positive"),
    "split": (lambda: classifier().fit(X, Y, validation_split=0.99), DataError, "leaves one side empty"),
    "split range": (lambda: classifier().fit(X, Y, validation_split=2), ValueError, "between 0 and 1"),
    "units": (lambda: layers.Dense(0), ValueError, "units must be a positive integer"),
    "activation": (lambda: layers.Dense(3, activation="rellu"), ValueError, "unknown activation 'rellu'"),
    "initializer": (lambda: layers.Dense(3, kernel_initializer="he"), ValueError, "unknown initializer"),
    "rate": (lambda: layers.Dropout(1.5), ValueError, r"rate must lie in \[0, 1\]"),
    "momentum": (lambda: keras.optimizers.SGD(momentum=1.0), ValueError, "momentum must lie in"),
    "learning rate": (lambda: keras.optimizers.SGD(-1), ValueError, "learning_rate must be"),
    "norm of another axis": (
        lambda: keras.Sequential([keras.Input((4, 4)), layers.BatchNormalization(axis=1)]),
        ShapeError,
        "normalizes the last axis",
    ),
    "input twice": (
        lambda: keras.Sequential([keras.Input((4,)), keras.Input((4,))]),
        ValueError,
        "Input must come first",
    ),
    "not a layer": (lambda: keras.Sequential([3]), ValueError, "holds layers"),
    "one name twice": (
        lambda: keras.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="a")]),
        ValueError,
        "'a' already: all should have unique names",
    ),
    "metric": (lambda: compiled_with(["auk"]).evaluate(X, np.eye(3)[Y]), ValueError, "unknown metric 'auk'"),
    "metric of labels": (
        lambda: compiled_with(["mae"], "sparse_categorical_crossentropy").fit(X, Y),
        ValueError,
        "compares outputs with targets",
    ),
    "vector into a layer": (lambda: layers.Dense(3)(np.zeros(4)), ShapeError, "takes arrays of"),
    "metrics third": (
        lambda: classifier().compile("sgd", "mse", ["mae"]),
        ValueError,
        "metrics are given as metrics=",
    ),
    "compile's argument": (lambda: classifier().compile("sgd", "mse", metric="mae"), TypeError, "no argument 'metric'"),
    "threads": (lambda: fastdl.set_num_threads(0), ValueError, "1 to 256"),
    "seed": (lambda: keras.utils.set_random_seed(-1), ValueError, "seed must be"),
    "dtype": (lambda: keras.Sequential(dtype="float16"), ValueError, "float32 or float64"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG_CALLS[name]
    with pytest.raises(error, match=message):
        call()


def test_interrupt_leaves_the_model_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    x, y = blobs(600)
    original, calls = Session.train, []

    def interrupt(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(Session, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=50, verbose=0)
    model.fit(x, y, verbose=0)
    assert model.evaluate(x, y)[1] > 0.3


def test_a_second_fit_at_once_is_refused_and_predicts_from_threads_agree() -> None:
    model = classifier()
    x, y = blobs(2000)
    expected = model.predict(x[:33])
    results: list[bool] = []

    def serve() -> None:
        results.extend(np.array_equal(model.predict(x[:33]), expected) for _ in range(100))

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 800
    with model.session.exclusive(), pytest.raises(RuntimeError, match="another thread"):
        model.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0)


def test_layers_are_shared_between_models() -> None:
    model = classifier()
    head = keras.Sequential([keras.Input((8,)), *model.layers[:-1]])
    x, y = blobs(50)
    before = head.predict(x)
    model.fit(x, y, verbose=0)
    assert not np.array_equal(head.predict(x), before)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_fit_prints(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(*blobs(100), epochs=2, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (2 if verbose else 0)
    if verbose:
        assert lines[0].startswith("Epoch 1/2 - 4/4 - ")
        assert "samples/s - loss: " in lines[0]
        assert "accuracy: " in lines[0]


def test_a_layer_that_is_added_does_not_call_those_before_it_again() -> None:
    calls: list[str] = []

    class Noted(layers.Layer):
        def call(self, inputs: Any) -> Any:
            calls.append(self.name)
            return inputs * 2

    stack: list[Any] = [
        layers.Dense(4),
        Noted(name="first"),
        layers.Dropout(0.5),
        Noted(name="second"),
        layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,))])
    for layer in stack:
        model.add(layer)
    assert calls == ["first", "second"]
    x = np.random.default_rng(0).random((5, 3), np.float32)
    again = keras.Sequential([keras.Input((3,)), *stack[:2], *stack[3:]])  # in inference dropout does nothing
    np.testing.assert_array_equal(model.predict(x), again.predict(x))
    assert model.pop() is stack[-1]
    assert model.output_shape == (None, 4)


class _Penalized(layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.sum(keras.ops.square(inputs)))
        return inputs


class _Told(layers.Layer):
    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs * 2 if training else inputs


class _Twice(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return [inputs, inputs * 2]


BESIDE = {
    "what a layer adds to the loss": (_Penalized, lambda: layers.Dense(1)),
    "a call that is told of training": (_Told, lambda: layers.Dense(1)),
    "several outputs": (_Twice, layers.Add),
}


@pytest.mark.parametrize("case", BESIDE)
def test_a_layer_that_is_added_behind_more_than_one_tensor(case: str) -> None:
    """One by one, as all at once."""
    first, then = BESIDE[case]
    x, y = np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((4, 1), np.float32)
    found = []
    for one_by_one in (False, True):
        keras.utils.set_random_seed(0)
        stack = [layers.Dense(3), first(), then()]
        model = keras.Sequential([keras.Input((3,)), *([] if one_by_one else stack)])
        for layer in stack if one_by_one else []:
            model.add(layer)
        model.compile("sgd", "mse")
        told = (
            model.predict(x),
            model.predict(x, training=True),
            model.evaluate(x, np.broadcast_to(y, (4, 3))[:, : model.output_shape[-1]]),
        )
        found.append(told)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
