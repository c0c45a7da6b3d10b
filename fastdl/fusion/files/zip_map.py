"""ZipMap, by which skl2onnx gives each row's scores as a map from class to score, as the plain array that it is."""

from __future__ import annotations

import json
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper

from fastdl.base.metadata import CLASS_NAMES_KEY
from fastdl.fusion.files.model_file import set_metadata
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import copied


def keys(node: NodeProto) -> list[Any]:
    """The classes of a ZipMap, integers or strings, in the order of its columns."""
    for attribute in node.attribute:
        if attribute.name.startswith("classlabels_"):
            return [k.decode() if isinstance(k, bytes) else k for k in helper.get_attribute_value(attribute)]
    return []


def without_zip_map(model: ModelProto) -> ModelProto:
    """A copy whose outputs from a ZipMap are arrays under the same names; what it called the classes is metadata."""
    index = GraphIndex(model)
    copy = copied(model)
    named = any(entry.key == CLASS_NAMES_KEY for entry in model.metadata_props)
    for output in copy.graph.output:
        node = next((n for n in copy.graph.node if output.name in n.output), None)
        if node is None or (node.domain, node.op_type) != ("ai.onnx.ml", "ZipMap"):
            continue
        names, source = keys(node), node.input[0]
        if not named and names:
            set_metadata(copy, CLASS_NAMES_KEY, json.dumps([str(name) for name in names]))
        node.CopyFrom(helper.make_node("Identity", [source], [output.name], name=node.name))
        shape = index.shape(source) or (None, len(names) or None)
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape, output.doc_string))
    return copy
