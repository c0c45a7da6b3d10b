"""Hashing and HashedCrossing: categories in bins without a vocabulary. Keras's names, arguments and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fastdl.base.arguments import whole
from fastdl.base.arrays import Array, Dtype
from fastdl.base.columns import integers
from fastdl.compiler.graph import Shape
from fastdl.errors import DataError, FusionError, ShapeError
from fastdl.layers.data_layer import INT64, DataLayer, checked_mode, dense, hot, hot_shape
from fastdl.layers.data_tensor import ColumnWriter, DataTensor, float_dtype
from fastdl.layers.fingerprints import bins, crossed

CROSSING_MODES = ("int", "one_hot")
BIN_DTYPES = "int64", "int32"


class _Binned(DataLayer):
    """Base: indices of num_bins bins, in an output mode."""

    kinds: ClassVar[tuple[str, ...]] = ("string", "int64")
    num_bins: int
    output_mode: str

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        return hot_shape(shapes[0], self.output_mode, self.num_bins)

    def encoded_dtype(self) -> Dtype:
        return INT64 if self.output_mode == "int" else float_dtype()

    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str:
        raise FusionError(
            f"{self.name} hashes, which ONNX has no operator for: use StringLookup or IntegerLookup, or hash the "
            "column before the model"
        )


class Hashing(_Binned):
    """The bin of each text or whole number, (...) of int64, or that in an output mode. Keras: layers.Hashing.

    The bin is FarmHash's Fingerprint64 of the text, of a number that of its digits, modulo num_bins; with a salt, an
    integer or two, SipHash-2-4 keyed by them. mask_value is in bin 0, which then holds nothing else. output_mode:
    "int", "one_hot", "multi_hot" or "count", as for CategoryEncoding. dtype: of bins int64 or int32; of what else comes
    out the model's. Cannot be exported: ONNX has no hash. ValueError.
    """

    kinds = ("string", "int64", "float")

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: int | Sequence[int] | None = None,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        self.output_mode, self.sparse = checked_mode(output_mode), dense(sparse)
        bins_of = dtype if self.output_mode == "int" else None
        super().__init__(dtype=None if bins_of else dtype, **options)
        if bins_of is not None and str(getattr(bins_of, "name", bins_of)) not in BIN_DTYPES:
            raise ValueError(f"dtype must be 'int64' or 'int32' where output_mode is 'int', not {dtype!r}")
        self.dtype = None if dtype is None else str(getattr(dtype, "name", dtype))
        self.num_bins, self.mask_value = whole("num_bins", num_bins), mask_value
        self.salt = checked_salt(salt)

    def encoded_dtype(self) -> Dtype:
        return np.dtype(self.dtype) if self.dtype in BIN_DTYPES else super().encoded_dtype()

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        values = arrays[0] if arrays[0].dtype.kind != "f" else integers(f"{self.name}'s input", arrays[0])
        masks = self.mask_value is not None and self.num_bins > 1  # bin 0 is kept for the mask
        indices = bins(map(str, values.ravel().tolist()), self.num_bins - masks, self.salt).reshape(values.shape)
        if masks:
            masked = [value == self.mask_value for value in values.ravel().tolist()]
            indices = np.where(np.reshape(masked, values.shape), 0, indices + 1)
        if self.output_mode == "int":
            return indices.astype(self.encoded_dtype(), copy=False)
        return hot(indices, self.output_mode, self.num_bins, dtype)


class HashedCrossing(_Binned):
    """The bin of each combination of two columns or more, texts or whole numbers, each (batch, 1) or (batch,).

    The bin is TensorFlow's: the fingerprints of texts, and numbers as they are, put together and taken modulo num_bins.
    output_mode: "int" or "one_hot". Cannot be exported: ONNX has no hash. Keras: layers.HashedCrossing. ShapeError.
    """

    takes_several = True

    def __init__(self, num_bins: int, output_mode: str = "int", sparse: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.num_bins, self.sparse = whole("num_bins", num_bins), dense(sparse)
        self.output_mode = checked_mode(output_mode, CROSSING_MODES)

    def _check_count(self, count: int) -> None:
        if count < 2:
            raise ShapeError(f"{self.name} crosses a list of two columns or more, not {count}")

    def _array(self, value: Any, place: int) -> Array:
        if getattr(getattr(value, "dtype", None), "kind", "") == "f":
            raise DataError(f"{self.name}'s input must hold whole numbers or texts, not {value.dtype}")
        return super()._array(value, place)

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        if any(shape != shapes[0] or shape[1:] not in ((), (1,)) for shape in shapes):
            raise ShapeError(f"{self.name} crosses columns of one shape, (batch, 1), not of {list(shapes)}")
        return super().encoded_shape(shapes)

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        self.encoded_shape([array.shape for array in arrays])
        return hot(crossed(arrays, self.num_bins), self.output_mode, self.num_bins, dtype)


def checked_salt(salt: Any) -> list[int] | None:
    """Two integers, of one twice. ValueError for anything else but None."""
    if salt is None:
        return None
    numbers = (
        [salt, salt] if isinstance(salt, int | np.integer) else list(salt) if isinstance(salt, list | tuple) else []
    )
    if len(numbers) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"salt must be an integer, or two of them, not {salt!r}")
    return [int(number) for number in numbers]
