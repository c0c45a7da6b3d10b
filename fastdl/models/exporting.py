"""A model as an ONNX file: its graph, folded and proven, and compared with what `predict` gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastdl import fusion, tree
from fastdl.base.arguments import path as checked_path
from fastdl.base.files import check_target, write_atomically
from fastdl.base.metadata import CLASS_NAMES_KEY, FEATURE_NAMES_KEY
from fastdl.compiler.graph import Graph
from fastdl.errors import ADVICE, FusionError
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.proof.feeds import Feeder
from fastdl.fusion.proof.truth import Truth
from fastdl.fusion.report.report import FusionReport
from fastdl.fusion.runtime.session import Session
from fastdl.models.divergence import first_not_finite
from fastdl.models.network import Network
from fastdl.onnx.export import to_onnx

OTHER_FORMATS = "tf_saved_model", "openvino", "litert", "torch"  # Keras's


def export(
    model: Network, path: Any, format: str, fuse: bool, verify: Any, class_names: Sequence[str] | None
) -> FusionReport:
    """See Model.export."""
    if format in OTHER_FORMATS:
        raise NotImplementedError(f"fastdl exports to ONNX alone, not to {format}: format='onnx'")
    if format != "onnx":
        raise ValueError(f"Unrecognized format={format!r}: it must be 'onnx'")
    target, samples = Path(checked_path("path", path)), None
    if verify is not None:
        rows, sources = model.session.feeding.arrays(verify), model.trace().columns
        arrays = {
            source.name: array.reshape(-1, *(size or 0 for size in source.shape[1:]))
            for source, array in zip(sources, rows, strict=True)
        }
        samples = arrays if len(arrays) > 1 else arrays[sources[0].name]
    with model.session.lock, memory_errors():
        return _export(model, model.trace(), target, fuse, samples, class_names)


def _export(
    model: Network, graph: Graph, path: Path, fuse: bool, samples: Any, class_names: Sequence[str] | None
) -> FusionReport:
    check_target(path)
    if path.exists() and path.read_bytes()[8:9] == b"{":
        raise FileExistsError(f"{path} is a saved model, which its export would replace: choose another name")
    if broken := first_not_finite(graph.parameters):
        raise FusionError(f"{model.name} cannot be exported: {broken}: training diverged, so train it anew; {ADVICE}")
    metadata = {}
    before = model.class_names
    try:
        model.class_names = before if class_names is None else class_names  # which checks them
        if model.class_names:
            metadata[CLASS_NAMES_KEY] = json.dumps(model.class_names)
    finally:
        model.class_names = before
    if len(graph.columns) == 1 and model.feature_names:
        metadata[FEATURE_NAMES_KEY] = json.dumps(model.feature_names)
    names = ["output"] if len(graph.outputs) == 1 else _apart(model.output_names, [x.name for x in graph.columns])
    plain = to_onnx(graph, model.name, metadata, names)
    if CLASS_NAMES_KEY in metadata and graph.outputs[0].features == 1 and not _ends_in_sigmoid(plain):
        raise ValueError("two class_names are for one column of probabilities: end the model in a sigmoid")
    if fuse:
        written, report = fusion.fuse(plain, samples=samples)
    else:
        index = GraphIndex(plain)
        written, report = plain, FusionReport.of(index, index)
    report.predict_max_abs_error = compare_with_predict(model, plain, written, samples)
    write_atomically(path, written.SerializeToString())
    return report


def _ends_in_sigmoid(model: Any) -> bool:
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in ("Identity", "Reshape"):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Sigmoid"


def _apart(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    return [f"{name}_output" if name in taken else name for name in names]


def compare_with_predict(model: Network, plain: Any, written: Any, samples: Any) -> float:
    """Largest difference between onnxruntime on the file and `model.predict`, on random inputs and the samples.

    FusionError when it is more than both roundings explain: 8 times what float64 says of the two, or 1e-6. Products of
    bfloat16 are of float32 in files, and in what they are compared with.
    """
    feeder, truth, session, worst = Feeder(plain), Truth(plain), Session(written.SerializeToString()), 0.0
    floor = 1e-6 if model.dtype == np.float32 else 1e-14
    with model.session.in_float32():
        for feed in [*feeder.random(), *(feeder.samples(samples) if samples is not None else ())]:
            arrays = list(feed.values())
            for exact, served, predicted in zip(
                truth(feed),
                session.run(None, feed),
                tree.flatten(model.predict(tree.pack_sequence_as(model.input_structure, arrays))),
                strict=True,
            ):
                scale = float(np.abs(exact).max(initial=0))
                bar = 8 * float(np.abs(served - exact).max(initial=0)) + floor * max(scale, 1.0)
                off = float(np.abs(predicted - exact).max(initial=0))
                if not off <= bar:
                    raise FusionError(
                        f"predict is off the exported graph by {off:.2e}, more than {bar:.2e}: please report it"
                    )
                worst = max(worst, float(np.abs(served - predicted).max(initial=0)))
    return worst
