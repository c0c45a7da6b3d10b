"""Initializers, with Keras's names: seeded draws of a parameter's first values."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastdl import _random
from fastdl.graph import Array


class Initializer:
    """Base: `initializer(shape, dtype)` gives the values. seed=None draws from the global generator."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def generator(self) -> np.random.Generator:
        return _random.generator() if self.seed is None else np.random.default_rng(self.seed)

    def __call__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        raise NotImplementedError


class Zeros(Initializer):
    """All zero."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All one."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return np.ones(shape, dtype)


class VarianceScaling(Initializer):
    """Draws with variance scale / n, n the fan_in, fan_out or fan_avg of an (in, out) kernel (Keras).

    distribution: "truncated_normal" (cut at two standard deviations), "untruncated_normal" or "uniform".
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be fan_in, fan_out or fan_avg, not {mode!r}")
        if distribution not in ("truncated_normal", "untruncated_normal", "normal", "uniform"):
            raise ValueError(
                f"distribution must be truncated_normal, untruncated_normal or uniform, not {distribution!r}"
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def __call__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        fan_in, fan_out = (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, count)
        draw = self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return draw.uniform(-limit, limit, shape).astype(dtype)
        values = draw.standard_normal(shape)
        if self.distribution == "untruncated_normal":
            return (values * math.sqrt(variance)).astype(dtype)
        while (outside := np.abs(values) > 2).any():
            values[outside] = draw.standard_normal(int(outside.sum()))
        # a normal cut at two standard deviations has this standard deviation left
        return (values * math.sqrt(variance) / 0.87962566103423978).astype(dtype)


class _Named(VarianceScaling):
    """A VarianceScaling whose three settings are its name."""

    settings: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.settings, seed=seed)


class GlorotUniform(_Named):
    """Glorot and Bengio 2010, uniform."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Glorot and Bengio 2010, normal."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """He et al. 2015, uniform."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """He et al. 2015, normal."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """LeCun et al. 1998, uniform."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """LeCun et al. 1998, normal."""

    settings = (1.0, "fan_in", "truncated_normal")


NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
}


def get(initializer: str | Initializer | type[Initializer]) -> Initializer:
    """An initializer by Keras name, class or instance. ValueError if there is none."""
    if isinstance(initializer, Initializer):
        return initializer
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        return initializer()
    if initializer in NAMES:
        return NAMES[initializer]()
    raise ValueError(f"unknown initializer {initializer!r}: choose one of {', '.join(NAMES)}")
