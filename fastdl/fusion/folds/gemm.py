"""Gemm in normal form: alpha·x·Wᵀ + beta·c becomes x·W' + b': W' = alpha·Wᵀ, b' = beta·c, a vector."""

from ..index import GraphIndex, Node
from ..patterns import Dense


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold alpha, beta, transB and a scalar or (1, N) C into the constants; refuses as Dense.read does."""
    if node.op != "Gemm" or _is_normal(index, node):
        return None
    dense = Dense.read(index, node)
    dense.write(index, dense.constants(index, dense.weight, dense.bias))
    return node.label


def _is_normal(index: GraphIndex, node: Node) -> bool:
    if any(node.attribute(k, d) != d for k, d in (("alpha", 1.0), ("beta", 1.0), ("transB", 0))):
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = index.stored(node.inputs[2])
    weight = index.shape(node.inputs[1])
    return bias is None or weight is None or bias.shape == weight[-1:]
