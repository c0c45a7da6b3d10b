"""The kernels that encode the columns of a table, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastdl.base.arrays import Array
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments
from fastdl.errors import ShapeError
from fastdl.kernels.call import KernelCall, checked


def embedding(x: ArrayLike, table: ArrayLike, sizes: Sequence[int] | None = None, zero_missing: bool = False) -> Array:
    """The rows of codes x (batch, columns) in table (rows, width) → (batch, columns * width), zeros for other codes.

    sizes: the rows of each column's own table, one below the other; None: all columns share all.
    """
    x = checked("x", x, 2)
    table = checked("table", table, 2, x.dtype)
    call, columns = KernelCall(len(x), x.dtype), _columns(x, len(table), sizes)
    stored, out = _flat(table), call.panel(x.shape[1] * table.shape[1])
    call.run(
        "embedding_forward",
        out.shape[1],
        x=call.rows(x),
        table=stored,
        columns=columns,
        y=out,
        **_sizes(x, table.shape[1], zero_missing),
    )
    return call.back(out)


def embedding_backward(
    x: ArrayLike, dy: ArrayLike, rows: int, sizes: Sequence[int] | None = None, zero_missing: bool = False
) -> Array:
    """The gradient of `embedding`'s table, (rows, width), from dy (batch, columns * width)."""
    x = checked("x", x, 2)
    dy = checked("dy", dy, 2, x.dtype)
    if len(dy) != len(x) or dy.shape[1] % x.shape[1]:
        raise ShapeError(f"dy of shape {dy.shape} does not fit codes of shape {x.shape}")
    call, columns, width = KernelCall(len(x), x.dtype), _columns(x, rows, sizes), dy.shape[1] // x.shape[1]
    out = aligned((padded(rows * width),), x.dtype)
    call.run(
        "embedding_backward",
        rows * width,
        x=call.rows(x),
        dy=call.rows(dy),
        columns=columns,
        dtable=out,
        **_sizes(x, width, zero_missing),
    )
    return out[: rows * width].reshape(rows, width).copy()


def _sizes(x: Array, width: int, zero_missing: bool) -> Arguments:
    return {"inputs": x.shape[1], "width": width, "zero_missing": int(zero_missing)}


def _flat(matrix: Array) -> Array:
    """Row by row, with room to the end of a unit."""
    stored = aligned((padded(matrix.size),), matrix.dtype)
    stored[: matrix.size] = matrix.ravel()
    return stored


def _columns(x: Array, rows: int, sizes: Sequence[int] | None) -> Array:
    """First row and rows of each column's table. ShapeError if they do not fit."""
    count = x.shape[1]
    if sizes is not None and (len(sizes) != count or sum(sizes) != rows):
        raise ShapeError(f"tables of {list(sizes)} rows do not fit {count} columns and {rows} rows")
    table = aligned((2, count), np.dtype(np.float64))
    table[1] = rows if sizes is None else sizes
    if sizes is not None:
        table[0] = np.cumsum([0, *sizes[:-1]])
    return table
