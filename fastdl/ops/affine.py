"""An affine map with fixed numbers for each feature: what standardizes, scales and centres data in the model."""

from __future__ import annotations

import math

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import Arguments, Ref, read, write

KINDS = {"scale": _ext.SCALE, "root": _ext.ROOT, "inverse root": _ext.INVERSE_ROOT}


class Affine(Op):
    """y = (x - center) scale + offset, x: (batch, ...). Nothing here is trained.

    center, spread, offset: (count,) or None, numbers for the `axes` of x that are told apart, neighbours that hold
    `count`. kind: the scale is the "spread", its "root" or "inverse root", where the root is at least `least`.
    """

    def __init__(
        self,
        x: Tensor,
        center: Parameter | None,
        spread: Parameter | None,
        offset: Parameter | None,
        axes: range,
        kind: str = "scale",
        least: float = 0.0,
        name: str = "",
    ) -> None:
        self.center, self.spread, self.offset = center, spread, offset
        self.axes, self.kind, self.least = axes, kind, least
        super().__init__([x], x.shape, [p for p in (center, spread, offset) if p], name)

    @property
    def flops(self) -> int:
        return len(self.parameters) * self.output.features

    def _emit(self, build: Builder, x: Ref, y: Ref, **vectors: Parameter | None) -> None:
        sizes = [size or 1 for size in self.output.shape]
        inner = math.prod(sizes[self.axes.stop :])
        count = math.prod(sizes[axis] for axis in self.axes)
        features = self.output.features
        numbers: Arguments = {name: read(build.parameter(vector)) for name, vector in vectors.items() if vector}
        build.emit(
            "affine",
            x=read(x),
            y=write(y),
            **numbers,
            features=features,
            inner=inner,
            count=count,
            spread_is=KINDS[self.kind],
            least=self.least,
        )

    def forward(self, build: Builder) -> None:
        x, y = build.value(self.inputs[0]), build.value(self.output)
        self._emit(build, x, y, center=self.center, spread=self.spread, offset=self.offset)

    def backward(self, build: Builder) -> None:
        dx, dy = build.gradients.give(self.inputs[0]), build.gradients.of(self.output)
        self._emit(build, dy, dx, spread=self.spread)

    def onnx(self, graph: NodeWriter) -> None:
        shape = [(size or 1) if axis in self.axes else 1 for axis, size in enumerate(self.output.shape)]
        lead = next((axis for axis, size in enumerate(shape) if size > 1), len(shape) - 1)

        def constant(vector: Parameter) -> Array:
            return vector.numpy().reshape(shape[lead:])

        def form(v: Formula) -> Formula:
            v = v - constant(self.center) if self.center else v
            v = v * self._scale().reshape(shape[lead:]) if self.spread else v
            return v + constant(self.offset) if self.offset else v

        graph.write(form, self)

    def _scale(self) -> Array:
        """As the kernel computes it."""
        assert self.spread is not None
        spread = self.spread.numpy()
        if self.kind == "scale":
            return spread
        root = np.maximum(np.sqrt(spread.astype(np.float64)), self.least)
        return (root if self.kind == "root" else 1 / root).astype(spread.dtype)
