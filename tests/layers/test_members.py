"""Samples of several members: each layer, loss and step against numpy in float64, at batches that fill no panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import initializers, layers, losses, metrics, optimizers
from fastdl.errors import ShapeError
from fastdl.models import engine

Array = np.ndarray[Any, Any]
batches = pytest.mark.parametrize("rows", [1, 2, 31, 33, 100, 300, 1100])
K, IN, UNITS, OUT = 3, 7, 40, 4


def net(ending: str | None = "softmax", dtype: str = "float64", k: int = K) -> fastdl.Model:
    """A small TabM: shared dense layers, R before them, an output layer for each member."""
    fastdl.utils.set_random_seed(5)
    source = fastdl.Input((IN,), dtype=dtype)
    x = layers.EnsembleScale()(layers.RepeatVector(k)(source))
    x = layers.Dense(UNITS)(layers.Dense(UNITS, "tanh", bias_initializer="normal")(x))
    return fastdl.Model(source, layers.EnsembleDense(OUT, ending, bias_initializer="normal")(x))


def forward(weights: list[Array], x: Array, k: int = K) -> Array:
    """The logits, (rows, k, OUT), member by member."""
    scale, w1, b1, w2, b2, w3, b3 = (weight.astype(np.float64) for weight in weights)
    members = []
    for i in range(k):
        hidden = np.tanh((x * scale.reshape(k, IN)[i]) @ w1 + b1) @ w2 + b2
        members.append(hidden @ w3.reshape(k, UNITS, OUT)[i] + b3.reshape(k, OUT)[i])
    return np.stack(members, axis=1)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def data(rows: int, k: int = K) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, IN)), rng.integers(OUT, size=(rows, k))


@batches
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward(rows: int, dtype: str) -> None:
    model, (x, _) = net(dtype=dtype), data(rows)
    expected = softmax(forward(model.get_weights(), x))
    got = model.predict(x.astype(dtype))
    assert got.shape == (rows, K, OUT)
    np.testing.assert_allclose(got, expected, atol=1e-6 if dtype == "float32" else 1e-14)
    mean = layers.GlobalAveragePooling1D()(model(model.inputs[0]))
    predicted = fastdl.Model(model.inputs, mean).predict(x.astype(dtype))
    np.testing.assert_allclose(predicted, expected.mean(1), atol=1e-6 if dtype == "float32" else 1e-14)


@batches
def test_loss_accuracy_and_weights_of_samples(rows: int) -> None:
    """The mean over rows and members; a sample's weight is that of all its members."""
    model, (x, y) = net(), data(rows)
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    p = softmax(forward(model.get_weights(), x))
    each = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]
    assert model.evaluate(x, y, verbose=0) == pytest.approx([each.mean(), (p.argmax(-1) == y).mean()], rel=1e-12)
    weights = np.random.default_rng(2).random(rows)
    assert model.evaluate(x, y, sample_weight=weights, verbose=0)[0] == pytest.approx(
        (each * weights[:, None]).mean(), rel=1e-12
    )
    one_hot = np.eye(OUT)[y]
    model.compile("sgd", losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["categorical_accuracy"])
    smooth = -((0.9 * one_hot + 0.1 / OUT) * np.log(p)).sum(-1)
    assert model.evaluate(x, one_hot, verbose=0) == pytest.approx(
        [smooth.mean(), (p.argmax(-1) == y).mean()], rel=1e-12
    )


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "mean_squared_error": lambda t, p: (t - p) ** 2,
    "mean_absolute_error": lambda t, p: np.abs(t - p),
    "kl_divergence": lambda t, p: (t * np.log(t / p)).sum(-1),
    "cosine_similarity": lambda t, p: -(t * p).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(p, axis=-1),
    "categorical_hinge": lambda t, p: np.maximum(1 + ((1 - t) * p).max(-1) - (t * p).sum(-1), 0),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_other_losses_are_of_the_last_axis(loss: str) -> None:
    model, (x, _) = net(), data(45)
    target = softmax(np.random.default_rng(4).standard_normal((45, K, OUT)))
    model.compile(optimizers.SGD(0.1), loss)
    p = softmax(forward(model.get_weights(), x))
    assert model.evaluate(x, target, verbose=0) == pytest.approx(LOSSES[loss](target, p).mean(), rel=1e-9)


