"""Built-in losses as ops: what a loss of one's own that calls one of them is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Tensor
from fastdl.compiler.phases import Ref, read, write
from fastdl.errors import FusionError, ShapeError
from fastdl.ops.elementwise import Elementwise
from fastdl.ops.numeric import tensor_of
from fastdl.ops.symbolic import _Symbolic
from fastdl.ops.terminal import PerSample


class PerSampleLoss(_Symbolic):
    """Each sample's value of a loss's kernel, (batch,) of targets and predictions of one shape (batch, features).

    No gradient goes to the targets. ShapeError for other shapes.
    """

    def __init__(self, y_true: Tensor, y_pred: Tensor, terminal: PerSample, name: str = "") -> None:
        if terminal.labels:
            y_true, terminal = _one_hot(y_true, y_pred.channels, name), replace(terminal, labels=False)
        if y_true.features != y_pred.features or y_pred.ndim != 2:
            raise ShapeError(f"{name}: y_true {y_true.shape} and y_pred {y_pred.shape} must be (batch, features) alike")
        super().__init__([y_pred, y_true], (None,), name=name)
        self.terminal = terminal

    @property
    def flops(self) -> int:
        return 5 * self.inputs[0].features

    def _emit(self, build: Builder, each: Ref | None, dx: Ref | None, weight: Ref | None) -> None:
        x, target = self.inputs
        t, part = self.terminal, build.part_ref()
        build.emit(
            t.kernel,
            x=read(build.value(x)),
            dx=write(dx) if dx else None,
            part=write(part),
            target=read(build.value(target)),
            weight=read(weight) if weight else None,
            each=write(each) if each else None,
            features=x.features,
            feed=0,
            scale=t.scale / x.features if t.mean else t.scale,
            own=t.own,
            smoothing=t.smoothing,
            **t.more,
            axis=_ext.BY_PANEL,
        )

    def forward(self, build: Builder) -> None:
        self._emit(build, build.value(self.output), None, None)

    def backward(self, build: Builder) -> None:
        """The kernel's gradient is that of the weighted sum over the batch, divided by its size."""
        x = self.inputs[0]
        if not build.gradients.needed(x):
            return
        weight = Elementwise("multiply", [build.gradients.symbol(self.output), float(build.batch)]).output
        self._emit(build, None, build.gradients.give(x), build.value(weight))

    def onnx(self, graph: NodeWriter) -> None:
        raise FusionError(f"{self.label} is a loss: a file holds what a model computes in inference")


def _one_hot(labels: Tensor, classes: int, name: str) -> Tensor:
    """Rows of one-hot classes for labels (batch,) or (batch, 1)."""
    if labels.features != 1:
        raise ShapeError(f"{name}: labels must be (batch,) or (batch, 1), not {labels.shape}")
    column: Tensor = Tensor.apply("view", labels, (None, 1))
    return Elementwise("equal", [column, tensor_of(np.arange(classes), labels.dtype)]).output


__all__ = ["PerSampleLoss"]
