"""Values and gradients of functions that are made of ops, by numpy: for penalties on weights, which are no samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.order import in_order
from fastdl.compiler.graph import Graph, Op, Tensor, tracing
from fastdl.errors import ShapeError
from fastdl.ops.numeric import tensor_of
from fastdl.ops.symbolic import _Symbolic, view


class Differentiated:
    """function(x) and its gradient, for arrays x of one shape. TypeError for what is not made of ops, ShapeError for
    another result than one number."""

    def __init__(self, function: Callable[[Any], Any], x: Array) -> None:
        self._x = Tensor(x.shape, x.dtype, name="x")
        with tracing():
            value = function(self._x)
            if not isinstance(value, Tensor):
                raise TypeError(f"it gives {type(value).__name__}, not a tensor")
            self._value = value
            if self._value.features != 1:
                raise ShapeError(f"the penalty must be one number, not of shape {self._value.shape}")
            self._gradient = _gradient(self._value, self._x)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The value, and the gradient of x's shape."""
        known: dict[Tensor, Array] = {self._x: x}
        value, gradient = (evaluated(each, known) for each in (self._value, self._gradient))
        return float(value.reshape(())), np.broadcast_to(gradient, x.shape)


def _gradient(value: Tensor, x: Tensor) -> Tensor:
    """The gradient of the value by x, as a tensor of ops."""
    slopes: dict[Tensor, Any] = {value: tensor_of(np.ones(value.shape), x.dtype)}
    for op in reversed(Graph([x], [value]).ops):
        if not isinstance(op, _Symbolic):
            raise TypeError(f"{op.name} has no gradient that numpy computes: make the function of other ops")
        if op.output not in slopes:
            continue
        for number, source in enumerate(op.inputs):
            if (slope := op.gradient(number, view(slopes[op.output], op.output.shape))) is not None:
                slope = view(slope, source.shape)
                slopes[source] = slopes[source] + slope if source in slopes else slope
    return slopes[x] if x in slopes else tensor_of(np.zeros(x.shape), x.dtype)


def evaluated(tensor: Tensor, known: dict[Tensor, Array]) -> Array:
    """The tensor's values, of those that are known; what is computed on the way is added to them."""

    def makers(op: Op) -> list[Op]:
        return [source.op for source in op.inputs if source not in known and source.op is not None]

    if tensor not in known:
        assert tensor.op is not None
        for op in in_order([tensor.op], makers):
            assert isinstance(op, _Symbolic)
            with np.errstate(all="ignore"):
                known[op.output] = op.compute(*(known[source] for source in op.inputs))
    return known[tensor]
