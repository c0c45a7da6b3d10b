"""Batch normalization and renormalization: Keras's names, arguments and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl import initializers, ops
from fastdl.base.arguments import flag, real
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Shape, Tensor
from fastdl.errors import ShapeError
from fastdl.initializers import Function
from fastdl.layers.composed import affine
from fastdl.layers.layer import ConstraintLike, InitializerLike, Layer, RegularizerLike

CLIPPING = "rmax", "rmin", "dmax"


class BatchNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) gamma + beta over the last axis. Keras: layers.BatchNormalization.

    In training the batch's mean and biased variance, which also feed the moving averages; those otherwise.
    A batch of one row of (batch, features) has variance zero, and becomes beta. With trainable=False always the moving
    averages. renorm: in training the result is corrected towards slower averages, of renorm_momentum, by r and d, which
    renorm_clipping limits by "rmax", "rmin" and "dmax"; Ioffe 2017. ValueError.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        moving_mean_initializer: InitializerLike = "zeros",
        moving_variance_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(axis, int) or axis == 0:
            raise ValueError(f"axis must be the features' (-1), not {axis}")
        if not 0 <= momentum <= 1 or not 0 <= renorm_momentum <= 1 or not epsilon > 0:
            raise ValueError(
                f"momentum and renorm_momentum must lie in [0, 1] and epsilon be positive, not {momentum}, "
                f"{renorm_momentum} and {epsilon}"
            )
        self.axis, self.momentum, self.epsilon, self.center, self.scale = axis, momentum, epsilon, center, scale
        self.renorm, self.renorm_momentum = flag("renorm", renorm), float(renorm_momentum)
        self.renorm_clipping = checked_clipping(renorm_clipping) if renorm else None
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.keep(
            gamma_initializer=gamma_initializer,
            gamma_regularizer=gamma_regularizer,
            gamma_constraint=gamma_constraint,
            beta_initializer=beta_initializer,
            beta_regularizer=beta_regularizer,
            beta_constraint=beta_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        if len(shape) < 2 or not shape[-1] or self.axis not in (-1, len(shape) - 1):
            raise ShapeError(
                f"{self.name} normalizes the last axis of (batch, ..., features), not {self.axis} of {shape}"
            )
        size = (shape[-1],)
        self.gamma = self.own_weight("gamma", size, dtype) if self.scale else None
        self.beta = self.own_weight("beta", size, dtype) if self.center else None

        def kept(name: str, draw: Function) -> Any:
            return self.add_weight(size, draw, dtype, name=name, trainable=False)

        def deviation(shape: tuple[int, ...], dtype: Dtype) -> Array:
            variance: Array = np.sqrt(np.asarray(self.moving_variance_initializer(shape, dtype)))
            return variance

        self.moving_mean = kept("moving_mean", self.moving_mean_initializer)
        self.moving_variance = kept("moving_variance", self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = kept("moving_stddev", deviation)
            self.renorm_mean = kept("renorm_mean", self.moving_mean_initializer)
            self.renorm_stddev = kept("renorm_stddev", deviation)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        frozen = not self.trainable or training is False
        if len(x.shape) > 2 or (self.renorm and not frozen):
            return self._composed(x, frozen)
        return ops.BatchNorm(
            x,
            self.gamma,
            self.beta,
            self.moving_mean,
            self.moving_variance,
            self.momentum,
            self.epsilon,
            frozen=frozen,
            name=self.name,
        ).output

    def _composed(self, x: Tensor, frozen: bool) -> Tensor:
        """By ops: over all axes but the last one, and corrected."""
        mean, variance = (ops.WeightValue(each).output for each in (self.moving_mean, self.moving_variance))
        gamma, beta = self.gamma, self.beta
        if not frozen:
            axes = list(range(len(x.shape) - 1))
            batch_mean = ops.mean(x, axes)
            batch_variance = ops.mean(ops.square(x - batch_mean), axes)
            if self.renorm:
                mean, variance, gamma, beta = self._corrected(batch_mean, batch_variance, mean, variance)
            else:
                moves = (
                    ops.Move(batch_mean, self.moving_mean, self.momentum),
                    ops.Move(batch_variance, self.moving_variance, self.momentum),
                )
                mean = ops.Either(batch_mean, mean, f"{self.name}.mean", moves=moves[:1]).output
                variance = ops.Either(batch_variance, variance, f"{self.name}.variance", moves=moves[1:]).output
        return affine((x - mean) * ops.rsqrt(variance + self.epsilon), gamma, beta)

    def _corrected(self, batch_mean: Any, batch_variance: Any, mean: Any, variance: Any) -> tuple[Any, Any, Any, Any]:
        """Mean, variance, gamma and beta of renormalization; in training all averages move."""
        deviation = ops.sqrt(batch_variance + self.epsilon)
        centre, spread = (ops.WeightValue(each).output for each in (self.renorm_mean, self.renorm_stddev))
        spread = ops.maximum(spread, self.epsilon**0.5)
        limits = self.renorm_clipping or {}
        r, d = deviation / spread, (batch_mean - centre) / spread
        r = ops.maximum(r, limits["rmin"]) if "rmin" in limits else r
        r = ops.minimum(r, limits["rmax"]) if "rmax" in limits else r
        d = ops.clip(d, -limits["dmax"], limits["dmax"]) if "dmax" in limits else d
        moves = (
            ops.Move(batch_mean, self.renorm_mean, self.renorm_momentum),
            ops.Move(deviation, self.renorm_stddev, self.renorm_momentum),
            ops.Move(batch_mean, self.moving_mean, self.momentum),
            ops.Move(deviation, self.moving_stddev, self.momentum, self.moving_variance, self.epsilon),
        )
        # the averages are read before they move: by r and d, which the first of these waits for
        one, zero = (ops.Constant(np.full(d.shape, number), d.dtype).output for number in (1.0, 0.0))
        r = ops.Either(ops.stop_gradient(r), one, f"{self.name}.r").output
        d = ops.Either(ops.stop_gradient(d), zero, f"{self.name}.d", moves=moves).output
        mean = ops.Either(batch_mean, mean, f"{self.name}.mean").output
        variance = ops.Either(batch_variance, variance, f"{self.name}.variance").output
        gamma, beta = (r, d) if self.gamma is None else (r * self.gamma, d * self.gamma)
        return mean, variance, gamma, beta if self.beta is None else beta + self.beta


def checked_clipping(clipping: Mapping[str, float] | None) -> dict[str, float]:
    """ValueError for other keys than rmax, rmin and dmax, and for limits that leave nothing."""
    limits = dict(clipping or {})
    if wrong := set(limits) - set(CLIPPING):
        raise ValueError(f"renorm_clipping must have the keys {', '.join(CLIPPING)}: {sorted(wrong)[0]!r} is none")
    limits = {name: real(f"renorm_clipping[{name!r}]", limit) for name, limit in limits.items() if limit is not None}
    if limits.get("rmin", 0.0) > limits.get("rmax", np.inf):
        raise ValueError(f"renorm_clipping: rmax must not lie below rmin, and {limits['rmax']} < {limits['rmin']}")
    return limits
