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


# -- activations ------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "relu": (kernels.relu, lambda x: np.where(x < 0, 0, x), kernels.relu_backward),
    "sigmoid": (kernels.sigmoid, lambda x: 1 / (1 + np.exp(-x)), kernels.sigmoid_backward),
    "tanh": (kernels.tanh, np.tanh, kernels.tanh_backward),
}
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: (x > 0).astype(float),
    "sigmoid": lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2,
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
}
activations = pytest.mark.parametrize("name", ACTIVATIONS)


def every_float(count: int) -> Array:
    """`count` float32 numbers spread evenly over all bit patterns, infinities included."""
    bits = np.linspace(0, 2**32 - 1, count).astype(np.uint32)
    values = bits.view(np.float32)
    return values[~np.isnan(values)]


@activations
def test_activation_within_4_ulp_over_the_float32_range(name: str) -> None:
    kernel, formula, _ = ACTIVATIONS[name]
    values = np.concatenate([every_float(1 << 20), np.linspace(-30, 30, 200_001, dtype=np.float32)])
    tiny = np.finfo(np.float32).tiny
    values = values[(np.abs(values) >= tiny) | (values == 0)]
    with np.errstate(all="ignore"):
        expected = formula(values.astype(np.float64))
    got = kernel(values[:, None])[:, 0]
    ulp = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    normal = np.abs(expected) >= tiny  # below, results are flushed to zero
    with np.errstate(invalid="ignore"):
        error = np.where(expected == got, 0, np.abs(got - expected) / ulp)
    assert error[normal].max() <= 4, values[normal][error[normal].argmax()]
    assert (np.abs(got[~normal]) < 2 * tiny).all()


@activations
@dtypes
def test_activation_float64_and_gradient(name: str, dtype: Any) -> None:
    kernel, formula, backward = ACTIVATIONS[name]
    x, dy = draw(33, 37, dtype=dtype, scale=3), draw(33, 37, dtype=dtype, seed=1)
    y = kernel(x)
    close(y, in_double(formula, x), dtype, ulps=4)
    close(backward(y, dy), dy * in_double(DERIVATIVES[name], x), dtype, ulps=8)


@activations
def test_activation_keeps_nan(name: str) -> None:
    x = np.zeros((40, 3), np.float32)
    x[[0, 17, 39], [0, 1, 2]] = np.nan
    assert np.array_equal(np.isnan(ACTIVATIONS[name][0](x)), np.isnan(x))


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
