"""One Gather for all categories of a file: the flags of small ones and the embeddings of large ones become rows of one
table, where a Concat and a Gather took each kind apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastdl.base.arrays import Array
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node

MOST_PADDING = 64  # rows of zeros in the dense layer's weights: more would take longer than what is saved
LABEL_ENCODER = "ai.onnx.ml:LabelEncoder"


@dataclass
class _Lookups:
    """Flags and embeddings that stand last, in this order, in what one dense layer reads."""

    between: list[Node]  # from the places of texts to both, readers first: of no use once there is one Gather
    places: list[str]  # of each flag, the LabelEncoder's value that says where its column's text is among the levels
    flag_table: Array
    codes: list[str]
    embeddings: Array
    first_rows: Array


def alone(index: GraphIndex, value: str, operator: str) -> Node | None:
    """The node of this operator that makes the value, if one other reads it, once, and nobody else sees it."""
    node = index.producer(value)
    hidden = value not in index.graph_outputs and value not in index.captured and len(index.uses(value)) == 1
    return node if node is not None and node.op == operator and hidden else None


def joined_before(index: GraphIndex, dense: Node) -> Node | None:
    """The Concat of columns that a dense layer in normal form alone reads, if its weight is the layer's own."""
    if dense.op != "Gemm" or len(dense.inputs) < 2 or len(index.uses(dense.inputs[1])) > 1:
        return None
    features = alone(index, dense.inputs[0], "Concat")
    known = index.stored(dense.inputs[1]) is not None and not dense.proto.attribute
    return features if features is not None and len(features.inputs) > 1 and known else None


def stack(index: GraphIndex, dense: Node) -> None:
    """Change what the dense layer reads so, if it is of that form. The answers are the same but for rounding."""
    features = joined_before(index, dense)
    found = None if features is None else _lookups(index, features)
    if features is None or found is None:
        return
    kernel = index.constant(dense.inputs[1])
    tables = list(dict.fromkeys(found.places))
    columns = [*tables, *found.codes]
    encoders = [_encoder(index, column) for column in columns]
    ends = np.append(found.first_rows[1:], len(found.embeddings))
    own = [[i for i, place in enumerate(found.places) if place == column] for column in tables]
    parts = [found.flag_table[: max(_values(e)) + 1, flags] for e, flags in zip(encoders, own, strict=False)]
    parts += [found.embeddings[first:end] for first, end in zip(found.first_rows, ends, strict=True)]
    size = found.embeddings.shape[1]
    own += [[len(found.places) + i * size + j for j in range(size)] for i in range(len(found.codes))]
    width = max(part.shape[1] for part in parts)
    lead = len(kernel) - len(found.places) - size * len(found.codes)
    if lead < 0 or width * len(parts) - (len(kernel) - lead) > MOST_PADDING:
        return
    wide = np.zeros((lead + width * len(parts), kernel.shape[1]))
    wide[:lead] = kernel[:lead]
    first = 0
    for number, (encoder, part, rows) in enumerate(zip(encoders, parts, own, strict=True)):
        start = lead + number * width
        wide[start : start + len(rows)] = kernel[lead + np.array(rows)]
        # It counts from here, for what is none of its texts too
        moved = [value + first for value in _values(encoder)]
        encoder.state({"values_int64s": moved, "default_int64": encoder.attribute("default_int64", -1) + first})
        first += len(part)
    table = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
    places = index.insert(features, "Concat", columns, axis=1)
    rows_of = index.insert(features, "Gather", [index.add_tensor("category_table", table), places])
    flat = index.insert(features, "Flatten", [rows_of])
    index.resize(flat, (None, width * len(parts)))
    index.set_inputs(features, [*features.inputs[:-2], flat])
    set_weight(index, dense, wide)
    for node in found.between:
        index.remove(node)


def set_weight(index: GraphIndex, dense: Node, weight: Array) -> None:
    """Give a dense layer another weight (in, out), of the type that it has."""
    name = index.add_constant(dense.inputs[1], weight, index.dtype(dense.inputs[1]))
    index.set_inputs(dense, [dense.inputs[0], name, *dense.inputs[2:]])


def _lookups(index: GraphIndex, features: Node) -> _Lookups | None:
    flags, flat = alone(index, features.inputs[-2], "GatherElements"), alone(index, features.inputs[-1], "Flatten")
    rows = alone(index, flat.inputs[0], "Gather") if flat is not None else None
    added = alone(index, rows.inputs[1], "Add") if rows is not None else None
    if flags is None or flat is None or rows is None or added is None:
        return None
    placed, coded = alone(index, flags.inputs[1], "Concat"), alone(index, added.inputs[0], "Concat")
    stored = [index.stored(name) for name in (flags.inputs[0], rows.inputs[0], added.inputs[1])]
    arrays = [array for array in stored if array is not None]
    if placed is None or coded is None or len(arrays) < len(stored):
        return None
    places, codes = placed.inputs, coded.inputs
    found = _Lookups([flat, rows, added, coded, flags, placed], places, arrays[0], codes, *arrays[1:])
    found.first_rows = found.first_rows.reshape(-1)
    if {*places} & {*codes} or len(found.first_rows) != len(codes):
        return None
    for column in {*places, *codes}:  # each of a LabelEncoder from text to whole numbers that nothing else reads
        encoder = index.producer(column)
        if encoder is None or encoder.op != LABEL_ENCODER or not _values(encoder):
            return None
        if len(index.uses(column)) != places.count(column) + codes.count(column) or column in index.graph_outputs:
            return None
    return found


def _encoder(index: GraphIndex, column: str) -> Node:
    encoder = index.producer(column)
    assert encoder is not None  # as was found
    return encoder


def _values(encoder: Node) -> list[int]:
    return list(encoder.attribute("values_int64s", []))
