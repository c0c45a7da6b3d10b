"""Models of tensors: branches, several inputs and outputs, models within models, shared and tied layers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fastdl as keras
from fastdl import layers
from fastdl.errors import DataError, FusionError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((90, 8)), RNG.standard_normal((90, 5))
LABELS, VALUES = RNG.integers(0, 3, 90), RNG.standard_normal((90, 2))


def wide_and_deep() -> keras.Model:
    """Two inputs, a skip connection, two heads."""
    x, z = keras.Input((8,)), keras.Input((5,), name="wide")
    h = layers.Dense(16, activation="relu")(x)
    h = layers.BatchNormalization()(layers.Add()([h, layers.Dense(16, activation="relu")(h)]))
    both = layers.concatenate([h, z])
    classes = layers.Dense(3, activation="softmax", name="classes")(layers.Dropout(0.2)(both))
    return keras.Model(inputs=[x, z], outputs=[classes, layers.Dense(2, name="values")(h)])


def all_merges() -> keras.Model:
    x = keras.Input((8,))
    a, b = layers.Dense(6, activation="tanh")(x), layers.Dense(6)(x)
    met = [layer()([a, b]) for layer in (layers.Add, layers.Subtract, layers.Average, layers.Multiply)]
    return keras.Model(x, layers.Dense(3, activation="softmax")(layers.Concatenate()(met)))


def tied() -> keras.Model:
    x, dense = keras.Input((8,)), layers.Dense(3, activation="tanh")
    return keras.Model(x, layers.DenseTranspose(dense, activation="sigmoid")(dense(x)))


def twice() -> keras.Model:
    """One stack of layers for both inputs, as twins."""
    x, y = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    twin = keras.Sequential([layers.Dense(6, activation="relu"), layers.BatchNormalization()])
    return keras.Model([x, y], layers.Dense(1)(layers.Subtract()([twin(x), twin(y)])))


def nested() -> keras.Model:
    inner = wide_and_deep()
    x, z = keras.Input((8,)), keras.Input((5,))
    classes, values = inner([x, z])
    return keras.Model([x, z], layers.Dense(2)(layers.Concatenate()([classes, values])))


MODELS: dict[str, tuple[Callable[[], keras.Model], Any, Any, Any]] = {
    "wide and deep": (wide_and_deep, [X, Z], [LABELS, VALUES], ["sparse_categorical_crossentropy", "mse"]),
    "all merges": (all_merges, X, LABELS, "sparse_categorical_crossentropy"),
    "tied": (tied, X, np.abs(X) / 4, "mse"),
    "twice": (twice, [X, X[::-1]], VALUES[:, :1], "mse"),
    "nested": (nested, [X, Z], VALUES, "mse"),
}
models = pytest.mark.parametrize("name", MODELS)


def made(name: str) -> tuple[keras.Model, Any, Any]:
    keras.utils.set_random_seed(1)
    make, x, y, loss = MODELS[name]
    model = make()
    model.compile("adam", loss)
    return model, x, y


def answers(model: keras.Model, x: Any) -> list[Array]:
    found = model.predict(x)
    return found if isinstance(found, list) else [found]


@models
def test_it_learns_and_comes_back_and_goes_on(name: str, tmp_path: Path) -> None:
    model, x, y = made(name)
    losses = model.fit(x, y, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "m.fastdl")
    others = [keras.load_model(tmp_path / "m.fastdl"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    for other in others:
        assert other.get_config() == model.get_config()
        other.fit(x, y, batch_size=16, epochs=2, verbose=0)
        assert all(np.array_equal(a, b) for a, b in zip(answers(model, x), answers(other, x), strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@models
def test_a_clone_has_weights_of_its_own(name: str) -> None:
    model, x, y = made(name)
    before, clone = model.get_weights(), keras.models.clone_model(model)
    assert [weight.shape for weight in clone.get_weights()] == [weight.shape for weight in before]
    clone.compile("adam", MODELS[name][3])
    clone.fit(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@models
@pytest.mark.parametrize("fuse", [True, False])
def test_the_file_computes_the_same(name: str, fuse: bool, tmp_path: Path) -> None:
    model, x, y = made(name)
    model.fit(x, y, verbose=0)
    model.export(tmp_path / "m.onnx", fuse=fuse, verify=x)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    arrays = x if isinstance(x, list) else [x]
    feeds = {each.name: a.astype(np.float32) for each, a in zip(session.get_inputs(), arrays, strict=True)}
    for ours, theirs in zip(answers(model, x), session.run(None, feeds), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-6 * max(1, np.abs(theirs).max())


@models
def test_the_bits_do_not_depend_on_threads(name: str) -> None:
    found = []
    for threads in (1, 2, 3):
        keras.set_num_threads(threads)
        model, x, y = made(name)
        big = [np.repeat(each, 40, axis=0) for each in (x if isinstance(x, list) else [x])]
        targets = [np.repeat(each, 40, axis=0) for each in (y if isinstance(y, list) else [y])]
        program = model.session.program(600, training=True)
        feeds = model.session.feeds(
            model.session.feeding.inputs(big if len(big) > 1 else big[0]),
            targets if len(targets) > 1 else targets[0],
            None,
        )
        assert model.optimizer is not None
        program.run(feeds, steps=4, rates=model.optimizer.rates(4), seed=5, threads=threads)
        found.append(model.get_weights())
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_losses_metrics_and_weights_by_name() -> None:
    model = wide_and_deep()
    model.compile(
        "sgd",
        {"classes": "sparse_categorical_crossentropy", "values": "mse"},
        loss_weights={"classes": 1.0, "values": 0.25},
        metrics={"classes": ["accuracy"], "values": "mae"},
    )
    names = ["loss", "classes_loss", "values_loss", "classes_accuracy", "values_mae"]
    results = model.evaluate({"input": X, "wide": Z}, {"classes": LABELS, "values": VALUES}, return_dict=True)
    assert list(results) == names
    classes, values = model.predict([X, Z])
    crossentropy = -np.log(classes[np.arange(90), LABELS].astype(np.float64)).mean()
    squared, absolute = ((values - VALUES) ** 2).mean(), np.abs(values - VALUES).mean()
    expected = [
        crossentropy + 0.25 * squared,
        crossentropy,
        squared,
        (classes.argmax(1) == LABELS).mean(),
        absolute,
    ]
    assert list(results.values()) == pytest.approx(expected, rel=1e-5)
    weight = RNG.uniform(0, 2, 90)
    weighed = model.evaluate([X, Z], [LABELS, VALUES], sample_weight={"values": weight}, return_dict=True)
    assert weighed["classes_loss"] == pytest.approx(crossentropy, rel=1e-5)
    assert weighed["values_loss"] == pytest.approx((((values - VALUES) ** 2).mean(1) * weight).mean(), rel=1e-5)
    history = model.fit([X, Z], [LABELS, VALUES], epochs=2, validation_split=0.2, verbose=0).history
    assert list(history) == names + [f"val_{name}" for name in names]


def test_a_loss_for_some_outputs_trains_those() -> None:
    model = wide_and_deep()
    model.compile("sgd", {"values": "mse"})
    head, other = model.get_layer("classes").get_weights(), model.get_layer("values").get_weights()
    model.fit([X, Z], {"values": VALUES}, verbose=0)
    assert np.array_equal(head[0], model.get_layer("classes").get_weights()[0])
    assert not np.array_equal(other[0], model.get_layer("values").get_weights()[0])


def test_layers_of_one_model_in_another_are_shared() -> None:
    """A textbook's transfer learning, and its view of a hidden layer."""
    base = keras.Sequential([keras.Input((8,)), layers.Dense(6, activation="relu"), layers.Dense(3)])
    view = keras.Model(inputs=base.inputs, outputs=base.layers[0].output)
    assert np.array_equal(view.predict(X), np.maximum(X.astype(np.float32) @ base.get_weights()[0], 0)) or np.allclose(
        view.predict(X), np.maximum(X @ base.get_weights()[0], 0), atol=1e-6
    )
    base.compile("sgd", "mse")
    before = view.predict(X)
    base.fit(X, RNG.standard_normal((90, 3)), verbose=0)
    assert not np.allclose(before, view.predict(X))


