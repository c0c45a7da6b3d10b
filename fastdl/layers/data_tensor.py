"""Columns as symbolic tensors: what numpy computes of a model's inputs where feeds are made, before programs run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from fastdl import config
from fastdl.base.arrays import Array, Dtype
from fastdl.base.columns import TEXT, is_column
from fastdl.base.order import in_order
from fastdl.base.scopes import having
from fastdl.compiler.graph import Graph, Op, Parameter, Shape, Tensor
from fastdl.errors import ShapeError
from fastdl.ops import Reshape

_floats: ContextVar[Dtype | None] = ContextVar("floats", default=None)


class ColumnWriter(Protocol):
    """What a layer sees while its graph is written as ONNX. computed: adds a node, and returns its output's name."""

    def constant(self, value: Parameter | Array, name: str = "") -> str: ...
    def shape_constant(self, shape: Sequence[int]) -> str: ...
    def computed(
        self, operator: str, inputs: Sequence[str], owner: str, domain: str = "", **attributes: Any
    ) -> str: ...


class ColumnLayer(Protocol):
    """What computes a DataTensor."""

    name: str

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array: ...
    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str: ...


class DataTensor(Tensor):
    """What `layer` makes of `sources`, which are inputs of a model or such tensors; None converts to its own dtype."""

    def __init__(self, shape: Shape, dtype: Dtype, layer: ColumnLayer | None, sources: Sequence[Tensor]) -> None:
        name = layer.name if layer else sources[0].name
        super().__init__(shape, dtype, None, name)
        self.layer, self.sources = layer, tuple(sources)
        if layer is None:
            self.batch_size = sources[0].batch_size

    def compute(self, arrays: Sequence[Array]) -> Array:
        """The rows, (rows, *sample), of those of its sources. DataError."""
        if self.layer is None:
            return arrays[0].astype(self.dtype)
        return self.layer.encode(arrays, self.dtype)

    def onnx(self, graph: ColumnWriter, names: Sequence[str]) -> str:
        """Add its nodes; the name of the value. FusionError where a file cannot compute it."""
        if self.layer is None:
            return converted(graph, names[0], self.dtype, self.name)
        return self.layer.onnx(graph, names, self)


def converted(graph: ColumnWriter, name: str, dtype: Dtype, owner: str) -> str:
    """The value of that name in another dtype."""
    from onnx import helper

    return graph.computed("Cast", [name], owner, to=helper.np_dtype_to_tensor_dtype(dtype))


def float_dtype() -> Dtype:
    """The dtype of floats that are encoded: that of the model which is being traced, else config.floatx()."""
    return _floats.get() or np.dtype(config.floatx())


@contextmanager
def floats_of(dtype: Dtype) -> Iterator[None]:
    """Columns that are encoded within become floats of the dtype."""
    with having(_floats, dtype):
        yield


def as_floats(owner: str, tensor: Tensor) -> Tensor:
    """The tensor as programs take it: whole numbers become floats. ValueError for strings."""
    if not is_column(tensor.dtype):
        return tensor
    if tensor.dtype == TEXT:
        raise ValueError(
            f"{owner} computes with numbers, and {tensor.name!r} holds strings: encode them by StringLookup or Hashing"
        )
    return DataTensor(tensor.shape, float_dtype(), None, [tensor])


def of_one_dtype(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors, what was encoded in the dtype of those that are computed or given, if that is one."""
    dtypes = {t.dtype for t in tensors if not isinstance(t, DataTensor) and t.dtype.kind == "f"}
    if len(dtypes) != 1:
        return tuple(tensors)
    (dtype,) = dtypes
    return tuple(
        DataTensor(tensor.shape, dtype, None, [tensor])
        if isinstance(tensor, DataTensor) and tensor.dtype.kind == "f" and tensor.dtype != dtype
        else tensor
        for tensor in tensors
    )


def graph_of(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Graph:
    """The graph between a model's inputs and outputs; of columns it begins behind the layers that encode them."""
    results: list[Tensor] = []
    for tensor in outputs:
        results.append(_output(tensor, results))
    plain = Graph(inputs, results)
    read = dict.fromkeys(tensor for op in plain.ops for tensor in op.inputs if tensor.op is None)
    if not any(isinstance(tensor, DataTensor) for tensor in read):
        return plain
    needed = set(in_order(read, _sources))
    if wrong := [tensor for tensor in needed if not isinstance(tensor, DataTensor) and tensor not in inputs]:
        raise ValueError(f"{wrong[0].name!r} of shape {wrong[0].shape} is needed, but is not among the inputs")
    if joined := [tensor for tensor in needed if not tensor.batched]:
        raise ShapeError(f"{joined[0].name} makes one array of all rows: begin with Input((1,)), or more numbers a row")
    return Graph(list(read), results, columns=inputs)


def _output(tensor: Tensor, before: Sequence[Tensor]) -> Tensor:
    """A model's output; one that no program computes, or that is one already, is copied by one."""
    if tensor.op is not None and tensor not in before:
        return tensor
    source = as_floats("a model's output", tensor)
    op: Op = Reshape(source, tensor.shape[1:], tensor.name)
    op.output.made_by = tensor.made_by
    return op.output


def _sources(tensor: Tensor) -> tuple[Tensor, ...]:
    return tensor.sources if isinstance(tensor, DataTensor) else ()


def encoding_order(graph: Graph) -> list[DataTensor]:
    """What is encoded before the graph runs, each after what it is made of."""
    return [tensor for tensor in in_order(graph.inputs, _sources) if isinstance(tensor, DataTensor)]


def encoded(graph: Graph, columns: Mapping[Tensor, Array]) -> list[Array]:
    """The rows of each of the graph's inputs, of those of its columns. DataError."""
    known = dict(columns)
    for tensor in encoding_order(graph):
        known[tensor] = tensor.compute([known[source] for source in tensor.sources])
    return [known[tensor] for tensor in graph.inputs]
