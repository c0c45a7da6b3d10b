"""Nodes that change nothing, y = x: they go, and that they go first is how every other fold looks through them.

Identity, Dropout at inference; Flatten, Reshape, Transpose and Cast that keep shape, order and type; and pairs that
undo each other: two Transposes, Squeeze and Unsqueeze, Reshapes that lead back, a Cast to a wider type and back.
A Flatten reads what a Reshape read that kept the rows apart.
"""

from math import prod

import numpy as np

from fastdl.base.arrays import Array
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import FLOATS, Node, Refused


def fold(index: GraphIndex, node: Node) -> str | None:
    """Remove the node and read its source instead; refuses a Dropout that may train or whose mask is read."""
    if node.op not in SOURCES or not node.inputs or not node.inputs[0]:
        return None
    source = SOURCES[node.op](index, node)
    if source is not None:
        index.bypass(node, source)
        return "nothing"
    first = index.producer(node.inputs[0]) if node.op == "Flatten" else None
    if first is None or first.op not in ("Reshape", "Flatten"):
        return None
    if not (keeps_rows(index, first) and keeps_rows(index, node)):
        return None
    index.set_inputs(node, [first.inputs[0]])  # of all ways to one row, Flatten is the last
    return node.label


def _identity(index: GraphIndex, node: Node) -> str | None:
    return node.inputs[0]


def _dropout(index: GraphIndex, node: Node) -> str | None:
    if len(node.inputs) > 2 and node.inputs[2]:  # opset 12 on: training_mode is an input
        training = index.stored(node.inputs[2])
        if training is None:
            raise Refused(f"its training_mode {node.inputs[2]!r} is not a constant")
        if training.any():
            raise Refused("it is in training mode")
    for mask in filter(None, node.outputs[1:]):
        index.require_hidden(mask)
        if index.uses(mask):
            raise Refused(f"its mask {mask!r} is read")
    return node.inputs[0]


def _flatten(index: GraphIndex, node: Node) -> str | None:
    shape = index.shape(node.inputs[0])
    if shape is not None and len(shape) == 2 and node.attribute("axis", 1) in (1, -1):
        return node.inputs[0]
    return _leads_back(index, node)


def _reshape(index: GraphIndex, node: Node) -> str | None:
    """Where every target dim is the input's own; at most one is left to follow from the others (-1)."""
    shape, target = index.shape(node.inputs[0]), index.stored(node.inputs[1])
    if shape is None or target is None or _states_zero(node, target):
        return None
    if target.shape == (len(shape),) and 0 not in shape:
        pairs = list(zip(target.tolist(), shape, strict=True))
        if sum(want == -1 for want, _ in pairs) <= 1 and all(want in (-1, 0, have) for want, have in pairs):
            return node.inputs[0]
    return _leads_back(index, node)


def _states_zero(node: Node, target: Array) -> bool:
    """Whether a 0 in the target of a Reshape is a size of zero, not the input's own dim (opset 14 on)."""
    return bool(node.attribute("allowzero", 0)) and 0 in target


def _leads_back(index: GraphIndex, node: Node) -> str | None:
    """What an earlier Reshape or Flatten read, if this one gives each row the shape that it had there."""
    first = index.producer(node.inputs[0])
    if (
        first is None
        or first.op not in ("Reshape", "Flatten")
        or not (keeps_rows(index, first) and keeps_rows(index, node))
    ):
        return None
    before, after = index.shape(first.inputs[0]), index.shape(node.outputs[0])
    return first.inputs[0] if before is not None and after is not None and before[1:] == after[1:] else None


def _transpose(index: GraphIndex, node: Node) -> str | None:
    shape = index.shape(node.inputs[0])
    if shape is None:
        return None
    source, order = node.inputs[0], permutation(node, len(shape))
    first = index.producer(source)
    if first is not None and first.op == "Transpose" and sorted(order) != order:
        earlier = permutation(first, len(shape))
        source, order = first.inputs[0], [earlier[axis] for axis in order]
    return source if order == list(range(len(shape))) else None


def permutation(node: Node, rank: int) -> list[int]:
    """The axes of a Transpose of that rank, in their new order; refuses what is no permutation of them."""
    axes = [int(axis) for axis in node.attribute("perm", range(rank)[::-1])]
    if sorted(axes) != list(range(rank)):
        raise Refused(f"perm {axes} of {node.label!r} is no order of {rank} axes")
    return axes


def _squeeze(index: GraphIndex, node: Node) -> str | None:
    """Unsqueeze and Squeeze count their axes in the same, wider rank, so that equal axes undo each other."""
    first = index.producer(node.inputs[0])
    if first is None or {first.op, node.op} != {"Squeeze", "Unsqueeze"}:
        return None
    own, earlier = _squeezed(index, node), _squeezed(index, first)
    return first.inputs[0] if own and own == earlier else None


def _squeezed(index: GraphIndex, node: Node) -> set[int]:
    axes = node.attribute("axes", ())  # an input from opset 13 on
    if len(node.inputs) > 1 and node.inputs[1]:
        stored = index.stored(node.inputs[1])
        axes = () if stored is None else stored.reshape(-1).tolist()
    return set(axes)


def _cast(index: GraphIndex, node: Node) -> str | None:
    value = node.inputs[0]
    own, to = index.type(value), index.type(node.outputs[0])
    if own is None or to is None:
        return None
    if own == to:
        return value
    first = index.producer(value)
    source = index.type(first.inputs[0]) if first is not None and first.op == "Cast" else None
    if first is None or source is None or source != to:
        return None
    # There and back; nothing is lost where the type between holds every value.
    return first.inputs[0] if {own, to} <= FLOATS and np.can_cast(to, own, "safe") else None


SOURCES = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Cast": _cast,
}


def keeps_rows(index: GraphIndex, node: Node) -> bool:
    """Whether a Flatten or Reshape leaves the first axis, and each row's values in their row-major order."""
    shape = index.shape(node.inputs[0])
    if shape is None or len(shape) < 2 or not all(isinstance(dim, int) and dim > 0 for dim in shape[1:]):
        return False
    if node.op == "Flatten":
        return node.attribute("axis", 1) in (1, 1 - len(shape))
    target = index.stored(node.inputs[1]) if node.op == "Reshape" else None
    if target is None or target.ndim != 1 or target.size < 2 or _states_zero(node, target):
        return False
    # A 0 stands for the input's own dim, which there must be one of.
    dims = [shape[i] if want == 0 and i < len(shape) else want for i, want in enumerate(target.tolist())]
    first, rest = target[0], dims[1:]
    if 0 in rest or (first != 0 and first != shape[0] and first != -1):
        return False
    if -1 in rest:  # it follows from the others, and the first is stated
        return first != -1 and rest.count(-1) == 1 and all(isinstance(dim, int) for dim in rest)
    return prod(dim for dim in rest if isinstance(dim, int)) == prod(shape[1:])  # type: ignore[arg-type]


RULES = (Rule("no-op", fold, order=20),)
