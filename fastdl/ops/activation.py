"""Activations: element by element, softmax and its logarithm over the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Form
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import read, write
from fastdl.errors import warn


class Activation(Op):
    """y = act(x), any shape. kind: a row of the kernel table, with its scalars; form: the same in ONNX."""

    def __init__(self, x: Tensor, kind: str, scalars: Sequence[float], form: Form, name: str = "") -> None:
        self.kind, self.form, self.rectifies = kind, form, kind == "relu"
        self._number, self._needs_input = _ext.ACTIVATIONS[kind]
        self.scalars = (*map(float, scalars), *[0.0] * (_ext.ACTIVATION_SCALARS - len(scalars)))
        super().__init__([x], x.shape, name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self not in build.neighbours.fused:
            build.emit(
                "activation_forward",
                x=read(build.value(x)),
                y=write(build.value(self.output)),
                features=x.features,
                activation=self._number,
                own=self.scalars,
            )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self in build.neighbours.done_backward:
            return
        build.emit(
            "activation_backward",
            saved=read(build.value(x if self._needs_input else self.output)),
            dy=read(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)),
            features=x.features,
            activation=self._number,
            own=self.scalars,
        )

    def onnx(self, graph: NodeWriter) -> None:
        graph.write(self.form, self)


class _OverFeatures(Op):
    """Of the last axis, which lies in one panel: y of x, and dx of y and dy. x: (batch, ..., features)."""

    kernel: ClassVar[str]
    operator: ClassVar[str]  # ONNX's

    def __init__(self, x: Tensor, name: str = "") -> None:
        super().__init__([x], x.shape, name=name)
        if x.channels == 1:
            told = f"{name}: {self.operator} over one number is the same for every input: use sigmoid, or more units"
            warn(told, UserWarning)

    @property
    def flops(self) -> int:
        return 5 * self.output.features

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            f"{self.kernel}_forward",
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            features=x.channels,
            members=x.members,
            axis=_ext.BY_PANEL,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            f"{self.kernel}_backward",
            y=read(build.value(self.output)),
            dy=read(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)),
            features=x.channels,
            members=x.members,
            axis=_ext.BY_PANEL,
        )

    def onnx(self, graph: NodeWriter) -> None:
        graph.node(self.operator, [graph.name(self.inputs[0])], self, axis=-1)


class Softmax(_OverFeatures):
    """y = exp(x) / sum of exp(x) over the last axis, (batch, ..., features)."""

    kernel, operator = "softmax", "Softmax"


class LogSoftmax(_OverFeatures):
    """y = x - log of the sum of exp(x) over the last axis, (batch, ..., features)."""

    kernel, operator = "log_softmax", "LogSoftmax"
