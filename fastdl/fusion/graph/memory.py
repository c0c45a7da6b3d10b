"""Memory that runs out in protobuf, onnx and onnxruntime: a MemoryError, whatever they make of it.

They raise errors of other types. Where protobuf copies text or bytes that it is given one by one, it does not look
whether there was memory, and the process ends: so what may be large is copied by parsing it, which looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, EncodeError, Message
from onnx import TensorProto, helper, numpy_helper

from fastdl.base.arrays import Array
from fastdl.errors import FastdlError

NO_MEMORY = (
    "bad allocation",
    "bad_alloc",
    "Failed to allocate memory",
    "ArrayMemoryError",
    "Unable to allocate",
    "alloc failed",
)
LARGE = 2**14  # bytes of a tensor from which it is parsed
RAW_DATA = b"\x4a"  # the field of a TensorProto that holds its bytes, as it stands in a file

M = TypeVar("M", bound=Message)
P = ParamSpec("P")
R = TypeVar("R")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is a failed allocation, or was raised because of one.

    What we parse, but for files, we have written: it is sound, and only memory is in the way. fastdl's own errors
    quote names of the file's, which may be any words.
    """
    return any(
        isinstance(cause, MemoryError | EncodeError | DecodeError)
        or (not isinstance(cause, FastdlError) and any(words in str(cause) for words in NO_MEMORY))
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class memory_errors:  # called as those of contextlib are; their frames would be taken for the caller's by `warn`
    """As a context or a decorator: what is raised within because no memory was left becomes a MemoryError."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def guarded(*args: P.args, **options: P.kwargs) -> R:
            with memory_errors():
                return function(*args, **options)

        return guarded

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, MemoryError) and is_out_of_memory(error):
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise MemoryError(f"no memory is left: {told}") from error


@memory_errors()
def copied(message: M) -> M:
    """A copy of a protobuf message."""
    copy: M = type(message)()
    copy.MergeFrom(message)  # CopyFrom is the one that does not look
    return copy


@memory_errors()
def fill(tensor: TensorProto, data: bytes | memoryview) -> None:
    """Make `data` the tensor's raw_data."""
    length, size = bytearray(), len(data)
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    length.append(size)
    tensor.MergeFromString(b"".join((RAW_DATA, length, data)))


def tensor_of(array: Array, name: str) -> TensorProto:
    """The array as a tensor: onnx's from_array."""
    if array.nbytes < LARGE or array.dtype.kind not in "biuf":
        return numpy_helper.from_array(array, name)
    tensor = TensorProto(dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), name=name)
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    fill(tensor, little.reshape(-1).view(np.uint8).data)
    return tensor
