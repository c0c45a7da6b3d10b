"""Every kernel against a float64 formula, over shapes that leave panels, tiles and vectors part full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import kernels
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1), (3, 2), (31, 17), (32, 64), (33, 37), (100, 13), (300, 5), (1000, 9)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])


def draw(*shape: int, dtype: Any, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def close(got: Array, expected: Array, dtype: Any, ulps: float = 64) -> None:
    """Within `ulps` of the largest magnitude that entered."""
    assert got.dtype == dtype
    scale = np.abs(expected).max(initial=0) or 1
    np.testing.assert_allclose(got, expected, rtol=0, atol=ulps * np.finfo(dtype).eps * scale)


def in_double(function: Callable[..., Any], *arrays: Array) -> Any:
    return function(*(array.astype(np.float64) for array in arrays))


# -- matmul -----------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@given(m=st.integers(1, 130), n=st.integers(1, 130), k=st.integers(0, 300), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_matmul_equals_float64(
    dtype: Any, transpose_a: bool, transpose_b: bool, m: int, n: int, k: int, seed: int
) -> None:
    a = draw(*((k, m) if transpose_a else (m, k)), dtype=dtype, seed=seed)
    b = draw(*((n, k) if transpose_b else (k, n)), dtype=dtype, seed=seed + 1)
    x, y = a.astype(np.float64), b.astype(np.float64)
    expected = (x.T if transpose_a else x) @ (y.T if transpose_b else y)
    bound = np.abs(x.T if transpose_a else x) @ np.abs(y.T if transpose_b else y)
    got = kernels.matmul(a, b, transpose_a, transpose_b)
    assert got.dtype == dtype
    assert (np.abs(got - expected) <= (k + 2) * np.finfo(dtype).eps * bound).all()


def test_matmul_takes_strided_and_reversed_views() -> None:
    a, b = draw(40, 60, dtype=np.float32), draw(60, 50, dtype=np.float32)
    expected = kernels.matmul(np.ascontiguousarray(a[::2, ::3]), np.ascontiguousarray(b[::-3, 1::2]))
    assert np.array_equal(kernels.matmul(a[::2, ::3], b[::-3, 1::2]), expected)


def test_matmul_writes_into_out() -> None:
    a, b = draw(4, 6, dtype=np.float32), draw(6, 5, dtype=np.float32)
    wide = np.full((4, 9), 7, np.float32)
    result = kernels.matmul(a, b, out=wide[:, 2:7])
    assert result.base is wide
    assert np.array_equal(wide[:, 2:7], kernels.matmul(a, b))
    assert (wide[:, [0, 1, 7, 8]] == 7).all()


@pytest.mark.parametrize(
    ("a", "b", "out", "error"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), None, ShapeError),
        (np.ones(3), np.ones((3, 2)), None, ShapeError),
        (np.ones((2, 3)), np.ones((3, 2)), np.ones((3, 3)), ShapeError),
        (np.ones((2, 3), complex), np.ones((3, 2)), None, DataError),
        (np.array([["a", "b"]]), np.ones((2, 2)), None, DataError),
    ],
)
def test_matmul_refuses(a: Any, b: Any, out: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        kernels.matmul(a, b, out=out)


def test_matmul_refuses_an_out_that_overlaps() -> None:
    a = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="overlap"):
        kernels.matmul(a, a, out=a)


# -- dense ------------------------------------------------------------------------------------------------


@dtypes
@shapes
@pytest.mark.parametrize("outputs", [1, 7, 16, 45])
def test_dense_forward_and_backward(dtype: Any, shape: tuple[int, int], outputs: int) -> None:
    x, w = draw(*shape, dtype=dtype), draw(shape[1], outputs, dtype=dtype, seed=1)
    b, dy = draw(outputs, dtype=dtype, seed=2), draw(shape[0], outputs, dtype=dtype, seed=3)
    product = in_double(lambda x, w, b: x @ w + b, x, w, b)
    close(kernels.dense(x, w, b), product, dtype)
    close(kernels.dense(x, w, b, relu=True), np.maximum(product, 0), dtype)
    dx, dw, db = kernels.dense_backward(x, w, dy)
    close(dx, in_double(lambda dy, w: dy @ w.T, dy, w), dtype)
    close(dw, in_double(lambda x, dy: x.T @ dy, x, dy), dtype)
    close(db, in_double(lambda dy: dy.sum(0), dy), dtype)


@dtypes
def test_bias(dtype: Any) -> None:
    x, b = draw(9, 5, dtype=dtype), draw(5, dtype=dtype, seed=1)
    close(kernels.bias(x, b), x.astype(np.float64) + b, dtype, ulps=1)


# -- softmax; the activations have a file of their own --------------------------------------------------


def softmax_double(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@dtypes
@shapes
def test_softmax_and_gradient(dtype: Any, shape: tuple[int, int]) -> None:
    x, dy = draw(*shape, dtype=dtype, scale=5), draw(*shape, dtype=dtype, seed=1)
    y = in_double(softmax_double, x)
    close(kernels.softmax(x), y, dtype, ulps=16)
    expected = y * (dy - (y * dy).sum(1, keepdims=True))
    np.testing.assert_allclose(
        kernels.softmax_backward(kernels.softmax(x), dy), expected, atol=64 * np.finfo(dtype).eps
    )


def test_softmax_does_not_overflow() -> None:
    x = np.array([[1000.0, 0.0], [-1000.0, -1001.0]], np.float32)
    close(kernels.softmax(x), softmax_double(x.astype(np.float64)), np.float32, ulps=4)


# -- batch norm -------------------------------------------------------------------------------------------


@dtypes
@shapes
def test_batch_norm_training(dtype: Any, shape: tuple[int, int]) -> None:
    x = draw(*shape, dtype=dtype, scale=3) + dtype(2)
    gamma, beta = draw(shape[1], dtype=dtype, seed=1), draw(shape[1], dtype=dtype, seed=2)
    moving_mean, moving_variance = np.zeros(shape[1], dtype), np.ones(shape[1], dtype)
    y, mean, inverse = kernels.batch_norm(x, gamma, beta, moving_mean, moving_variance, 0.9, 1e-3)
    wide = x.astype(np.float64)
    mu, variance = wide.mean(0), wide.var(0)
    close(mean, mu, dtype)
    close(inverse, 1 / np.sqrt(variance + 1e-3), dtype)
    close(y, (wide - mu) / np.sqrt(variance + 1e-3) * gamma + beta, dtype, ulps=256)
    close(moving_mean, 0.1 * mu, dtype)
    close(moving_variance, 0.9 + 0.1 * variance, dtype)


@dtypes
@shapes
def test_batch_norm_backward(dtype: Any, shape: tuple[int, int]) -> None:
    x, dy = draw(*shape, dtype=dtype, scale=2), draw(*shape, dtype=dtype, seed=1)
    gamma = draw(shape[1], dtype=dtype, seed=2)
    wide, rows = x.astype(np.float64), shape[0]
    mean, inverse = wide.mean(0), 1 / np.sqrt(wide.var(0) + 1e-3)
    xhat = (wide - mean) * inverse
    dgamma, dbeta = (dy * xhat).sum(0), dy.astype(np.float64).sum(0)
    dx = gamma * inverse * (dy - dbeta / rows - xhat * dgamma / rows)
    got = kernels.batch_norm_backward(x, dy, gamma, mean.astype(dtype), inverse.astype(dtype))
    scale = np.abs(gamma * inverse).max()
    np.testing.assert_allclose(got[0], dx, atol=64 * np.finfo(dtype).eps * scale)
    np.testing.assert_allclose(got[1], dgamma, atol=64 * np.finfo(dtype).eps * (np.abs(dy * xhat).sum(0).max() + 1))
    close(got[2], dbeta, dtype, ulps=64 * max(1.0, float(np.abs(dy).sum(0).max() / (np.abs(dbeta).max() or 1))))


@dtypes
def test_batch_norm_inference(dtype: Any) -> None:
    x = draw(33, 19, dtype=dtype)
    gamma, beta, mean = (draw(19, dtype=dtype, seed=i) for i in range(3))
    variance = np.abs(draw(19, dtype=dtype, seed=4))
    expected = in_double(lambda x, g, b, m, v: (x - m) / np.sqrt(v + 1e-3) * g + b, x, gamma, beta, mean, variance)
    close(kernels.batch_norm_inference(x, gamma, beta, mean, variance), expected, dtype)


def test_batch_norm_of_one_row_is_beta() -> None:
    """Documented: the variance of one row is zero, so the output is beta, never NaN."""
    beta = draw(7, dtype=np.float32, seed=1)
    y, *_ = kernels.batch_norm(
        draw(1, 7, dtype=np.float32), np.ones(7), beta, np.zeros(7, np.float32), np.ones(7, np.float32)
    )
    assert np.array_equal(y[0], beta)


# -- layer norm, PReLU ------------------------------------------------------------------------------------


@dtypes
@shapes
@pytest.mark.parametrize("shift", [0, 300])
def test_layer_norm(dtype: Any, shape: tuple[int, int], shift: float) -> None:
    """A mean far from 0 costs nothing: what it is rounded by is made up for."""
    x = draw(*shape, dtype=dtype, scale=2) + dtype(shift)
    gamma, beta = draw(shape[1], dtype=dtype, seed=1), draw(shape[1], dtype=dtype, seed=2)
    wide = x.astype(np.longdouble)
    mean, variance = wide.mean(1, keepdims=True), wide.var(1, keepdims=True)
    close(kernels.layer_norm(x, gamma, beta), (wide - mean) / np.sqrt(variance + 1e-3) * gamma + beta, dtype)


@dtypes
@shapes
def test_layer_norm_backward(dtype: Any, shape: tuple[int, int]) -> None:
    x, dy = draw(*shape, dtype=dtype, scale=2), draw(*shape, dtype=dtype, seed=1)
    gamma, wide = draw(shape[1], dtype=dtype, seed=2), x.astype(np.float64)
    inverse = 1 / np.sqrt(wide.var(1, keepdims=True) + 1e-3)
    xhat, g = (wide - wide.mean(1, keepdims=True)) * inverse, dy.astype(np.float64) * gamma
    dx = inverse * (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True))
    got, eps = kernels.layer_norm_backward(x, dy, gamma), float(np.finfo(dtype).eps)
    np.testing.assert_allclose(got[0], dx, atol=64 * eps * np.abs(g * inverse).max())
    np.testing.assert_allclose(got[1], (dy * xhat).sum(0), atol=64 * eps * np.abs(dy * xhat).sum(0).max())
    np.testing.assert_allclose(got[2], dy.astype(np.float64).sum(0), atol=64 * eps * np.abs(dy).sum(0).max())


@dtypes
@shapes
def test_prelu_and_gradient(dtype: Any, shape: tuple[int, int]) -> None:
    x, dy, alpha = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype, seed=1), draw(shape[1], dtype=dtype, seed=2)
    close(kernels.prelu(x, alpha), np.where(x < 0, alpha * x.astype(np.float64), x), dtype, ulps=1)
    dx, slopes = kernels.prelu_backward(x, dy, alpha)
    close(dx, np.where(x > 0, dy, alpha * dy.astype(np.float64)), dtype, ulps=1)
    below = np.where(x < 0, x.astype(np.float64) * dy, 0)
    np.testing.assert_allclose(slopes, below.sum(0), atol=16 * np.finfo(dtype).eps * (np.abs(below).sum(0).max() + 1))


# -- dropout ----------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_keeps_the_mean(dtype: Any, rate: float) -> None:
    x = np.ones((400, 250), dtype)
    y, mask = kernels.dropout(x, rate, seed=3)
    assert np.array_equal(y, mask)
    kept = dtype(1 / (1 - rate)) if rate < 1 else 0
    assert set(np.unique(y)) <= {0, kept}
    share = (y != 0).mean()
    assert abs(share - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / y.size)


def test_dropout_masks_are_independent_and_repeatable() -> None:
    x = np.ones((320, 300), np.float32)
    first, again, later, other = (
        kernels.dropout(x, 0.5, seed=s, step=t)[0] for s, t in [(1, 0), (1, 0), (1, 1), (2, 0)]
    )
    assert np.array_equal(first, again)
    for mask in (later, other, np.roll(first, 1, 0), np.roll(first, 1, 1)):
        assert abs(np.corrcoef(first.ravel(), mask.ravel())[0, 1]) < 5 / np.sqrt(x.size)


def test_dropout_drops_the_same_in_both_dtypes() -> None:
    x = np.ones((50, 30))
    assert np.array_equal(kernels.dropout(x.astype(np.float32), 0.25)[0] == 0, kernels.dropout(x, 0.25)[0] == 0)
