"""Operators in float64 by their definitions: those that ONNX's reference lacks, gets wrong, or is slow at.

Each takes the inputs of a node, None where one is left out, and its attributes, and gives its first output. One that
a node's own settings are beyond raises NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from fastdl.fusion.evaluator.blas import product
from fastdl.fusion.evaluator.elementwise import activation, evaluate_floats
from fastdl.fusion.evaluator.moves import MOVES
from fastdl.fusion.evaluator.resize import resize, upsample
from fastdl.fusion.evaluator.windows import average_pool, conv, conv_transpose, local_response, lp_pool, max_pool
from fastdl.fusion.graph.node import Floats

Attributes = Mapping[str, Any]
Evaluate = Callable[[Sequence[Any], Attributes], Any]

EPSILON = float(np.float32(1e-5))  # ONNX states its defaults in float32
MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


def _given(inputs: Sequence[Any], slot: int) -> Any:
    return inputs[slot] if slot < len(inputs) else None


def _channels(values: Floats, rank: int) -> Floats:
    """One value a channel, to broadcast along (N, C, …)."""
    return values.reshape(-1, *(1,) * (rank - 2))


def _batch_normalization(inputs: Sequence[Any], given: Attributes) -> Floats:
    """Inference, at every opset: up to 13 the reference takes one of default momentum for training."""
    x = inputs[0]
    if given.get("training_mode") or not given.get("spatial", 1):
        raise NotImplementedError("BatchNormalization in training mode or with spatial=0")
    scale, bias, mean, var = (_channels(p, x.ndim) for p in inputs[1:5])
    y = x - mean
    y *= scale / np.sqrt(var + given.get("epsilon", EPSILON))
    y += bias
    return np.asarray(y)


def _normalized(x: Floats, axes: tuple[int, ...], epsilon: float, centered: bool = True) -> Floats:
    if centered:
        x = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon))


def _layer_normalization(centered: bool, skip: bool = False) -> Evaluate:
    """Of the axes from `axis` on, in whatever type it is stashed: here all is float64. skip: two inputs are added."""

    def evaluate(inputs: Sequence[Any], given: Attributes) -> Floats:
        x, *parameters = inputs
        if skip:
            x, parameters = x + parameters[0], parameters[1:]
        scale, bias = parameters[0], _given(parameters, 1)
        if skip and (more := _given(parameters, 2 if centered else 1)) is not None:
            x, bias = x + more, bias if centered else None
        axis = given.get("axis", -1)
        y = _normalized(x, tuple(range(axis % x.ndim, x.ndim)), given.get("epsilon", EPSILON), centered) * scale
        return np.asarray(y if bias is None else y + bias)

    return evaluate


def _instance_normalization(inputs: Sequence[Any], given: Attributes) -> Floats:
    x, scale, bias = inputs
    y = _normalized(x, tuple(range(2, x.ndim)), given.get("epsilon", EPSILON))
    return y * _channels(scale, x.ndim) + _channels(bias, x.ndim)


def _mean_variance(inputs: Sequence[Any], given: Attributes) -> Floats:
    x, axes = inputs[0], tuple(given.get("axes", (0, 2, 3)))
    centered = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(centered / (np.sqrt((centered * centered).mean(axis=axes, keepdims=True)) + 1e-9))


def _gemm(inputs: Sequence[Any], given: Attributes) -> Floats:
    a, b = (x.T if given.get(f"trans{name}") else x for x, name in zip(inputs[:2], "AB", strict=True))
    y = product(a, b)
    if (alpha := given.get("alpha", 1.0)) != 1:
        y *= alpha
    bias = _given(inputs, 2)
    return _activated(y if bias is None else y + given.get("beta", 1.0) * bias, given)


def _fused_matmul(inputs: Sequence[Any], given: Attributes) -> Floats:
    if given.get("transBatchA") or given.get("transBatchB"):
        raise NotImplementedError("a batch that is transposed")
    a, b = (
        x.swapaxes(-1, -2) if given.get(f"trans{n}") and x.ndim > 1 else x for x, n in zip(inputs, "AB", strict=True)
    )
    return np.asarray(given.get("alpha", 1.0) * (a @ b))


def _activated(y: Floats, given: Attributes) -> Floats:
    """By the activation that onnxruntime has fused into an operator."""
    name = given.get("activation")
    if not name:
        return y
    known = {key.removeprefix("activation_"): value for key, value in given.items() if key.startswith("activation_")}
    known |= dict(
        zip({"LeakyRelu": ["alpha"]}.get(name, ["alpha", "beta"]), given.get("activation_params", ()), strict=False)
    )
    return activation(name, y, known)


def _convolution(function: Callable[..., Floats]) -> Evaluate:
    def evaluate(inputs: Sequence[Any], given: Attributes) -> Floats:
        y = function(inputs[0], inputs[1], _given(inputs, 2), given)
        added = _given(inputs, 3)  # of FusedConv: a sum before the activation
        return _activated(y if added is None else y + added, given)

    return evaluate


def _global(reduced: Callable[..., Any]) -> Evaluate:
    return lambda inputs, given: reduced(inputs[0], axis=tuple(range(2, inputs[0].ndim)), keepdims=True)


def _global_lp(inputs: Sequence[Any], given: Attributes) -> Floats:
    p = given.get("p", 2)
    powers = np.abs(inputs[0]) ** p
    return np.asarray(powers.sum(axis=tuple(range(2, powers.ndim)), keepdims=True) ** (1 / p))


def _gelu(approximate: str, scaled: bool = False) -> Evaluate:
    def evaluate(inputs: Sequence[Any], given: Attributes) -> Floats:
        x, bias = inputs[0], _given(inputs, 1)
        x = x if bias is None else x + bias
        if scaled:
            return np.asarray(x * activation("Sigmoid", given.get("alpha", 1.702) * x, {}))
        return activation("Gelu", x, {"approximate": approximate})

    return evaluate


def _numbers(x: Any) -> Floats:
    """What ai.onnx.ml computes on: numbers of any type, as float64."""
    return np.asarray(x, dtype=np.float64)


def _scaler(inputs: Sequence[Any], given: Attributes) -> Floats:
    offset, scale = np.array(given.get("offset", [0.0])), np.array(given.get("scale", [1.0]))
    return np.asarray((_numbers(inputs[0]) - offset) * scale)


def _linear_regressor(inputs: Sequence[Any], given: Attributes) -> Floats:
    targets = given.get("targets", 1)
    scores = _numbers(inputs[0]).reshape(len(inputs[0]), -1) @ np.array(given["coefficients"]).reshape(targets, -1).T
    if given.get("post_transform", "NONE") != "NONE":
        raise NotImplementedError("a regressor with a post_transform")
    return np.asarray(scores + np.array(given.get("intercepts") or [0.0]))


def _normalizer(inputs: Sequence[Any], given: Attributes) -> Floats:
    x = _numbers(inputs[0])
    sizes = {
        "MAX": lambda: np.abs(x).max(axis=-1, keepdims=True),
        "L1": lambda: np.abs(x).sum(axis=-1, keepdims=True),
        "L2": lambda: np.sqrt((x * x).sum(axis=-1, keepdims=True)),
    }[given.get("norm", "MAX")]()
    return np.asarray(x / np.where(sizes == 0, 1.0, sizes))


def _zip_map(inputs: Sequence[Any], given: Attributes) -> list[dict[Any, Any]]:
    """Scores (rows, classes) as one map a row, as skl2onnx ends a classifier."""
    keys = given.get("classlabels_int64s") or given["classlabels_strings"]
    return [dict(zip(keys, row, strict=True)) for row in np.atleast_2d(inputs[0])]


# Those that widen a large second input themselves, part by part
WIDENING = frozenset((("", "Gemm"), ("", "MatMul")))

OPERATORS: dict[tuple[str, str], Evaluate] = {
    ("", "AveragePool"): lambda inputs, given: average_pool(inputs[0], given),
    ("", "BatchNormalization"): _batch_normalization,
    ("", "Conv"): _convolution(conv),
    ("", "ConvTranspose"): _convolution(conv_transpose),
    ("", "Gemm"): _gemm,
    ("", "GlobalAveragePool"): _global(np.mean),
    ("", "GlobalLpPool"): _global_lp,
    ("", "GlobalMaxPool"): _global(np.max),
    ("", "InstanceNormalization"): _instance_normalization,
    ("", "LayerNormalization"): _layer_normalization(centered=True),
    ("", "LpPool"): lambda inputs, given: lp_pool(inputs[0], given),
    ("", "LRN"): lambda inputs, given: local_response(inputs[0], given),
    ("", "MatMul"): lambda inputs, given: product(*inputs),
    ("", "MaxPool"): lambda inputs, given: max_pool(inputs[0], given),
    ("", "MeanVarianceNormalization"): _mean_variance,
    ("", "Resize"): resize,
    ("", "RMSNormalization"): _layer_normalization(centered=False),
    ("", "SimplifiedLayerNormalization"): _layer_normalization(centered=False),
    ("", "Upsample"): upsample,
    (MICROSOFT, "BiasGelu"): _gelu("none"),
    (MICROSOFT, "FastGelu"): _gelu("tanh"),
    (MICROSOFT, "FusedConv"): _convolution(conv),
    (MICROSOFT, "FusedGemm"): _gemm,
    (MICROSOFT, "FusedMatMul"): _fused_matmul,
    (MICROSOFT, "Gelu"): _gelu("none"),
    (MICROSOFT, "QuickGelu"): _gelu("none", scaled=True),
    (MICROSOFT, "SkipLayerNormalization"): _layer_normalization(centered=True, skip=True),
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): _layer_normalization(centered=False, skip=True),
    (ML, "LinearRegressor"): _linear_regressor,
    (ML, "Normalizer"): _normalizer,
    (ML, "Scaler"): _scaler,
    (ML, "ZipMap"): _zip_map,
    **{("", name): move for name, move in MOVES.items()},
}


def kind(node: NodeProto) -> tuple[str, str]:
    """Domain and operator, ONNX's own domain by its one name."""
    return "" if node.domain == "ai.onnx" else node.domain, node.op_type


def attributes(node: NodeProto) -> dict[str, Any]:
    """All that a node states, text as str."""
    return {a.name: text(helper.get_attribute_value(a)) for a in node.attribute}


def text(value: Any) -> Any:
    """Bytes as str, in lists too; all else as it is."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [text(item) for item in value] if isinstance(value, list) else value


def evaluate(node: NodeProto, inputs: Sequence[Any]) -> Any:
    """The first output of a node by the definitions here, in elementwise.py and moves.py; None where there is none.

    Raises NotImplementedError for settings that are beyond them, and what numpy raises where inputs do not fit.
    """
    key = kind(node)
    if key in OPERATORS:
        return OPERATORS[key](inputs, attributes(node))
    return evaluate_floats(node.op_type, inputs, attributes(node)) if key[0] == "" else None