@batches
def test_a_step_is_the_mean_of_the_members_steps(rows: int) -> None:
    """Each member as a net of its own, in numpy; the weights that they share take the mean of their gradients."""
    model, (x, y) = net(), data(rows)
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.train_on_batch(x, y)
    scale, w1, b1, w2, b2, w3, _ = before
    expected = [np.zeros_like(weight) for weight in before]
    dz = (softmax(forward(before, x)) - np.eye(OUT)[y]) / (rows * K)
    for i in range(K):
        r, w = scale.reshape(K, IN)[i], w3.reshape(K, UNITS, OUT)[i]
        first = np.tanh((x * r) @ w1 + b1)
        second = first @ w2 + b2
        d2 = dz[:, i] @ w.T
        d1 = d2 @ w2.T * (1 - first**2)
        expected[0].reshape(K, IN)[i] = ((d1 @ w1.T) * x).sum(0)
        expected[1] += (x * r).T @ d1
        expected[2] += d1.sum(0)
        expected[3] += first.T @ d2
        expected[4] += d2.sum(0)
        expected[5].reshape(K, UNITS, OUT)[i] = second.T @ dz[:, i]
        expected[6].reshape(K, OUT)[i] = dz[:, i].sum(0)
    for old, new, gradient in zip(before, model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(old - new, gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("rows", [20, 300, 1100])
def test_threads_change_no_bit(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    results = []
    for threads in (1, 2, 3):
        fastdl.set_num_threads(threads)
        model = net(dtype="float32", k=8)
        model.compile(optimizers.AdamW(0.01), "sparse_categorical_crossentropy")
        fastdl.utils.set_random_seed(6)
        model.fit(*data(2 * rows, 8), batch_size=rows, epochs=1, verbose=0)
        results.append([*model.get_weights(), model.predict(data(rows)[0])])
    fastdl.set_num_threads(None)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_it_learns_saves_and_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, IN)).astype(np.float32)
    labels = (x @ rng.standard_normal((IN, OUT))).argmax(1)
    y = np.repeat(labels[:, None], 8, axis=1)
    model = net(dtype="float32", k=8)
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=50, epochs=20, verbose=0).history
    assert history["accuracy"][-1] > 0.95
    model.save(tmp_path / "model.fastdl")
    again = fastdl.models.load_model(tmp_path / "model.fastdl")
    assert np.array_equal(again.predict(x), model.predict(x))
    for each in (model, again):
        each.train_on_batch(x[:70], y[:70])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_members_are_dropped_each_by_itself() -> None:
    repeated = layers.RepeatVector(4)(np.ones((50, 10), np.float32))
    fastdl.utils.set_random_seed(1)
    dropped = layers.Dropout(0.5)(repeated, training=True)
    assert not np.array_equal(dropped[:, 0], dropped[:, 1])
    assert set(np.unique(dropped)) == {0.0, 2.0}


def test_initial_weights() -> None:
    layer = layers.EnsembleDense(300, kernel_initializer="he_normal")
    layer(np.ones((1, 6, 200), np.float32))
    each = layer.kernel.numpy().reshape(6, 200, 300)
    np.testing.assert_allclose(each.std(axis=(1, 2)), np.sqrt(2 / 200), rtol=0.02)  # a member's fan, not that of all
    assert not np.array_equal(each[0], each[1])
    signs = initializers.RandomSign(seed=1)((40, 50), "float32")
    assert signs.dtype == np.float32
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1
    assert np.array_equal(signs, initializers.get("random_sign").from_config({"seed": 1})((40, 50)))  # type: ignore[attr-defined]


