"""Layers that are activations: Keras's names, arguments and defaults, and RReLU as PyTorch has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastdl import activations, ops
from fastdl.activations import not_negative
from fastdl.base.arguments import whole
from fastdl.base.arrays import Dtype
from fastdl.compiler.graph import Shape, Tensor, features_of
from fastdl.layers.layer import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    Layer,
    RegularizerLike,
)
from fastdl.layers.seeds import checked_seed


class Activation(Layer):
    """An activation by name, function or layer. Keras: layers.Activation."""

    scalars = True

    def __init__(self, activation: ActivationLike, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)
        self.built = not isinstance(self.activation, Layer)

    def build(self, shape: Shape, dtype: Dtype) -> None:
        self.adopt(self.activation, shape, dtype)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(x)


class ReLU(Layer):
    """min(x, max_value) above the threshold, negative_slope (x - threshold) up to it. Keras: layers.ReLU."""

    scalars = True

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else not_negative("max_value", max_value)
        self.negative_slope = not_negative("negative_slope", negative_slope)
        self.threshold = not_negative("threshold", threshold)

    def call(self, x: Tensor) -> Tensor:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Layer):
    """x, below 0 negative_slope x; alpha is the slope's older name. Keras: layers.LeakyReLU."""

    scalars = True

    def __init__(self, negative_slope: float = 0.3, *, alpha: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = not_negative("negative_slope", negative_slope if alpha is None else alpha)

    def call(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class PReLU(Layer):
    """x, below 0 alpha x, with a trained alpha for each number of a sample; along shared_axes, from 1, one for all.

    Keras: layers.PReLU. ValueError for an axis that a sample does not have.
    """

    def __init__(
        self,
        alpha_initializer: InitializerLike = "zeros",
        alpha_regularizer: RegularizerLike = None,
        alpha_constraint: ConstraintLike = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = None if axes is None else [whole("each of shared_axes", axis) for axis in axes]
        self.keep(
            alpha_initializer=alpha_initializer, alpha_regularizer=alpha_regularizer, alpha_constraint=alpha_constraint
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        shared = self.shared_axes or []
        if any(axis >= len(shape) for axis in shared):
            raise ValueError(f"{self.name}: shared_axes must be axes of a sample of {shape}, not {shared}")
        sizes = tuple(1 if axis in shared else (size or 0) for axis, size in enumerate(shape) if axis)
        self.alpha = self.own_weight("alpha", sizes, dtype)

    def call(self, x: Tensor) -> Tensor:
        if x.shape[1:] == self.alpha.shape and len(x.shape) == 2:
            return ops.PReLU(x, self.alpha, self.name).output
        result: Tensor = activations.relu(x) - self.alpha * activations.relu(-x)
        return result


class ParametricActivation(Layer):
    """(1 - alpha) x + alpha activation(x), one trained alpha a feature of (batch, features) (Holzmüller et al. 2024).

    activation: one that is computed element by element, by name, function or layer. ValueError for others.
    """

    def __init__(
        self,
        activation: ActivationLike,
        alpha_initializer: InitializerLike = "ones",
        alpha_regularizer: RegularizerLike = None,
        alpha_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)
        self.keep(
            alpha_initializer=alpha_initializer, alpha_regularizer=alpha_regularizer, alpha_constraint=alpha_constraint
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        self.alpha = self.own_weight("alpha", (features_of(self.name, shape),), dtype)

    def call(self, x: Tensor) -> Tensor:
        op = self.activation(x).op
        if not isinstance(op, ops.Activation) or op.inputs != (x,):
            raise ValueError(f"{self.name} takes an activation that fastdl computes element by element, as 'selu' is")
        return ops.ParametricActivation(x, self.alpha, op, self.name).output


class RReLU(Layer):
    """x, below 0 times a slope drawn from [lower, upper] in training, times their mean otherwise. PyTorch: nn.RReLU."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not lower <= upper:
            raise ValueError(f"lower must not lie above upper, not {lower} and {upper}")
        self.lower, self.upper, self.seed = float(lower), float(upper), checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return ops.RReLU(inputs, self.lower, self.upper, self.name, training, self.seed).output


class ELU(Layer):
    """x, below 0 alpha (exp(x) - 1). Keras: layers.ELU."""

    scalars = True

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = not_negative("alpha", alpha)

    def call(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class Softmax(Layer):
    """exp(x) / sum of exp(x) over the last axis of (batch, ..., features). Keras: layers.Softmax."""

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        if axis not in (-1, 1):
            raise ValueError(f"axis must be the features' (-1), not {axis}")
        self.axis = axis

    def call(self, x: Tensor) -> Tensor:
        if self.axis not in (-1, len(x.shape) - 1):
            raise ValueError(f"{self.name}: axis must be the last one's (-1) of {x.shape}, not {self.axis}")
        return activations.softmax(x)
