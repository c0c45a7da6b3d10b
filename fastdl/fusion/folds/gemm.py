"""A dense layer in normal form: Gemm(x, W', b') without attributes, W' (in, out), b' a vector.

alpha·x·Wᵀ + beta·c: W' = alpha·Wᵀ, b' = beta·c, a scalar or (1, N) c spread out. x·W by MatMul on rank 2: W' = W,
b' = 0: measured no slower than MatMul, and the one form that none of onnxruntime's own MatMul fusions touches, of
which that with BatchNormalization can give wrong results.
"""

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node
from fastdl.fusion.graph.patterns import DENSE, Dense


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold alpha, beta, transB and a scalar or (1, N) C into the constants; refuses as Dense.read does."""
    if node.op not in DENSE or _is_normal(index, node):
        return None
    if node.op == "MatMul" and not any(index.is_constant(name) for name in node.inputs):
        return None  # a product of two values, as in attention, is no dense layer
    dense = Dense.read(index, node)
    dense.write(index, dense.constants(index, dense.read_weight, dense.bias))
    return node.label


def _is_normal(index: GraphIndex, node: Node) -> bool:
    if node.op == "MatMul" or any(node.attribute(k, d) != d for k, d in (("alpha", 1.0), ("beta", 1.0), ("transB", 0))):
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = index.stored(node.inputs[2])
    weight = index.shape(node.inputs[1])
    return bias is None or weight is None or bias.shape == weight[-1:]


RULES = (Rule("dense normal form", fold, order=160),)
