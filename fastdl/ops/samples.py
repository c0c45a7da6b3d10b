"""Over the samples of a batch, and products of matrices that each sample has its own of."""

from __future__ import annotations

import math

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Shape, Tensor
from fastdl.compiler.phases import read_all, write
from fastdl.errors import ShapeError
from fastdl.ops.combine import sum_to
from fastdl.ops.symbolic import _Symbolic, broadcast, feature_map, view


class OverSamples(_Symbolic):
    """The sum or mean of (batch, ...) over the samples: one array (...) for all of them."""

    def __init__(self, x: Tensor, mean: bool, name: str = "") -> None:
        super().__init__([x], x.shape[1:], name=name or ("mean" if mean else "sum"))
        self.mean = mean

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "over_samples",
            x=read_all(build.value(x)),
            y=write(build.value(self.output)),
            features=x.features,
            scale=1 / build.batch if self.mean else 1.0,
            axis=_ext.BY_FEATURE,
        )

    def gradient(self, number: int, dy: Tensor) -> Tensor:
        """Each sample's result is read by all that follows, so what it is given is summed over the samples as well."""
        (x,) = self.inputs
        return view(OverSamples(view(dy, x.shape), self.mean).output, x.shape)

    def onnx(self, graph: NodeWriter) -> None:
        (x,) = self.inputs
        if self.mean:
            graph.node("ReduceMean", [graph.name(x)], self, axes=[0], keepdims=0)
        else:
            graph.node("ReduceSum", [graph.name(x), graph.shape_constant([0])], self, keepdims=0)


class ProductOfSamples(_Symbolic):
    """a @ b of each sample, (..., rows, inner) @ (..., inner, columns) by numpy's rule. ShapeError if they differ."""

    def __init__(self, a: Tensor, b: Tensor, name: str = "") -> None:
        if len(a.sample) < 2 or len(b.sample) < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"matmul: shapes {a.shape} and {b.shape} do not fit together")
        lead = broadcast("matmul", [a.shape[:-2], b.shape[:-2]])
        super().__init__([a, b], (*lead, a.shape[-2], b.shape[-1]), name=name or "matmul")
        self._sizes = a.shape[-2] or 0, a.shape[-1] or 0, b.shape[-1] or 0
        self._groups = math.prod(size or 0 for size in self.output.sample[:-2])

    @property
    def flops(self) -> int:
        return 2 * self._groups * math.prod(self._sizes)

    def forward(self, build: Builder) -> None:
        rows, inner, columns = self._sizes
        a, b = self.inputs
        build.emit(
            "product_of_samples",
            a=read_all(build.value(a)),
            b=read_all(build.value(b)),
            c=write(build.value(self.output)),
            groups=self._groups,
            rows=rows,
            inner=inner,
            columns=columns,
            a_features=a.features,
            b_features=b.features,
            a_group=self._step(a),
            a_row=inner,
            a_inner=1,
            b_group=self._step(b),
            b_inner=columns,
            b_column=1,
            over=self.output.features,
            axis=_ext.BY_PANEL,
        )

    def _step(self, x: Tensor) -> int:
        """Features from one group's matrix to the next one's. ShapeError where some are repeated and others not."""
        each = (x.shape[-2] or 0) * (x.shape[-1] or 0)
        steps = feature_map((*x.shape[:-2], 1), (*self.output.shape[:-2], 1))
        if steps is None:
            return each
        if steps.any():
            raise ShapeError(
                f"matmul: of {x.shape} some matrices would be repeated: broadcast_to all of its axes first"
            )
        return 0

    def gradient(self, number: int, dy: Tensor) -> Tensor:
        a, b = self.inputs
        factors = (dy, _swapped(b)) if number == 0 else (_swapped(a), dy)
        return sum_to(ProductOfSamples(*factors).output, self.inputs[number].shape)

    def compute(self, *inputs: Array) -> Array:
        return np.asarray(np.matmul(*inputs))

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("MatMul", [graph.name(x) for x in self.inputs], self)


def _swapped(x: Tensor) -> Tensor:
    result: Tensor = Tensor.apply("swapaxes", x, -1, -2)
    return result


def flat(x: Tensor) -> Shape:
    """(batch, features), or (features,) of what is one array for all samples."""
    return (None, x.features) if x.batched else (x.features,)


__all__ = ["OverSamples", "ProductOfSamples"]
