"""Activations: element by element, and softmax over the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdl import _ext
from fastdl.graph import Op, Tensor
from fastdl.schedule import read, write

if TYPE_CHECKING:
    from fastdl.onnx.export import OnnxGraph
    from fastdl.program import Builder

# name: (number in the kernel table, ONNX operator)
KINDS: dict[str, tuple[int, str]] = {
    "relu": (_ext.RELU, "Relu"),
    "sigmoid": (_ext.SIGMOID, "Sigmoid"),
    "tanh": (_ext.TANH, "Tanh"),
}


class Activation(Op):
    """y = act(x), any shape. `kind` is a name in KINDS."""

    def __init__(self, x: Tensor, kind: str, name: str = "") -> None:
        self.kind = kind
        super().__init__([x], x.shape, name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self not in build.fused:
            build.emit(
                "activation_forward",
                read(build.value(x)),
                write(build.value(self.output)),
                sizes=(x.features, KINDS[self.kind][0]),
                features=x.features,
            )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self in build.done_backward:
            return
        build.emit(
            "activation_backward",
            read(build.value(self.output)),
            read(build.gradient(self.output)),
            write(build.gradient(x)),
            sizes=(x.features, KINDS[self.kind][0]),
            features=x.features,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.node(KINDS[self.kind][1], [graph.name(self.inputs[0])], self)


class Softmax(Op):
    """y = exp(x) / sum of exp(x) over the features, (batch, features)."""

    def __init__(self, x: Tensor, name: str = "") -> None:
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 5 * self.output.features

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "softmax_forward",
            read(build.value(x)),
            write(build.value(self.output)),
            sizes=(x.features,),
            features=x.features,
            axis=_ext.BY_PANEL,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "softmax_backward",
            read(build.value(self.output)),
            read(build.gradient(self.output)),
            write(build.gradient(x)),
            sizes=(x.features,),
            features=x.features,
            axis=_ext.BY_PANEL,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.node("Softmax", [graph.name(self.inputs[0])], self, axis=-1)
