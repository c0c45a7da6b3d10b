"""The label behind an ArgMax, as scikit-learn's exporter writes it: ArrayFeatureExtractor, Reshape, Cast.

A table of classes c and the column i of the largest score give the label c[i]. ArrayFeatureExtractor(c, i) is a row,
which a Reshape to [-1] makes a vector: the same is Gather(c, Reshape(i, [-1])). ArgMax with keepdims, reshaped so, is
ArgMax without. A Cast of c[i] is c'[i] with c' = Cast(c). And where the classes are 0 … n−1, c[i] is i. No number is
computed, so all of it is exact; labels that are text stay text.
"""

from __future__ import annotations

import numpy as np

from fastdl.base.arrays import Array
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused

EXTRACTOR = "ai.onnx.ml:ArrayFeatureExtractor"
MOST = 2**16  # classes


def fold(index: GraphIndex, node: Node) -> str | None:
    """Let the node read the column, or the table, more directly; refuses what anything else sees on the way."""
    if node.op == "Reshape" and _flattens(index, node):
        return _flat(index, node)
    if node.op == "Cast":
        return _cast(index, node)
    return _same(index, node) if node.op == "Gather" else None


def _flattens(index: GraphIndex, node: Node) -> bool:
    target = index.stored(node.inputs[1])
    return target is not None and target.tolist() == [-1]


def _flat(index: GraphIndex, node: Node) -> str | None:
    """A Reshape to [-1] of what an ArgMax gives, or of the row of labels that an extractor looks up by it."""
    maker = index.producer(node.inputs[0])
    if maker is not None and maker.op == "ArgMax" and _takes_column(index, maker):
        if not maker.attribute("keepdims", 1):
            index.bypass(node)  # a vector as it is
            return maker.label
        index.require_private(node.inputs[0])
        index.rewrite(maker, "ArgMax", maker.inputs, _without_dims(maker))
        index.absorb(maker, node)
        return maker.label
    if maker is None or maker.op != EXTRACTOR or len(maker.inputs) != 2:
        return None
    (name, place), largest = maker.inputs, index.producer(maker.inputs[1])
    table = _table(index, name)
    if table is None or largest is None or largest.op != "ArgMax" or not _takes_column(index, largest):
        return None
    index.require_private(node.inputs[0])
    if largest.attribute("keepdims", 1):
        index.require_private(place)
        index.rewrite(largest, "ArgMax", largest.inputs, _without_dims(largest))
        index.resize(place, (index.shape(largest.inputs[0]) or (None,))[:1])
    if table.ndim > 1:
        name = index.add_tensor(f"{name}_constant", table.reshape(-1))
    index.rewrite(node, "Gather", [name, place], {"axis": 0})
    index.remove(maker)
    return node.label


def _takes_column(index: GraphIndex, node: Node) -> bool:
    """Whether an ArgMax tells one column for each row of a matrix."""
    shape = index.shape(node.inputs[0])
    return shape is not None and len(shape) == 2 and node.attribute("axis", 0) in (1, -1)


def _without_dims(node: Node) -> dict[str, int]:
    last = node.attribute("select_last_index", 0)
    return {"axis": 1, "keepdims": 0, **({"select_last_index": last} if last else {})}


def _table(index: GraphIndex, name: str) -> Array | None:
    """A constant row of whatever type; None for all else."""
    array = index.stored(name) if index.is_constant(name) else None
    if array is None or array.size > MOST or not (array.ndim == 1 or (array.ndim == 2 and array.shape[0] == 1)):
        return None
    return array


def _lookup(index: GraphIndex, node: Node | None) -> Array | None:
    """The table of a Gather of rank 1 by whatever vector; None for another node."""
    if node is None or node.op != "Gather" or len(node.inputs) != 2 or node.attribute("axis", 0) not in (0, -1):
        return None
    table = _table(index, node.inputs[0])
    return table if table is not None and table.ndim == 1 else None


def _cast(index: GraphIndex, node: Node) -> str | None:
    gather, to = index.producer(node.inputs[0]), index.type(node.outputs[0])
    table = _lookup(index, gather)
    if gather is None or table is None or to is None or table.dtype.kind not in "iu" or to.kind not in "iu":
        return None
    if not (table.astype(to) == table).all():
        raise Refused(f"a class of {gather.inputs[0]!r} is none that {to} holds")
    index.require_private(node.inputs[0])
    name = index.add_tensor(f"{gather.inputs[0]}_constant", table.astype(to))
    index.rewrite(node, "Gather", [name, gather.inputs[1]], {"axis": 0})
    index.remove(gather)
    return node.label


def _same(index: GraphIndex, node: Node) -> str | None:
    """Where c[i] = i for every i that an ArgMax may give."""
    table, maker = _lookup(index, node), index.producer(node.inputs[1])
    if table is None or table.dtype != np.int64 or maker is None or maker.op != "ArgMax":
        return None
    if not np.array_equal(table, np.arange(table.size)):
        return None
    shape, axis = index.shape(maker.inputs[0]), maker.attribute("axis", 0)
    columns = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(columns, int) or columns > table.size:
        raise Refused(f"how many columns {maker.label!r} chooses from is not known, or more than there are classes")
    index.bypass(node, node.inputs[1])
    return maker.label


RULES = (Rule("label", fold, order=128, shapes=True),)
