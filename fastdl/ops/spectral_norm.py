"""Spectral normalization (Miyato et al. 2018): a matrix by the largest factor that it lengthens a vector with."""

from __future__ import annotations

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Parameter, Tensor
from fastdl.compiler.phases import write
from fastdl.ops.reshaping import Reshape


class SpectralNorm(Reshape):
    """x as it is; a step of training divides `kernel` by its norm before what reads x runs, and moves `vector`.

    The power iteration is numpy's, in float64, once a batch. active: whether steps of training do so.
    """

    def __init__(
        self, x: Tensor, kernel: Parameter, vector: Parameter, iterations: int, name: str = "", active: bool = True
    ) -> None:
        super().__init__(x, x.shape[1:], name)
        self.kernel, self.vector, self.iterations, self.active = kernel, vector, iterations, active

    def forward(self, build: Builder) -> None:
        super().forward(build)
        if not (self.active and build.training and build.moves):
            return

        def run(*storage: Array) -> None:
            kernel, vector = normalized(self.kernel.numpy(), self.vector.numpy(), self.iterations)
            self.kernel.assign(kernel)
            self.vector.assign(vector)

        build.call(run, write(build.parameter(self.kernel)), write(build.parameter(self.vector)))


def normalized(kernel: Array, vector: Array, iterations: int) -> tuple[Array, Array]:
    """The kernel by its norm, and the vector (1, outputs) that it was estimated with; of zeros both as they are."""
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    if not weights.any():
        return kernel, vector
    right = vector.astype(np.float64)
    for _ in range(iterations):
        left = _unit(right @ weights.T)
        right = _unit(left @ weights)
    norm = (left @ weights @ right.T).item()
    return (kernel / norm if norm else kernel), right


def _unit(vector: Array) -> Array:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length) if length else vector


__all__ = ["SpectralNorm"]
