"""Every activation of the kernel table: forward and derivative against float64 formulas, over the whole range."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fastdl import _ext, kernels

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]
DTYPES = [np.float32, np.float64]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
erfc = np.vectorize(math.erfc, otypes=[np.float64])
HALF = 0.5  # a constant that float32 holds exactly
WAVES = "cos", "sin"
ALPHA, SCALE = 1.6732632423543772848, 1.0507009873554804934


@dataclass(frozen=True)
class Case:
    """y and dy/dx in float64. ulps: how far float32 may be off, a number or a function of x."""

    y: Function
    slope: Function
    scalars: tuple[float, ...] = ()
    ulps: float | Function = 4.0


def of_one(x: Array, wave: Function) -> Array:
    """1.5 ulp of 1, in ulps of the wave's value, as far as whole turns are taken off without an error."""
    eps = np.finfo(np.float32).eps if np.abs(x).max() < 1e39 else np.finfo(np.float64).eps
    reach = 1e5 if eps > 1e-10 else 1e8
    value = np.abs(wave(x)).astype(np.float32 if eps > 1e-10 else np.float64)
    return np.where(np.abs(x) <= reach, 1.5 * eps / np.spacing(value), np.inf)


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def elu(x: Array, alpha: float, scale: float) -> Array:
    return scale * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def elu_slope(x: Array, alpha: float, scale: float) -> Array:
    return scale * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def tanh_argument(x: Array) -> Array:
    """Twice that of gelu's tanh."""
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def normal(x: Array) -> Array:
    return erfc(-x / math.sqrt(2)) / 2


def mish_parts(x: Array) -> tuple[Array, Array]:
    e = np.exp(np.minimum(x, 60))
    return e, e * (e + 2)


def mish_slope(x: Array) -> Array:
    e, n = mish_parts(x)
    return n / (n + 2) + np.minimum(x, 60) * 4 * e * (1 + e) / (n + 2) ** 2


def gelu_tanh_slope(x: Array) -> Array:
    z, dz = tanh_argument(x), 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return sigmoid(z) + x * dz * sigmoid(z) * sigmoid(-z)


CASES = {
    "relu": Case(lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), ulps=0),
    "relu6": Case(lambda x: np.clip(x, 0, 6), lambda x: 1.0 * ((x > 0) & (x < 6)), (6,), ulps=0),
    "leaky_relu": Case(lambda x: np.where(x < 0, HALF * x, x), lambda x: np.where(x > 0, 1, HALF), (HALF,)),
    "rectify": Case(
        lambda x: np.where(x > 1, np.minimum(x, 8), HALF * (x - 1)),
        lambda x: np.where(x > 1, 1.0 * (x < 8), HALF),
        (HALF, 8, 1),
    ),
    "sigmoid": Case(sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "hard_sigmoid": Case(lambda x: np.clip(x + 3, 0, 6) / 6, lambda x: ((x > -3) & (x < 3)) / 6),
    "tanh": Case(np.tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x), ulps=2.5),
    "exponential": Case(np.exp, np.exp, ulps=2),
    "softplus": Case(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), sigmoid, ulps=2),
    "softsign": Case(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "elu": Case(lambda x: elu(x, HALF, 2), lambda x: elu_slope(x, HALF, 2), (HALF, 2)),
    "rescale": Case(lambda x: 2 * x + 0, lambda x: np.full_like(x, 2), (2, 0)),
    "silu": Case(lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "hard_silu": Case(
        lambda x: x * (np.clip(x + 3, 0, 6) / 6), lambda x: np.where(x < -3, 0, np.where(x > 3, 1, x / 3 + 0.5))
    ),
    "mish": Case(lambda x: np.where(x > 60, x, x * mish_parts(x)[1] / (mish_parts(x)[1] + 2)), mish_slope),
    # without fused multiply-add a little more than 4
    "gelu": Case(
        lambda x: x * normal(x), lambda x: normal(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi), ulps=4.5
    ),
    # the exponent is rounded, and what is lost of it is a share of the result
    "gelu_tanh": Case(
        lambda x: x * sigmoid(tanh_argument(x)), gelu_tanh_slope, ulps=lambda x: 4 + 3 * np.abs(tanh_argument(x))
    ),
    "cos": Case(np.cos, lambda x: -np.sin(x), ulps=lambda x: of_one(x, np.cos)),
    "sin": Case(np.sin, np.cos, ulps=lambda x: of_one(x, np.sin)),
}
rows = pytest.mark.parametrize("name", _ext.ACTIVATIONS)


def forward(name: str, x: Array) -> Array:
    """y of a vector of numbers."""
    return kernels.activation(name, x[:, None], *CASES[name].scalars)[:, 0]


def backward(name: str, x: Array, dy: Array) -> Array:
    saved = x if _ext.ACTIVATIONS[name][1] else forward(name, x)
    return kernels.activation_backward(name, saved[:, None], dy[:, None], *CASES[name].scalars)[:, 0]


def test_every_row_is_in_this_table() -> None:
    assert set(CASES) == set(_ext.ACTIVATIONS)


def every_float(count: int) -> Array:
    """`count` float32 numbers spread evenly over all bit patterns, subnormal ones and infinities included."""
    values = np.linspace(0, 2**32 - 1, count).astype(np.uint32).view(np.float32)
    return values[~np.isnan(values)]


@rows
def test_float32_within_ulps_over_the_whole_range(name: str) -> None:
    case, tiny = CASES[name], float(np.finfo(np.float32).tiny)
    x = np.concatenate([every_float(1 << 18), np.linspace(-110, 110, 100_001), np.linspace(-4, 4, 100_001)])
    x = np.concatenate([x, [0.0, -0.0, tiny, -tiny, tiny / 2, -tiny / 2, 1e-45, 3.4e38, -3.4e38]]).astype(np.float32)
    x = x[np.isfinite(x)]
    wide = np.where(np.abs(x) < tiny, 0, x).astype(np.float64)  # programs take subnormal numbers for zero
    with np.errstate(all="ignore"):
        expected = case.y(wide)
        got = forward(name, x).astype(np.float64)
        overflows = np.abs(expected) > float(np.finfo(np.float32).max)
        assert (np.isinf(got[overflows])).all()
        error = np.abs(got - expected) / np.spacing(np.abs(expected).astype(np.float32))
        allowed = case.ulps(wide) if callable(case.ulps) else np.full_like(wide, case.ulps)
    normal = (np.abs(expected) >= 2 * tiny) & ~overflows
    assert (error <= allowed)[normal].all(), f"{error[normal].max()} at {x[normal][error[normal].argmax()]}"
    assert (np.abs(got[np.abs(expected) < 2 * tiny]) < 4 * tiny).all()


@rows
def test_float64_within_ulps(name: str) -> None:
    case = CASES[name]
    x = np.concatenate([np.linspace(-30, 30, 20_001), np.linspace(-2, 2, 20_001), np.geomspace(1e-300, 1e300, 2000)])
    with np.errstate(all="ignore"):
        expected = case.y(x.astype(np.longdouble) if name not in ("gelu", "gelu_tanh") else x).astype(np.float64)
        error = np.abs(forward(name, x) - expected)
        allowed = case.ulps(x) if callable(case.ulps) else np.full_like(x, case.ulps)
    if name in ("gelu", "gelu_tanh"):  # the formula itself is no better in the far tail
        assert (error <= 4 * np.finfo(np.float64).eps * np.maximum(np.abs(expected), 1)).all()
        error, expected, allowed = error[np.abs(x) < 1], expected[np.abs(x) < 1], allowed[np.abs(x) < 1]
    finite = np.isfinite(expected)
    assert (error <= (allowed + 1) * np.spacing(np.abs(expected)))[finite].all()


@rows
@dtypes
def test_gradient(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-25, 25, 5001), rng.normal(0, 3, 5000), [-1e30, 1e30, 40.0, -100.0]]).astype(dtype)
    dy = rng.standard_normal(len(x)).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = CASES[name].slope(x.astype(np.float64))
        expected = slope * dy.astype(np.float64)
        error = np.abs(backward(name, x, dy) - expected)
    kinks = np.isin(x, [0, 1, 3, -3, 6, 8]) | ~(np.abs(slope) < 1e30)
    if name in WAVES:  # the slope of what lies out of reach is not known
        kinks |= np.abs(x) > 1e5
    scale = np.maximum(np.abs(slope), 1) * np.maximum(np.abs(dy), 1)
    assert (error <= 4 * np.finfo(dtype).eps * scale)[~kinks].all(), x[~kinks][(error / scale)[~kinks].argmax()]


