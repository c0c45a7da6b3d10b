"""A Transpose that something after it undoes, once what stands between, value by value, is computed before it.

f(xᵀ) = f(x)ᵀ where f works value by value. So of Transpose → Relu → Transpose the two become one, or none where they
undo each other, and of Transpose → Relu → Flatten → dense none stays: flat(xᵀ)·W = flat(x)·W' with the rows of W in the
order in which x's values lie. Keras's convolutions, channels last, are exported so.
"""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np
import numpy.typing as npt

from fastdl.fusion.evaluator.elementwise import is_elementwise
from fastdl.fusion.folds.no_op import keeps_rows, permutation
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused
from fastdl.fusion.graph.patterns import HEADS, Dense

NODES = 16  # at most so many stand between
FLAT = ("Flatten", "Reshape")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Take a Transpose out, or into the one that follows; refuses where anything else sees what is transposed."""
    shape = index.shape(node.inputs[0]) if node.op == "Transpose" else None
    if shape is None or len(shape) < 2:
        return None
    between: list[Node] = []
    value = node.outputs[0]
    while True:
        readers = index.uses(value)
        end, slot = readers[0] if len(readers) == 1 else (None, 0)
        if end is None or slot != 0 or len(between) > NODES:
            return None
        if not ((is_elementwise(end) and len(end.inputs) == 1) or _clips(index, end)):
            break
        between.append(end)
        value = end.outputs[0]
    if end.op == "Transpose":
        return _meet(index, node, between, end)
    return _flatten(index, node, between, end) if end.op in FLAT else None


def _clips(index: GraphIndex, node: Node) -> bool:
    return node.op == "Clip" and all(index.is_constant(name) for name in node.inputs[1:] if name)


def _require_private(index: GraphIndex, node: Node, between: list[Node]) -> None:
    for each in (node, *between):
        index.require_private(each.outputs[0])


def _meet(index: GraphIndex, node: Node, between: list[Node], end: Node) -> str | None:
    rank = len(index.shape(node.inputs[0]) or ())
    first, second = permutation(node, rank), permutation(end, rank)
    _require_private(index, node, between)
    order = [first[axis] for axis in second]
    if order != list(range(rank)):
        index.rewrite(end, "Transpose", end.inputs, {"perm": order})
    elif between:
        index.bypass(end)  # refuses, if at all, before anything is changed
    else:
        return None  # a pair that does nothing, see no_op.py
    _remove(index, node, between)
    return end.label


def _flatten(index: GraphIndex, node: Node, between: list[Node], end: Node) -> str | None:
    shape = index.shape(node.inputs[0]) or ()
    readers = index.uses(end.outputs[0])
    axes = permutation(node, len(shape))
    if not readers or any(slot != 0 or reader.op not in HEADS for reader, slot in readers) or axes[0] != 0:
        return None
    if not keeps_rows(index, end) or len(index.shape(end.outputs[0]) or ()) != 2:
        return None
    target = index.stored(end.inputs[1]) if end.op == "Reshape" else None
    if target is not None and 0 in target[1:]:  # the input's own dim, which is another then
        return None
    _require_private(index, node, between)
    index.require_hidden(end.outputs[0])
    dims = [dim for dim in shape[1:] if isinstance(dim, int)]
    order = np.arange(prod(dims)).reshape(dims).transpose([axis - 1 for axis in axes[1:]]).reshape(-1)
    heads = [Dense.read(index, reader) for reader, _ in readers]
    if any(head.shape[0] != order.size for head in heads):
        raise Refused(f"a dense layer reads another number of values than {end.label!r} gives")
    ready = [(head, head.constants(index, partial(_placed, head, order), head.bias)) for head in heads]
    for head, names in ready:
        head.write(index, names)
    _remove(index, node, between)
    return ", ".join(head.node.label for head in heads)


def _placed(head: Dense, order: npt.NDArray[np.intp]) -> Floats:
    weight = np.empty(head.shape)
    weight[order] = head.weight
    return weight


def _remove(index: GraphIndex, node: Node, between: list[Node]) -> None:
    shape = index.shape(node.inputs[0]) or ()
    for each in between:
        index.resize(each.outputs[0], shape)
    index.bypass(node)


RULES = (Rule("transpose", fold, order=35),)
