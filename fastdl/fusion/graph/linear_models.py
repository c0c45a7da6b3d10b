"""Linear models of ai.onnx.ml, whose weights are attributes: LinearRegressor, LinearClassifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import LARGEST, Floats, Node, Refused, magnitude

REGRESSOR, CLASSIFIER = "ai.onnx.ml:LinearRegressor", "ai.onnx.ml:LinearClassifier"
MODELS = (REGRESSOR, CLASSIFIER)
FLOAT32 = np.dtype(np.float32)


def read_linear_model(index: GraphIndex, node: Node) -> tuple[Floats, Floats]:
    """Weight (in, out) and bias (out,) of one that reads float32 of rank 2, as which it computes; refuses any other."""
    value = node.inputs[0]
    shape = index.shape(value)
    if shape is None or len(shape) != 2:
        known = "is not known" if shape is None else f"is {len(shape)}"
        raise Refused(f"the rank of {value!r}, the input of {node.label!r}, {known}")
    if (dtype := index.type(value)) != FLOAT32:
        raise Refused(f"{node.label!r} reads {dtype or 'a type that is not known'}, which it turns into float32")
    if node.op == REGRESSOR and node.attribute("post_transform", b"NONE") not in (b"NONE", "NONE"):
        raise Refused(f"{node.label!r} transforms what it predicts")
    weight, bias = (_numbers(node, name) for name in ("coefficients", "intercepts"))
    outputs = node.attribute("targets", 1) if node.op == REGRESSOR else bias.size
    if node.op == REGRESSOR and not bias.size:
        bias = np.zeros(outputs)
    if outputs < 1 or bias.size != outputs or not weight.size or weight.size % outputs:
        raise Refused(f"{node.label!r} has {weight.size} coefficients and {bias.size} intercepts for {outputs} outputs")
    if shape[1] != weight.size // outputs:
        raise Refused(f"{node.label!r} has {weight.size // outputs} coefficients an output for {shape[1]} values")
    return weight.reshape(outputs, -1).T, bias


def _numbers(node: Node, name: str) -> Floats:
    stated = node.attribute(name, [])
    if not isinstance(stated, list) or not all(isinstance(number, float) for number in stated):
        raise Refused(f"{name} of {node.label!r} are no numbers")
    numbers = np.array(stated, np.float64)
    if not magnitude(numbers) <= LARGEST[FLOAT32]:
        raise Refused(f"{name} of {node.label!r} are not finite, or so large that values may overflow")
    return numbers


def stated(weight: Floats, bias: Floats) -> Mapping[str, Any]:
    """The attributes of a LinearClassifier that hold a weight (in, out) and a bias, rounded to float32."""
    return {
        "coefficients": weight.T.reshape(-1).astype(FLOAT32).tolist(),
        "intercepts": bias.astype(FLOAT32).tolist(),
    }
