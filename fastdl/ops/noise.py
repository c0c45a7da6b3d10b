"""Noise in training; in inference there is nothing to do but for RReLU."""

from __future__ import annotations

from collections.abc import Sequence

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import Arguments, read, write


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
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            features=x.features,
            noise=self._number,
            stream=build.stream(self),
            own=self._scalars,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            return
        gradient = build.gradients.of(self.output)
        build.emit(
            "noise_backward",
            saved=read(build.value(x) if self._needs_input else gradient),
            dy=read(gradient),
            dx=write(build.gradients.give(x)),
            features=x.features,
            noise=self._number,
            stream=build.stream(self),
            own=self._scalars,
        )

    def onnx(self, graph: NodeWriter) -> None:
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

    def _leaky(self) -> Arguments:
        return {
            "features": self.output.features,
            "activation": _ext.ACTIVATIONS["leaky_relu"][0],
            "own": (self.slope, *[0.0] * (_ext.ACTIVATION_SCALARS - 1)),
        }

    def forward(self, build: Builder) -> None:
        if build.acts(self):
            super().forward(build)
            return
        x, y = read(build.value(self.inputs[0])), write(build.value(self.output))
        build.emit("activation_forward", x=x, y=y, **self._leaky())

    def backward(self, build: Builder) -> None:
        if build.acts(self):
            super().backward(build)
            return
        y, dy = read(build.value(self.output)), read(build.gradients.of(self.output))
        build.emit(
            "activation_backward", saved=y, dy=dy, dx=write(build.gradients.give(self.inputs[0])), **self._leaky()
        )

    def onnx(self, graph: NodeWriter) -> None:
        graph.refuse_noise(self)
        graph.write(lambda v: Formula("PRelu", v, self.slope), self)
