"""Noise: its distribution by moments, the same numbers in both types, none shared between seeds, steps or elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastdl import _ext, kernels

Array = np.ndarray[Any, Any]
DTYPES = [np.float32, np.float64]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
rows = pytest.mark.parametrize("kind", _ext.NOISES)
SELU_LIMIT = -1.6732632423543772848 * 1.0507009873554804934
A = ((1 - 0.2) * (1 + 0.2 * SELU_LIMIT**2)) ** -0.5
B = -A * SELU_LIMIT * 0.2
SCALARS = {
    "gaussian_noise": (0.5,),
    "gaussian_dropout": (0.5,),
    "alpha_dropout": (0.2, A, B, A * SELU_LIMIT + B),
    "rrelu": (1 / 8, 1 / 3),
}
SHAPE = (640, 300)


def draw(kind: str, x: Array, **options: int) -> Array:
    return kernels.noise(kind, x, *SCALARS[kind], **options)


def near(value: float, expected: float, deviation: float, count: int) -> bool:
    """Within 5 standard errors."""
    return abs(value - expected) <= 5 * deviation / math.sqrt(count)


def test_every_row_is_in_this_table() -> None:
    assert set(SCALARS) == set(_ext.NOISES)


@dtypes
def test_gaussian_moments_and_tails(dtype: Any) -> None:
    z = kernels.noise("gaussian_noise", np.zeros(SHAPE, dtype), 1.0).astype(np.float64)
    for power, moment, deviation in [(1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)]:
        assert near((z**power).mean(), moment, deviation, z.size), power
    for bound in (1, 2, 3):
        share = math.erfc(bound / math.sqrt(2))
        assert near((np.abs(z) > bound).mean(), share, math.sqrt(share), z.size), bound
    assert 4 < np.abs(z).max() < 7
    assert abs(np.corrcoef(z[:16].ravel(), z[16:32].ravel())[0, 1]) < 5 / math.sqrt(16 * SHAPE[1])  # cosine and sine


@dtypes
def test_gaussian_dropout_multiplies(dtype: Any) -> None:
    ones = draw("gaussian_dropout", np.ones(SHAPE, dtype))
    assert near(float(ones.mean()), 1, 0.5, ones.size)
    assert near(float(ones.var()), 0.25, 0.25 * 2**0.5, ones.size)
    np.testing.assert_allclose(draw("gaussian_dropout", np.full(SHAPE, 3, dtype)), 3 * ones, rtol=1e-6, atol=1e-6)


@dtypes
def test_alpha_dropout_keeps_mean_and_variance(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(dtype)
    y = draw("alpha_dropout", x)
    dropped = np.isclose(y, A * SELU_LIMIT + B)
    assert near(dropped.mean(), 0.2, 0.4, y.size)
    np.testing.assert_allclose(y[~dropped], A * x[~dropped] + B, rtol=1e-5, atol=1e-6)
    assert near(float(y.mean()), 0, 1, y.size)
    assert near(float(y.var()), 1, 2, y.size)


@dtypes
def test_rrelu_slopes_are_uniform(dtype: Any) -> None:
    x = -np.ones(SHAPE, dtype)
    slopes = -draw("rrelu", x)
    lower, upper = SCALARS["rrelu"]
    assert slopes.min() >= dtype(lower)
    assert slopes.max() <= dtype(upper)
    assert near(float(slopes.mean()), (lower + upper) / 2, (upper - lower) / 12**0.5, slopes.size)
    assert near(float(slopes.var()), (upper - lower) ** 2 / 12, (upper - lower) ** 2 / 180**0.5, slopes.size)
    assert np.array_equal(draw("rrelu", -x), -x)


@rows
def test_numbers_are_repeatable_independent_and_the_same_in_both_types(kind: str) -> None:
    x = -np.ones(SHAPE, np.float32)
    first = draw(kind, x, seed=1)
    assert np.array_equal(first, draw(kind, x, seed=1))
    np.testing.assert_allclose(first, draw(kind, x.astype(np.float64), seed=1), rtol=1e-4, atol=1e-5)
    others = draw(kind, x, seed=2), draw(kind, x, seed=1, step=1), np.roll(first, 1, 0), np.roll(first, 1, 1)
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(x.size)


@rows
@dtypes
def test_nan_stays(kind: str, dtype: Any) -> None:
    if kind == "alpha_dropout":
        pytest.skip("what is dropped is not looked at")
    x = np.zeros((40, 3), dtype)
    x[[0, 17, 39], [0, 1, 2]] = np.nan
    assert np.array_equal(np.isnan(draw(kind, x)), np.isnan(x))
