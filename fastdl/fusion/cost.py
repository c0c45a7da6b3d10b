"""Counts of a graph: operators, parameters, and the floating-point operations of one row."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from onnx import ModelProto

from .index import FLOATS, GraphIndex, Node

# Operators that move or name values but compute none
FREE = frozenset(
    ("Identity", "Dropout", "Reshape", "Flatten", "Constant", "Squeeze", "Unsqueeze", "Transpose", "Concat")
)


def parameter_count(model: ModelProto) -> int:
    """Floating-point numbers stored in the graph: weights, biases, and batch statistics too."""
    index = GraphIndex(model)
    names = {t.name for t in model.graph.initializer}
    names |= {node.outputs[0] for node in index.nodes if node.op == "Constant"}
    arrays = (index.stored(name) for name in names)
    return sum(array.size for array in arrays if array is not None and array.dtype in FLOATS)


def flops(model: ModelProto) -> int:
    """Multiplications and additions of one row; other operators count one a value, unknown shapes nothing."""
    index = GraphIndex(model)
    return sum(_node_flops(index, node) for node in index.nodes)


@dataclass
class OperatorCost:
    """How many nodes of one operator there are, the numbers they store, and their FLOPs a row."""

    operator: str
    nodes: int = 0
    parameters: int = 0
    flops: int = 0


def by_operator(model: ModelProto) -> list[OperatorCost]:
    """One line an operator, the costliest first. A number that several nodes read counts for the first."""
    index = GraphIndex(model)
    seen: set[str] = set()
    costs: dict[str, OperatorCost] = {}
    for node in index.nodes:
        cost = costs.setdefault(node.op, OperatorCost(node.op))
        cost.nodes += 1
        cost.flops += _node_flops(index, node)
        for name in set(node.inputs) - seen:
            array = index.stored(name)
            if array is not None and array.dtype in FLOATS:
                seen.add(name)
                cost.parameters += array.size
    return sorted(costs.values(), key=lambda cost: (-cost.flops, -cost.parameters, cost.operator))


def _node_flops(index: GraphIndex, node: Node) -> int:
    shape = index.shape(node.outputs[0]) if node.outputs else None
    if shape is None or node.op in FREE:
        return 0
    values = prod(dim for dim in shape[1:] if isinstance(dim, int))
    if node.op in ("Gemm", "MatMul"):
        read = index.shape(node.inputs[1])
        depth = 0
        if read is not None and len(read) == 2:
            inner = read[1 if node.op == "Gemm" and node.attribute("transB", 0) else 0]
            depth = inner if isinstance(inner, int) else 0
        return values * (2 * depth + (len(node.inputs) > 2))
    return values * (2 if node.op == "BatchNormalization" else 1)
