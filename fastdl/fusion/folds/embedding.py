"""Embedding → dense with nothing else between: E[c]·W + b is a row of E·W + b, so Gather reads that table instead.

One operator instead of two. Measured with onnxruntime 1.32 on x86-64, one thread, 50 rows of 8, 64 units: 16 to 14 µs
in a batch of one, 119 to 24 µs in one of 1024. Left where the table would be more than twice as large as what it
replaces. Left too where the dense layer reads several embeddings, or numbers beside one: a sum of rows of 64 floats
is slower than joined rows of 8 and the product (3 fields, batch 1024: 160 µs, summed rows 305).
"""

from __future__ import annotations

import numpy as np

from fastdl.fusion.folds.no_op import keeps_rows
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import DENSE, Dense

LARGER, SMALL = 2, 2**16  # times as many numbers as before, and so many in any case


def fold(index: GraphIndex, node: Node) -> str | None:
    """Multiply the table by the weight; refuses what else reads the embedding, and tables that grow."""
    if node.op not in DENSE or not node.inputs or not node.inputs[0]:
        return None
    shaped = index.producer(node.inputs[0])
    gather = shaped
    if shaped is not None and shaped.op in ("Reshape", "Flatten") and keeps_rows(index, shaped):
        gather = index.producer(shaped.inputs[0])
    if gather is None or shaped is None or gather.op != "Gather" or gather.attribute("axis", 0) != 0:
        return None
    if not index.is_constant(gather.inputs[0]) or not _one_row(index, gather, shaped):
        return None
    dense = Dense.read(index, node)
    table = index.constant(gather.inputs[0])
    if table.ndim != 2 or table.shape[1] != dense.shape[0]:
        return None
    index.require_private(gather.outputs[0])
    index.require_private(shaped.outputs[0])
    size, before = table.shape[0] * dense.shape[1], table.size + dense.shape[0] * dense.shape[1]
    if size > max(LARGER * before, SMALL):
        raise Refused(f"the table would hold {size} numbers in place of {before}")
    dtype = index.dtype(gather.inputs[0])
    name = index.add_constant(f"{gather.inputs[0]}_fused", lambda: table @ dense.weight + dense.bias, dtype)
    index.set_inputs(gather, [name, gather.inputs[1]])
    if shaped is not gather:
        shape = index.shape(gather.outputs[0]) or ()
        index.resize(gather.outputs[0], (*shape[:-1], dense.shape[1]))
        if shaped.op == "Reshape":
            target = index.stored(shaped.inputs[1])
            assert target is not None  # told by `keeps_rows`
            first = index.add_tensor(f"{shaped.inputs[1]}_fused", np.array([target[0], dense.shape[1]], np.int64))
            index.set_inputs(shaped, [shaped.inputs[0], first])
    index.absorb(shaped, node)
    return gather.label


def _one_row(index: GraphIndex, gather: Node, shaped: Node) -> bool:
    """Whether each row that the dense layer reads is one row of the table."""
    places, rank = index.shape(gather.inputs[1]), index.shape(shaped.outputs[0])
    if places is None or rank is None or len(rank) != 2:
        return False
    return len(places) == 1 if shaped is gather else len(places) == 2 and places[1] == 1


RULES = (Rule("embedding → dense", fold, order=108),)
