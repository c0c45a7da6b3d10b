"""Other shapes of the same numbers: nothing to compute, for a sample's numbers keep their order in a panel."""

from __future__ import annotations

import math

from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Shape, Tensor
from fastdl.errors import ShapeError


class Reshape(Op):
    """x: (batch, ...) → (batch, *shape) with as many numbers a sample. ShapeError where they differ."""

    def __init__(self, x: Tensor, shape: Shape, name: str = "") -> None:
        count = math.prod(size or 0 for size in shape)
        if None not in (*shape, *x.shape[1:]) and count != x.features:
            raise ShapeError(f"{name}: {x.shape[1:]} holds {x.features} numbers a sample, {shape} {count}")
        super().__init__([x], (None, *shape), name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        build.same(self.output, self.inputs[0])

    def backward(self, build: Builder) -> None:
        """Nothing: both gradients are one buffer."""

    def onnx(self, graph: NodeWriter) -> None:
        (x,) = self.inputs
        if self.output.shape == x.shape:
            graph.same(self.output, x)
        elif len(self.output.shape) == 2:
            graph.node("Flatten", [graph.name(x)], self, axis=1)
        else:
            shape = graph.shape_constant([0 if size is None else size for size in self.output.shape])
            graph.node("Reshape", [graph.name(x), shape], self)