def test_what_was_trainable_at_compile_is_trained() -> None:
    """A GAN: the discriminator, frozen after it was compiled, is trained alone, and not through the whole."""
    generator = keras.Sequential([keras.Input((5,)), layers.Dense(8)])
    discriminator = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6, "relu"), layers.BatchNormalization(), layers.Dense(1, "sigmoid")]
    )
    discriminator.compile("rmsprop", "binary_crossentropy")
    discriminator.trainable = False
    gan = keras.Sequential([generator, discriminator])
    gan.compile("rmsprop", "binary_crossentropy")
    ones = np.ones(90)

    def moved(train: Callable[[], Any]) -> tuple[bool, list[bool]]:
        before = generator.get_weights(), discriminator.get_weights()
        train()
        after = generator.get_weights(), discriminator.get_weights()
        changes = [
            [not np.array_equal(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)
        ]
        return any(changes[0]), changes[1]

    assert moved(lambda: gan.train_on_batch(Z, ones)) == (True, [False] * 8)
    assert moved(lambda: discriminator.train_on_batch(X, ones)) == (False, [True] * 8)
    assert moved(lambda: gan.fit(Z, ones, verbose=0)) == (True, [False] * 8)


def test_a_subclass_with_a_call_of_its_own(tmp_path: Path) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = layers.Dense(6, activation="relu"), layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            x, z = inputs
            return self.out(layers.Concatenate()([self.hidden(x), z]))

    model = Own()
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit([X, Z], VALUES, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.layers[0] is model.hidden
    model.save(tmp_path / "m.fastdl")
    again = keras.models.load_model(tmp_path / "m.fastdl", {"Own": Own})
    assert np.array_equal(again.predict([X, Z]), model.predict([X, Z]))
    model.save_weights(tmp_path / "w.fastdl")
    other = Own()
    other.build([(None, 8), (None, 5)])
    other.load_weights(tmp_path / "w.fastdl")
    assert np.array_equal(other.predict([X, Z]), model.predict([X, Z]))


def test_a_layer_made_of_layers() -> None:
    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.stack = [layers.Dense(8, activation="relu"), layers.Dense(8)]

        def call(self, x: Any) -> Any:
            h = x
            for layer in self.stack:
                h = layer(h)
            return layers.Add()([x, h])

    model = keras.Sequential([keras.Input((8,)), Block(), Block(), layers.Dense(2)])
    assert model.count_params() == 4 * 72 + 18
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, VALUES, verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [False] * 4 + [True] * 6


def test_called_on_arrays() -> None:
    dense = layers.Dense(4, activation="relu")
    got = dense(X)
    assert got == pytest.approx(np.maximum(X @ dense.get_weights()[0], 0), abs=1e-6)
    assert layers.Add()([X, X]) == pytest.approx(2 * X, rel=1e-6)
    model = wide_and_deep()
    assert all(np.array_equal(a, b) for a, b in zip(model([X, Z]), model.predict([X, Z]), strict=True))


def test_dropout_can_act_in_inference() -> None:
    class MCDropout(layers.Dropout):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs, training=True)

    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(200, use_bias=False), MCDropout(0.25)])
    first, second = model.predict(X), model.predict(X)
    assert not np.array_equal(first, second)
    assert np.mean(first == 0) == pytest.approx(0.25, abs=0.02)
    dense = X @ model.get_weights()[0]
    assert first[first != 0] == pytest.approx((dense / 0.75)[first != 0], rel=1e-4, abs=1e-5)
    with pytest.raises(FusionError, match="random numbers in inference"):
        model.export("never.onnx")
    x = keras.Input((8,))
    quiet = keras.Model(x, layers.Dropout(0.5)(x, training=False))
    assert np.array_equal(quiet(X, training=True), X.astype(np.float32))


