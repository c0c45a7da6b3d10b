"""The functions of formulas of one's own: within a few ulp over the range of floats, and numpy's at its corners."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastdl import ops
from fastdl.compiler.graph import Graph, Tensor, tracing
from fastdl.ops.elementwise import FUNCTIONS
from fastdl.ops.on_arrays import compute

Array = np.ndarray[Any, Any]


def run(function: Any, *arrays: Array) -> Array:
    """The function of columns of numbers, compiled."""
    columns = [np.ascontiguousarray(each.reshape(len(each), -1)) for each in arrays]
    sources = [Tensor((None, each.shape[1]), each.dtype, name=f"x{i}") for i, each in enumerate(columns)]
    with tracing():
        output = function(*sources)
    return compute(Graph(sources, [output]), columns, False, False)[0]


def by_math(function: Any) -> Any:
    return np.vectorize(lambda x: function(float(x)), otypes=[np.float64])


# name: (the exact function in float64, least and greatest argument, ulp in float32, ulp in float64)
UNARY: dict[str, tuple[Any, float, float, float, float]] = {
    "negative": (np.negative, -1e30, 1e30, 0, 0),
    "absolute": (np.abs, -1e30, 1e30, 0, 0),
    "sign": (np.sign, -1e30, 1e30, 0, 0),
    "square": (np.square, -1e15, 1e15, 0.5, 0.5),
    "sqrt": (np.sqrt, 0, 1e30, 0.5, 0.5),
    "exp": (np.exp, -80, 80, 2, 2),
    "expm1": (np.expm1, -50, 80, 3, 3),
    "log": (np.log, 1e-30, 1e30, 2, 2),
    "log1p": (np.log1p, -0.999, 1e20, 4, 4),
    "tanh": (np.tanh, -12, 12, 3, 3),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80, 80, 4, 4),
    "softplus": (lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0), -80, 80, 4, 4),
    "relu": (lambda x: np.maximum(x, 0), -1e30, 1e30, 0, 0),
    "sin": (np.sin, -3, 3, 3, 3),
    "cos": (np.cos, -1.5, 1.5, 3, 3),
    "erf": (by_math(math.erf), -6, 6, 4, 6),
    "floor": (np.floor, -1e6, 1e6, 0, 0),
}


def arguments(low: float, high: float, dtype: Any) -> Array:
    """Evenly, and by orders of magnitude down to 1e-20, on both sides of zero where they reach there."""
    even = np.linspace(low, high, 4001)
    small = np.geomspace(1e-20, min(high, 1.0), 2000)
    parts = [even, small[small >= low], *([-small[-small >= low]] if low < 0 else [])]
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_of_one_operand_is_exact_to_a_few_ulp(name: str, dtype: str) -> None:
    exact, low, high, *limits = UNARY[name]
    x = arguments(low, high, dtype)
    right = exact(x.astype(np.float64))
    tiny = float(np.finfo(dtype).tiny)  # what is smaller may be taken for zero
    error = np.maximum(np.abs(run(getattr(ops, name), x).ravel().astype(np.float64) - right) - tiny, 0)
    ulp = np.spacing(np.maximum(np.abs(right), tiny).astype(dtype)).astype(np.float64)
    assert (error / ulp).max() <= limits[dtype == "float64"] + 0.5  # the reference is rounded as well


def test_each_function_of_one_operand_is_in_the_table() -> None:
    assert set(UNARY) == {name for name, function in FUNCTIONS.items() if len(function.slopes) == 1}


SPECIAL = np.array([-np.inf, -1.5, -0.0, 0.0, 0.5, 2.0, np.inf, np.nan])
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "less_equal", "equal"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_of_two_operands_is_numpys_at_the_corners_too(name: str, dtype: str) -> None:
    a, b = (each.ravel().astype(dtype) for each in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        right = FUNCTIONS[name].compute(a, b)
    np.testing.assert_array_equal(run(getattr(ops, name), a, b).ravel(), right)


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("features", [1, 7, 16, 33])
def test_any_batch_and_any_number_of_features(batch: int, features: int) -> None:
    x = np.random.default_rng(batch).normal(size=(batch, features))
    row = np.random.default_rng(1).normal(size=features)
    right = np.exp(-x * x) * row + x[:, :1] / (1 + x.sum(1, keepdims=True) ** 2)
    made = run(lambda t: ops.exp(-t * t) * row + t[:, :1] / (1 + ops.sum(t, axis=1, keepdims=True) ** 2), x)
    np.testing.assert_allclose(made, right, rtol=1e-12, atol=1e-14)


def test_idle_lanes_do_not_make_sums_over_the_batch_infinite() -> None:
    x = np.full((5, 3), 2.0)  # beyond them lie lanes whose logarithm of a difference would be minus infinity
    made = run(lambda t: t * 0 + ops.mean(ops.log(t - 1.5), axis=0), x)
    np.testing.assert_allclose(made, np.log(0.5))
