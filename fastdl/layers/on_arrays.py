"""Layers on arrays: their rows, and what is computed of them, losses that layers add as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype, as_dtype, numbers
from fastdl.compiler.graph import Graph, Tensor
from fastdl.errors import ShapeError
from fastdl.ops import Penalty
from fastdl.ops.on_arrays import compute
from fastdl.regularizers import L1L2


def rows_of(name: str, value: Any, dtype: Dtype) -> Array:
    """The value as a contiguous array (batch, ...) of the dtype; a batch of no rows is one. DataError, ShapeError."""
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "fiub" and not len(value):
        return value.astype(dtype)
    if isinstance(value, int | float | np.generic) or getattr(value, "ndim", 1) == 0:
        raise ShapeError(f"{name} must be an array (batch, ...), not one number")
    return np.ascontiguousarray(as_dtype(name, numbers(name, value), dtype))


def with_losses(
    graph: Graph, arrays: Sequence[Array], added: Sequence[Tensor], acts: bool, moves: bool | None = None
) -> tuple[list[Array], list[float]]:
    """The graph's outputs for whole arrays; and what layers add to a loss: the penalties of activities, divided by the
    batch's size, and the tensors that were added, of which the mean counts. acts: whether layers act as in training;
    moves: whether moving averages then move."""
    penalties = [op for op in Graph(graph.inputs, [*graph.outputs, *added]).ops if isinstance(op, Penalty)]
    wide = Graph(graph.inputs, [*graph.outputs, *(op.inputs[0] for op in penalties), *added])
    if len(arrays[0]):
        results = compute(wide, arrays, acts, acts, moves)
    else:
        results = [np.zeros((0, *(size or 0 for size in each.shape[1:])), each.dtype) for each in wide.outputs]
    count, rows = len(graph.outputs), max(len(arrays[0]), 1)
    activities = results[count : count + len(penalties)]
    losses = [L1L2(*op.strengths)(each) / rows for op, each in zip(penalties, activities, strict=True)]
    losses += [float(each.mean()) if each.size else 0.0 for each in results[count + len(penalties) :]]
    return results[:count], losses
