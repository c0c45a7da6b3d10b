"""σ(z) and 1 − σ(z) side by side, as scikit-learn gives two classes: the softmax of (0, z).

z comes from a dense layer of one unit, which takes a second column of zeros: Concat(1 − σ(xw + b), σ(xw + b)) =
Softmax(x·[0, w] + [0, b]). Three operators become one.
"""

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Dense
from fastdl.fusion.graph.ranges import require_range


def fold(index: GraphIndex, node: Node) -> str | None:
    """Turn the Concat into a Softmax of the dense layer; refuses by other uses, axis and number of units."""
    pair = _pair(index, node)
    if pair is None:
        return None
    column, sigmoid, rest = pair
    value = sigmoid.inputs[0]
    maker = index.producer(value)
    if maker is None or maker.op not in DENSE:
        raise Refused(f"the sigmoid's input {value!r} comes from {index.origin(value)}, not from a dense layer")
    dense = Dense.read(index, maker)
    if dense.bias.size != 1 or node.attribute("axis", 0) not in (1, -1):
        raise Refused(f"it does not join two columns: {maker.label!r} has {dense.bias.size} units")
    index.require_private(value)
    index.require_private(rest.outputs[0])
    index.require_hidden(sigmoid.outputs[0])
    if len(index.uses(sigmoid.outputs[0])) > 2:
        raise Refused(f"{sigmoid.outputs[0]!r} has another use")
    require_range(index, value, strict=True)  # σ of infinity is 1, Softmax makes NaN of it
    weight, bias = np.zeros((len(dense.weight), 2)), np.zeros(2)
    weight[:, column], bias[column] = dense.weight[:, 0], dense.bias[0]
    dense.write(index, dense.constants(index, weight, bias))
    shape = index.shape(value)
    index.resize(value, (shape[0] if shape else None, 2))
    index.rewrite(node, "Softmax", [value], {"axis": 1})
    index.remove(rest)
    index.remove(sigmoid)
    return maker.label


def _pair(index: GraphIndex, node: Node) -> tuple[int, Node, Node] | None:
    """Which input of a Concat is a sigmoid that the other takes from 1, and the two nodes that make them."""
    if node.op != "Concat" or len(node.inputs) != 2:
        return None
    for column, name in enumerate(node.inputs):
        sigmoid, rest = index.producer(name), index.producer(node.inputs[1 - column])
        if sigmoid is None or rest is None or (sigmoid.op, rest.op) != ("Sigmoid", "Sub") or rest.inputs[1] != name:
            continue
        one = index.stored(rest.inputs[0])
        if one is not None and one.size == 1 and one.ndim <= 2 and one.item() == 1:
            return column, sigmoid, rest
    return None


RULES = (Rule("two classes", fold, order=120),)