def test_predictions_as_in_training() -> None:
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(20), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    model.fit(X, VALUES, verbose=0)
    before, quiet = model.get_weights(), model.predict(X)
    first, second = model(X, training=True), model.predict(X, training=True)
    assert not np.array_equal(first, second)
    assert np.array_equal(model.predict(X), quiet)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    norm = keras.Sequential([keras.Input((8,)), layers.BatchNormalization(epsilon=1e-12)])
    got = norm(3 * X + 7, training=True)
    assert got.mean(0) == pytest.approx(np.zeros(8), abs=1e-5)
    assert got.std(0) == pytest.approx(np.ones(8), rel=1e-5)


def test_the_spread_of_predictions_with_dropout() -> None:
    """Against the formula: y = w·(x mask) has mean w·x and variance rate / (1 - rate) Σ (w x)²."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((8,)), layers.Dropout(0.3), layers.Dense(2, use_bias=False)])
    mean, std = keras.mc_predict(model, X, samples=3000)
    w = model.get_weights()[0].astype(np.float64)
    spread = np.sqrt(0.3 / 0.7 * (X**2) @ w**2)
    assert np.abs((mean - X @ w) / spread).max() < 0.1
    assert std == pytest.approx(spread, rel=0.1)
    with pytest.raises(ValueError, match="no dropout"):
        keras.mc_predict(keras.Sequential([keras.Input((8,)), layers.Dense(1)]), X)


def test_batch_norm_by_the_whole_set() -> None:
    """Each layer's statistics are those of what it reads in inference, as float64 has them."""
    keras.utils.set_random_seed(3)
    x = RNG.standard_normal((3000, 8)) * 3 + 1
    first, second, frozen = layers.BatchNormalization(), layers.BatchNormalization(), layers.BatchNormalization()
    frozen.trainable = False
    stack = [first, layers.Dense(6, "tanh"), layers.Dropout(0.5), second, layers.Dense(4), frozen, layers.Dense(1)]
    model = keras.Sequential([keras.Input((8,)), *stack])
    model.compile("adam", "mse")
    model.fit(x, x[:, :1], verbose=0)
    kept = frozen.get_weights()
    model.recalibrate_batch_norm(x)
    for i, norm in ((0, first), (3, second)):
        read = keras.Model(model.input, model.layers[i - 1].output).predict(x) if i else x
        assert norm.moving_mean.numpy() == pytest.approx(read.mean(0, dtype=np.float64), rel=1e-5, abs=1e-5)
        assert norm.moving_variance.numpy() == pytest.approx(read.var(0, dtype=np.float64), rel=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(kept, frozen.get_weights(), strict=True))


