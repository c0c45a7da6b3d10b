"""A penalty on activities: what a regularizer says of a layer's output, divided by the batch's size as in Keras."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import Ref, read, write


class Penalty(Op):
    """y = x, any shape; the loss grows by (l1 times the sum of |x| + l2 times the sum of x²) / batch."""

    def __init__(self, x: Tensor, l1: float, l2: float, name: str = "") -> None:
        self.strengths = l1, l2
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.same(self.output, x)
        if build.counts_penalties:
            part = Ref(build.panels * 8)
            build.emit(
                "activity_penalty",
                x=read(build.value(x)),
                part=write(part),
                features=x.features,
                l1=self.strengths[0],
                l2=self.strengths[1],
                axis=_ext.BY_PANEL,
                defer=True,
            )
            build.steps.add_penalty(part, build.panels)

    def backward(self, build: Builder) -> None:
        """Input and output have one gradient, to which the slope is added as another reader's."""
        (x,) = self.inputs
        build.emit(
            "activity_penalty_grad",
            x=read(build.value(x)),
            dx=write(build.gradients.give(x)),
            features=x.features,
            l1=self.strengths[0],
            l2=self.strengths[1],
        )

    def onnx(self, graph: NodeWriter) -> None:
        graph.same(self.output, self.inputs[0])
