"""How large a model may be before anything is computed from it: bytes, nodes, depth, and what functions expand to."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from onnx import GraphProto, ModelProto, NodeProto

from fastdl.errors import ModelFileError
from fastdl.fusion.graph.node import subgraphs

LIMIT = 2_000_000_000  # bytes that a model may hold in all: little less than protobuf can serialize
NODE_LIMIT = 10_000  # nodes in all: of subgraphs too, and of functions wherever they are called
DEPTH_LIMIT = 16  # subgraphs within subgraphs, functions that call functions
LIFTED = "limited=False (--no-limits) lifts that"

Name = tuple[str, str]


def check_size(model: ModelProto, name: str, limited: bool = True) -> None:
    """Raises ModelFileError for a model beyond the limits, or whose functions call themselves.

    limited: False for one that may have any number of nodes.
    """
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[Name, int] = {}

    def size(nodes: Iterable[NodeProto], depth: int, calling: tuple[Name, ...]) -> int:
        if depth > DEPTH_LIMIT:
            raise ModelFileError(f"{name}: graphs lie more than {DEPTH_LIMIT} deep in each other")
        count = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in calling:
                raise ModelFileError(f"{name}: function {called[1]!r} calls itself")
            if called in bodies and called not in sizes:
                sizes[called] = size(bodies[called], depth + 1, (*calling, called))
            count += sizes.get(called, 1)
            count += sum(size(graph.node, depth + 1, calling) for graph in subgraphs(node))
        if limited and count > NODE_LIMIT:
            raise ModelFileError(f"{name}: more than {NODE_LIMIT} nodes; {LIFTED}")
        return count

    size(model.graph.node, 0, ())
    for key, body in bodies.items():
        size(body, 0, (key,))
    _check_sparse(model.graph, name)


def _check_sparse(graph: GraphProto, name: str) -> None:
    """A sparse tensor is dense once it is loaded, so its dims count, not the few values that it holds."""
    for sparse in graph.sparse_initializer:
        if any(d < 0 for d in sparse.dims) or 8 * prod(sparse.dims) > LIMIT:
            dims = list(sparse.dims)
            raise ModelFileError(f"{name}: sparse tensor {sparse.values.name!r} has impossible dims {dims}")
