"""One graph run by onnxruntime, batch after batch, its outputs as plain arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from fastdl.errors import FusionError
from fastdl.fusion.graph.index import subgraphs, without
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.proof.feeds import Feed
from fastdl.fusion.runtime.session import load_onnxruntime, open_session

PATIENCE = 5.0  # seconds for a graph that loops, which may never end

APART = 2**22  # numbers of a model from which its weights are given to onnxruntime beside it
LARGE = 2**14  # numbers of such a weight

Outputs = list[npt.NDArray[Any]]
Run = Callable[[Feed], Outputs]


def runner(model: ModelProto, optimise: bool) -> Run:
    """A session as a function. Raises FusionError where onnxruntime takes no such graph."""
    try:
        with memory_errors():
            content, weights = _apart(model)
        session = open_session(content, optimise=optimise, weights=weights)
    except MemoryError:
        raise
    except Exception as error:
        raise FusionError(f"onnxruntime does not run the graph: {line(error)}") from error
    if not loops(model.graph):
        return lambda feed: expand(session.run(None, feed))
    ort = load_onnxruntime()

    def run(feed: Feed) -> Outputs:
        options = ort.RunOptions()
        watch = threading.Timer(PATIENCE, lambda: setattr(options, "terminate", True))
        watch.start()
        try:
            return expand(session.run(None, feed, options))
        finally:
            watch.cancel()

    return run


def _apart(model: ModelProto) -> tuple[bytes, dict[str, npt.NDArray[Any]]]:
    """The model as bytes, and large weights beside it, which onnxruntime then takes without copying them twice."""
    if sum(prod(tensor.dims) for tensor in model.graph.initializer) < APART:
        return model.SerializeToString(), {}
    lean, weights = without(model, "graph"), {}
    lean.graph.CopyFrom(without(model.graph, "initializer"))
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or prod(tensor.dims) < LARGE or not tensor.HasField("raw_data"):
            lean.graph.initializer.append(tensor)
            continue
        weights[tensor.name] = numpy_helper.to_array(tensor)
        outside = lean.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value="beside")
    return lean.SerializeToString(), weights


def loops(graph: onnx.GraphProto) -> bool:
    """Whether anything in the graph may run for longer than its size tells."""
    return any(node.op_type in ("Loop", "Scan") or any(map(loops, subgraphs(node))) for node in graph.node)


def expand(outputs: Sequence[Any]) -> Outputs:
    """Outputs as arrays: of a sequence of maps (ZipMap) its keys, and its values as (rows, keys)."""
    arrays: Outputs = []
    for output in outputs:
        if isinstance(output, list) and output and isinstance(output[0], dict):
            keys = list(output[0])
            values = [[row[key] for key in keys] for row in output]
            arrays += [np.array(keys), np.array(values, np.asarray(values[0][0]).dtype if keys else np.float32)]
        elif isinstance(output, list):
            arrays += expand(output)
        else:
            arrays.append(np.asarray(output))
    return arrays


def line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
