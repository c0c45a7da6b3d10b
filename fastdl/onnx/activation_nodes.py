"""Nodes that are activations."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastdl import layers
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Shape
from fastdl.fusion.graph.node import Node, Refused
from fastdl.onnx.numbers import row
from fastdl.onnx.parts import LARGEST, ByShape, Handler, Made, Step
from fastdl.onnx.reading import Reader


def _named(name: str, reader: Reader, node: Node) -> Step:
    return Step((reader.only(node, 1)[0],), (Made(layers.Activation(name)),))


def _over_features(name: str, reader: Reader, node: Node) -> Step:
    axis = softmax_axis(reader, node)
    if axis == -1:
        return _named(name, reader, node)

    def make(shape: Shape) -> Made:
        if axis != len(shape) - 1:
            raise Refused(f"it is over axis {axis} of a value of shape {shape}, not over the last")
        return Made(layers.Activation(name))

    return Step((reader.only(node, 1)[0],), (ByShape(make),))


def softmax_axis(reader: Reader, node: Node) -> int:
    """-1 for the last axis; another number where it depends on the shape whether that is the last."""
    return int(node.attribute("axis", -1 if reader.index.opset >= 13 else 1))


def _leaky(reader: Reader, node: Node) -> Step:
    slope = reader.shortest(node.attribute("alpha", 0.01))
    if not 0 <= slope < np.inf:
        raise Refused(f"its slope is {slope}, negative or no number")
    return Step((reader.only(node, 1)[0],), (Made(layers.LeakyReLU(slope)),))


def _elu(reader: Reader, node: Node) -> Step:
    alpha = reader.shortest(node.attribute("alpha", 1.0))
    if not 0 <= alpha < np.inf or (node.op == "Celu" and alpha != 1):
        raise Refused(f"its alpha is {alpha}")
    return Step((reader.only(node, 1)[0],), (Made(layers.ELU(alpha)),))


def _stated(name: str, **numbers: float) -> Handler:
    """An activation whose attributes must be these, and are so where the file is silent only if ONNX says so."""
    defaults = {"HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Swish": {"alpha": 1.0}}
    defaults["Selu"] = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}

    def handle(reader: Reader, node: Node) -> Step:
        for key, wanted in numbers.items():
            number = float(node.attribute(key, defaults[node.op][key]))
            if not np.isclose(number, wanted, rtol=1e-6):
                raise Refused(f"its {key} is {number:.6g}, fastdl's {name} has {wanted:.6g}")
        return _named(name, reader, node)

    return handle


def _gelu(reader: Reader, node: Node) -> Step:
    approximate = node.attribute("approximate", b"none")
    if approximate not in (b"none", b"tanh"):
        raise Refused(f"its approximation {approximate!r} is not known")
    return _named("gelu" if approximate == b"none" else "gelu_tanh", reader, node)


def _prelu(reader: Reader, node: Node) -> Step:
    value, slope = reader.only(node, 2)
    numbers = row(reader, slope)
    if not reader.constant(slope).shape and numbers >= 0:
        return Step((value,), (Made(layers.LeakyReLU(reader.shortest(float(numbers)))),))
    return Step((value,), (slopes(numbers),))


def slopes(numbers: Array) -> ByShape:
    """A PReLU with these slopes, one for all features or one each."""

    def make(shape: Shape) -> Made:
        if len(shape) != 2 or shape[1] is None or shape[1] > LARGEST or numbers.size not in (1, shape[1]):
            raise Refused(f"its {numbers.size} slopes do not fit a value of shape {shape}")
        return Made(layers.PReLU(), (np.broadcast_to(numbers, shape[1]),))

    return ByShape(make)


def _clip(reader: Reader, node: Node) -> Step:
    value, *limits = reader.only(node, 1, 3)
    numbers = []
    for name, key, none in zip(limits, ("min", "max"), (-np.inf, np.inf), strict=True):
        stated = node.attribute(key, none)
        number = reader.number(name) if name else None if abs(stated) > 3e38 else reader.shortest(stated)
        if name and number is None:
            raise Refused(f"its {key} is no constant number")
        numbers.append(number)
    low, top = numbers
    if low != 0 or (top is not None and not top >= 0):
        raise Refused(f"it clips to [{low}, {top}]: fastdl's ReLU clips from 0 on")
    return Step((value,), (Made(layers.ReLU(None if top is None or top > 3e38 else top)),))


def _thresholded(reader: Reader, node: Node) -> Step:
    threshold = reader.shortest(node.attribute("alpha", 1.0))
    if not 0 <= threshold < np.inf:
        raise Refused(f"its alpha is {threshold}, negative or no number")
    return Step((reader.only(node, 1)[0],), (Made(layers.ReLU(threshold=threshold)),))


HANDLERS: dict[str, Handler] = {
    "Relu": partial(_named, "relu"),
    "Sigmoid": partial(_named, "sigmoid"),
    "Tanh": partial(_named, "tanh"),
    "Cos": partial(_named, "cos"),
    "Sin": partial(_named, "sin"),
    "Exp": partial(_named, "exponential"),
    "Softplus": partial(_named, "softplus"),
    "Softsign": partial(_named, "softsign"),
    "Mish": partial(_named, "mish"),
    "HardSwish": partial(_named, "hard_silu"),
    "Softmax": partial(_over_features, "softmax"),
    "LogSoftmax": partial(_over_features, "log_softmax"),
    "HardSigmoid": _stated("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "Selu": _stated("selu", alpha=1.6732632, gamma=1.0507010),
    "Swish": _stated("silu", alpha=1.0),
    "Gelu": _gelu,
    "Elu": _elu,
    "Celu": _elu,
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Clip": _clip,
    "ThresholdedRelu": _thresholded,
}
