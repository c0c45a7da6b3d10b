"""Products of plain matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastdl import _ext, config
from fastdl.base.arguments import flag
from fastdl.base.arrays import Array, refuse_masked
from fastdl.errors import DataError, ShapeError


def matmul(
    a: ArrayLike, b: ArrayLike, transpose_a: bool = False, transpose_b: bool = False, out: Array | None = None
) -> Array:
    """op(a) (m, k) @ op(b) (k, n) → (m, n), into `out` if given (same dtype, contiguous rows, no overlap).

    float32 or float64, any non-negative strides. ShapeError if the sizes do not match.
    """
    transpose_a, transpose_b = flag("transpose_a", transpose_a), flag("transpose_b", transpose_b)
    if out is not None and not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, or None, not {out!r}")
    threads = config.get_num_threads()
    if type(a) is type(b) is type(out) is np.ndarray and _ext.matmul(a, b, out, transpose_a, transpose_b, threads):
        return out
    for name, value in (("a", a), ("b", b)):
        refuse_masked(name, value)
    a, b = np.asarray(a), np.asarray(b)
    dtype = np.float64 if np.float64 in (a.dtype, b.dtype) else np.float32
    a, b = _strided("a", a, dtype), _strided("b", b, dtype)
    shape = a.shape[int(transpose_a)], b.shape[1 - int(transpose_b)]
    if a.shape[1 - int(transpose_a)] != b.shape[int(transpose_b)]:
        raise ShapeError(f"matmul of {a.shape} and {b.shape} does not match (transpose: {transpose_a}, {transpose_b})")
    if out is None:
        out = np.empty(shape, dtype)
    elif out.shape != shape or out.dtype != dtype:
        raise ShapeError(f"out must be {shape} of {np.dtype(dtype)}, not {out.shape} of {out.dtype}")
    elif np.may_share_memory(out, a) or np.may_share_memory(out, b):
        raise ValueError("out must not overlap a or b")
    elif not out.flags.writeable or (out.size and not _whole(out)) or (shape[1] > 1 and out.strides[1] != out.itemsize):
        raise ValueError("out must be writable, aligned, and have contiguous rows")
    if 0 in (*shape, a.shape[1 - int(transpose_a)]):
        out[...] = 0
    else:
        _ext.matmul(a, b, out, transpose_a, transpose_b, threads)
    return out


def _whole(array: Array) -> bool:
    """Whether kernels can walk it: aligned, with strides of whole elements, none negative."""
    return array.flags.aligned and all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)


def _strided(name: str, array: Array, dtype: Any) -> Array:
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, not {array.dtype}")
    if array.ndim != 2:
        raise ShapeError(f"{name} must have 2 dimensions, not shape {array.shape}")
    array = array.astype(dtype, copy=False)
    return array if _whole(array) else np.array(array, order="C")
