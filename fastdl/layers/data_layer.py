"""The base of layers that encode columns: numpy computes them where feeds are made, and no program does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from fastdl.base import arrays
from fastdl.base.arrays import Array, Dtype, numbers
from fastdl.base.columns import dtype_name, holds_texts, integers, texts
from fastdl.compiler.graph import Shape, Tensor
from fastdl.errors import DataError, ShapeError
from fastdl.layers.context import Call, listed
from fastdl.layers.data_tensor import ColumnWriter, DataTensor, converted, float_dtype
from fastdl.layers.given import batch_of, told_batch
from fastdl.layers.layer import Layer

KINDS = {"string": "O", "int64": "iu", "float": "f"}
INT64 = np.dtype(np.int64)


class DataLayer(Layer):
    """Base. A subclass says what it reads, what shape it gives, and how `encode` and ONNX compute it.

    It stands between the inputs of a model and the first layer that computes. Called on arrays, lists or frames it
    gives numpy's arrays. Keras: DataLayer. ValueError where it is called on what another layer has computed.
    """

    nameable, built_by_use = False, True
    kinds: ClassVar[tuple[str, ...]] = ("int64",)  # kinds of columns, the first where a model does not say

    def __call__(self, x: Any, *more: Any, training: bool | None = None) -> Any:
        """A symbolic tensor of symbolic ones, or the array of arrays."""
        inputs = tuple(listed(x))
        if not inputs or not all(isinstance(each, Tensor) for each in inputs):
            values = list(x) if self.takes_several and isinstance(x, list | tuple) else [x]
            self._check_count(len(values))
            return self._on_values(values)
        self._check_count(len(inputs))
        read = [self._column(tensor, place) for place, tensor in enumerate(inputs)]
        shape = self.encoded_shape([(None, *tensor.shape[1:]) for tensor in read])
        output = DataTensor(shape, self.encoded_dtype(), self, read)
        told_batch(output, batch_of(self.name, read))
        self.built = True
        self._called = output.made_by = Call(self, inputs, (output,), training)
        return output

    def _on_values(self, values: Sequence[Any]) -> Array:
        """What people hold their columns in, encoded. A number or a text by itself counts as one sample (Keras)."""
        alone = [
            isinstance(each, str | bytes) or (np.isscalar(each) or getattr(each, "ndim", 1) == 0) for each in values
        ]
        values = [np.reshape(np.asarray(x), (1,)) if one else x for x, one in zip(values, alone, strict=True)]
        result = self.encode([self._array(each, place) for place, each in enumerate(values)], float_dtype())
        if not all(alone):
            return result
        return result.reshape([size or 0 for size in self.encoded_shape([()] * len(values))])

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        """What the layer makes of arrays of the kinds that it reads; floats are of the dtype. DataError."""
        raise NotImplementedError

    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str:
        """Add the nodes that compute the tensor; the name of its value. FusionError where a file cannot."""
        raise NotImplementedError

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        """The output's shape. ShapeError, ValueError."""
        return shapes[0]

    def encoded_dtype(self) -> Dtype:
        """The output's dtype."""
        return INT64

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """The output's shape for an input's, batch first (Keras)."""
        return self.encoded_shape([tuple(input_shape)])

    def _check_count(self, count: int) -> None:
        """ShapeError unless it takes so many inputs."""
        if count != 1:
            raise ShapeError(f"{self.name} takes one tensor, not {count}")

    def kinds_of(self, place: int) -> tuple[str, ...]:
        """The kinds of columns that it reads as its input of that number."""
        return self.kinds

    def _column(self, tensor: Tensor, place: int) -> Tensor:
        """The input of that number. ValueError unless it is a column of a kind that the layer reads."""
        kinds = self.kinds_of(place)
        if tensor.op is not None:
            raise ValueError(
                f"{self.name} encodes columns before anything is computed: call it on an Input, or on another layer of "
                f"its kind, not on what {tensor.name!r} has computed"
            )
        if not any(tensor.dtype.kind in KINDS[kind] for kind in kinds):
            right = " or ".join(kinds)
            raise ValueError(
                f"{self.name} reads {right}, and {tensor.name!r} is of {dtype_name(tensor.dtype)}: "
                f"Input(shape, dtype={kinds[0]!r})"
            )
        return tensor

    def _array(self, value: Any, place: int) -> Array:
        """A value as an array of a kind that the layer reads. DataError."""
        return column(f"{self.name}'s input", value, self.kinds_of(place))