def test_saved_with_models_inside(tmp_path: Path) -> None:
    """Models inside are built before the layers in front of them; each weight comes back to its own place."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4), inner, layers.Dense(3), layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(X, VALUES, verbose=0)
    model.save(tmp_path / "m.fastdl")
    assert np.array_equal(keras.load_model(tmp_path / "m.fastdl").predict(X), model.predict(X))


def test_what_is_frozen_comes_back_frozen(tmp_path: Path) -> None:
    for model in (all_merges(), keras.Sequential([keras.Input((8,)), layers.Dense(4)])):
        model.trainable = False
        model.save(tmp_path / "m.fastdl")
        again = keras.load_model(tmp_path / "m.fastdl")
        assert not again.trainable
        assert again.trainable_weights == []


@pytest.mark.parametrize("rows", [40, 90])
@pytest.mark.parametrize("rectified", [True, False])
def test_batch_norm_called_in_inference_trains_gamma_and_beta(rows: int, rectified: bool) -> None:
    """Transfer learning's base(x, training=False): moving averages are used and stay; gradients as float64 has them."""
    x, y = X[:rows], VALUES[:rows]

    def made() -> tuple[keras.Model, layers.BatchNormalization]:
        keras.utils.set_random_seed(4)
        source = keras.Input((8,), dtype="float64")
        norm = layers.BatchNormalization(
            gamma_initializer="random_normal",
            beta_initializer="random_normal",
            moving_mean_initializer="random_normal",
            moving_variance_initializer=keras.initializers.Constant(0.3),
        )
        h = norm(layers.Dense(7)(source), training=False)
        out = layers.Dense(2)(layers.ReLU()(h) if rectified else h)
        model = keras.Model(source, out)
        model.compile(keras.optimizers.SGD(1.0), "mse")
        return model, norm

    model, norm = made()
    before = model.get_weights()
    loss = model.evaluate(x, y)
    assert model.train_on_batch(x, y) == pytest.approx(loss, rel=1e-12)
    kept = [w for w in norm.weights if not w.trainable]
    moved = dict(zip(model.weights, before, strict=True))
    assert all(np.array_equal(w.numpy(), moved[w]) for w in kept)
    for i, parameter in enumerate(model.weights):
        if parameter in kept:
            continue
        at = tuple(np.unravel_index(np.abs(before[i] - parameter.numpy()).argmax(), parameter.shape))
        losses = []
        for sign in (1, -1):
            shifted = [w.copy() for w in before]
            shifted[i][at] += sign * 1e-6
            other, _ = made()
            other.set_weights(shifted)
            losses.append(other.evaluate(x, y))
        assert (before[i] - parameter.numpy())[at] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


