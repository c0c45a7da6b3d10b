"""Noise in training; in inference there is nothing to do but for RReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastdl import _ext
from fastdl.formula import Formula
from fastdl.graph import Op, Tensor
from fastdl.schedule import read, write

if TYPE_CHECKING:
    from fastdl.onnx.export import OnnxGraph
    from fastdl.program import Builder


class Noise(Op):
    """y = x with noise of a row of the kernel table (see ext/kernels/noise.h) in training, x otherwise. Any shape."""

    randomness = 1

    def __init__(
        self,
        x: Tensor,
        kind: str,
        scalars: Sequence[float],
        name: str = "",
        active: bool | None = None,
        seed: int | None = None,
    ) -> None:
        self.active, self.seed = active, seed
        self._number, self._needs_input = _ext.NOISES[kind]
        self._scalars = (*map(float, scalars), *[0.0] * (_ext.NOISE_SCALARS - len(scalars)))
        super().__init__([x], x.shape, name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            build.same(self.output, x)
            return
        build.emit(
            "noise_forward",
            *(read(build.value(x)), write(build.value(self.output))),
            sizes=(x.features, self._number, build.stream(self)),
            scalars=self._scalars,
            features=x.features,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            return
        gradient = build.gradient(self.output)
        build.emit(
            "noise_backward",
            *(read(build.value(x) if self._needs_input else gradient), read(gradient), write(build.give(x))),
            sizes=(x.features, self._number, build.stream(self)),
            scalars=self._scalars,
            features=x.features,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.refuse_noise(self)
        graph.same(self.output, self.inputs[0])


class RReLU(Noise):
    """y = x, below 0 times a random slope between lower and upper (Xu et al. 2015); in inference times their mean."""

    def __init__(
        self,
        x: Tensor,
        lower: float,
        upper: float,
        name: str = "",
        active: bool | None = None,
        seed: int | None = None,
    ) -> None:
        self.slope = (lower + upper) / 2
        super().__init__(x, "rrelu", (lower, upper), name, active, seed)

    def _leaky(self) -> tuple[tuple[int, int], tuple[float, ...]]:
        sizes = self.output.features, _ext.ACTIVATIONS["leaky_relu"][0]
        return sizes, (self.slope, *[0.0] * (_ext.ACTIVATION_SCALARS - 1))

    def forward(self, build: Builder) -> None:
        if build.acts(self):
            super().forward(build)
            return
        sizes, scalars = self._leaky()
        accesses = read(build.value(self.inputs[0])), write(build.value(self.output))
        build.emit("activation_forward", *accesses, sizes=sizes, scalars=scalars, features=sizes[0])

    def backward(self, build: Builder) -> None:
        if build.acts(self):
            super().backward(build)
            return
        sizes, scalars = self._leaky()
        accesses = read(build.value(self.output)), read(build.gradient(self.output)), write(build.give(self.inputs[0]))
        build.emit("activation_backward", *accesses, sizes=sizes, scalars=scalars, features=sizes[0])

    def onnx(self, graph: OnnxGraph) -> None:
        graph.refuse_noise(self)
        graph.write(lambda v: Formula("PRelu", v, self.slope), self)
