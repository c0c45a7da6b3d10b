"""Dense → dense, or a linear model, with nothing between: (x·W₁ + b₁)·W₂ + b₂ is one dense layer, W' = W₁·W₂, b' = b₁·W₂ + b₂.

Only where that costs no more multiplications, in·out ≤ in·mid + mid·out: a bottleneck (a low-rank factorisation)
is left, as it was made to be cheap.
"""

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, HEADS, Dense


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold a dense layer into the one before it, which nothing else may read."""
    if node.op not in HEADS or not node.inputs or not node.inputs[0]:
        return None
    value = node.inputs[0]
    maker = index.producer(value)
    if maker is None or maker.op not in DENSE:
        return None
    first, second = Dense.read(index, maker), Dense.read(index, node)
    index.require_private(value)
    (rows, middle), columns = first.shape, second.shape[1]
    if middle != second.shape[0]:
        raise Refused(f"it reads {second.shape[0]} values where {maker.label!r} has {middle} units")
    if rows * columns > middle * (rows + columns):
        raise Refused(f"one layer {rows} → {columns} costs more than the bottleneck {rows} → {middle} → {columns}")
    product, bias = first.weight @ second.weight, first.bias @ second.weight + second.bias
    if node.op in DENSE:
        first.write(index, first.constants(index, product, bias))
        index.absorb(maker, node)
        return maker.label
    names = second.constants(index, product, bias)
    index.set_inputs(node, [maker.inputs[0]])
    second.write(index, names)
    index.remove(maker)
    return node.label


RULES = (Rule("dense → dense", fold, order=100, lossy=True),)
