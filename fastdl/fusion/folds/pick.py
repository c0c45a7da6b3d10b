"""Columns that are picked, repeated or put in another order beside a dense layer: its rows or columns are instead.

Before it: y[:, j] = x[:, cⱼ] and y·W + b = x·W' + b with row c of W' the sum of those rows j of W for which cⱼ = c. So
ColumnTransformer and SelectKBest split and join a table. Where some columns of x are not read, W' has no rows of zeros
for them: such a column may be missing (NaN) in a row for which the unfused graph gives a number, and 0·NaN is NaN.
Then one node still picks those that are read, in their order; that is a gain where there were more.
After it: (x·W + b)[:, c] = x·W[:, c] + b[c].
A Concat that reads a Concat along the same axis, and is its only reader, joins what that joins.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.columns import EXTRACTOR, PICKS, Columns, picked, width
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused
from fastdl.fusion.graph.patterns import DENSE, HEADS, Dense
from fastdl.fusion.graph.ranges import require_range

NODES = 64  # at most so many are followed back from a dense layer
Origin = tuple[str, Columns]  # a value, and the columns of it


def fold_before(index: GraphIndex, node: Node) -> str | None:
    """Let a dense layer read what its input is picked from; refuses a weight that it does not know."""
    if node.op not in HEADS or not node.inputs or not node.inputs[0]:
        return None
    value = node.inputs[0]
    maker = index.producer(value)
    if maker is None or maker.op not in (*PICKS, "Concat"):
        return None
    path: list[Node] = []
    origins = _origins(index, value, path)
    source = origins[0][0]
    if source == value or any(name != source for name, _ in origins):
        return None
    index.require_private(value)
    columns = np.concatenate([places for _, places in origins])
    whole = width(index, source)
    needed, place = np.unique(columns, return_inverse=True)
    if whole is None or (needed.size < whole and sum(_is_private(index, each) for each in path) < 2):
        return None
    dense = Dense.read(index, node)
    if dense.shape[0] != columns.size:
        raise Refused(f"it reads {dense.shape[0]} values where {maker.label!r} gives {columns.size}")
    require_range(index, source)
    names = dense.constants(index, partial(_gathered, dense, place, needed.size), dense.bias)
    if needed.size < whole:
        source = _pick(index, node, path, source, needed)
    index.set_inputs(node, [source, *node.inputs[1:]])
    dense.write(index, names)
    return node.label


def _origins(index: GraphIndex, value: str, path: list[Node]) -> list[Origin]:
    """Where the columns of a value come from, in order; path: gets the nodes between."""
    node, columns = index.producer(value), width(index, value)
    if node is not None and columns is not None and len(path) < NODES:
        if (places := picked(index, node)) is not None:
            path.append(node)
            return _taken(_origins(index, node.inputs[0], path), places)
        widths = [width(index, name) for name in node.inputs] if node.op == "Concat" else [None]
        if None not in widths and node.attribute("axis", None) in (1, -1):
            path.append(node)
            return [origin for name in node.inputs for origin in _origins(index, name, path)]
    return [(value, np.arange(columns or 0))]


def _taken(origins: list[Origin], places: Columns) -> list[Origin]:
    """Those columns of what comes from the origins side by side."""
    names = [name for name, columns in origins for _ in columns]
    columns = np.concatenate([columns for _, columns in origins])
    return [(names[place], columns[place : place + 1]) for place in places]


def _gathered(dense: Dense, place: Columns, rows: int) -> Floats:
    weight = np.zeros((rows, dense.shape[1]))
    np.add.at(weight, place, dense.weight)
    return weight


def _pick(index: GraphIndex, node: Node, path: list[Node], source: str, needed: Columns) -> str:
    """A new node that picks columns, by the operator that did before: the faster one is not of ONNX's own domain."""
    name = index.add_tensor(f"{source}_columns", needed.astype(np.int64))
    if any(between.op == EXTRACTOR for between in path):
        value = index.insert(node, "ArrayFeatureExtractor", [source, name], domain="ai.onnx.ml", like=source)
    else:
        value = index.insert(node, "Gather", [source, name], like=source, axis=1)
    shape = index.shape(source)
    index.resize(value, ((shape or (None,))[0], int(needed.size)))
    return value


def fold_after(index: GraphIndex, node: Node) -> str | None:
    """Let a dense layer give the picked columns alone, where they are no more than it has."""
    places = picked(index, node)
    maker = index.producer(node.inputs[0]) if places is not None else None
    if places is None or maker is None or maker.op not in DENSE:
        return None
    dense = Dense.read(index, maker)
    index.require_private(node.inputs[0])
    if places.size > dense.shape[1]:
        raise Refused(f"it repeats units of {maker.label!r}: {places.size} of {dense.shape[1]}")
    names = dense.constants(index, lambda: np.ascontiguousarray(dense.weight[:, places]), dense.bias[places])
    dense.write(index, names)
    index.absorb(maker, node)
    return maker.label


def fold_join(index: GraphIndex, node: Node) -> str | None:
    """Let a Concat read what another joins."""
    if node.op != "Concat":
        return None
    for name in node.inputs:
        maker = index.producer(name)
        if maker is None or maker.op != "Concat" or not _is_private(index, maker):
            continue
        if _axis(index, node) is None or _axis(index, maker) != _axis(index, node):
            continue
        index.set_inputs(node, [part for each in node.inputs for part in (maker.inputs if each == name else (each,))])
        index.remove(maker)
        return node.label
    return None


def _is_private(index: GraphIndex, node: Node) -> bool:
    """Whether nothing but one node reads its output."""
    value = node.outputs[0]
    return len(index.uses(value)) == 1 and value not in index.graph_outputs and value not in index.captured


def _axis(index: GraphIndex, node: Node) -> int | None:
    """Counted from the first; None where the rank is not known."""
    shape, axis = index.shape(node.outputs[0]), node.attribute("axis", 1)
    return axis % len(shape) if shape and -len(shape) <= axis < len(shape) else None


RULES = (
    Rule("joins", fold_join, order=32),
    Rule("dense → columns", fold_after, order=76),
    Rule("columns → dense", fold_before, order=78),
)
