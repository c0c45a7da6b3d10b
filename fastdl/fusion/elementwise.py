"""Operators that work value by value, in float64, by ONNX's definitions: what a unit gives that is constant."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt
from typing import Any

import numpy as np

from .index import Array, Node

SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}  # ONNX's defaults


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _elu(x: Array) -> Array:
    return np.asarray(np.where(x > 0, x, np.expm1(np.minimum(x, 0))))


def _gelu(x: Array, approximate: bytes | str) -> Array:
    if approximate in (b"tanh", "tanh"):
        return np.asarray(0.5 * x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / sqrt(2))))


_erf: Callable[[Array], Array] = np.vectorize(erf, otypes=[np.float64])

# Each of the value and a way to read the node's attributes with their defaults
_UNARY: dict[str, Callable[[Array, Callable[[str, Any], Any]], Array]] = {
    "Abs": lambda x, a: np.abs(x),
    "Atan": lambda x, a: np.arctan(x),
    "Celu": lambda x, a: np.where(x > 0, x, a("alpha", 1.0) * _elu(x / a("alpha", 1.0))),
    "Elu": lambda x, a: np.where(x > 0, x, a("alpha", 1.0) * _elu(x)),
    "Erf": lambda x, a: _erf(x),
    "Exp": lambda x, a: np.exp(x),
    "Gelu": lambda x, a: _gelu(x, a("approximate", b"none")),
    "HardSigmoid": lambda x, a: np.clip(a("alpha", 0.2) * x + a("beta", 0.5), 0, 1),
    "HardSwish": lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, a: np.where(x > 0, x, a("alpha", 0.01) * x),
    "Mish": lambda x, a: x * np.tanh(_softplus(x)),
    "Neg": lambda x, a: -x,
    "Relu": lambda x, a: np.maximum(x, 0),
    "Selu": lambda x, a: a("gamma", SELU["gamma"]) * np.where(x > 0, x, a("alpha", SELU["alpha"]) * _elu(x)),
    "Sigmoid": lambda x, a: _sigmoid(x),
    "Softplus": lambda x, a: _softplus(x),
    "Softsign": lambda x, a: x / (1 + np.abs(x)),
    "Sqrt": lambda x, a: np.sqrt(x),
    "Tanh": lambda x, a: np.tanh(x),
    "ThresholdedRelu": lambda x, a: np.where(x > a("alpha", 1.0), x, 0.0),
}  # fmt: skip
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


def is_elementwise(node: Node) -> bool:
    """Whether `apply` knows the node: one value in, or two that broadcast."""
    return (node.op in _UNARY and len(node.inputs) == 1) or (node.op in _BINARY and len(node.inputs) == 2)


def stays_finite(node: Node) -> bool:
    """Whether the node gives a finite value for every finite input of moderate size: no root, no quotient of zero."""
    return node.op not in ("Exp", "Sqrt", "Div")


def apply(node: Node, inputs: list[Array]) -> Array:
    """The node's output in float64; not finite where it has no finite value."""
    with np.errstate(all="ignore"):
        if len(inputs) == 2:
            return _BINARY[node.op](inputs[0], inputs[1])
        return np.asarray(_UNARY[node.op](inputs[0], node.attribute))