SHAPES: dict[str, tuple[Callable[[], Any], tuple[int, ...], tuple[int, ...]]] = {
    "repeat": (lambda: layers.RepeatVector(5), (4,), (5, 4)),
    "mean": (layers.GlobalAveragePooling1D, (5, 4), (4,)),
    "scale": (layers.EnsembleScale, (5, 4), (5, 4)),
    "dense of each": (lambda: layers.EnsembleDense(3), (5, 4), (5, 3)),
    "dense": (lambda: layers.Dense(3), (5, 4), (5, 3)),
    "dense, rank 4": (lambda: layers.Dense(3, "softmax"), (2, 5, 4), (2, 5, 3)),
    "softmax": (layers.Softmax, (5, 4), (5, 4)),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_and_configs(case: str) -> None:
    make, sample, expected = SHAPES[case]
    layer = make()
    again = type(layer).from_config(layer.get_config())
    x = np.random.default_rng(0).standard_normal((33, *sample)).astype(np.float32)
    assert layer(x).shape == again(x).shape == (33, *expected)
    again.set_weights(layer.get_weights())
    assert np.array_equal(layer(x), again(x))
    assert again.get_config() == layer.get_config()


def test_dense_and_softmax_over_the_last_axis_of_rank_4() -> None:
    x = np.random.default_rng(0).standard_normal((35, 2, 3, 4))
    layer = layers.Dense(5, "softmax", bias_initializer="normal")
    source = fastdl.Input((2, 3, 4), dtype="float64")
    model = fastdl.Model(source, layer(source))
    expected = softmax(x @ layer.kernel.numpy() + layer.bias.numpy())
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-14)


def labelled(shape: tuple[int, ...], **options: Any) -> Callable[[], Any]:
    def train() -> Any:
        model = net()
        model.compile("sgd", "sparse_categorical_crossentropy", **options)
        return model.fit(data(20)[0], np.zeros(shape, int), verbose=0)

    return train


def of_class(metric: Any) -> Callable[[], Any]:
    def train() -> Any:
        model = net()
        model.compile("sgd", "categorical_crossentropy", metrics=[metric])
        return model.fit(data(20)[0], np.ones((20, K, OUT)) / OUT, verbose=0)

    return train


def weighted_by_class() -> Any:
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model.fit(*data(20), class_weight={0: 2.0}, verbose=0)


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "n": (lambda: layers.RepeatVector(0), ValueError, "n must be a positive integer"),
    "repeat of rank 3": (lambda: layers.RepeatVector(2)(np.ones((3, 4, 5))), ShapeError, "takes .batch, features."),
    "mean of rank 2": (lambda: layers.GlobalAveragePooling1D()(np.ones((3, 4))), ShapeError, "put a RepeatVector"),
    "channels first": (
        lambda: layers.GlobalAveragePooling1D("channels_first"),
        ValueError,
        "data_format must be None or 'channels_last'",
    ),
    "scale of rank 2": (lambda: layers.EnsembleScale()(np.ones((3, 4))), ShapeError, "put a RepeatVector"),
    "dense of rank 2": (lambda: layers.EnsembleDense(3)(np.ones((3, 4))), ShapeError, "put a RepeatVector"),
    "softmax of another axis": (lambda: layers.Softmax(1)(np.ones((3, 4, 5))), ValueError, "axis must be the last"),
    "labels of rows": (labelled((20,)), ShapeError, r"integer labels have shape .rows, 3., one for each vector"),
    "labels of others": (labelled((20, 4)), ShapeError, r"integer labels have shape .rows, 3."),
    "labels that are none": (
        lambda: fit_with(9),
        fastdl.errors.DataError,
        "holds label 9 in row 5; the model has classes",
    ),
    "metric of classes": (of_class(metrics.F1Score()), ShapeError, "takes outputs of .batch, outputs."),
    "class weights": (weighted_by_class, ValueError, "class_weight is for outputs of .batch, classes."),
}


def fit_with(label: int) -> Any:
    model, (x, y) = net(), data(20)
    model.compile("sgd", "sparse_categorical_crossentropy")
    y[5, 1] = label
    return model.fit(x, y, verbose=0)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_says_what_is_wrong(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        call()
