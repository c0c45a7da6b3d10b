"""Dense layers on one input, side by side, whose outputs are added or joined: one dense layer.

x·W₁ + b₁ ± (x·W₂ + b₂) = x·(W₁ ± W₂) + (b₁ ± b₂): half the work. Concat of columns: x·[W₁ W₂] + [b₁ b₂], the same
work in one node; only neighbours are joined, as their order is that of the columns.
"""

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Dense

SUMS = ("Add", "Sub", "Sum")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold one dense layer into another beside it; refuses by other uses, and by sums of unequal size."""
    if node.op not in (*SUMS, "Concat"):
        return None
    pair = _pair(index, node)
    if pair is None:
        return None
    first, second = (Dense.read(index, index.producer(node.inputs[slot])) for slot in pair)  # type: ignore[arg-type]
    for slot in pair:
        index.require_private(node.inputs[slot])
    if node.op == "Concat":
        if node.attribute("axis", 1) not in (1, -1):
            raise Refused("it joins rows, not columns")
        names = first.constants(
            index, lambda: np.hstack([first.weight, second.weight]), np.concatenate([first.bias, second.bias])
        )
        index.resize(node.inputs[pair[0]], (_rows(index, node.inputs[pair[0]]), first.bias.size + second.bias.size))
    else:
        if first.bias.size != second.bias.size:
            raise Refused(f"it adds branches of {first.bias.size} and {second.bias.size} units")
        sign = -1 if node.op == "Sub" else 1
        names = first.constants(index, lambda: first.weight + sign * second.weight, first.bias + sign * second.bias)
    first.write(index, names)
    left = [name for slot, name in enumerate(node.inputs) if slot != pair[1]]
    if len(left) > 1:
        index.set_inputs(node, left)
    else:
        index.absorb(first.node, node)
    index.remove(second.node)
    return first.node.label


def _pair(index: GraphIndex, node: Node) -> tuple[int, int] | None:
    """Two inputs of a sum or Concat, of a Concat neighbours, that dense layers make of one value."""
    makers = [index.producer(name) for name in node.inputs]
    reads = [maker.inputs[0] if maker is not None and maker.op in DENSE and maker.inputs else "" for maker in makers]
    for one in range(len(reads)):
        for other in range(one + 1, len(reads) if node.op != "Concat" else min(one + 2, len(reads))):
            if reads[one] and reads[one] == reads[other] and makers[one] is not makers[other]:
                return one, other
    return None


def _rows(index: GraphIndex, value: str) -> int | str | None:
    return (index.shape(value) or (None,))[0]


RULES = (Rule("parallel dense", fold, order=105),)
