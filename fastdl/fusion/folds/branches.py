"""Affine after Add, Sub, Sum or Concat of dense branches: into each branch, and the join stays.

(a + b − c)·s + t: each branch takes Wᵢ·diag(s) and bᵢ·s, the first also (−c)·s + t. Concat of columns: each takes its
own columns of s, c and t as a dense layer of its own would. Sums within sums are reached through. Every branch must
be a dense layer that nothing else reads, or all is left as it is.
"""

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Affine, Dense

SUMS = ("Add", "Sub", "Sum")
BRANCHES = 256  # at most so many


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold an affine node into all branches of the join that it reads."""
    affine = Affine.read(index, node)
    if affine is None:
        return None
    join = index.producer(affine.value)
    if join is None or join.op not in (*SUMS, "Concat"):
        return None
    index.require_private(affine.value)
    if node.outputs[0] in index.captured:
        raise Refused(f"{node.outputs[0]!r} is read inside a subgraph")
    parts = [Dense.read(index, branch) for branch in _branches(index, join)]
    sizes = [part.bias.size for part in parts]
    if join.op == "Concat":
        if join.attribute("axis", 1) not in (1, -1):
            raise Refused(f"{join.label!r} joins rows, not columns")
        scale, center, shift = affine.spread((None, sum(sizes)), sum(sizes))
        ends = np.cumsum(sizes)[:-1]
        rows = list(zip(*(np.split(part, ends) for part in (scale, center, shift)), strict=True))
    else:
        if len(set(sizes)) > 1:
            raise Refused(f"{join.label!r} adds branches of {' and '.join(map(str, sorted(set(sizes))))} units")
        scale, center, shift = affine.spread((None, sizes[0]), sizes[0])
        zero = np.zeros(sizes[0])
        rows = [(scale, center, shift), *[(scale, zero, zero)] * (len(parts) - 1)]
    ready = [
        part.constants(index, part.times(s), (part.bias - c) * s + t)
        for part, (s, c, t) in zip(parts, rows, strict=True)
    ]
    for part, names in zip(parts, ready, strict=True):
        part.write(index, names)
    index.bypass(node, affine.value)
    return ", ".join(part.node.label for part in parts)


def _branches(index: GraphIndex, join: Node) -> list[Node]:
    """The dense layers whose outputs are joined, in order; of a sum the first is never subtracted."""
    makers: list[Node] = []
    todo = _makers(index, join, join)[::-1]
    while todo:
        maker = todo.pop()
        if maker.op in DENSE:
            makers.append(maker)
        else:
            todo.extend(_makers(index, join, maker)[::-1])
        if len(makers) + len(todo) > BRANCHES:
            raise Refused(f"{join.label!r} joins more than {BRANCHES} branches")
    return makers


def _makers(index: GraphIndex, join: Node, node: Node) -> list[Node]:
    """What makes the inputs of one sum; refuses as soon as one of them is made by no dense layer, nor by such a sum."""
    makers = []
    for value in node.inputs:
        maker = index.producer(value)
        if maker is None or not (maker.op in DENSE or (join.op != "Concat" and maker.op in SUMS)):
            raise Refused(f"{join.label!r} joins {value!r}, which comes from {index.origin(value)}, no dense layer")
        index.require_private(value)
        makers.append(maker)
    return makers


RULES = (Rule("branches → affine", fold, order=60),)
