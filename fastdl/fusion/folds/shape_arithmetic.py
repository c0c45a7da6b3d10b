"""Integers computed from shapes, and what reads them: a number where the shape is known, else a target of 0 or −1.

Shape, Gather, Unsqueeze, Concat and the like give numbers where the dims are known; those are stored. A Reshape whose
target is [dim 0 of what it reads, 72] gets [0, 72]: 0 stands for the input's own dim. One dim that is neither becomes
−1, which the rest of a valid target determines, where that is all positive: with a 0 in it a batch of no rows would
leave −1 open. An Expand to the shape that it reads, or to that of what is added to it, changes nothing. CastLike is
a Cast. ConstantOfShape of few numbers is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import FLOATS, Node, Refused
from fastdl.fusion.graph.sizes import MOST, OPERATORS, Integer, dims, integers

BROADCAST = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Store what the node computes, or let it read what is stored; refuses an output whose name must be kept."""
    if not node.inputs or not node.outputs:
        return None
    if node.op == "Reshape" and index.stored(node.inputs[1]) is None:
        return _reshape(index, node)
    if node.op in OPERATORS:
        return _numbers(index, node)
    special = {"CastLike": _cast_like, "ConstantOfShape": _filled, "Expand": _expand}.get(node.op)
    return None if special is None else special(index, node)


def _numbers(index: GraphIndex, node: Node) -> str | None:
    value, kind = node.outputs[0], index.type(node.outputs[0])
    if kind is None or kind.name not in ("int64", "int32") or any(node.outputs[1:]):
        return None
    known = integers(index, value)
    if known is None or known.numbers is None:
        return None
    if value in index.derived(("what decides",), lambda: _above_conditions(index)):
        raise Refused("it decides which branch of an If runs: onnxruntime then joins it, and may refuse its shapes")
    index.require_hidden(value)
    numbers = np.array(known.numbers, kind)
    name = index.add_tensor(f"{value}_constant", numbers.reshape(()) if known.scalar else numbers)
    index.replace(node, name)
    return name


def _above_conditions(index: GraphIndex) -> set[str]:
    """All values that conditions of If are computed from."""
    above: set[str] = set()
    todo = [node.inputs[0] for node in index.nodes if node.op == "If"]
    while todo:
        value = todo.pop()
        if value not in above:
            above.add(value)
            maker = index.producer(value)
            todo += maker.inputs if maker is not None else []
    return above


def _reshape(index: GraphIndex, node: Node) -> str | None:
    shape, known = dims(index, node.inputs[0]), integers(index, node.inputs[1])
    if shape is None or known is None or known.scalar:
        return None
    target = _target(known.members, shape, bool(node.attribute("allowzero", 0)))
    if target is None:
        return None
    name = index.add_tensor(f"{node.outputs[0]}_shape", np.array(target, np.int64))
    index.rewrite(node, "Reshape", [node.inputs[0], name], {})
    return node.label


def _target(members: Sequence[Integer], shape: Sequence[Integer], allows_zero: bool) -> list[int] | None:
    """A constant target that means the same; None where there is none."""
    if allows_zero and 0 in members:
        return None
    target = []
    for axis, member in enumerate(members):
        if isinstance(member, int):
            target.append(member)
        else:
            target.append(0 if axis < len(shape) and shape[axis] == member else -1)
    if target.count(-1) > 1:
        return None
    if -1 in target and -1 not in members and any(size < 1 for size in target if size != -1):
        return None
    return target


def _cast_like(index: GraphIndex, node: Node) -> str | None:
    kind = index.type(node.inputs[1])
    if kind is None or node.attribute("saturate", 1) != 1:
        return None
    index.rewrite(node, "Cast", [node.inputs[0]], {"to": helper.np_dtype_to_tensor_dtype(kind)})
    return node.label


def _filled(index: GraphIndex, node: Node) -> str | None:
    known = integers(index, node.inputs[0])
    if known is None or known.numbers is None or known.scalar:
        return None
    if min(known.numbers, default=0) < 0 or prod(known.numbers) > MOST:
        return None
    tensor = node.attribute("value", None)
    one = numpy_helper.to_array(tensor) if isinstance(tensor, TensorProto) else np.zeros(1, np.float32)
    if one.size != 1 or (one.dtype not in FLOATS and one.dtype.kind not in "iub"):
        return None
    index.require_hidden(node.outputs[0])
    name = index.add_tensor(f"{node.outputs[0]}_constant", np.full(known.numbers, one.reshape(()), one.dtype))
    index.replace(node, name)
    return name


def _expand(index: GraphIndex, node: Node) -> str | None:
    """Where the target is the input's own shape, or what reads it broadcasts to that shape anyway."""
    shape, known = dims(index, node.inputs[0]), integers(index, node.inputs[1])
    if shape is None or known is None or known.scalar:
        return None
    wide, value = known.members, node.outputs[0]
    pairs = list(zip(wide[::-1], shape[::-1], strict=False))
    if len(wide) <= len(shape) and all(want in (1, have) for want, have in pairs):
        index.bypass(node)
        return "nothing"
    readers = index.uses(value)
    if len(wide) < len(shape) or not all(have in (1, want) for want, have in pairs):
        return None
    if not readers or not all(_reaches(index, reader, slot, wide) for reader, slot in readers):
        return None
    index.require_hidden(value)
    index.bypass(node)
    return ", ".join(reader.label for reader, _ in readers)


def _reaches(index: GraphIndex, reader: Node, slot: int, wide: tuple[Integer, ...]) -> bool:
    """Whether the other input of a node that broadcasts has that shape by itself."""
    return (
        reader.op in BROADCAST
        and len(reader.inputs) == 2
        and reader.inputs[1 - slot] != reader.inputs[slot]
        and dims(index, reader.inputs[1 - slot]) == wide
    )


RULES = (Rule("shape arithmetic", fold, order=25, shapes=True),)
