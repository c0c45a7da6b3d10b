"""Layers that add noise in training and do nothing otherwise: Keras's names, arguments and defaults.

A `seed` gives a layer draws of its own, the same in each model; without one they follow from utils.set_random_seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastdl import ops
from fastdl.activations import SELU_ALPHA, SELU_SCALE, not_negative
from fastdl.compiler.graph import Tensor
from fastdl.layers.layer import Layer
from fastdl.layers.seeds import checked_noise_shape, checked_seed, dropped


class GaussianNoise(Layer):
    """x plus noise of mean 0 and this standard deviation. Keras: layers.GaussianNoise."""

    scalars = True

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.stddev, self.seed = not_negative("stddev", stddev), checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return ops.Noise(inputs, "gaussian_noise", (self.stddev,), self.name, training, self.seed).output


class GaussianDropout(Layer):
    """x times noise of mean 1 and standard deviation sqrt(rate / (1 - rate)). Keras: layers.GaussianDropout."""

    scalars = True

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.seed = _rate(rate), checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        deviation = math.sqrt(self.rate / (1 - self.rate))
        return ops.Noise(inputs, "gaussian_dropout", (deviation,), self.name, training, self.seed).output


class AlphaDropout(Layer):
    """Sets a share `rate` to SELU's lower limit, then a x + b, so that mean 0 and variance 1 stay.

    Klambauer et al. 2017. noise_shape: as for Dropout. Keras: layers.AlphaDropout.
    """

    scalars = True

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.rate, self.noise_shape, self.seed = _rate(rate), checked_noise_shape(noise_shape), checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        limit = -SELU_ALPHA * SELU_SCALE
        a = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * limit**2))
        b = -a * limit * self.rate
        if self.noise_shape is not None and self.rate > 0:
            drawn = dropped(inputs, self.rate, self.noise_shape, self.name, training, self.seed)
            noisy = ops.where(drawn > 0, inputs * a + b, a * limit + b)
            return ops.Either(noisy, inputs, self.name, noise=True, active=training).output
        scalars = self.rate, a, b, a * limit + b
        return ops.Noise(inputs, "alpha_dropout", scalars, self.name, training, self.seed).output


def _rate(rate: float) -> float:
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), not {rate}")
    return float(rate)
