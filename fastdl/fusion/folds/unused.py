"""A node of whose outputs none is read: it goes. ONNX's operators do nothing but give their outputs; of others that
is not known, so they stay."""

import onnx

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node


def fold(index: GraphIndex, node: Node) -> str | None:
    """Remove the node; a Constant goes with the initializers that nothing reads, and counts as no fold."""
    op, domain = node.proto.op_type, node.proto.domain
    if node.op not in (op, f"{domain}:{op}") or op == "Constant" or not onnx.defs.has(op, domain):
        return None
    seen = index.graph_outputs | index.captured
    if any(index.uses(name) or name in seen for name in node.outputs if name):
        return None
    index.remove(node)
    return "nothing"


RULES = (Rule("unused", fold, order=10),)
