"""Dense → Add of a constant row c: one Gemm with a bias vector. W' = W, b' = b + c.

Only where the input is known to be rank 2: Gemm takes no other, and a (1, N) row would raise rank 1.
"""

from ..index import GraphIndex, Node
from ..patterns import DENSE, Dense, row_vector


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold an Add of a constant into the Gemm or MatMul before it; refuses by rank, shape and other uses."""
    if node.op != "Add" or len(node.inputs) != 2:
        return None
    makers = [(index.producer(name), slot) for slot, name in enumerate(node.inputs)]
    dense_node, slot = next(((m, s) for m, s in makers if m and m.op in DENSE), (None, 0))
    if dense_node is None:
        return None
    constant = node.inputs[1 - slot]
    if index.stored(constant) is None and index.producer(constant) is not None:
        return None  # the sum of two branches: nothing to fold
    dense = Dense.read(index, dense_node)
    index.require_private(node.inputs[slot])
    bias = dense.bias + row_vector(index, constant, dense.bias.size, rank=2)
    names = dense.constants(index, dense.weight, bias, was=constant)
    dense.write(index, names)
    index.absorb(dense_node, node)
    return dense_node.label
