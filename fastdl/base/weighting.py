"""How weights of samples meet values on arrays: Keras's rules, of losses and of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, refuse_masked
from fastdl.errors import ShapeError


def same_rank(a: Array, b: Array) -> tuple[Array, Array]:
    """Both, where one has an axis more: (n,) beside (n, 1) becomes (n, 1); a last axis of 1 goes beside other ranks."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def weighted(values: Array, weights: Any) -> tuple[Array, Array]:
    """A loss's values times the weights of samples, each broadcast to the other, and these. ShapeError."""
    values, weights = same_rank(values, _read(weights))
    try:
        return values * weights, weights
    except ValueError:
        raise ShapeError(_unfit(weights, values)) from None


def reduced(values: Array, weights: Any, reduction: str | None, counted: Array | None = None) -> Any:
    """A loss of each sample's value, times the weights if there are any. counted: which targets count. ShapeError."""
    if counted is not None:
        counts, by_size = counted.astype(np.float64), reduction in ("sum_over_batch_size", "mean")
        counts = counts * (counts.size / counts.sum() if by_size and counts.any() else 1.0)
        weights = counts if weights is None else weighted(counts, weights)[0]
    divisor: Any = None
    if weights is not None:
        values, weights = weighted(values, weights)
        divisor = weights.sum() if reduction == "mean_with_sample_weight" else None
    if reduction in (None, "none"):
        return values
    if reduction == "sum" or not values.ndim:
        return float(values.sum())
    divisor = values.size if divisor is None else divisor
    return float(values.sum() / divisor) if divisor else 0.0


def slopes(values: Array, weights: Any, reduction: str | None, counted: Array | None = None) -> Array:
    """How what `reduced` gives of values grows with each of them, of their shape. ShapeError."""
    share = np.ones(values.shape)
    if counted is not None:
        by_size = reduction in ("sum_over_batch_size", "mean")
        share = counted * (values.size / counted.sum() if by_size and counted.any() else 1.0)
    full = share if weights is None else weighted(share, weights)[0]
    of_weights = reduction == "mean_with_sample_weight" and (weights is not None or counted is not None)
    divisor = 1.0 if reduction == "sum" else full.sum() if of_weights else full.size
    added = full.sum(tuple(range(full.ndim - values.ndim))) / (divisor or 1.0)  # of a value that several weights meet
    return np.asarray(added if added.shape == values.shape else added.sum(-1).reshape(values.shape))


def samplewise(values: Array, weights: Any, reduce: Callable[..., Any] = np.mean) -> tuple[Array, Array]:
    """A metric's values as one a sample, times the weights of samples if there are any, and these.

    Weights of fewer axes than the values are those of their means, or sums if `reduce` is np.sum; those of as many axes
    are broadcast to them. ShapeError.
    """
    inner = tuple(range(1, values.ndim))
    if weights is None:
        values = reduce(values, inner)
        return values, np.ones(values.shape)
    values, weights = same_rank(values, _read(weights))
    if values.ndim > weights.ndim:
        values = reduce(values, tuple(range(weights.ndim, values.ndim)))
    try:
        weights = np.broadcast_to(weights, values.shape)
    except ValueError:
        raise ShapeError(_unfit(weights, values)) from None
    inner = tuple(range(1, values.ndim))
    return reduce(values * weights, inner), reduce(weights, inner)


def elementwise(values: Array, weights: Any) -> Array:
    """A weight for each of the values, (samples, …): those of samples are theirs, others are broadcast. ShapeError."""
    weights = _read(weights)
    given = weights
    if 0 < weights.ndim == values.ndim - 1 and len(weights) == len(values):
        weights = weights[..., None]
    elif weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    try:
        return np.broadcast_to(weights, values.shape)
    except ValueError:
        raise ShapeError(_unfit(given, values)) from None


def of_rows(values: Array, weights: Any) -> Array:
    """A weight for each row of values, (rows, features). ShapeError."""
    weights = _read(weights)
    rows = len(values)
    if weights.shape not in ((), (1,), (rows,), (rows, 1)):
        raise ShapeError(f"sample_weight has shape {weights.shape}: this metric takes one a sample, ({rows},)")
    return np.broadcast_to(weights.ravel(), (rows,))


def _read(weights: Any) -> Array:
    refuse_masked("sample_weight", weights)
    return np.asarray(weights, np.float64)


def _unfit(weights: Array, values: Array) -> str:
    return f"sample_weight has shape {weights.shape}, which cannot be broadcast to the values' {values.shape}"
