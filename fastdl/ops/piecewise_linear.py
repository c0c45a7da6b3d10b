"""Numbers as how far they are through each of their pieces (Gorishniy et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor, features_of
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments, read_all, write
from fastdl.errors import ShapeError

FARTHEST = 2.0**60  # of what is not clipped: numbers that folds of the file do not take for ones that may overflow


class PiecewiseLinear(Op):
    """y = clip((x - lower) scale, 0, 1) for each piece. x: (batch, N) → (batch, pieces). Nothing here is trained.

    lower, scale: (pieces,), those of the first number first. counts: how many pieces each number has. The first piece
    of a number is not clipped below, the last not above. ShapeError if they do not fit.
    """

    def __init__(self, x: Tensor, lower: Parameter, scale: Parameter, counts: Sequence[int], name: str = "") -> None:
        if len(counts) != features_of(name, x.shape) or lower.shape != scale.shape or lower.size != sum(counts):
            raise ShapeError(f"{name}: {lower.size} pieces of {len(counts)} numbers do not fit an input {x.shape}")
        self.lower, self.scale = lower, scale
        self.first = [0, *accumulate(counts)]
        super().__init__([x], (None, lower.size), [lower, scale], name)

    @property
    def flops(self) -> int:
        return 4 * self.output.features

    def _limits(self) -> tuple[Array, Array]:
        """The least and the most that each piece gives."""
        least, most = np.zeros(self.lower.size), np.ones(self.lower.size)
        least[self.first[:-1]], most[np.array(self.first[1:]) - 1] = -FARTHEST, FARTHEST
        return least, most

    def _common(self, build: Builder) -> Arguments:
        (x,) = self.inputs
        limits: Arguments = {}
        for name, values in zip(("least", "most"), self._limits(), strict=True):
            limits[name] = aligned((padded(self.lower.size),), build.dtype)
            limits[name][: self.lower.size] = values
        return {
            "x": read_all(build.value(x)),
            "lower": read_all(build.parameter(self.lower)),
            "scale": read_all(build.parameter(self.scale)),
            **{name: read_all(build.array(values)) for name, values in limits.items()},
            "first": read_all(build.array(build.constant(self.first))),
            "inputs": x.features,
            "features": self.output.features,
        }

    def forward(self, build: Builder) -> None:
        build.emit("piecewise_linear_forward", **self._common(build), y=write(build.value(self.output)))

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "piecewise_linear_backward",
            **self._common(build),
            dy=read_all(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)),
            over=x.features,
        )

    def onnx(self, graph: NodeWriter) -> None:
        counts = np.diff(self.first)
        place = graph.constant(np.repeat(np.arange(len(counts)), counts), f"{self.name}.place")
        value = graph.inner("Gather", [graph.name(self.inputs[0]), place], self, axis=1)
        value = graph.inner("Sub", [value, graph.constant(self.lower)], self)
        value = graph.inner("Mul", [value, graph.constant(self.scale)], self)
        least, most = (each.astype(self.output.dtype) for each in self._limits())
        value = graph.inner("Max", [value, graph.constant(least, f"{self.name}.least")], self)
        graph.node("Min", [value, graph.constant(most, f"{self.name}.most")], self)
