"""The kernels that encode the columns of a table, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastdl import _ext
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


def periodic(
    x: ArrayLike,
    frequencies: ArrayLike,
    phases: ArrayLike | None,
    w: ArrayLike,
    b: ArrayLike,
    sines: bool = False,
    keeps: bool = False,
) -> Array:
    """Waves of each number of x (batch, N), and w (waves) + b → (batch, N * width). Of ops.Periodic, by number.

    frequencies, phases: (N, k); w: (N or 1, outputs, waves), b: (N or 1, outputs).
    """
    x = checked("x", x, 2)
    call, arguments, outputs = _periodic(x, frequencies, phases, w, b, sines, keeps)
    out = call.panel(x.shape[1] * (outputs + keeps))
    call.run("periodic_forward", x.shape[1] * _ext.UNIT, **arguments, y=out)
    return call.back(out)


def periodic_backward(
    x: ArrayLike,
    frequencies: ArrayLike,
    phases: ArrayLike | None,
    w: ArrayLike,
    b: ArrayLike,
    dy: ArrayLike,
    sines: bool = False,
    keeps: bool = False,
) -> dict[str, Array]:
    """dx, dfrequencies, dphases, dw and db of `periodic` from dy; dw and db for each number, even of one shared w."""
    x = checked("x", x, 2)
    call, arguments, outputs = _periodic(x, frequencies, phases, w, b, sines, keeps)
    numbers, count, waves = x.shape[1], int(arguments["count"]), np.shape(w)[2]
    shapes = {"dfrequencies": (numbers, count), "dw": (numbers, outputs, waves), "db": (numbers, outputs)}
    shapes |= {"dphases": (numbers, count)} if phases is not None else {}
    steps = {"dw": outputs * waves, "db": outputs}
    if arguments["shared"]:
        steps = {name: padded(step) for name, step in steps.items()}
    stored: Arguments = {name: aligned((padded(math.prod(shape)),), x.dtype) for name, shape in shapes.items()}
    stored |= {name: aligned((padded(numbers * step),), x.dtype) for name, step in steps.items()}
    dx = call.panel(numbers)
    gradient = call.rows(checked("dy", dy, 2, x.dtype))
    sizes: Arguments = {"dw_step": steps["dw"], "db_step": steps["db"]}
    call.run("periodic_backward", numbers * _ext.UNIT, **arguments, **sizes, dy=gradient, dx=dx, **stored)
    found = {name: stored[name][: math.prod(shape)].reshape(shape) for name, shape in shapes.items()}
    for name, step in steps.items():
        each = stored[name][: numbers * step].reshape(numbers, step)
        found[name] = each[:, : math.prod(shapes[name][1:])].reshape(shapes[name])
    return {"dx": call.back(dx), **found}


def _periodic(
    x: Array, frequencies: ArrayLike, phases: ArrayLike | None, w: ArrayLike, b: ArrayLike, sines: bool, keeps: bool
) -> tuple[KernelCall, Arguments, int]:
    """What both kernels are called with, and the outputs. ShapeError if it does not fit."""
    frequencies, w = checked("frequencies", frequencies, 2, x.dtype), checked("w", w, 3, x.dtype)
    phases, b = None if phases is None else checked("phases", phases, 2, x.dtype), checked("b", b, 2, x.dtype)
    (tables, outputs, waves), (numbers, count) = w.shape, frequencies.shape
    fits = numbers == x.shape[1] and (phases is None or phases.shape == frequencies.shape) and tables in (1, numbers)
    if not fits or b.shape != (tables, outputs) or waves != count * (2 if sines else 1):
        raise ShapeError(
            f"frequencies {frequencies.shape}, w {w.shape} and b {b.shape} do not fit {x.shape[1]} numbers"
        )
    if waves > _ext.MAX_WAVES or outputs > _ext.MAX_WAVE_OUTPUTS:
        raise ShapeError(f"{waves} waves and {outputs} outputs of a number are too many")
    call = KernelCall(len(x), x.dtype)
    arguments: Arguments = {
        "x": call.rows(x),
        "frequencies": _flat(frequencies),
        "phases": None if phases is None else _flat(phases),
        "w": _flat(w),
        "b": _flat(b),
        "inputs": numbers,
        "count": count,
        "outputs": outputs,
        "sines": int(sines),
        "keeps": int(keeps),
        "shared": int(tables < numbers),
    }
    return call, arguments, outputs


def scale_backward(x: ArrayLike, dy: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """dx (batch, features) and dscale (features,) of y = x scale, from dy (batch, features)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    dx, slopes = call.panel(features), call.vector(None, features)
    arrays: Arguments = {"x": call.rows(x), "dy": call.rows(checked("dy", dy, 2, x.dtype))}
    call.run(
        "scale_backward",
        features,
        **arrays,
        scale=call.vector(scale, features),
        dx=dx,
        dscale=slopes,
        features=features,
    )
    return call.back(dx), slopes[:features].copy()
