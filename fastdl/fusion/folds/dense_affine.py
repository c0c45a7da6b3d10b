"""Dense → affine (batch norm; Add, Sub, Mul, Div by constants; Neg; Scaler): y = (x·W + b − c)·s + t.

W' = W·diag(s), b' = (b − c)·s + t. Right because a dense layer gives rank 2, where the affine map's constants lie
along its output axis. Anything between the two that moves an axis (Transpose, Reshape) is not a dense layer, so
equal sizes mislead nobody; a constant that is no row, or one that would widen a single unit, is refused.
"""

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Affine, Dense


def fold_batch_norm(index: GraphIndex, node: Node) -> str | None:
    """Fold a BN into the dense layer that makes its input; refuses when another reader sees that input."""
    return _fold(index, node) if node.op == "BatchNormalization" else None


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold any other affine node likewise."""
    return _fold(index, node) if node.op != "BatchNormalization" else None


def _fold(index: GraphIndex, node: Node) -> str | None:
    affine = Affine.read(index, node)
    if affine is None:
        return None
    value = affine.value
    maker = index.producer(value)
    if maker is None or maker.op not in DENSE:
        raise Refused(f"its input {value!r} comes from {index.origin(value)}, not from a dense layer")
    dense = Dense.read(index, maker)
    index.require_private(value)
    units = dense.bias.size
    scale, center, shift = affine.spread((None, units), units)
    bias = (dense.bias - center) * scale + shift
    names = dense.constants(index, dense.times(scale), bias, was=affine.constant)
    dense.write(index, names)
    index.absorb(maker, node)
    return maker.label


RULES = (Rule("dense → batch norm", fold_batch_norm, order=40), Rule("dense → affine", fold, order=50))
