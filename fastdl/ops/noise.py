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

    def __init__(self, x: Tensor, kind: str, scalars: Sequence[float], name: str = "") -> None:
        self._number, self._needs_input = _ext.NOISES[kind]
        self._scalars = (*map(float, scalars), *[0.0] * (_ext.NOISE_SCALARS - len(scalars)))
        super().__init__([x], x.shape, name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.training:
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
        gradient = build.gradient(self.output)
        build.emit(
            "noise_backward",
            *(read(build.value(x) if self._needs_input else gradient), read(gradient), write(build.gradient(x))),
            sizes=(x.features, self._number, build.stream(self)),
            scalars=self._scalars,
            features=x.features,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.same(self.output, self.inputs[0])


class RReLU(Noise):
    """y = x, below 0 times a random slope between lower and upper (Xu et al. 2015); in inference times their mean."""

    def __init__(self, x: Tensor, lower: float, upper: float, name: str = "") -> None:
        self.slope = (lower + upper) / 2
        super().__init__(x, "rrelu", (lower, upper), name)

    def forward(self, build: Builder) -> None:
        if build.training:
            super().forward(build)
            return
        (x,) = self.inputs
        build.emit(
            "activation_forward",
            *(read(build.value(x)), write(build.value(self.output))),
            sizes=(x.features, _ext.ACTIVATIONS["leaky_relu"][0]),
            scalars=(self.slope, *[0.0] * (_ext.ACTIVATION_SCALARS - 1)),
            features=x.features,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.write(lambda v: Formula("PRelu", v, self.slope), self)
