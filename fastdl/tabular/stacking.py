"""One Gather for all categories of a file: the flags of small ones and the embeddings of large ones become rows of one
table, where a Concat and a Gather took each kind apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper

from fastdl.base.arrays import Array
from fastdl.base.naming import Names
from fastdl.fusion.graph.memory import tensor_of

MOST_PADDING = 64  # rows of zeros in the dense layer's weights: more would take longer than what is saved


@dataclass
class _Lookups:
    """Flags and embeddings that stand last, in this order, in what one dense layer reads."""

    dense: NodeProto  # Gemm
    features: NodeProto  # the Concat that it reads
    between: list[NodeProto]  # from the places of texts to both, of no use once there is one Gather
    places: list[str]  # of each flag, the LabelEncoder's value that says where its column's text is among the levels
    flag_table: Array
    codes: list[str]
    embeddings: Array
    first_rows: Array


def stack(model: ModelProto) -> None:
    """Change the file so, if it is of that form. Its answers are the same but for rounding."""
    graph = model.graph
    view = _View(graph)
    found = view.lookups()
    if found is None:
        return
    tables = list(dict.fromkeys(found.places))
    columns = [*tables, *found.codes]
    encoders = [view.makers[column] for column in columns]
    ends = np.append(found.first_rows[1:], len(found.embeddings))
    own = [[i for i, place in enumerate(found.places) if place == column] for column in tables]
    parts = [found.flag_table[: _highest(e) + 1, flags] for e, flags in zip(encoders, own, strict=False)]
    parts += [found.embeddings[first:end] for first, end in zip(found.first_rows, ends, strict=True)]
    size = found.embeddings.shape[1]
    own += [[len(found.places) + i * size + j for j in range(size)] for i in range(len(found.codes))]
    width = max(part.shape[1] for part in parts)
    kernel = view.constant(found.dense.input[1])
    assert kernel is not None
    lead = len(kernel) - len(found.places) - size * len(found.codes)
    if lead < 0 or width * len(parts) - (len(kernel) - lead) > MOST_PADDING:
        return
    wide = np.zeros((lead + width * len(parts), kernel.shape[1]), kernel.dtype)
    wide[:lead] = kernel[:lead]
    first = 0
    for number, (encoder, part, rows) in enumerate(zip(encoders, parts, own, strict=True)):
        start = lead + number * width
        wide[start : start + len(rows)] = kernel[lead + np.array(rows)]
        _move(encoder, first)
        first += len(part)
    table = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
    _rewrite(graph, found, columns, table, wide)


class _View:
    """Who makes a value of a graph, who reads it, and what is stored."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self.makers = {output: node for node in graph.node for output in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._reads = Counter(name for node in graph.node for name in node.input)

    def constant(self, name: str) -> Array | None:
        """A stored array."""
        return numpy_helper.to_array(self._constants[name]) if name in self._constants else None

    def maker(self, name: str, operator: str) -> NodeProto | None:
        """The node of this operator that makes the value, if only one other reads it."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == operator and self._reads[name] == 1 else None

    def lookups(self) -> _Lookups | None:
        """What can be stacked, if there is something."""
        for dense in self._graph.node:
            if dense.op_type == "Gemm" and self._reads[dense.input[1]] == 1 and not _attribute(dense, "transB", 0):
                found = self._before(dense)
                if found is not None and self._only_these(found):
                    return found
        return None

    def _before(self, dense: NodeProto) -> _Lookups | None:
        features = self.maker(dense.input[0], "Concat")
        if features is None or len(features.input) < 2 or self.constant(dense.input[1]) is None:
            return None
        flags, flat = self.maker(features.input[-2], "GatherElements"), self.maker(features.input[-1], "Flatten")
        rows = self.maker(flat.input[0], "Gather") if flat is not None else None
        added = self.maker(rows.input[1], "Add") if rows is not None else None
        if flags is None or flat is None or rows is None or added is None:
            return None
        placed, coded = self.maker(flags.input[1], "Concat"), self.maker(added.input[0], "Concat")
        arrays = [self.constant(name) for name in (flags.input[0], rows.input[0], added.input[1])]
        if placed is None or coded is None or any(array is None for array in arrays):
            return None
        flag_table, embeddings, first_rows = (np.asarray(array) for array in arrays)
        between = [placed, flags, coded, added, rows, flat]
        places, codes = list(placed.input), list(coded.input)
        return _Lookups(dense, features, between, places, flag_table, codes, embeddings, first_rows.reshape(-1))

    def _only_these(self, found: _Lookups) -> bool:
        """Whether all places and codes are of LabelEncoders from text to whole numbers that nothing else reads."""
        for column in {*found.places, *found.codes}:
            encoder = self.makers.get(column)
            if encoder is None or encoder.op_type != "LabelEncoder" or not _attribute(encoder, "values_int64s", None):
                return False
            if self._reads[column] != found.places.count(column) + found.codes.count(column):
                return False
        return not set(found.places) & set(found.codes) and len(found.first_rows) == len(found.codes)


def _attribute(node: NodeProto, name: str, default: object) -> object:
    found = [attribute for attribute in node.attribute if attribute.name == name]
    return helper.get_attribute_value(found[0]) if found else default


def _values(encoder: NodeProto) -> AttributeProto:
    values: AttributeProto = next(each for each in encoder.attribute if each.name == "values_int64s")
    return values


def _highest(encoder: NodeProto) -> int:
    return int(max(_values(encoder).ints))


def _move(encoder: NodeProto, first: int) -> None:
    """Let a LabelEncoder count from `first`, for what is none of its texts too."""
    values = _values(encoder)
    values.ints[:] = [value + first for value in values.ints]
    for attribute in encoder.attribute:
        if attribute.name == "default_int64":
            attribute.i += first


def _rewrite(graph: GraphProto, found: _Lookups, columns: list[str], table: Array, kernel: Array) -> None:
    gone = {output for node in found.between for output in node.output}
    values = {name for node in graph.node for name in (*node.input, *node.output)}
    names = Names(values - gone)
    stored, places, rows, flat = (names.free(n) for n in ("category_table", "places", "category_rows", "categories"))
    new = [
        helper.make_node("Concat", columns, [places], places, axis=1),
        helper.make_node("Gather", [stored, places], [rows], rows),
        helper.make_node("Flatten", [rows], [flat], flat),
    ]
    found.features.input[-2:] = [flat]
    kept = [node for node in graph.node if node.output[0] not in gone]
    place = next(i for i, node in enumerate(kept) if node.output[0] == found.features.output[0])
    nodes = [node.SerializeToString() for node in [*kept[:place], *new, *kept[place:]]]
    del graph.node[:]
    for node in nodes:
        graph.node.add().ParseFromString(node)
    read = {name for node in graph.node for name in node.input}
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in read or graph.initializer[i].name == found.dense.input[1]:
            del graph.initializer[i]
    for name, array in {stored: table, found.dense.input[1]: kernel}.items():
        graph.initializer.add().MergeFrom(tensor_of(array, name))
