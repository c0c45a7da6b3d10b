"""What folds read and write: a dense layer and a batch normalisation, in float64 and one normal form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .index import Array, GraphIndex, Node, Refused

DENSE = ("Gemm", "MatMul")


@dataclass(frozen=True)
class Dense:
    """y = x·weight + bias on rank-2 x. weight: (in, out), bias: (out,), both float64."""

    node: Node
    weight: Array
    bias: Array
    dtype: np.dtype[Any]

    @classmethod
    def read(cls, index: GraphIndex, node: Node) -> Dense:
        """A Gemm, or a MatMul known to be rank 2, by constant parameters; refuses any other."""
        if len(node.inputs) < 2 or not node.inputs[0]:
            raise Refused(f"{node.label!r} lacks an input")
        weight = index.constant(node.inputs[1])
        dtype = index.dtype(node.inputs[1])
        if weight.ndim != 2:
            raise Refused(f"weight {node.inputs[1]!r} of {node.label!r} has rank {weight.ndim}, not 2")
        if node.op == "MatMul":
            shape = index.shape(node.inputs[0])
            if shape is None:
                raise Refused(f"the rank of {node.inputs[0]!r}, the input of {node.label!r}, is not known")
            if len(shape) != 2:
                raise Refused(f"{node.label!r} works on rank {len(shape)}: its axis is not the channel axis")
            return cls(node, weight, np.zeros(weight.shape[1]), dtype)
        if node.attribute("transA", 0):
            raise Refused(f"{node.label!r} transposes its input (transA)")
        if node.attribute("transB", 0):
            weight = weight.T
        alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
        if not np.isfinite([alpha, beta]).all():
            raise Refused(f"alpha or beta of {node.label!r} is not finite")
        bias = np.zeros(weight.shape[1])
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = beta * row_vector(index, node.inputs[2], weight.shape[1], rank=2)
        return cls(node, alpha * weight, bias, dtype)

    def constants(self, index: GraphIndex, weight: Array, bias: Array, was: str = "") -> tuple[str, str]:
        """Names of new initializers for the changed parameters; may refuse, and changes no node.

        They are called after the old ones; `was` names a constant that becomes a bias.
        """
        old_weight, old_bias = (*self.node.inputs, "")[1:3]
        hints = (old_weight, old_bias or was or f"{old_weight}_bias")
        names = [
            index.add_constant(f"{hint.removesuffix('_fused')}_fused", values, self.dtype)
            for hint, values in zip(hints, (weight, bias), strict=True)
        ]
        return names[0], names[1]

    def write(self, index: GraphIndex, names: tuple[str, str]) -> None:
        """Turn the node into the normal form, Gemm(x, weight, bias) without attributes."""
        index.rewrite(self.node, "Gemm", [self.node.inputs[0], *names], {})


def row_vector(index: GraphIndex, name: str, size: int, rank: int) -> Array:
    """A constant that broadcasts along the last axis only, as a vector (size,); `rank` is its partner's."""
    values = index.constant(name)
    one_row = values.ndim <= rank and values.size in (1, size) and values.shape[-1:] in ((), (values.size,))
    if not one_row:
        raise Refused(f"constant {name!r} of shape {values.shape} is not one row of {size}")
    return np.array(np.broadcast_to(values.reshape(-1), (size,)))


@dataclass(frozen=True)
class BatchNorm:
    """y = (x − mean)·scale + beta per channel of axis 1, with scale = γ/√(σ² + ε). All (channels,)."""

    scale: Array
    mean: Array
    beta: Array

    @property
    def shift(self) -> Array:
        """t of y = scale·x + t."""
        return self.beta - self.mean * self.scale

    @classmethod
    def read(cls, index: GraphIndex, node: Node) -> BatchNorm:
        """The parameters of an inference-mode BatchNormalization (opset 7 on); refuses any other."""
        if node.attribute("training_mode", 0):
            raise Refused("it is in training mode")
        if any(node.outputs[1:]):
            raise Refused("it gives batch statistics out, so it is in training mode")
        if not node.attribute("spatial", 1):
            raise Refused("spatial=0 normalises each element, not each channel")
        if len(node.inputs) != 5:
            raise Refused(f"it has {len(node.inputs)} inputs, not 5")
        gamma, beta, mean, variance = (index.constant(name) for name in node.inputs[1:])
        if gamma.ndim != 1 or not gamma.shape == beta.shape == mean.shape == variance.shape:
            raise Refused("its parameters are not vectors of one size")
        epsilon = float(node.attribute("epsilon", np.float32(1e-5)))
        if not np.isfinite(epsilon) or (variance < 0).any() or (variance + epsilon <= 0).any():
            raise Refused("its variance is negative, or zero without epsilon")
        return cls(gamma / np.sqrt(variance + epsilon), mean, beta)
