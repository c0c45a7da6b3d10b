"""Layers of ensembles in one net: each sample has several members, (batch, members, features), side by side.

Dense, activations, dropout and losses work on each member: Dense layers share their weights among all, as in
BatchEnsemble (Wen et al. 2020) and TabM (Gorishniy et al. 2024); EnsembleScale and EnsembleDense have weights of each
member's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl import activations, ops
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Shape, Tensor
from fastdl.constraints import Constraint
from fastdl.errors import ShapeError
from fastdl.initializers import Function
from fastdl.layers.core import Scale
from fastdl.layers.layer import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    Layer,
    RegularizerLike,
)
from fastdl.regularizers import Regularizer


class RepeatVector(Layer):
    """(batch, features) → (batch, n, features): n members, each the whole sample. Keras: layers.RepeatVector."""

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(n, int | np.integer):
            raise TypeError(f"n must be a positive integer, not {n!r}")
        self.n = whole("n", n)

    def call(self, x: Tensor) -> Tensor:
        return ops.RepeatMembers(x, self.n, self.name).output


class GlobalAveragePooling1D(Layer):
    """(batch, members, features) → (batch, features), the mean over the members. Keras: layers.GlobalAveragePooling1D.

    Of an ensemble's probabilities it makes its prediction. data_format and keepdims must be as they are.
    """

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if data_format not in (None, "channels_last") or keepdims:
            raise ValueError(
                f"data_format must be None or 'channels_last' and keepdims False, not {data_format!r} and {keepdims!r}"
            )
        self.data_format, self.keepdims = data_format, bool(keepdims)

    def call(self, x: Tensor) -> Tensor:
        return ops.MeanMembers(x, self.name).output


def _sizes(owner: str, shape: Shape) -> tuple[int, int]:
    """Members, and features of each. ShapeError for other ranks."""
    if len(shape) != 3 or not shape[1] or not shape[2]:
        raise ShapeError(f"{owner} takes (batch, members, features), not {shape}: put a RepeatVector(n) before it")
    return shape[1], shape[2]


class EnsembleScale(Scale):
    """x times a trained number for each member and feature, (batch, members, features): TabM's and BatchEnsemble's R.

    Begins with ±1, which makes members differ. Its weight, scale, is (members * features,).
    """

    def __init__(
        self,
        scale_initializer: InitializerLike = "random_sign",
        scale_regularizer: RegularizerLike = None,
        scale_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(scale_initializer, scale_regularizer, scale_constraint, **options)

    def build(self, shape: Shape, dtype: Dtype) -> None:
        members, features = _sizes(self.name, shape)
        self.scale = self.own_weight("scale", (members * features,), dtype)

    def call(self, x: Tensor) -> Tensor:
        return ops.MemberScale(x, self.scale, self.name).output


class EnsembleDense(Layer):
    """activation(x W + b) with each member's W and b: (batch, members, in) → (batch, members, units).

    Its weights: kernel (members * in, units), the members' one under the other, each drawn by itself, and bias
    (members * units,). ShapeError for other ranks. An ensemble's output layer; nn.Linear of each member in PyTorch.
    """

    kernel_initializer: Function
    kernel_regularizer: Regularizer | None
    kernel_constraint: Constraint | None

    def __init__(
        self,
        units: int,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.units, self.use_bias = whole("units", units), bool(use_bias)
        self.activation = activations.get(activation)
        self.keep(
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            bias_constraint=bias_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        members, inputs = _sizes(self.name, shape)
        draw = self.kernel_initializer

        def of_each(_: tuple[int, ...], dtype: Dtype) -> Array:
            """Each member's fans are its own."""
            return np.concatenate([np.asarray(draw((inputs, self.units), dtype)) for _ in range(members)])

        self.kernel = self.add_weight(
            (members * inputs, self.units),
            of_each,
            dtype,
            name="kernel",
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = self.own_weight("bias", (members * self.units,), dtype) if self.use_bias else None
        self.adopt(self.activation, (None, members, self.units), dtype)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(ops.MemberDense(x, self.kernel, self.bias, self.name).output)
