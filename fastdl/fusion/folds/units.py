"""Units of a hidden dense layer that cannot matter, removed: exact for every finite input, from the weights alone.

h = f(x·W₁ + b₁), where f works value by value and only dense layers y = h·W₂ + b₂ read h:
- a constant unit, whose column of W₁ is all zero: h is f(b₁) there, so b₂' = b₂ + f(b₁)·(its row of W₂);
- a unit that nothing reads, whose row of every W₂ is all zero, where f is finite (0·∞ is no zero);
- twins, with equal columns of W₁ and equal b₁: one stays and takes the sum of their rows of W₂.
One unit stays where all could go: a layer of none is no layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdl.fusion.evaluator.elementwise import is_elementwise, stays_finite
from fastdl.fusion.evaluator.operators import evaluate
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Dense

NODES = 64  # at most so many nodes between the layer and its readers
START, TWINS = 8, 16  # weights by which twins are looked for, and how many of equal start are compared in full


@dataclass(frozen=True)
class _Hidden:
    """A dense layer, the values made from its units one by one, and the dense layers that read them."""

    dense: Dense
    values: list[str]  # the layer's own output first
    between: list[Node]  # in the order of the graph
    heads: list[Dense]

    def constants(self, index: GraphIndex) -> dict[str, Floats]:
        """What each value is where the layer gives its bias alone."""
        members = {self.values[0]: self.dense.bias}
        for node in self.between:
            inputs = [members[name] if name in members else index.constant(name).reshape(()) for name in node.inputs]
            members[node.outputs[0]] = evaluate(node.proto, inputs)
        return members


def fold(index: GraphIndex, node: Node) -> str | None:
    """Remove such units of a dense layer; refuses where some could go but a reader is not understood."""
    if node.op not in DENSE or not node.inputs[0] or not node.outputs:
        return None
    try:
        dense = Dense.read(index, node)
    except Refused:
        return None  # weights that are not known hold nothing to remove
    still, leaders = index.derived(("units", *_key(dense)), lambda: (~dense.weight.any(axis=0), _leaders(dense)))
    idle = still | (leaders != np.arange(leaders.size))
    try:
        hidden = _read(index, dense)
    except Refused as reason:
        if not idle.any():
            return None
        raise Refused(f"{int(idle.sum())} of its units could go, but {reason}") from None
    read = np.any([index.derived(("rows", *_key(head)), partial(_rows_read, head)) for head in hidden.heads], axis=0)
    if not all(map(stays_finite, hidden.between)):
        read[:] = True
    unread = ~np.isin(leaders, leaders[read])  # twins are read as one: the first of them stays for all
    keep = ~(still | unread) & (leaders == np.arange(leaders.size))
    if not keep.any():
        keep[0] = True
    if keep.all():
        return None
    _remove(index, hidden, keep, still & ~keep, leaders)
    return f"{int(keep.sum())} of {keep.size} units"


def _key(dense: Dense) -> tuple[Any, ...]:
    """What a layer's weight and bias are computed from."""
    node = dense.node
    return (node.op, *node.inputs[1:], *(a.SerializeToString() for a in node.proto.attribute))


def _rows_read(head: Dense) -> npt.NDArray[np.bool_]:
    return np.asarray(head.weight.any(axis=1))


def _leaders(dense: Dense) -> npt.NDArray[np.intp]:
    """For each unit the first one that is its twin: itself where it has none."""
    weight, leaders = dense.weight, np.arange(dense.bias.size)
    likely: dict[bytes, list[int]] = {}  # by bias and a few weights, + 0.0 as −0 equals 0
    for i, start in enumerate(np.vstack([dense.bias, weight[:START]]).T + 0.0):
        others = likely.setdefault(start.tobytes(), [])
        leaders[i] = next((j for j in others[:TWINS] if np.array_equal(weight[:, i], weight[:, j])), i)
        if leaders[i] == i:
            others.append(i)
    return leaders


def _read(index: GraphIndex, dense: Dense) -> _Hidden:
    start = dense.node.outputs[0]
    values, between, heads = [start], [], []
    for value in values:  # grows as it goes
        index.require_hidden(value)
        for node, slot in index.uses(value):
            if node.op in DENSE and slot == 0:
                heads.append(Dense.read(index, node))
            elif not is_elementwise(node):
                raise Refused(f"{value!r} is read by {node.op} {node.label!r}, which is not understood here")
            elif node not in between:
                between.append(node)
                values.append(node.outputs[0])
        if len(between) > NODES:
            raise Refused(f"more than {NODES} nodes follow")
    if not heads:
        raise Refused(f"no dense layer reads {start!r}")
    for node in between:
        for name in node.inputs:
            if name not in values and (index.constant(name).size != 1 or index.constant(name).ndim > 2):
                raise Refused(f"{node.label!r} reads {name!r}, which is not one number")
    return _Hidden(dense, values, _in_order(between), heads)


def _in_order(nodes: list[Node]) -> list[Node]:
    """Such that each reads only what those before it make."""
    members: list[Node] = []
    while nodes:
        made = {name for node in nodes for name in node.outputs}
        members += [node for node in nodes if made.isdisjoint(node.inputs)]
        nodes = [node for node in nodes if not made.isdisjoint(node.inputs)]
    return members


def _remove(
    index: GraphIndex,
    hidden: _Hidden,
    keep: npt.NDArray[np.bool_],
    still: npt.NDArray[np.bool_],
    leaders: npt.NDArray[np.intp],
) -> None:
    constants = hidden.constants(index)
    ready = [(hidden.dense, hidden.dense.constants(index, hidden.dense.weight[:, keep], hidden.dense.bias[keep]))]
    twins = ~keep & ~still & (leaders != np.arange(leaders.size)) & keep[leaders]
    for head in hidden.heads:
        vector = constants[head.node.inputs[0]]
        weight = head.weight.copy()
        np.add.at(weight, leaders[twins], head.weight[twins])
        bias = head.bias + vector[still] @ head.weight[still]
        ready.append((head, head.constants(index, weight[keep], bias)))
    for part, names in ready:
        part.write(index, names)
    for value in hidden.values:
        shape = index.shape(value)
        index.resize(value, ((shape or (None,))[0], int(keep.sum())))


RULES = (Rule("units that cannot matter", fold, order=110),)
