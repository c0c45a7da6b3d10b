"""Features of features: sums, products, the largest and the smallest of some, and any of them in another order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Shape, Tensor
from fastdl.compiler.phases import read_all, write
from fastdl.errors import FusionError, ShapeError
from fastdl.ops.symbolic import _Symbolic, aligned_sample, indices, view

Writer = Callable[[NodeWriter, "Combine"], None]
HOW = {"sum": _ext.SUM_OF, "prod": _ext.PRODUCT_OF, "max": _ext.LARGEST_OF, "min": _ext.SMALLEST_OF}


class Combine(_Symbolic):
    """Each feature of y is scale times the sum, product, largest or smallest of a list of x's features; of none, 0.

    starts, index: the list of feature j is index[starts[j]:starts[j + 1]]. write: adds its nodes to a file.
    """

    def __init__(
        self,
        x: Tensor,
        shape: Shape,
        starts: Array,
        index: Array,
        how: str = "sum",
        scale: float = 1.0,
        write: Writer | None = None,
        name: str = "",
    ) -> None:
        super().__init__([x], shape, name=name or how)
        self.starts, self.index, self.how, self.scale, self.write = starts, index, how, scale, write

    @property
    def flops(self) -> int:
        return len(self.index)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        build.emit(
            "combine",
            x=read_all(build.value(x)),
            starts=read_all(build.array(indices(self.starts))),
            index=read_all(build.array(indices(self.index))),
            y=write(build.value(self.output)),
            inputs=x.features,
            features=self.output.features,
            how=HOW[self.how],
            scale=self.scale,
        )

    def gradient(self, number: int, dy: Tensor) -> Tensor:
        (x,) = self.inputs
        if self.how == "sum":
            return self._back(dy, x.shape, self.scale)
        flat = (x.shape[0], x.features) if x.batched else (x.features,)
        values, readers = view(x, flat), self._readers()
        if self.how == "prod":
            return view(take(dy, readers, flat) * self._others(values, flat) * self.scale, x.shape)
        best: Tensor = Tensor.apply("equal", values * self.scale, take(self.output, readers, flat))
        share = view(dy, self.output.shape) / Combine(best, self.output.shape, self.starts, self.index).output
        slope: Tensor = best * take(share, readers, flat) * self.scale
        return view(slope, x.shape)

    def _readers(self) -> Array:
        """The feature of y that each feature of x is part of; each is part of one."""
        readers = np.zeros(self.inputs[0].features, np.int64)
        readers[self.index] = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        return readers

    def _others(self, values: Tensor, flat: Shape) -> Tensor:
        """For each feature the product of the others in its list: quotients would lose what is divided by zero."""
        lists = [self.index[a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        others = {int(i): each[each != i] for each in lists for i in each}
        if any(len(each) == 0 for each in others.values()):
            ones: Tensor = values * 0.0 + 1.0
            return ones
        rows = [others[i] for i in range(values.features)]
        return Combine(values, flat, _starts(map(len, rows)), np.concatenate(rows), "prod").output

    def _back(self, dy: Tensor, shape: Shape, scale: float) -> Tensor:
        """The transposed sum: each feature of x is in these features of y."""
        of = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        order = np.argsort(self.index, kind="stable")
        counts = np.bincount(self.index, minlength=self.inputs[0].features)
        return Combine(dy, shape, _starts(counts), of[order], "sum", scale).output

    def compute(self, *inputs: Array) -> Array:
        picked, full = inputs[0].ravel()[self.index], np.diff(self.starts) > 0
        functions: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
        result = np.zeros(len(full), inputs[0].dtype)
        result[full] = functions[self.how].reduceat(picked, self.starts[:-1][full]) if full.any() else 0
        return np.asarray(result * inputs[0].dtype.type(self.scale)).reshape([size or 0 for size in self.output.shape])

    def onnx(self, graph: NodeWriter) -> None:
        if self.write is None:
            raise FusionError(f"{self.label} has no form in ONNX")
        self.write(graph, self)


def _starts(lengths: Any) -> Array:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))]).astype(np.int64)


def take(x: Tensor, index: Array, shape: Shape, write: Writer | None = None, name: str = "take") -> Tensor:
    """The features of x of these numbers, in this order, as a tensor of the shape."""
    return Combine(x, shape, np.arange(index.size + 1), index.ravel(), "sum", 1.0, write, name).output


def reduced(x: Tensor, axes: tuple[int, ...], how: str, scale: float, keepdims: bool) -> Tensor:
    """The sum, product, largest or smallest along axes of a sample, numbered as in x.shape."""
    offset = int(x.batched)
    sizes = tuple(size or 0 for size in x.sample)
    along = [axis - offset for axis in axes]
    kept = [axis for axis in range(len(sizes)) if axis not in along]
    count = math.prod(sizes[axis] for axis in along)
    if count == 0:
        raise ShapeError(f"{how} over no numbers: the tensor has shape {x.shape}")
    index = np.arange(x.features).reshape(sizes).transpose([*kept, *along]).reshape(-1, count)
    full = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    shape = full if keepdims else tuple(size for i, size in enumerate(x.shape) if i not in axes)
    operator = f"Reduce{'Mean' if scale != 1 else how.title()}"

    def write(graph: NodeWriter, op: Combine) -> None:
        name, keeps = graph.name(op.inputs[0]), int(keepdims)
        if operator == "ReduceSum":
            graph.node(operator, [name, graph.shape_constant(axes)], op, keepdims=keeps)
        else:
            graph.node(operator, [name], op, axes=list(axes), keepdims=keeps)

    return Combine(x, shape, np.arange(len(index) + 1) * count, index.ravel(), how, scale, write).output


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """A gradient of broadcast features, summed to a tensor of the shape that was broadcast. Samples are not summed:
    what is one array for all of them gathers that where it ends."""
    sizes, wanted = [size or 0 for size in x.sample], aligned_sample(shape, x.shape)
    axes = tuple(i + int(x.batched) for i, size in enumerate(wanted) if size == 1 and sizes[i] != 1)
    return view(reduced(x, axes, "sum", 1.0, True) if axes else x, shape)


__all__ = ["Combine"]
