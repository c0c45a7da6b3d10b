"""Keras's ops that are activations, composed of others: each of arrays and of tensors, with gradient and ONNX form."""

from __future__ import annotations

from typing import Any

from fastdl.errors import ShapeError
from fastdl.ops import functions as f
from fastdl.ops import numeric
from fastdl.ops.numeric import operation


def celu(x: Any, alpha: float = 1.0) -> Any:
    """max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1) (Keras: ops.celu)."""
    return f.add(f.maximum(x, 0.0), f.multiply(f.expm1(f.multiply(f.minimum(x, 0.0), 1 / alpha)), alpha))


def glu(x: Any, axis: int = -1) -> Any:
    """The first half along an axis times the sigmoid of the second (Keras: ops.glu). ShapeError for an odd size."""
    size = f.shape(x)[axis]
    if not size or size % 2:
        raise ShapeError(f"glu halves axis {axis}, and its size in {f.shape(x)} is not even")
    first, second = f.split(x, 2, axis)
    return f.multiply(first, f.sigmoid(second))


def hard_tanh(x: Any) -> Any:
    """x, but no less than -1 and no more than 1 (Keras: ops.hard_tanh)."""
    return f.clip(x, -1.0, 1.0)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where it is farther from 0 than the threshold, else 0 (Keras: ops.hard_shrink)."""
    return f.where(f.less_equal(f.absolute(x), threshold), 0.0, x)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x nearer to 0 by the threshold, 0 where it would pass it (Keras: ops.soft_shrink)."""
    return f.subtract(x, f.clip(x, -threshold, threshold))


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x) (Keras: ops.tanh_shrink)."""
    return f.subtract(x, f.tanh(x))


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) (Keras: ops.log_sigmoid)."""
    return f.negative(f.softplus(f.negative(x)))


def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)² / 4 up to 1, then x (Keras: ops.sparse_plus)."""
    curve = f.multiply(f.square(f.add(x, 1.0)), 0.25)
    return f.where(f.less_equal(x, -1.0), 0.0, f.where(f.less(x, 1.0), curve, x))


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, but no less than 0 and no more than 1 (Keras: ops.sparse_sigmoid)."""
    return f.clip(f.multiply(f.add(x, 1.0), 0.5), 0.0, 1.0)


def squareplus(x: Any, b: float = 4.0) -> Any:
    """(x + √(x² + b)) / 2 (Keras: ops.squareplus)."""
    return f.multiply(f.add(x, f.sqrt(f.add(f.square(x), b))), 0.5)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x above the threshold, elsewhere the default (Keras: ops.threshold)."""
    return f.where(f.less_equal(x, threshold), default_value, x)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The nearest point to x whose numbers along an axis are not negative and sum to 1 (Keras: ops.sparsemax).

    Martins and Astudillo 2016. A number stays above 0 if the others exceed it by less than 1 in all: no sorting.
    """
    last = f.swapaxes(x, axis, -1)
    excess = f.sum(f.maximum(f.subtract(f.expand_dims(last, -2), f.expand_dims(last, -1)), 0.0), -1)
    stays = numeric.stop_gradient(f.subtract(1.0, f.less_equal(1.0, excess)))
    height = f.divide(f.subtract(f.sum(f.multiply(last, stays), -1, True), 1.0), f.sum(stays, -1, True))
    return f.swapaxes(f.maximum(f.subtract(last, height), 0.0), axis, -1)


__all__ = [
    *("celu", "glu", "hard_shrink", "hard_tanh", "log_sigmoid", "soft_shrink", "sparse_plus", "sparse_sigmoid"),
    *("sparsemax", "squareplus", "tanh_shrink", "threshold"),
]
COMPOSED = {name: operation(globals()[name]) for name in __all__}
globals().update(COMPOSED)
numeric.BY_NAME.update(COMPOSED)
