"""Layers that adapt to data: what they learn from whatever holds it, what they do with it, and what they refuse."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastdl
from fastdl import layers
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 5)) @ RNG.standard_normal((5, 5)) * [1, 10, 0.1, 1, 1] + [0, 1000, 5, -3, 0]
IMAGES = RNG.standard_normal((40, 4, 3, 2)) * 3 + 1

MAKERS: dict[str, Callable[[], Any]] = {
    "Normalization": layers.Normalization,
    "inverted": lambda: layers.Normalization(invert=True),
    "MinMaxScaling": lambda: layers.MinMaxScaling((-1, 1)),
    "pca": layers.Whitening,
    "two components": lambda: layers.Whitening(n_components=2),
    "zca": lambda: layers.Whitening("zca", epsilon=0.1),
}
each = pytest.mark.parametrize("name", MAKERS)


def adapted(name: str, data: Any = X) -> Any:
    layer = MAKERS[name]()
    layer.adapt(data)
    return layer


def through(layer: Any, x: Array = X, dtype: str = "float64") -> Array:
    return fastdl.Sequential([fastdl.Input(x.shape[1:]), layer], dtype=dtype).predict(x)


def formula(name: str) -> Array:
    """In float64, from the definition."""
    mean, deviation = X.mean(0), X.std(0)
    values, vectors = np.linalg.eigh(np.cov(X.T))
    if name == "Normalization":
        return (X - mean) / deviation
    if name == "inverted":
        return X * deviation + mean
    if name == "MinMaxScaling":
        return 2 * (X - X.min(0)) / (X.max(0) - X.min(0)) - 1
    if name == "zca":
        return (X - mean) @ vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    vectors = vectors[:, ::-1] * np.sign(vectors[np.abs(vectors).argmax(0), range(5)])[::-1]
    return ((X - mean) @ vectors / np.sqrt(values[::-1]))[:, : 2 if name == "two components" else 5]


@each
def test_is_the_formula(name: str) -> None:
    expected = formula(name)
    np.testing.assert_allclose(through(adapted(name)), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    single = through(adapted(name), X.astype(np.float32), "float32")
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=2e-4)  # of values near 1000, which float32 rounds


@pytest.mark.parametrize("name", ["pca", "zca"])
def test_whitened_features_are_uncorrelated(name: str) -> None:
    layer = layers.Whitening(name)
    layer.adapt(X)
    np.testing.assert_allclose(np.cov(through(layer).T), np.eye(5), atol=1e-9)


class Frame:
    """A table as pandas and polars have them."""

    columns = tuple("abcde")

    def to_numpy(self) -> Array:
        return X


class ByNumber:
    """Batches as Keras's Sequence and PyDataset hand them out; there is no end to ask for."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        return X[100 * number : 100 * number + 100], np.zeros(100)


def generator() -> Iterator[Array]:
    yield from np.array_split(X, 7)


SOURCES: dict[str, Callable[[], Any]] = {
    "rows in lists": X.tolist,
    "rows in tuples": lambda: tuple(map(tuple, X)),
    "frame": Frame,
    "generator": generator,
    "list of batches": lambda: np.array_split(X, 3),
    "list of (x, y)": lambda: [(part, np.zeros(len(part))) for part in np.array_split(X, 3)],
    "list of [x, y]": lambda: [[part, part] for part in np.array_split(X, 3)],
    "batches of lists": lambda: (part.tolist() for part in np.array_split(X, 3)),
    "batches by number": ByNumber,
    "one row at a time": lambda: (row[None] for row in X),
    "Fortran order": lambda: np.asfortranarray(X),
    "big endian": lambda: X.astype(">f8"),
}


@pytest.mark.parametrize("source", SOURCES)
@each
def test_learns_the_same_from_any_source(name: str, source: str) -> None:
    expected = adapted(name, X)
    found = adapted(name, SOURCES[source]())
    for layer in (expected, found):
        layer(fastdl.compiler.graph.Tensor((None, 5), np.dtype(np.float64)))
    for ours, theirs in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(-1e6, 1e6), st.integers(0, 2**32 - 1))
def test_moments_do_not_depend_on_how_the_data_are_cut(sizes: list[int], middle: float, seed: int) -> None:
    data = np.random.default_rng(seed).standard_normal((sum(sizes), 3)) + middle
    layer = layers.Normalization()
    layer.adapt(np.split(data, np.cumsum(sizes)[:-1]))
    np.testing.assert_allclose(layer.mean, data.mean(0, keepdims=True), rtol=1e-12, atol=1e-12 * abs(middle) + 1e-12)
    np.testing.assert_allclose(layer.variance, data.var(0, keepdims=True), rtol=1e-6, atol=1e-9)


