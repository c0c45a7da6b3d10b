"""A trained scale for each feature."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import read, write
from fastdl.errors import ShapeError


class Scale(Op):
    """y = x scale. x: (batch, features); scale: (features,). ShapeError if they do not fit."""

    def __init__(self, x: Tensor, scale: Parameter, name: str = "") -> None:
        if x.shape[1:] != scale.shape:
            raise ShapeError(f"{name}: scales of shape {scale.shape} do not fit an input of shape {x.shape}")
        self.scale = scale
        super().__init__([x], x.shape, [scale], name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "affine",
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            spread=read(build.parameter(self.scale)),
            features=x.features,
            inner=1,
            count=x.features,
            spread_is=_ext.SCALE,
            least=0.0,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        slopes = build.vector_ref(x.features) if build.steps.trains(self.scale) else None
        build.emit(
            "scale_backward",
            x=read(build.value(x)),
            dy=read(build.gradients.of(self.output)),
            scale=read(build.parameter(self.scale)),
            dx=write(build.gradients.give(x)) if build.gradients.needed(x) else None,
            dscale=write(slopes) if slopes else None,
            features=x.features,
            axis=_ext.BY_FEATURE,
        )
        if slopes:
            build.steps.train(self.scale, slopes)

    def onnx(self, graph: NodeWriter) -> None:
        graph.write(lambda v: Formula("Mul", v, self.scale.numpy()), self)