@rows
@dtypes
def test_nan_stays_and_infinities_go_to_the_limit(name: str, dtype: Any) -> None:
    x = np.array([[np.nan, np.inf, -np.inf]] * 40, dtype)
    y = kernels.activation(name, x, *CASES[name].scalars)
    assert np.isnan(y[:, 0]).all()
    with np.errstate(all="ignore"):
        far = CASES[name].y(np.array([1e300, -1e300]))
    if name in WAVES:
        assert np.isnan(y).all()
        return
    limits = np.where(np.abs(far) > 1e100, np.copysign(np.inf, far), far)
    if name in ("hard_silu", "silu", "mish", "gelu", "gelu_tanh"):
        limits = np.array([np.inf, 0])
    np.testing.assert_array_equal(y[:, 1:], np.broadcast_to(limits, (40, 2)))
    saved = x if _ext.ACTIVATIONS[name][1] else y
    slopes = kernels.activation_backward(name, saved[:, 1:], np.ones_like(y[:, 1:]), *CASES[name].scalars)
    assert not np.isnan(slopes).any()


@pytest.mark.parametrize("name", WAVES)
@dtypes
def test_waves_of_any_number_lie_between_minus_one_and_one(name: str, dtype: Any) -> None:
    whole = np.linspace(0, 2**32 - 1, 1 << 18).astype(np.uint32).view(np.float32)
    x = whole[np.isfinite(whole)] if dtype == np.float32 else np.geomspace(1e-300, 1e308, 100_000)
    assert (np.abs(forward(name, x.astype(dtype))) <= 1).all()
    tiny = np.array([1e-3, -1e-6, 1e-20], dtype)
    np.testing.assert_allclose(forward("sin", tiny), np.sin(tiny.astype(np.float64)), rtol=np.finfo(dtype).eps)


@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (31, 17), (33, 37), (300, 5)])
def test_log_softmax_and_gradient(dtype: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(0, 5, shape).astype(dtype), rng.standard_normal(shape).astype(dtype))
    y = kernels.log_softmax(x)
    wide = x.astype(np.float64)
    shifted = wide - wide.max(1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=4 * eps, atol=16 * eps)
    slopes = dy - np.exp(expected) * dy.astype(np.float64).sum(1, keepdims=True)
    np.testing.assert_allclose(kernels.log_softmax_backward(y, dy), slopes, atol=64 * eps * shape[1])


def test_log_softmax_does_not_overflow() -> None:
    y = kernels.log_softmax(np.array([[1000.0, 0.0], [-1000.0, -1001.0]], np.float32))
    np.testing.assert_allclose(y, [[0, -1000], [-0.31326166, -1.3132616]], rtol=1e-6)
    assert np.isnan(kernels.log_softmax(np.array([[np.nan, 1.0]]))).all()