def test_float32_data_far_from_zero_keep_their_variance() -> None:
    """Sums in float32, or of squares, would lose all of it."""
    data = (np.arange(200_000) % 2 + 4096).astype(np.float32)[:, None]
    layer = layers.Normalization()
    layer.adapt(data)
    assert layer.mean is not None
    assert layer.variance is not None
    assert layer.mean[0, 0] == pytest.approx(4096.5, rel=1e-14)
    assert layer.variance[0, 0] == pytest.approx(0.25, rel=1e-12)


def test_adapt_needs_memory_for_some_rows_only() -> None:
    data = np.ones((200_000, 40), np.float32)  # 32 MB
    for layer in (layers.Normalization(), layers.MinMaxScaling(), layers.Whitening(epsilon=1)):
        tracemalloc.start()
        layer.adapt(data)
        assert tracemalloc.get_traced_memory()[1] < 12e6
        tracemalloc.stop()


# axis: the axes that are averaged over, of (batch, 4, 3, 2)
AXES: list[tuple[Any, tuple[int, ...]]] = [
    (-1, (0, 1, 2)),
    (1, (0, 2, 3)),
    (2, (0, 1, 3)),
    ((1, 2), (0, 3)),
    ((-1, -3, 2), (0,)),
    (None, (0, 1, 2, 3)),
]


@pytest.mark.parametrize(("axis", "over"), AXES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_axis_tells_what_is_told_apart(axis: Any, over: tuple[int, ...], dtype: str) -> None:
    norm, scaling = layers.Normalization(axis), layers.MinMaxScaling(axis=axis)
    norm.adapt(IMAGES)
    scaling.adapt(IMAGES)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    expected = (IMAGES - IMAGES.mean(over, keepdims=True)) / IMAGES.std(over, keepdims=True)
    np.testing.assert_allclose(through(norm, IMAGES, dtype), expected, atol=tolerance)
    low, high = IMAGES.min(over, keepdims=True), IMAGES.max(over, keepdims=True)
    np.testing.assert_allclose(through(scaling, IMAGES, dtype), (IMAGES - low) / (high - low), atol=tolerance)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4)])
def test_given_mean_and_variance_spread_over_the_axes(shape: tuple[int, ...]) -> None:
    mean, variance = RNG.standard_normal(shape), RNG.uniform(1, 2, shape)
    x = RNG.standard_normal((6, 3, 4))
    layer = layers.Normalization((1, 2), mean, variance)
    np.testing.assert_allclose(through(layer, x), (x - mean) / np.sqrt(variance), rtol=1e-12, atol=1e-12)


def test_constant_features() -> None:
    data = np.full((20, 2), [7.0, 0.0])
    norm, scaling = layers.Normalization(), layers.MinMaxScaling((-1, 1))
    pca, zca = layers.Whitening(), layers.Whitening("zca", epsilon=1e-3)
    for layer, expected in ((norm, 0), (scaling, -1), (pca, 0), (zca, 0)):
        layer.adapt(data)
        assert np.array_equal(through(layer, data), np.full((20, 2), expected)), layer.name
    moved = through(norm, data + 1e-9)
    np.testing.assert_allclose(moved, 1e-2, rtol=1e-5)  # divided by 1e-7


def test_inverts() -> None:
    there, back = layers.Normalization(), layers.Normalization(invert=True)
    there.adapt(X)
    back.adapt(X)
    model = fastdl.Sequential([fastdl.Input((5,)), there, back], dtype="float64")
    np.testing.assert_allclose(model.predict(X), X, rtol=1e-12)


