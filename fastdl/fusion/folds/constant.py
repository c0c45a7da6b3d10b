"""A node that reads only constants: its value, computed in float64.

So batch norm written as primitives, γ/√(σ² + ε) and all, comes down to an affine map by constants, and the
transposed weight that PyTorch writes before a MatMul to a weight. Only operators listed here, whose result follows
from numpy by ONNX's own definition; never one whose result is larger than what it is computed from, and all together
no more than a few times what the file stores, so that no small file grows into a large one. Results that are not
finite are refused, as are shapes that do not fit.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import prod

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.fusion.evaluator.moves import MOVES
from fastdl.fusion.evaluator.operators import evaluate
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import FLOATS, Node, Refused

Values = Array
IMPOSSIBLE = (ValueError, IndexError, TypeError, OverflowError, KeyError)  # what evaluating a node may raise

# On floating-point values, in float64
ARITHMETIC = frozenset(
    ("Abs", "Add", "Div", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt", "Sub")
)


def fold(index: GraphIndex, node: Node) -> str | None:
    """Replace the node by a new initializer; refuses when its output's name must be kept."""
    if node.op not in ARITHMETIC and node.op not in MOVES and node.op != "Cast":
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
        except IMPOSSIBLE as error:
            raise Refused(f"it cannot be computed: {error}") from None
    elif node.op in MOVES:
        try:
            name = index.add_tensor(hint, _moved(index, node, index.stored))
        except IMPOSSIBLE as error:
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


def store_all(index: GraphIndex) -> None:
    """Turn Constant nodes of numbers into initializers: onnxruntime does so too, but an operator less is one less."""
    for node in [node for node in index.nodes if node.op == "Constant"]:
        array = index.stored(node.outputs[0])
        if array is None or (array.dtype not in FLOATS and array.dtype.kind not in "biu"):
            continue
        with suppress(Refused):
            index.require_hidden(node.outputs[0])
            index.replace(node, index.add_tensor(f"{node.outputs[0]}_constant", array))


def _floating(index: GraphIndex, node: Node, hint: str) -> str:
    stored = index.stored(node.inputs[0])
    assert stored is not None  # told by `fold`
    dtype: Dtype | None = stored.dtype
    if node.op in ARITHMETIC:
        values = [index.constant(name) for name in node.inputs]
        size = prod(np.broadcast_shapes(*(value.shape for value in values)))
        if size > sum(value.size for value in values):
            raise Refused(f"it would be stored with {size} values, more than it is computed from")
        with np.errstate(all="ignore"):
            result = evaluate(node.proto, values)
    elif node.op == "Cast":
        dtype = index.type(node.outputs[0])
        with np.errstate(over="ignore"):  # refused below
            result = stored.astype(dtype).astype(np.float64)  # a Cast is there to round
    else:
        return index.add_constant(hint, partial(_moved, index, node, index.constant), stored.dtype)
    assert dtype is not None  # told by `fold`
    return index.add_constant(hint, result, dtype)


def _moved(index: GraphIndex, node: Node, read: Callable[[str], Values | None]) -> Values:
    """The result of an operator that moves values; raises one of IMPOSSIBLE where shapes do not fit.

    read: how the values are to be read; what says where they go to is read as it is stored.
    """
    moved = node.inputs if node.op == "Concat" else node.inputs[:1]
    inputs = [None if not name else (read if slot < len(moved) else index.stored)(name)
              for slot, name in enumerate(node.inputs)]  # fmt: skip
    return np.asarray(evaluate(node.proto, inputs))


RULES = (Rule("constant", fold, order=30),)
