"""One graph run by onnxruntime, batch after batch, its outputs as plain arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from fastdl.base.arrays import Array
from fastdl.errors import FusionError
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.graph.node import subgraphs
from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.runtime.session import Feed, Session, load_onnxruntime

PATIENCE = 5.0  # seconds for a graph that loops, which may never end

Outputs = list[Array]
Run = Callable[[Feed], Outputs]


def runner(model: AnyModel, optimise: bool) -> Run:
    """A session as a function. Raises FusionError where onnxruntime takes no such graph.

    Weights that lie beside the model are read where they are, and not packed into another order. An optimiser wants
    constants; without it they are inputs, for onnxruntime copies all constants for a moment.
    """
    lean = Lean.of(model)
    proto, more = (lean.proto, {}) if optimise else (lean.with_inputs(), lean.weights)
    try:
        with memory_errors():
            content = proto.SerializeToString()
        session = Session(content, optimise=optimise, weights=lean.weights if optimise else {}, packed=False)
    except MemoryError:
        raise
    except Exception as error:
        raise FusionError(f"onnxruntime does not run the graph: {line(error)}") from error
    if not loops(lean.proto.graph):
        return lambda feed: expand(session.run(None, {**more, **feed}))
    ort = load_onnxruntime()

    def run(feed: Feed) -> Outputs:
        options = ort.RunOptions()
        watch = threading.Timer(PATIENCE, lambda: setattr(options, "terminate", True))
        watch.start()
        try:
            return expand(session.run(None, {**more, **feed}, options))
        finally:
            watch.cancel()

    return run


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