@each
def test_is_not_trained_and_lives_through_copies(name: str) -> None:
    layer = adapted(name)
    width = 2 if name == "two components" else 5
    model = fastdl.Sequential([fastdl.Input((5,)), layers.Dense(5), layer, layers.Dense(width)], dtype="float64")
    assert layer.trainable_weights == []
    assert layer.count_params() == sum(weight.size for weight in model.non_trainable_weights)
    before = layer.get_weights()
    model.compile("adam", "mse")
    model.fit(X, X[:, :width], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert f"Non-trainable params: {layer.count_params()}" in lines[0]
    expected = model.predict(X)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(again.predict(X), expected)
    clone = fastdl.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert np.array_equal(clone.predict(X), expected)


@each
def test_adapting_again_changes_a_compiled_model(name: str) -> None:
    layer = adapted(name, X + 3)
    model = fastdl.Sequential([fastdl.Input((5,)), layer], dtype="float64")
    model.predict(X)
    layer.adapt(X)
    np.testing.assert_allclose(model.predict(X), formula(name), rtol=1e-10, atol=1e-6)


def test_before_adapt_nothing_is_changed() -> None:
    for layer in (layers.Normalization(), layers.MinMaxScaling(), layers.Whitening()):
        assert np.array_equal(through(layer), X)
    assert layers.Normalization().mean is None


class Table(Frame):
    def to_numpy(self) -> Array:
        return np.array([["Rome", 1.0, "x", 2, 3]], object)

    def __getitem__(self, column: str) -> Any:
        return {"a": np.array(["Rome"]), "c": np.array(["x"], object)}.get(column, np.array([1.0]))


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: layers.Normalization(mean=1.0), ValueError, "together"),
    (lambda: layers.Normalization(mean=[1.0], variance=2.0), ValueError, "one shape"),
    (lambda: layers.Normalization(mean=1.0, variance=-1.0), ValueError, "negative"),
    (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(X), ValueError, "nothing to adapt"),
    (lambda: layers.Normalization(0).adapt(X), ValueError, "axes of a sample"),
    (lambda: layers.Normalization(2).adapt(X), ValueError, "axes of a sample"),
    (lambda: layers.Normalization((1, 3)).adapt(IMAGES), ValueError, "neighbouring"),
    (lambda: layers.Normalization().adapt([]), DataError, "empty"),
    (lambda: layers.Normalization().adapt(iter([])), DataError, "no data"),
    (lambda: layers.Normalization().adapt(None), DataError, "missing"),
    (lambda: layers.Normalization().adapt({"a": X}), DataError, "dict of 'a'"),
    (lambda: layers.Normalization().adapt([["a"]]), DataError, "real numbers"),
    (lambda: layers.Normalization().adapt(Table()), DataError, r"column 'a' \(<U4\), 'c' \(object\)"),
    (lambda: layers.Normalization().adapt(np.where(X > 1000, np.nan, X)), DataError, "NaN or Inf in row"),
    (lambda: layers.Normalization().adapt([X, X[:, :3]]), ShapeError, r"adapt to data of shape \(300, 3\)"),
    (lambda: through(adapted("pca"), X[:, :3]), ShapeError, "is adapted to data of shape"),
    (lambda: through(layers.Normalization(mean=[1, 2], variance=[3, 4])), ShapeError, "does not fit"),
    (lambda: layers.MinMaxScaling((1, 1)), ValueError, "lower and a higher"),
    (lambda: layers.MinMaxScaling((0, float("inf"))), ValueError, "lower and a higher"),
    (lambda: layers.Whitening("ica"), ValueError, "'pca' or 'zca'"),
    (lambda: layers.Whitening(n_components=0), ValueError, "positive integer"),
    (lambda: layers.Whitening("zca", 2), ValueError, "for 'pca' alone"),
    (lambda: layers.Whitening(epsilon=-1), ValueError, "epsilon"),
    (lambda: layers.Whitening(n_components=6).adapt(X), ShapeError, "no 6 components"),
    (lambda: layers.Whitening().adapt(IMAGES), ShapeError, "Flatten"),
    (lambda: layers.Whitening().adapt(X[:1]), DataError, "two rows"),
    (lambda: layers.Reshape((2, 0)), ValueError, "positive sizes"),
    (lambda: layers.Reshape((-1, -1)), ValueError, "one of which"),
    (lambda: through(layers.Reshape((2, -1))), ShapeError, "numbers a sample"),
]


@pytest.mark.parametrize(("make", "error", "words"), REFUSED)
def test_refuses(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_what_cannot_be_learned_from_changes_nothing() -> None:
    layer = adapted("pca")
    expected = through(layer)
    for wrong in (X[:1], [X, X[:, :2]], X * np.inf):
        with pytest.raises((DataError, ShapeError)):
            layer.adapt(wrong)
    model = fastdl.Sequential([fastdl.Input((5,)), layer], dtype="float64")
    assert np.array_equal(model.predict(X), expected)


@pytest.mark.parametrize("target", [(6,), (2, 3), (3, -1), (-1,), (1, -1, 2)])
def test_reshape_is_numpys(target: tuple[int, ...]) -> None:
    x = RNG.standard_normal((7, 3, 2)).astype(np.float32)
    assert np.array_equal(through(layers.Reshape(target), x, "float32"), x.reshape(7, *target))