def test_a_view_of_a_hidden_layer_of_any_model() -> None:
    x = keras.Input((8,))
    model = keras.Model(x, layers.Dense(1)(layers.Dense(3, name="h")(x)))
    keras.Sequential([keras.Input((8,)), model])
    model.get_layer("h")(X)
    view = keras.Model(model.input, model.get_layer("h").output)
    assert np.allclose(view.predict(X), X @ model.get_layer("h").get_weights()[0], atol=1e-5)


def test_steps_before_an_error_are_counted() -> None:
    class Fails(layers.NumpyLayer):
        calls = 0

        def forward(self, x: Array, *weights: Array) -> Array:
            self.calls += 1
            if self.calls == 4:
                raise ZeroDivisionError("the fourth batch")
            return x

        def backward(self, x: Array, y: Array, dy: Array, *weights: Array) -> Array:
            return dy

    model = keras.Sequential([keras.Input((8,)), Fails(), layers.Dense(2)])
    model.compile("adam", "mse")
    assert model.optimizer is not None
    for steps in (3, 9):  # the other three batches of the epoch, then both epochs' six
        if steps == 3:
            with pytest.raises(ZeroDivisionError):
                model.fit(X, VALUES, batch_size=15, verbose=0)
        else:
            model.fit(X, VALUES, batch_size=15, verbose=0)
        assert model.optimizer.iterations == steps


def test_metrics_of_one_name_are_all_there() -> None:
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1, "sigmoid")])
    metrics = [keras.metrics.AUC(curve="ROC"), keras.metrics.AUC(curve="PR"), "accuracy"]
    model.compile("sgd", "binary_crossentropy", metrics=metrics, weighted_metrics=["accuracy"])
    results = model.evaluate(X, VALUES[:, :1] > 0, return_dict=True)
    assert list(results) == ["loss", "auc", "auc_1", "accuracy", "weighted_accuracy"]
    assert results["auc"] != results["auc_1"]


class Pair(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = layers.Dense(3), layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return layers.Add()([self.one(inputs[0]), self.other(inputs[1])])


def test_models_of_several_inputs_within_models() -> None:
    pair = Pair()
    pair.trainable = False
    x, z = keras.Input((8,)), keras.Input((5,))
    pair.build([(None, 8), (None, 5)])
    model = keras.Model([x, z], layers.Dense(1)(pair([x, z])))
    assert len(model.trainable_weights) == 2
    inner = wide_and_deep()
    outer = keras.Model([x, z], inner({"wide": z, "input": x}))
    assert all(np.array_equal(a, b) for a, b in zip(outer.predict([X, Z]), inner.predict([X, Z]), strict=True))


def test_targets_of_outputs_without_a_loss_are_not_needed() -> None:
    for y in (VALUES, [VALUES], [None, VALUES], {"values": VALUES}, {"values": VALUES, "classes": None}):
        model = wide_and_deep()
        model.compile("sgd", {"values": "mse"})
        assert list(model.fit([X, Z], y, verbose=0).history) == ["loss"]  # the only one is not told twice, as in Keras


def test_sample_weights_by_name_of_one_output() -> None:
    x = keras.Input((8,))
    model = keras.Model(x, layers.Dense(2, name="out")(x))
    model.compile("sgd", "mse")
    weight = RNG.uniform(0, 2, 90)
    assert model.evaluate(X, VALUES, sample_weight={"out": weight}) == model.evaluate(X, VALUES, sample_weight=weight)


def test_the_summary_counts_what_models_inside_compute() -> None:
    lines: list[str] = []
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="a"), layers.Dense(4, name="b")], name="inner")
    keras.Sequential([keras.Input((8,)), inner, layers.Dense(2)]).summary(print_fn=lines.append)
    row = next(line for line in lines[0].splitlines() if "inner" in line)
    assert str(2 * 8 * 4 + 4 + 2 * 4 * 4 + 4) in row


