"""Shapes and types of all values of a graph, and its names, as far as its text tells them."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from fastdl.base.arrays import Dtype
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.graph.weights import without

Dim = int | str | None
Inferred = tuple[dict[str, tuple[Dim, ...]], dict[str, Dtype]]  # shapes and types, by value
VALUES = {  # of a LabelEncoder, by the attribute that holds them
    "values_floats": TensorProto.FLOAT,
    "values_int64s": TensorProto.INT64,
    "values_strings": TensorProto.STRING,
}
LEAN = 2**8  # numbers of an initializer beyond which shape inference is told its type alone


def infer(model: ModelProto) -> Inferred:
    """Shapes and types that follow from the inputs alone: a file's own claims about inner values are not trusted."""
    bare = without(model, "graph")
    bare.graph.MergeFrom(without(model.graph, "initializer", "node", "value_info"))
    listed = {info.name for info in model.graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= LEAN:  # a target shape, say, which the inference reads
            bare.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for node in model.graph.node:
        bare.graph.node.append(inferable(node))
    for output in bare.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    try:
        with memory_errors():
            graph = onnx.shape_inference.infer_shapes(bare).graph
    except MemoryError:
        raise
    except Exception:  # a graph that onnx cannot infer is still passed through, with fewer folds
        graph = bare.graph
    shapes: dict[str, tuple[Dim, ...]] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    types = {t.name: dtype_of(t.data_type) for t in model.graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            continue
        types[info.name] = dtype_of(kind.elem_type)
        if kind.HasField("shape"):
            shapes[info.name] = tuple(_dim(d) for d in kind.shape.dim)
    return shapes, {name: dtype for name, dtype in types.items() if dtype is not None}


def inferable(node: NodeProto) -> NodeProto:
    """The node, or for those of ai.onnx.ml of which ONNX infers nothing one that gives the same type and shape."""
    if node.domain != "ai.onnx.ml" or len(node.input) != 1 or len(node.output) != 1:
        return node
    if node.op_type == "Imputer":
        return helper.make_node("Identity", node.input, node.output, node.name)
    kind = TensorProto.FLOAT if node.op_type in ("Scaler", "Normalizer") else None
    if node.op_type == "LabelEncoder":
        kind = next((VALUES[a.name] for a in node.attribute if a.name in VALUES), None)
    if kind is None:
        return node
    return helper.make_node("Cast", node.input, node.output, node.name, to=kind)


def byte_count(model: ModelProto) -> int:
    """About how many bytes a model takes, from its tensors' dims: protobuf tells by writing all of it."""
    size = without(model, "graph").ByteSize() + without(model.graph, "initializer").ByteSize()
    for tensor in model.graph.initializer:
        dtype = dtype_of(tensor.data_type)
        size += tensor.ByteSize() if dtype is None or dtype.kind == "O" else dtype.itemsize * prod(tensor.dims)
    return int(size)


@lru_cache(maxsize=64)
def dtype_of(number: int) -> Dtype | None:
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
        return dtype if helper.np_dtype_to_tensor_dtype(dtype) == number else None
    except (KeyError, ValueError, TypeError):
        return None


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    return dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