def column(name: str, value: Any, kinds: Sequence[str]) -> Array:
    """The value as an array of the first of the kinds that it can be. DataError."""
    if "string" in kinds and (len(kinds) == 1 or holds_texts(value)):
        return texts(name, value)
    if "int64" in kinds:
        return integers(name, value)
    return numbers(name, value).astype(float_dtype(), copy=False)


def pieces(name: str, data: Any, convert: Callable[[str, Any], Array], steps: int | None = None) -> Iterator[Array]:
    """Data to adapt to, an array or batches of arrays, alone or (x, y), of which `steps` are used, converted.

    DataError if there are none.
    """
    several = arrays.arrive_in_batches(data)
    empty = True
    for batch in islice(arrays.each_batch(data), steps) if several else [data]:
        empty = False
        yield convert(f"{name}'s data", arrays.parts(batch)[0] if several else batch)
    if empty:
        raise DataError(f"{name} is to adapt to no data at all")


# -- what indices become ----------------------------------------------------------------------------------

MODES = ("int", "one_hot", "multi_hot", "count")


def checked_mode(mode: Any, modes: Sequence[str] = MODES) -> str:
    """ValueError unless it is one of the output modes; older names of Keras's are taken."""
    name = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(mode, mode) if isinstance(mode, str) else mode
    if name not in modes:
        raise ValueError(f"output_mode must be one of {', '.join(map(repr, modes))}, not {mode!r}")
    return str(name)


def dense(sparse: Any) -> bool:
    """ValueError for sparse=True of Keras's."""
    if sparse:
        raise ValueError("sparse must be False: what is encoded is dense")
    return False


def hot_shape(shape: Shape, mode: str, depth: int) -> Shape:
    """The shape of indices of `shape` in an output mode. One axis is a sample by itself where samples are counted, as
    none is: then the result has no batch (Keras)."""
    if mode == "int":
        return shape
    if mode == "one_hot":
        return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), depth)
    return (*shape[:1], *shape[2:], depth) if len(shape) > 1 else (depth,)


def hot(indices: Array, mode: str, depth: int, dtype: Dtype, weights: Array | None = None) -> Array:
    """Indices, (...) of int64, in an output mode; those below zero are left out. weights: of each, for "count"."""
    if mode == "int":
        return indices
    shape = tuple(size or 0 for size in hot_shape(indices.shape, mode, depth))
    rows = np.zeros((math.prod(shape[:-1]), depth), dtype)
    if mode != "one_hot" and indices.ndim > 1:  # what is counted together lies along axis 1
        indices = np.moveaxis(indices, 1, -1)
        weights = None if weights is None else np.moveaxis(weights, 1, -1)
    places = indices.reshape(len(rows), -1)
    row, place = np.nonzero(places >= 0)
    if mode == "count":
        amounts = 1 if weights is None else weights.reshape(places.shape)[row, place]
        np.add.at(rows, (row, places[row, place]), amounts)
    else:
        rows[row, places[row, place]] = 1
    return rows.reshape(shape)


def write_hot(
    graph: ColumnWriter, name: str, tensor: DataTensor, mode: str, depth: int, weights: str | None = None
) -> str:
    """As `hot`, as nodes behind the indices of that name."""
    if mode == "int":
        return name
    owner, sample = tensor.name, tensor.sources[0].shape[1:]
    single = sample[-1:] == (1,) and (mode == "one_hot" or len(sample) == 1)
    classes = graph.constant(np.arange(depth, dtype=np.int64), f"{owner}.classes")
    if not single:
        name = graph.computed("Unsqueeze", [name, graph.shape_constant([-1])], owner)
    floats = converted(graph, graph.computed("Equal", [name, classes], owner), tensor.dtype, owner)
    if weights is not None:
        if not single:
            weights = graph.computed("Unsqueeze", [weights, graph.shape_constant([-1])], owner)
        floats = graph.computed("Mul", [floats, weights], owner)
    if mode == "one_hot" or single:
        return floats
    if mode == "count":
        return graph.computed("ReduceSum", [floats, graph.shape_constant([1])], owner, keepdims=0)
    return graph.computed("ReduceMax", [floats], owner, axes=[1], keepdims=0)
