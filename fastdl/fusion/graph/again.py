"""Shapes and types inferred anew, once folds have made known what decides them."""

from __future__ import annotations

from math import prod

import onnx
from onnx import ModelProto, helper

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.inference import LEAN, infer
from fastdl.fusion.graph.memory import tensor_of
from fastdl.fusion.graph.weights import without

NODES = 2**14  # a graph of more is not inferred again


def infer_again(index: GraphIndex) -> None:
    """Let the index know the shapes and types of the graph as its folds have changed it; constants by shape alone."""
    source = index.lean.proto
    if len(index.nodes) > NODES:
        return
    model: ModelProto = without(source, "graph")
    model.graph.MergeFrom(without(source.graph, "initializer", "node", "value_info", "input"))
    constants = {name for name in index.constants() if index.producer(name) is None}
    model.graph.input.extend(info for info in source.graph.input if info.name not in constants)
    for name in constants:
        shape, dtype = index.shape(name), index.type(name)
        small = shape is not None and all(isinstance(dim, int) for dim in shape) and prod(shape) <= LEAN  # type: ignore[arg-type]
        array = index.stored(name) if small else None
        if array is not None and array.dtype.kind in "iub":
            model.graph.initializer.append(tensor_of(array, name))
        elif shape is not None and dtype is not None:
            number = helper.np_dtype_to_tensor_dtype(dtype)
            model.graph.input.append(helper.make_tensor_value_info(name, number, shape))
        else:
            model.graph.input.append(onnx.ValueInfoProto(name=name))
    for node in index.nodes:
        proto = model.graph.node.add()
        proto.CopyFrom(node.proto)
        proto.input[:], proto.output[:] = node.inputs, node.outputs
    index.learn(infer(model))
