"""Penalties and constraints against float64 formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import kernels

Array = np.ndarray[Any, Any]
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
shapes = pytest.mark.parametrize("shape", [(1,), (37,), (1, 1), (5, 33), (30, 64), (700, 20)], ids=str)
strengths = pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.01, 0.02)])


def draw(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def penalty(x: Array, l1: float, l2: float) -> float:
    x = x.astype(np.float64)
    return float(l1 * np.abs(x).sum() + l2 * (x * x).sum())


def slope(x: Array, l1: float, l2: float) -> Array:
    x = x.astype(np.float64)
    return np.asarray(l1 * np.sign(x) + 2 * l2 * x)


@dtypes
@shapes
@strengths
def test_weight_penalty(dtype: Any, shape: tuple[int, ...], l1: float, l2: float) -> None:
    w = draw(shape, dtype)
    assert kernels.weight_penalty(w, l1, l2) == pytest.approx(penalty(w, l1, l2), rel=1e-13)


@dtypes
@strengths
@pytest.mark.parametrize("shape", [(1, 1), (5, 33), (33, 5), (100, 20)], ids=str)
def test_activity_penalty_and_its_gradient(dtype: Any, shape: tuple[int, int], l1: float, l2: float) -> None:
    """Lanes beyond the batch, which the input's last row fills, are not counted."""
    x = draw(shape, dtype)
    x[0, 0] = 0
    total, gradient = kernels.activity_penalty(x, l1, l2)
    assert total == pytest.approx(penalty(x, l1, l2), rel=1e-13, abs=1e-300)
    np.testing.assert_allclose(gradient, slope(x, l1, l2) / len(x), rtol=8 * np.finfo(dtype).eps)


# what stands around the penalty in a step: (arguments of kernels.step, the gradient's clipping in float64)
AROUND: dict[str, tuple[dict[str, float], Any]] = {
    "plain": ({}, lambda g: g),
    "clipped": ({"limit": 0.4}, lambda g: np.clip(g, -0.4, 0.4)),
    "norm": ({"limit": 2.0, "norm": 5.0}, lambda g: g * 0.4),
}


@dtypes
@shapes
@strengths
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_step_adds_the_slope_before_it_clips(
    dtype: Any, shape: tuple[int, ...], l1: float, l2: float, around: str, decay: float
) -> None:
    w, gradient = draw(shape, dtype), draw(shape, dtype, 1)
    options, clip = AROUND[around]
    expected = (1 - decay) * w.astype(np.float64) - 0.1 * clip(gradient + slope(w, l1, l2))
    kernels.step("sgd", w, gradient, [], (), (0.1,), l1=l1, l2=l2, decay=decay, **options)
    np.testing.assert_allclose(w, expected, rtol=0, atol=8 * np.finfo(dtype).eps * max(1, np.abs(expected).max()))


@dtypes
@shapes
@strengths
def test_the_norm_is_of_the_gradient_with_the_slope(dtype: Any, shape: tuple[int, ...], l1: float, l2: float) -> None:
    w, gradient = draw(shape, dtype), draw(shape, dtype, 1)
    expected = float(((gradient + slope(w, l1, l2)) ** 2).sum())
    rel = 1e-5 if dtype == np.float32 else 1e-13
    assert kernels.sum_squares(gradient, w, l1, l2) == pytest.approx(expected, rel=rel, abs=rel)


# (least, most, rate)
NORMS = {"most": (0.0, 2.0, 1.0), "one": (1.0, 1.0, 1.0), "between": (0.5, 3.0, 1.0), "half way": (2.0, 4.0, 0.5)}


def limited(w: Array, least: float, most: float, rate: float, axis: int | None) -> Array:
    w = w.astype(np.float64)
    norm = np.sqrt((w * w).sum(axis, keepdims=True))
    return np.asarray(w * ((rate * np.clip(norm, least, most) + (1 - rate) * norm) / (norm + 1e-7)))


@dtypes
@shapes
@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("name", NORMS)
def test_limit_norm(dtype: Any, shape: tuple[int, ...], axis: int | None, name: str) -> None:
    if len(shape) == 1 and axis == 1:
        axis = None  # a vector is one row
    w = draw(shape, dtype) * np.linspace(0.01, 1, shape[-1], dtype=dtype)
    w.flat[0] = 0
    expected = limited(np.atleast_2d(w), *NORMS[name], axis).reshape(shape)
    got = kernels.limit_norm(w, *NORMS[name], axis=axis)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps + 1e-14)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_norms_keep_what_is_no_number_to_themselves(axis: int | None) -> None:
    w = np.ones((40, 50), np.float32)
    w[3, 7] = np.nan
    got = kernels.limit_norm(w, 0.0, 1.0, axis=axis)
    touched = {0: np.s_[:, 7], 1: np.s_[3], None: np.s_[:]}[axis]
    assert np.isnan(got[touched]).all()
    assert np.isnan(got).sum() == got[touched].size


@dtypes
@shapes
def test_not_negative(dtype: Any, shape: tuple[int, ...]) -> None:
    w = draw(shape, dtype)
    np.testing.assert_array_equal(kernels.not_negative(w), np.maximum(w, 0))
    w.flat[-1] = np.nan
    assert np.isnan(kernels.not_negative(w).flat[-1])
