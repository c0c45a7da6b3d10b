"""The kernels of losses, metrics, penalties, constraints and optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.memory import aligned, from_strips, padded, to_strips
from fastdl.compiler.phases import Arguments
from fastdl.errors import DataError, ShapeError
from fastdl.kernels.call import KernelCall, checked


def terminal(
    kernel: str,
    x: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    scale: float = 1.0,
    own: float = 0.0,
    smoothing: tuple[float, float] = (1.0, 0.0),
    **more: Any,
) -> tuple[float, Array, Array]:
    """A kernel of one value a sample: the sum over the batch, times the weights (batch,); the values (batch,); and the
    gradient of that sum / batch (batch, features). target: as x, or labels (batch,). The numbers: see `describe`.
    """
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    labels = rows = None
    if np.ndim(target) == 1:
        numbers = np.asarray(target)
        if numbers.shape != (len(x),) or numbers.dtype.kind not in "iu":
            raise ShapeError(f"target must be integer labels of shape ({len(x)},) or {x.shape}")
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < features):
            raise DataError(f"labels must lie in 0 to {features - 1}")
        labels = np.ascontiguousarray(numbers, np.int32)[:, None]
    else:
        rows = checked("target", target, 2, x.dtype)
        if rows.shape != x.shape:
            raise ShapeError(f"target has shape {rows.shape}, x {x.shape}")
    gradient, each, part = call.panel(features), call.panel(1), aligned((call.panels,), np.dtype(np.float64))
    weights = None if weight is None else call.rows(checked("weight", weight, 1, x.dtype)[:, None])
    call.run(
        kernel,
        features,
        x=call.rows(x),
        dx=gradient,
        part=part,
        target=None if rows is None else call.rows(rows),
        weight=weights,
        each=each,
        features=features,
        feed=0,
        scale=scale,
        own=own,
        smoothing=smoothing,
        labels=labels,
        **more,
    )
    return float(part.sum()), call.back(each)[:, 0], call.back(gradient)


def softmax_cross_entropy(logits: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """Mean loss and its gradient (batch, classes). target: (batch, classes) or integer labels (batch,)."""
    total, _, gradient = terminal("softmax_cross_entropy", logits, target)
    return total / len(gradient), gradient


def element_loss(loss: str, x: ArrayLike, target: ArrayLike, own: float = 0.0) -> tuple[float, Array]:
    """Mean over batch and features of a loss of the kernel table, and its gradient. Both (batch, features)."""
    share = 1 / np.shape(x)[1]
    total, _, gradient = terminal("element_loss", x, target, loss=_ext.LOSSES[loss], scale=share, own=own)
    return total / len(gradient), gradient


def step(
    rule: str,
    w: Array,
    gradient: ArrayLike,
    slots: Sequence[Array],
    scalars: Sequence[float],
    rates: Sequence[float],
    *,
    limit: float = np.inf,
    decay: float = 0.0,
    norm: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    rate_factor: float = 1.0,
) -> None:
    """One step of an optimizer's rule; w and the slots, (rows, columns) or (columns,), change in place.

    scalars, rates: the rule's, see ext/kernels/optimizers.h. decay: the share of w that is taken off first. limit: of
    each element of the gradient, or of its norm, if that is given. l1, l2: a penalty's, whose slope the gradient gets.
    rate_factor: times the rule's step.
    """
    if w.dtype not in (np.float32, np.float64):
        raise DataError(f"w must be float32 or float64, not {w.dtype}")
    matrices = [np.atleast_2d(array) for array in (w, np.asarray(gradient, w.dtype), *slots)]
    if any(matrix.shape != matrices[0].shape for matrix in matrices):
        raise ShapeError(f"w, gradient and slots must have one shape, not {[m.shape for m in matrices]}")
    number, count = _ext.RULES[rule]
    stored = [to_strips(matrix) for matrix in matrices]
    columns = matrices[0].shape[1]
    squares = aligned((1,), np.dtype(np.float64))
    squares[0] = (norm or 0.0) ** 2
    slots_or_none = [*stored[2:], *[None] * (_ext.MAX_SLOTS - count)]
    numbers: Arguments = {"limit": limit, "decay": decay, "l1": l1, "l2": l2, "rate_factor": rate_factor}
    KernelCall(1, w.dtype).run(
        "optimizer_step",
        columns,
        w=stored[0],
        dw=stored[1],
        slots=slots_or_none,
        squares=None if norm is None else squares,
        inputs=len(matrices[0]),
        rule=number,
        prepare=int(limit < np.inf or any((decay, l1, l2))),
        constants=(*scalars, *[0.0] * (4 - len(scalars))),
        **numbers,
        rates=(*rates, *[0.0] * (_ext.MAX_RATES - 1 - len(rates)), 1.0),
    )
    for i in (0, *range(2, len(stored))):
        matrices[i][...] = from_strips(stored[i], columns)


def sum_squares(gradient: ArrayLike, w: ArrayLike | None = None, l1: float = 0.0, l2: float = 0.0) -> float:
    """The sum of squares of a gradient, (rows, columns) or (columns,), with the slope of a penalty on w added."""
    matrix = np.atleast_2d(np.asarray(gradient))
    weights = None if w is None else to_strips(np.atleast_2d(np.asarray(w, matrix.dtype)))
    return _summed("sum_squares", matrix, dw=to_strips(matrix), w=weights, l1=l1, l2=l2)


def weight_penalty(w: ArrayLike, l1: float, l2: float) -> float:
    """l1 times the sum of |w|, and l2 times that of w². w: (rows, columns) or (columns,)."""
    matrix = np.atleast_2d(np.asarray(w))
    return _summed("weight_penalty", matrix, w=to_strips(matrix), l1=l1, l2=l2)


def _summed(kernel: str, matrix: Array, **arguments: Any) -> float:
    """What a kernel leaves in a double for each unit of columns, summed."""
    columns = matrix.shape[1]
    part, total = (aligned((size,), np.dtype(np.float64)) for size in (padded(columns) // _ext.UNIT, 1))
    call = KernelCall(1, matrix.dtype)
    call.run(kernel, columns, **arguments, part=part, inputs=len(matrix), outputs=columns)
    call.run("add_parts", 1, part=part, total=total, parts=len(part), first=1)
    return float(total[0])


def activity_penalty(x: ArrayLike, l1: float, l2: float) -> tuple[float, Array]:
    """l1 times the sum of |x|, and l2 times that of x²; its gradient / batch. x: (batch, features)."""
    x = checked("x", x, 2)
    call, features = KernelCall(len(x), x.dtype), x.shape[1]
    rows, dx, part = call.rows(x), call.panel(features), aligned((call.panels,), np.dtype(np.float64))
    call.run("activity_penalty", features, x=rows, part=part, features=features, l1=l1, l2=l2)
    call.run("activity_penalty_grad", features, x=rows, dx=dx, features=features, l1=l1, l2=l2)
    return float(part.sum()), call.back(dx)


def limit_norm(w: ArrayLike, least: float, most: float, rate: float = 1.0, axis: int | None = 0) -> Array:
    """w with norms that go `rate` of the way into [least, most]: of columns (axis 0), rows (1) or all (None)."""
    matrix = np.atleast_2d(np.asarray(w))
    stored, (rows, columns) = to_strips(matrix), matrix.shape
    kind = {0: _ext.NORM_COLUMNS, 1: _ext.NORM_ROWS, None: _ext.NORM_ALL}[axis]
    features = {0: columns, 1: rows, None: 1}[axis]
    sizes: Arguments = {"inputs": rows, "outputs": columns, "by_rows": 0, "norm_of": kind}
    KernelCall(1, matrix.dtype).run("limit_norm", features, w=stored, **sizes, least=least, most=most, rate=rate)
    return from_strips(stored, columns).reshape(np.shape(w))


def not_negative(w: ArrayLike) -> Array:
    """max(w, 0), NaN kept. w: (rows, columns) or (columns,)."""
    matrix = np.atleast_2d(np.asarray(w))
    stored = to_strips(matrix)
    KernelCall(1, matrix.dtype).run("not_negative", stored.size, w=stored)
    return from_strips(stored, matrix.shape[1]).reshape(np.shape(w))


def average_weights(w: Array, average: Array, step: int, momentum: float, frequency: int = 0) -> None:
    """average = momentum average + (1 - momentum) w after step number `step` (from 0), in place; (columns,) both.

    The first average is w; each `frequency` steps it is copied back into w.
    """
    call, size = KernelCall(1, w.dtype), len(w)
    stored = [call.vector(array, size) for array in (w, average)]
    numbers: Arguments = {"momentum": momentum, "frequency": frequency, "batches": 1}
    call.run("average_weights", size, w=stored[0], average=stored[1], **numbers, step=step)
    w[...], average[...] = stored[0][:size], stored[1][:size]
