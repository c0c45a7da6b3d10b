"""Dense → BatchNormalization: W' = W·diag(s), b' = (b − μ)·s + β, with s = γ/√(σ² + ε).

Right because Dense works on rank 2, where BN's channel axis (1) is the dense layer's output axis. Anything
between the two that moves an axis (Transpose, Reshape) is not a dense layer, so equal sizes mislead nobody.
"""

from ..index import GraphIndex, Node, Refused
from ..patterns import DENSE, BatchNorm, Dense


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold a BN into the dense layer that makes its input; refuses when another reader sees that input."""
    if node.op != "BatchNormalization":
        return None
    norm = BatchNorm.read(index, node)
    value = node.inputs[0]
    maker = index.producer(value)
    if maker is None or maker.op not in DENSE:
        raise Refused(f"its input {value!r} comes from {index.origin(value)}, not from a dense layer")
    dense = Dense.read(index, maker)
    index.require_private(value)
    if dense.bias.shape != norm.scale.shape:
        raise Refused(f"it has {norm.scale.size} channels where {maker.label!r} has {dense.bias.size} units")
    weight = dense.weight * norm.scale
    bias = (dense.bias - norm.mean) * norm.scale + norm.beta
    dense.write(index, dense.constants(index, weight, bias))
    index.absorb(maker, node)
    return maker.label
