"""Nodes that look rows up in a table: embeddings."""

from __future__ import annotations

import numpy as np

from fastdl import layers
from fastdl.fusion.graph.node import Node, Refused
from fastdl.onnx.parts import Handler, Made, Step
from fastdl.onnx.reading import Reader


def _gather(reader: Reader, node: Node) -> Step:
    """Rows of a constant table: one table for all codes, or one a column where constants are added to the codes."""
    table, codes = reader.only(node, 2)
    if not reader.is_constant(table) or reader.is_constant(codes) or node.attribute("axis", 0) != 0:
        raise Refused("it does not look up rows of a constant table")
    rows = reader.constant(table)
    if rows.ndim != 2:
        raise Refused(f"its table has shape {rows.shape}, not (rows, width)")
    before = reader.index.producer(codes)
    first: list[int] = []
    if before is not None and before.op == "Add":
        constants = [name for name in before.inputs if reader.is_constant(name)]
        if len(constants) != 1:
            raise Refused("what is added to its codes is no constant")
        first = np.ravel(reader.whole_numbers(constants[0])).tolist()
        (codes,) = (name for name in before.inputs if name not in constants)
        before = reader.index.producer(codes)
    if before is not None and before.op == "Cast":
        codes = before.inputs[0]
    if not first:
        return Step((codes,), (Made(layers.Embedding(*rows.shape), (rows,)),))
    sizes = np.diff([*first, len(rows)])
    if first[0] != 0 or (sizes < 1).any():
        raise Refused(f"the tables that begin at rows {first} of {len(rows)} do not lie one below the other")
    embedding = layers.CategoryEmbedding(sizes.tolist(), rows.shape[1])
    apart = layers.Reshape((len(first), rows.shape[1]))
    return Step((codes,), (Made(embedding, (rows,), len(first)), Made(apart)))


HANDLERS: dict[str, Handler] = {"Gather": _gather}
