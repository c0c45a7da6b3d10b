"""What each ONNX operator is as layers: one handler an operator, which refuses what no dense net holds."""

from __future__ import annotations

import numpy as np

from fastdl import layers
from fastdl.fusion.graph.node import Node, Refused
from fastdl.onnx import activation_nodes, lookups, numbers, shapes
from fastdl.onnx.parts import Handler, Made, Part, Step, dense_layer
from fastdl.onnx.reading import Reader


def _linear(reader: Reader, node: Node) -> Step:
    """LinearRegressor, and the scores of LinearClassifier."""
    coefficients, intercepts = (np.asarray(node.attribute(f, ()), np.float64) for f in ("coefficients", "intercepts"))
    ends = node.attribute("post_transform", b"NONE")
    known = {b"NONE": None, b"LOGISTIC": "sigmoid", b"SOFTMAX": "softmax"}
    if ends not in known:
        raise Refused(f"its post_transform is {ends.decode(errors='replace')}")
    units = max(intercepts.size, int(node.attribute("targets", 1)) if node.op.endswith("Regressor") else 1)
    units = units if intercepts.size else max(units, len(node.attribute("classlabels_ints", ())))
    if not coefficients.size or coefficients.size % units or not np.isfinite(coefficients).all():
        raise Refused(f"its {coefficients.size} coefficients are not {units} rows")
    if node.op.endswith("Classifier") and units < 2:
        raise Refused("it has one score for two classes")
    weight = coefficients.reshape(units, -1).T
    dense = dense_layer(weight, intercepts) if intercepts.size == units else dense_layer(weight)
    last = known[ends]
    parts: tuple[Part, ...] = (dense, Made(layers.Activation(last))) if last else (dense,)
    return Step((reader.only(node, 1)[0],), parts)


def _normalizer(reader: Reader, node: Node) -> Step:
    value = reader.source(reader.only(node, 1)[0])
    before = reader.index.producer(value)
    softmax = before is not None and (
        before.op == "Softmax"
        or (before.op == "ai.onnx.ml:LinearClassifier" and before.attribute("post_transform", b"") == b"SOFTMAX")
    )
    if node.attribute("norm", b"MAX") != b"L1" or not softmax:
        raise Refused("it scales each sample to length 1")
    return Step((value,), ())  # probabilities sum to 1 already


LINEAR_MODELS: dict[str, Handler] = {
    "ai.onnx.ml:LinearRegressor": _linear,
    "ai.onnx.ml:LinearClassifier": _linear,
    "ai.onnx.ml:Normalizer": _normalizer,
}
HANDLERS = {**numbers.HANDLERS, **activation_nodes.HANDLERS, **shapes.HANDLERS, **lookups.HANDLERS, **LINEAR_MODELS}
