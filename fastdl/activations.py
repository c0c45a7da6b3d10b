"""Activations by name, as symbolic functions: tensor in, tensor out."""

from __future__ import annotations

from collections.abc import Callable

from fastdl.errors import ShapeError
from fastdl.graph import Tensor
from fastdl.ops import Activation, Softmax


def linear(x: Tensor) -> Tensor:
    """x itself: no op."""
    return x


def relu(x: Tensor) -> Tensor:
    """max(x, 0)"""
    return Activation(x, "relu", "relu").output


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))"""
    return Activation(x, "sigmoid", "sigmoid").output


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return Activation(x, "tanh", "tanh").output


def softmax(x: Tensor) -> Tensor:
    """exp(x) / sum of exp(x), over the last axis of (batch, features). ShapeError for other ranks."""
    if len(x.shape) != 2:
        raise ShapeError(f"softmax takes (batch, features), not {x.shape}: put a Flatten() before it")
    return Softmax(x, "softmax").output


NAMES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": linear,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}


def get(activation: str | Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """An activation by Keras name, or a function of tensors. ValueError if there is none; None means linear."""
    if activation is None:
        return linear
    if callable(activation):
        return activation
    if activation in NAMES:
        return NAMES[activation]
    raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(NAMES)}")
