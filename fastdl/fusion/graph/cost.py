"""Counts of a graph: operators, parameters, and the floating-point operations of one row."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node

# Operators that move or name values but compute none
FREE = frozenset(
    ("Identity", "Dropout", "Reshape", "Flatten", "Constant", "Squeeze", "Unsqueeze", "Transpose", "Concat")
)


def parameter_count(index: GraphIndex) -> int:
    """Floating-point numbers stored in the graph: weights, biases, and batch statistics too."""
    return sum(index.stored_floats(name) for name in index.constants())


def flops(index: GraphIndex) -> int:
    """Multiplications and additions of one row; other operators count one a value, unknown shapes nothing."""
    return sum(_node_flops(index, node) for node in index.nodes)


@dataclass
class OperatorCost:
    """How many nodes of one operator there are, the numbers they store, and their FLOPs a row."""

    operator: str
    nodes: int = 0
    parameters: int = 0
    flops: int = 0


def by_operator(index: GraphIndex) -> list[OperatorCost]:
    """One line an operator, the costliest first. A number that several nodes read counts for the first."""
    seen: set[str] = set()
    costs: dict[str, OperatorCost] = {}
    for node in index.nodes:
        cost = costs.setdefault(node.op, OperatorCost(node.op))
        cost.nodes += 1
        cost.flops += _node_flops(index, node)
        for name in set(node.inputs) - seen:
            if numbers := index.stored_floats(name):
                seen.add(name)
                cost.parameters += numbers
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
    if node.op in ("Conv", "ConvTranspose") and len(node.inputs) > 1:
        kernel, read = index.shape(node.inputs[1]) or (), index.shape(node.inputs[0]) or ()
        taps = prod(dim for dim in kernel[1:] if isinstance(dim, int))
        over = values if node.op == "Conv" else prod(dim for dim in read[1:] if isinstance(dim, int))
        return 2 * over * taps + values * (len(node.inputs) > 2)
    return values * (2 if node.op == "BatchNormalization" else 1)
