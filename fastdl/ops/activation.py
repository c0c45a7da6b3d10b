"""Activations: element by element, softmax and its logarithm over the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastdl import _ext
from fastdl.formula import Form
from fastdl.graph import Op, Tensor
from fastdl.schedule import read, write

if TYPE_CHECKING:
    from fastdl.onnx.export import OnnxGraph
    from fastdl.program import Builder


class Activation(Op):
    """y = act(x), any shape. kind: a row of the kernel table, with its scalars; form: the same in ONNX."""

    def __init__(self, x: Tensor, kind: str, scalars: Sequence[float], form: Form, name: str = "") -> None:
        self.kind, self.form = kind, form
        self._number, self._needs_input = _ext.ACTIVATIONS[kind]
        self._scalars = (*map(float, scalars), *[0.0] * (_ext.ACTIVATION_SCALARS - len(scalars)))
        super().__init__([x], x.shape, name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self not in build.fused:
            build.emit(
                "activation_forward",
                read(build.value(x)),
                write(build.value(self.output)),
                sizes=(x.features, self._number),
                scalars=self._scalars,
                features=x.features,
            )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self in build.done_backward:
            return
        build.emit(
            "activation_backward",
            read(build.value(x if self._needs_input else self.output)),
            read(build.gradient(self.output)),
            write(build.gradient(x)),
            sizes=(x.features, self._number),
            scalars=self._scalars,
            features=x.features,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        graph.write(self.form, self)


class Softmax(Op):
    """y = exp(x) / sum of exp(x) over the features, (batch, features)."""

    def __init__(self, x: Tensor, name: str = "") -> None:
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 5 * self.output.features

    def forward(self, build: Builder) -> None:
        _forward(self, build, "softmax_forward")

    def backward(self, build: Builder) -> None:
        _backward(self, build, "softmax_backward")

    def onnx(self, graph: OnnxGraph) -> None:
        graph.node("Softmax", [graph.name(self.inputs[0])], self, axis=-1)


class LogSoftmax(Op):
    """y = x - log of the sum of exp(x) over the features, (batch, features)."""

    def __init__(self, x: Tensor, name: str = "") -> None:
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 5 * self.output.features

    def forward(self, build: Builder) -> None:
        _forward(self, build, "log_softmax_forward")

    def backward(self, build: Builder) -> None:
        _backward(self, build, "log_softmax_backward")

    def onnx(self, graph: OnnxGraph) -> None:
        graph.node("LogSoftmax", [graph.name(self.inputs[0])], self, axis=-1)


def _forward(op: Op, build: Builder, kernel: str) -> None:
    """y of x, sample by sample: a sample's features lie in one panel."""
    (x,) = op.inputs
    accesses = read(build.value(x)), write(build.value(op.output))
    build.emit(kernel, *accesses, sizes=(x.features,), features=x.features, axis=_ext.BY_PANEL)


def _backward(op: Op, build: Builder, kernel: str) -> None:
    """dx of y and dy."""
    (x,) = op.inputs
    accesses = read(build.value(op.output)), read(build.gradient(op.output)), write(build.gradient(x))
    build.emit(kernel, *accesses, sizes=(x.features,), features=x.features, axis=_ext.BY_PANEL)
