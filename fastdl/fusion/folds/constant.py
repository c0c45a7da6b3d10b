"""A node that reads only constants: its value, computed in float64.

So batch norm written as primitives, γ/√(σ² + ε) and all, comes down to an affine map by constants, and the
transposed weight that PyTorch writes before a MatMul to a weight. Only operators listed here, whose result follows
from numpy by ONNX's own definition; never one whose result is larger than what it is computed from, and all together
no more than a few times what the file stores, so that no small file grows into a large one. Results that are not
finite are refused, as are shapes that do not fit.
"""

from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdl.fusion.folds.no_op import permutation
from fastdl.fusion.graph.index import FLOATS, GraphIndex, Node, Refused

Values = npt.NDArray[Any]

# On floating-point values, in float64
ARITHMETIC: dict[str, Callable[..., Values]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power,
    "Max": np.maximum, "Min": np.minimum, "Sqrt": np.sqrt, "Neg": np.negative, "Abs": np.abs,
    "Exp": np.exp, "Log": np.log, "Reciprocal": np.reciprocal,
}  # fmt: skip
# On values of any type
MOVES = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Cast")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Replace the node by a new initializer; refuses when its output's name must be kept."""
    if node.op not in ARITHMETIC and node.op not in MOVES:
        return None
    if not all(index.is_constant(name) for name in node.inputs if name) or not any(node.inputs):
        return None
    index.require_hidden(node.outputs[0])
    _require_room(index, node)
    first = index.stored(node.inputs[0])
    if first is None:
        return None
    hint = f"{node.outputs[0]}_constant"
    if node.op == "Cast" and (first.dtype.kind not in "biuf" or index.type(node.outputs[0]) not in FLOATS):
        return None  # to integers it would round, and what is text is no number
    if first.dtype in FLOATS or node.op == "Cast":
        try:
            name = _floating(index, node, hint)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise Refused(f"it cannot be computed: {error}") from None
    elif node.op in MOVES:
        arrays = [index.stored(name) for name in node.inputs if name]
        try:
            name = index.add_tensor(hint, _move(index, node, [a for a in arrays if a is not None]))
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise Refused(f"it cannot be computed: {error}") from None
    else:
        return None
    index.replace(node, name)
    return name


def _require_room(index: GraphIndex, node: Node) -> None:
    """Refuse what would make constants of a graph many times larger: each result is kept until all is folded."""
    arrays = [index.stored(name) for name in node.inputs if name]
    size = sum(array.size for array in arrays if array is not None)
    if size > index.spare:
        raise Refused("constants computed from constants would take many times the room of the file's own")
    index.spare -= size


def fold_all(index: GraphIndex) -> None:
    """Fold every node that can be, in the order of the graph."""
    for node in [*index.nodes]:
        with suppress(Refused):
            fold(index, node)


def _floating(index: GraphIndex, node: Node, hint: str) -> str:
    stored = index.stored(node.inputs[0])
    assert stored is not None  # told by `fold`
    dtype: np.dtype[Any] | None = stored.dtype
    if node.op in ARITHMETIC:
        function, values = ARITHMETIC[node.op], [index.constant(name) for name in node.inputs]
        size = prod(np.broadcast_shapes(*(value.shape for value in values)))
        if size > sum(value.size for value in values):
            raise Refused(f"it would be stored with {size} values, more than it is computed from")
        with np.errstate(all="ignore"):
            result = function(values[0]) if len(values) == 1 else values[0]
            for other in values[1:]:
                result = function(result, other)
    elif node.op == "Cast":
        dtype = index.type(node.outputs[0])
        with np.errstate(over="ignore"):  # refused below
            result = stored.astype(dtype).astype(np.float64)  # a Cast is there to round
    else:
        values = [index.constant(node.inputs[0])]
        if node.op == "Concat":
            values = [index.constant(name) for name in node.inputs]
        result = _move(index, node, values)
    assert dtype is not None  # told by `fold`
    return index.add_constant(hint, result, dtype)


def _move(index: GraphIndex, node: Node, arrays: list[Values]) -> Values:
    """The result of an operator that moves values; ValueError where shapes do not fit."""
    first = arrays[0]
    if node.op == "Transpose":
        return first.transpose(permutation(node, first.ndim))
    if node.op == "Flatten":
        axis = node.attribute("axis", 1)
        return first.reshape(prod(first.shape[:axis]), prod(first.shape[axis:]))
    if node.op == "Concat":
        return np.concatenate(arrays, axis=node.attribute("axis", None))
    if node.op == "Reshape":
        target = index.stored(node.inputs[1])
        if target is None or target.ndim != 1:
            raise ValueError("its target shape is not a constant vector")
        zero = node.attribute("allowzero", 0)
        return first.reshape([first.shape[i] if d == 0 and not zero else d for i, d in enumerate(target.tolist())])
    if node.op in ("Squeeze", "Unsqueeze"):
        axes = node.attribute("axes", None)  # an input from opset 13 on
        if len(node.inputs) > 1 and node.inputs[1]:
            stored = index.stored(node.inputs[1])
            axes = None if stored is None else stored.reshape(-1).tolist()
        if node.op == "Squeeze":
            if axes == []:
                raise ValueError("it names no axes, which may mean none or all")
            return np.squeeze(first, None if axes is None else tuple(axes))
        if axes is None:
            raise ValueError("its axes are not a constant")
        return np.expand_dims(first, tuple(axes))
    return first
