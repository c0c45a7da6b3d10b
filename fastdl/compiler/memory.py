"""How arrays lie in memory for the kernels: aligned, padded, and matrices in strips."""

from __future__ import annotations

import math

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array, Dtype


def padded(features: int) -> int:
    """`features` rounded up to a whole unit of work."""
    return -(-features // _ext.UNIT) * _ext.UNIT


def aligned(shape: tuple[int, ...], dtype: Dtype) -> Array:
    """A zeroed array, aligned to 64 bytes. MemoryError if there is no room."""
    count = math.prod(shape)
    return np.frombuffer(memoryview(_ext.Buffer(count * dtype.itemsize)), dtype, count).reshape(shape)


def to_strips(matrix: Array) -> Array:
    """(in, out) → (strips, in, STRIP), padded with zeros: how the kernels want weights (see ext/kernels.h)."""
    rows, columns = matrix.shape
    strips = -(-columns // _ext.STRIP)
    storage = aligned((strips, rows, _ext.STRIP), matrix.dtype)
    for i in range(strips):
        part = matrix[:, i * _ext.STRIP : (i + 1) * _ext.STRIP]
        storage[i, :, : part.shape[1]] = part
    return storage


def from_strips(storage: Array, columns: int) -> Array:
    """(strips, in, STRIP) → a new (in, columns)."""
    return storage.transpose(1, 0, 2).reshape(storage.shape[1], -1)[:, :columns].copy()
