"""Layers that make several numbers of each number, and trained scales and activations: what they compute and refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import kernels, layers, ops
from fastdl.compiler.graph import Tensor
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 5)) * [1, 10, 0.1, 3, 1] + [0, 100, 5, -3, 0]
SMALL = RNG.standard_normal((300, 5))
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def through(layer: Any, x: Array = X, dtype: str = "float64") -> Array:
    return fastdl.Sequential([fastdl.Input(x.shape[1:]), layer], dtype=dtype).predict(x)


# -- waves ------------------------------------------------------------------------------------------------


def waves(x: Array, weights: dict[str, Array], sines: bool, keeps: bool) -> Array:
    """In float64, from the definition: (batch, N, width)."""
    angles = 2 * math.pi * x[:, :, None].astype(np.float64) * weights["frequencies"] + weights.get("phases", 0)
    found = np.concatenate([np.cos(angles), np.sin(angles)], 2) if sines else np.cos(angles)
    made = np.einsum("bnj,noj->bno", found, np.broadcast_to(weights["w"], (x.shape[1], *weights["w"].shape[1:])))
    made = made + weights["b"]
    return np.concatenate([x[:, :, None], made], 2) if keeps else made


CASES = [  # numbers, frequencies, outputs, sines, keeps, one kernel for all, phases
    (1, 1, 1, False, False, False, True),
    (5, 16, 3, False, True, False, True),
    (7, 5, 3, False, True, True, True),
    (3, 9, 6, True, False, False, False),
    (20, 4, 9, True, True, True, True),
]


@dtypes
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 31, 100])
def test_kernels_of_waves(dtype: Any, case: tuple[Any, ...], batch: int) -> None:
    numbers, count, outputs, sines, keeps, shared, phased = case
    rng, tables, size = np.random.default_rng(1), 1 if shared else numbers, count * (1 + sines)
    draw = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    weights = {"frequencies": draw(numbers, count), "w": draw(tables, outputs, size), "b": draw(tables, outputs)}
    weights |= {"phases": draw(numbers, count)} if phased else {}
    x, dy = draw(batch, numbers), draw(batch, numbers * (outputs + keeps))
    arguments = {"phases": None, **weights}
    eps = float(np.finfo(dtype).eps)
    y, expected = kernels.periodic(x, **arguments, sines=sines, keeps=keeps), waves(x, weights, sines, keeps)
    np.testing.assert_allclose(y, expected.reshape(batch, -1), atol=40 * eps * size)
    got = kernels.periodic_backward(x, **arguments, dy=dy, sines=sines, keeps=keeps)
    slopes = dy.reshape(batch, numbers, -1)[:, :, keeps:].astype(np.float64)
    angles = 2 * math.pi * x[:, :, None].astype(np.float64) * weights["frequencies"] + weights.get("phases", 0)
    each = np.broadcast_to(weights["w"], (numbers, outputs, size)).astype(np.float64)
    along = np.einsum("bno,noj->bnj", slopes, each)
    turned = -np.sin(angles) * along[:, :, :count]
    found = [np.cos(angles)]
    if sines:
        turned = turned + np.cos(angles) * along[:, :, count:]
        found.append(np.sin(angles))
    wanted = {
        "dfrequencies": 2 * math.pi * (turned * x[:, :, None]).sum(0),
        "dphases": turned.sum(0),
        "dw": np.einsum("bno,bnj->noj", slopes, np.concatenate(found, 2)),
        "db": slopes.sum(0),
        "dx": 2 * math.pi * (turned * weights["frequencies"]).sum(2) + keeps * dy.reshape(batch, numbers, -1)[:, :, 0],
    }
    for name, value in got.items():
        bound = 400 * eps * size * max(1.0, float(np.abs(wanted[name]).max()))
        np.testing.assert_allclose(value, wanted[name], atol=bound, err_msg=name)


VARIANTS: dict[str, dict[str, Any]] = {
    "pbld": {},
    "pbld, lite": {"output_dim": 6, "n_frequencies": 7, "lite": True},
    "plr": {"output_dim": 7, "n_frequencies": 5, "frequency_stddev": 0.5, "variant": "plr"},
    "plr, lite": {"output_dim": 3, "n_frequencies": 9, "variant": "plr", "lite": True},
}
variants = pytest.mark.parametrize("name", VARIANTS)


@variants
@dtypes
def test_periodic_embedding_is_the_formula(name: str, dtype: Any) -> None:
    layer = layers.PeriodicEmbedding(**VARIANTS[name])
    y = through(layer, SMALL, np.dtype(dtype).name)
    values = {weight.name: weight.numpy().astype(np.float64) for weight in layer.weights}
    tables, plr = 1 if layer.lite else 5, layer.variant == "plr"
    weights = {**values, "w": values["kernel"].reshape(tables, -1, values["kernel"].shape[1]), "b": values["bias"]}
    expected = waves(SMALL.astype(dtype), weights, plr, not plr)
    expected = np.maximum(expected, 0) if plr else expected
    assert y.shape == (300, 5 * layer.output_dim)
    np.testing.assert_allclose(y, expected.reshape(300, -1), atol=100 * np.finfo(dtype).eps)


def test_periodic_embedding_is_drawn_as_published() -> None:
    layer = layers.PeriodicEmbedding(9, 100, 0.3)
    through(layer, RNG.standard_normal((2, 50)))
    drawn = {weight.name: weight.numpy() for weight in layer.weights}
    assert drawn["frequencies"].shape == drawn["phases"].shape == (50, 100)
    assert drawn["kernel"].shape == (50 * 8, 100)
    assert drawn["frequencies"].std() == pytest.approx(0.3, rel=0.05)
    assert np.abs(drawn["phases"]).max() == pytest.approx(math.pi, rel=0.01)
    assert np.abs(drawn["kernel"]).max() == pytest.approx(0.1, rel=0.01)
    assert np.abs(drawn["bias"]).max() <= 0.1


def trained(stack: Callable[[], list[layers.Layer]], threads: int, rows: int) -> list[Array]:
    before = fastdl.get_num_threads()
    fastdl.set_num_threads(threads)
    try:
        fastdl.utils.set_random_seed(3)
        model = fastdl.Sequential([fastdl.Input((5,)), *stack(), layers.Dense(2)])
        model.compile(fastdl.optimizers.Adam(0.01, global_clipnorm=1.0), "mse")
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((rows, 5)), rng.standard_normal((rows, 2))
        model.fit(x, y, batch_size=rows // 2, epochs=2, verbose=0)
        return model.get_weights()
    finally:
        fastdl.set_num_threads(before)


STACKS: dict[str, Callable[[], list[layers.Layer]]] = {
    **{name: (lambda name=name: [layers.PeriodicEmbedding(**VARIANTS[name]), layers.Scale()]) for name in VARIANTS},
    "inside": lambda: [layers.Dense(40), layers.PeriodicEmbedding(), layers.Dense(40)],
    "parametric": lambda: [layers.Dense(40, layers.ParametricActivation("mish")), layers.Scale(), layers.Dense(40)],
    "pieces": lambda: [layers.Dense(40), layers.PiecewiseLinearEncoding(3), layers.Dense(40)],
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("rows", [70, 3000])
def test_any_number_of_threads_gives_the_same_bits(name: str, rows: int) -> None:
    one = trained(STACKS[name], 1, rows)
    assert all(np.isfinite(each).all() for each in one)
    for threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(one, trained(STACKS[name], threads, rows), strict=True))


def test_the_padding_of_weights_by_rows_stays_zero() -> None:
    """What lies behind the last number is stepped too, and is looked at where a model is checked for infinities."""
    for name in VARIANTS:
        model = fastdl.Sequential([fastdl.Input((5,)), layers.PeriodicEmbedding(**VARIANTS[name]), layers.Dense(2)])
        model.compile("adamw", "mse")
        model.fit(SMALL, np.ones((300, 2)), epochs=2, verbose=0)
        for weight in model.layers[0].weights:
            assert not weight.storage[weight.size :].any()


# -- pieces -----------------------------------------------------------------------------------------------


def pieces(x: Array, edges: list[Array]) -> Array:
    """Gorishniy et al. 2022, equation 1."""
    columns = []
    for i, each in enumerate(edges):
        for t in range(len(each) - 1):
            part = (x[:, i] - each[t]) / (each[t + 1] - each[t]) if each[t + 1] > each[t] else np.zeros(len(x))
            part = part if t == 0 else np.maximum(part, 0)
            columns.append(part if t == len(each) - 2 else np.minimum(part, 1))
    return np.stack(columns, 1)


@dtypes
def test_piecewise_linear_encoding_is_the_formula(dtype: Any) -> None:
    data = X.copy()
    data[:, 2], data[:, 4] = 7, data[:, 4] > 0  # a constant, and two values
    layer = layers.PiecewiseLinearEncoding(6)
    layer.adapt(data)
    assert layer.n_bins == [6, 6, 1, 6, 1]
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, 7))) for column in data.T]
    edges[2] = np.array([7.0, 7.0])
    x = np.concatenate([data, data * 1.5 - 3])  # beyond what was seen as well
    np.testing.assert_allclose(
        through(layer, x.astype(dtype), np.dtype(dtype).name),
        pieces(x, edges),
        atol=1e-12 if dtype == np.float64 else 2e-4,
    )


def test_bins_are_of_a_sample_where_there_are_many_rows() -> None:
    rows = np.random.default_rng(2).exponential(size=(250_000, 1))
    whole, in_parts = layers.PiecewiseLinearEncoding(10), layers.PiecewiseLinearEncoding(10)
    whole.adapt(rows)
    in_parts.adapt(np.array_split(rows, 17))
    for layer in (whole, in_parts):
        through(layer, rows[:2])
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), in_parts.get_weights(), strict=True))
    np.testing.assert_allclose(whole.get_weights()[0], np.quantile(rows, np.linspace(0, 0.9, 10)), atol=0.02)


def test_until_adapt_the_bins_cut_the_unit_evenly() -> None:
    layer = layers.PiecewiseLinearEncoding([2, 4])
    y = through(layer, np.array([[0.25, 0.5], [0.75, -1]]))
    np.testing.assert_allclose(y, [[0.5, 0, 1, 1, 0, 0], [1, 0.5, -4, 0, 0, 0]])


def test_adapting_again_may_not_change_the_bins_of_a_built_layer() -> None:
    layer = layers.PiecewiseLinearEncoding(4)
    through(layer)
    layer.adapt(X)
    with pytest.raises(ShapeError, match="adapt it first"):
        layer.adapt(np.ones((10, 5)))
    assert layer.n_bins == [4] * 5


# -- trained scales and activations -----------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (31, 17), (33, 37), (300, 5)])
def test_scale_backward(dtype: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, dy, scale = (rng.standard_normal(size).astype(dtype) for size in (shape, shape, shape[1]))
    dx, slopes = kernels.scale_backward(x, dy, scale)
    assert np.array_equal(dx, dy * scale)
    terms = x.astype(np.float64) * dy
    np.testing.assert_allclose(slopes, terms.sum(0), atol=16 * np.finfo(dtype).eps * (np.abs(terms).sum(0).max() + 1))


def test_scale_and_parametric_activation_are_their_formulas() -> None:
    factors = np.arange(5) / 2
    scale, mixed = layers.Scale(), layers.ParametricActivation("tanh")
    assert np.array_equal(through(scale), X)
    assert np.array_equal(through(mixed), through(layers.Activation("tanh")))
    for layer in (scale, mixed):
        layer.set_weights([factors])
    np.testing.assert_allclose(through(scale), X * factors)
    np.testing.assert_allclose(through(mixed), (1 - factors) * X + factors * np.tanh(X), rtol=1e-12, atol=1e-12)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: layers.PeriodicEmbedding(variant="no"), ValueError, "pbld"),
    (lambda: layers.PeriodicEmbedding(1), ValueError, "output_dim"),
    (lambda: layers.PeriodicEmbedding(4, 0), ValueError, "n_frequencies"),
    (lambda: layers.PeriodicEmbedding(frequency_stddev=-1), ValueError, "frequency_stddev"),
    (lambda: through(layers.PeriodicEmbedding(4, 513)), ValueError, "at most 512 waves"),
    (lambda: through(layers.PeriodicEmbedding(66)), ValueError, "64 numbers"),
    (lambda: through(layers.PeriodicEmbedding(), np.ones((3, 2, 2))), ShapeError, "Flatten"),
    (lambda: layers.PiecewiseLinearEncoding(0), ValueError, "n_bins"),
    (lambda: layers.PiecewiseLinearEncoding([2, 0]), ValueError, "n_bins"),
    (lambda: through(layers.PiecewiseLinearEncoding([2, 3])), ShapeError, "2 numbers, the input 5"),
    (lambda: layers.PiecewiseLinearEncoding().adapt(np.array([[np.nan]])), DataError, "NaN"),
    (lambda: through(layers.Scale(), np.ones((3, 2, 2))), ShapeError, "Flatten"),
    (lambda: through(layers.ParametricActivation("softmax")), ValueError, "element by element"),
    (lambda: through(layers.ParametricActivation("linear")), ValueError, "element by element"),
    (lambda: through(layers.ParametricActivation("tanh"), np.ones((3, 2, 2))), ShapeError, "Flatten"),
]


@pytest.mark.parametrize(("make", "error", "match"), REFUSED)
def test_refuses(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


def test_ops_refuse_what_does_not_fit() -> None:
    x = Tensor((None, 5), np.dtype(np.float64))
    layer, pieces_, scale = layers.PeriodicEmbedding(), layers.PiecewiseLinearEncoding(2), layers.Scale()
    for each in (layer, pieces_, scale):
        each(x)
    other = Tensor((None, 6), np.dtype(np.float64))
    with pytest.raises(ShapeError, match="do not fit 6 numbers"):
        ops.Periodic(other, layer.frequencies, layer.phases, layer.kernel, layer.bias, False, True)
    with pytest.raises(ShapeError, match="do not fit"):
        ops.PiecewiseLinear(other, *pieces_.weights, [2] * 5)
    with pytest.raises(ShapeError, match="do not fit"):
        ops.Scale(other, scale.scale)
    dense = layers.Dense(3)
    dense(x)
    with pytest.raises(ValueError, match="by rows"):
        ops.Embedding(x, dense.kernel)
