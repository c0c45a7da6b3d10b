"""Transpose of a constant: the transposed constant (what PyTorch writes before a MatMul without bias)."""

import numpy as np

from ..index import GraphIndex, Node


def fold(index: GraphIndex, node: Node) -> str | None:
    """Replace the node by a new constant; refuses when its output's name must be kept."""
    if node.op != "Transpose" or index.stored(node.inputs[0]) is None:
        return None
    values = index.constant(node.inputs[0])
    output = node.outputs[0]
    index.require_hidden(output)
    axes = node.attribute("perm", None)
    name = index.add_constant(f"{node.inputs[0]}_T", np.transpose(values, axes), index.dtype(node.inputs[0]))
    index.rewrite(node, "Identity", [name], {})
    index.bypass(node)
    return name