X8, Z5 = keras.Input((8,)), keras.Input((5,))
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an input is missing": (
        lambda: keras.Model(X8, layers.Concatenate()([layers.Dense(2)(X8), Z5])),
        ValueError,
        "is needed, but is not among the inputs",
    ),
    "no tensor": (lambda: keras.Model(X8, layers.Dense(3)), ValueError, "made of tensors"),
    "an input twice": (lambda: keras.Model([X8, X8], layers.Dense(1)(X8)), ValueError, "each once"),
    "shapes to add": (lambda: layers.Add()([X8, Z5]), ShapeError, "of one shape"),
    "one to add": (lambda: layers.Add()([X8]), ShapeError, "two tensors or more"),
    "two tensors and three shares": (lambda: layers.Average([1, 2, 3])([X8, X8]), ShapeError, "3 shares for 2 tensors"),
    "shares below zero": (lambda: layers.Average([1, -1]), ValueError, "zero or more"),
    "three to subtract": (lambda: layers.Subtract()([X8, X8, X8]), ShapeError, "two tensors, not 3"),
    "several into Dense": (lambda: layers.Dense(2)([X8, Z5]), ShapeError, "takes one tensor, not 2"),
    "images to concatenate": (
        lambda: layers.Concatenate()([keras.Input((2, 3)), keras.Input((3, 3))]),
        ShapeError,
        "do not fit together",
    ),
    "axis": (lambda: layers.Concatenate(axis=0), ValueError, "axis must be"),
    "tied to nothing": (lambda: layers.DenseTranspose(layers.ReLU()), ValueError, "of a Dense layer"),  # type: ignore[arg-type]
    "tied too early": (lambda: layers.DenseTranspose(layers.Dense(8))(X8), ValueError, "must be used before"),
    "one array of two": (lambda: wide_and_deep().predict(X), DataError, "list of 2 arrays"),
    "names": (lambda: wide_and_deep().predict({"input": X, "deep": Z}), DataError, "'deep' is wrong"),
    "rows": (lambda: wide_and_deep().predict([X, Z[:5]]), DataError, "90 rows"),
    "sample shape": (lambda: wide_and_deep().predict([X, X]), ShapeError, r"x\['wide'\] has shape"),
    "losses": (lambda: compiled(["mse"]), ValueError, "1 entries, the model 2 outputs"),
    "loss name": (lambda: compiled({"value": "mse"}), ValueError, "names 'value'"),
    "loss weight": (lambda: compiled("mse", loss_weights=[1, "a"]), ValueError, "finite numbers"),
    "metric without a loss": (
        lambda: compiled({"values": "mse"}, metrics={"classes": "accuracy"}),
        ValueError,
        "no loss that says",
    ),
    "class weight": (
        lambda: compiled("mse").fit([X, Z], [np.zeros((90, 3)), VALUES], class_weight={0: 2.0}, verbose=0),
        ValueError,
        "one output",
    ),
    "NaN": (lambda: compiled("mse").fit([X, Z * np.nan], [X[:, :3], VALUES]), DataError, r"x\['wide'\] has NaN"),
}


def compiled(loss: Any, **options: Any) -> keras.Model:
    model = wide_and_deep()
    model.compile("sgd", loss, **options)
    model.session.compiled()
    return model


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
