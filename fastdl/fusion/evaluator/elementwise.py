"""Operators that work value by value, in float64, by ONNX's definitions: what a unit gives that is constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import sqrt
from typing import Any

import numpy as np

from fastdl.fusion.graph.node import Floats, Node

FIFTH, HUNDREDTH = float(np.float32(0.2)), float(np.float32(0.01))  # defaults are float32 as well
SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}  # ONNX's defaults


def _softplus(x: Floats) -> Floats:
    return np.asarray(np.logaddexp(0, x))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _elu(x: Floats) -> Floats:
    return np.asarray(np.where(x > 0, x, np.expm1(np.minimum(x, 0))))


def _gelu(x: Floats, approximate: str) -> Floats:
    if approximate == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / sqrt(2))))


# W. J. Cody's rational approximations of erf up to 0.46875, of erfc up to 4 and beyond, highest power first
_SMALL = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip


def _erf(x: Floats) -> Floats:
    """Error function: numpy has none, and Python's own takes one number at a time."""
    x = np.asarray(x)
    size = np.minimum(np.abs(x), 6.0)  # from 6 on it is 1 in float64
    inverse = 1 / np.maximum(size, 4.0) ** 2
    far = (1 / sqrt(np.pi) - inverse * _ratio(_FAR, inverse)) / np.maximum(size, 4.0)
    above = 1 - np.exp(-size * size) * np.where(size > 4, far, _ratio(_MIDDLE, size))
    return np.asarray(np.where(size <= 0.46875, x * _ratio(_SMALL, size * size), np.copysign(above, x)))


def _ratio(parts: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Floats:
    return np.asarray(np.polyval(parts[0], x) / np.polyval(parts[1], x))


# Each of the value and a way to read the node's attributes with their defaults
_UNARY: dict[str, Callable[[Floats, Callable[[str, Any], Any]], Floats]] = {
    "Abs": lambda x, a: np.abs(x),
    "Atan": lambda x, a: np.arctan(x),
    "Celu": lambda x, a: np.where(x > 0, x, a("alpha", 1.0) * _elu(x / a("alpha", 1.0))),
    "Elu": lambda x, a: np.where(x > 0, x, a("alpha", 1.0) * _elu(x)),
    "Erf": lambda x, a: _erf(x),
    "Exp": lambda x, a: np.exp(x),
    "Gelu": lambda x, a: _gelu(x, a("approximate", "none")),
    "HardSigmoid": lambda x, a: np.clip(a("alpha", FIFTH) * x + a("beta", 0.5), 0, 1),
    "HardSwish": lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, a: np.where(x > 0, x, a("alpha", HUNDREDTH) * x),
    "Log": lambda x, a: np.log(x),
    "Mish": lambda x, a: x * np.tanh(_softplus(x)),
    "Neg": lambda x, a: -x,
    "Reciprocal": lambda x, a: 1 / x,
    "Relu": lambda x, a: np.maximum(x, 0),
    "Selu": lambda x, a: a("gamma", SELU["gamma"]) * np.where(x > 0, x, a("alpha", SELU["alpha"]) * _elu(x)),
    "Sigmoid": lambda x, a: _sigmoid(x),
    "Softplus": lambda x, a: _softplus(x),
    "Softsign": lambda x, a: x / (1 + np.abs(x)),
    "Sqrt": lambda x, a: np.sqrt(x),
    "Tanh": lambda x, a: np.tanh(x),
    "ThresholdedRelu": lambda x, a: np.where(x > a("alpha", 1.0), x, 0.0),
}  # fmt: skip
_BINARY: dict[str, Callable[[Floats, Floats], Floats]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Pow": np.power,
}
VARIADIC = ("Max", "Min")


def is_elementwise(node: Node) -> bool:
    """Whether `evaluate_floats` knows the node: one value in, or two that broadcast."""
    return (node.op in _UNARY and len(node.inputs) == 1) or (node.op in _BINARY and len(node.inputs) == 2)


def stays_finite(node: Node) -> bool:
    """Whether the node gives a finite value for every finite input of moderate size: no root, no quotient of zero."""
    return node.op not in ("Div", "Exp", "Log", "Pow", "Reciprocal", "Sqrt")


def activation(name: str, x: Floats, given: Mapping[str, Any]) -> Floats:
    """What the operator `name` of one input gives, by its attributes; NotImplementedError for one not listed."""
    if name not in _UNARY:
        raise NotImplementedError(f"activation {name!r}")
    with np.errstate(all="ignore"):
        return np.asarray(_UNARY[name](x, given.get))


def evaluate_floats(name: str, inputs: Sequence[Any], given: Mapping[str, Any]) -> Floats | None:
    """What the operator `name` gives, where it is listed here and all its inputs are float64; else None.

    Not finite where it has no finite value.
    """
    if not all(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in inputs):
        return None
    if name in _UNARY and len(inputs) == 1:
        return activation(name, inputs[0], given)
    if name in _BINARY and (len(inputs) == 2 or (inputs and name in VARIADIC)):
        with np.errstate(all="ignore"):
            return np.asarray(reduce(_BINARY[name], inputs))
    return None
