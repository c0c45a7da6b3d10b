"""PReLU (He et al. 2015): a leaky ReLU whose slopes are trained."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import read, write
from fastdl.errors import ShapeError


class PReLU(Op):
    """y = x, below 0 alpha x. x: (batch, features); alpha: (features,). ShapeError if they do not fit."""

    def __init__(self, x: Tensor, alpha: Parameter, name: str = "") -> None:
        if x.shape[1:] != alpha.shape:
            raise ShapeError(f"{name}: slopes of shape {alpha.shape} do not fit an input of shape {x.shape}")
        self.alpha = alpha
        super().__init__([x], x.shape, [alpha], name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "prelu_forward",
            x=read(build.value(x)),
            alpha=read(build.parameter(self.alpha)),
            y=write(build.value(self.output)),
            features=x.features,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        slopes = build.vector_ref(x.features) if build.steps.trains(self.alpha) else None
        build.emit(
            "prelu_backward",
            x=read(build.value(x)),
            dy=read(build.gradients.of(self.output)),
            alpha=read(build.parameter(self.alpha)),
            dx=write(build.gradients.give(x)) if build.gradients.needed(x) else None,
            dalpha=write(slopes) if slopes else None,
            features=x.features,
            axis=_ext.BY_FEATURE,
        )
        if slopes:
            build.steps.train(self.alpha, slopes)

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("PRelu", [graph.name(self.inputs[0]), graph.constant(self.alpha)], self)
