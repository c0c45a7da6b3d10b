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


def strips_of(shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Zeros (strips, in, STRIP): how the kernels want a matrix of weights of shape (in, out) (see ext/kernels.h)."""
    rows, columns = shape
    return aligned((-(-columns // _ext.STRIP), rows, _ext.STRIP), dtype)


def fill_strips(storage: Array, matrix: Array) -> Array:
    """(in, out) → strips that are there already; their padding stays."""
    for i, strip in enumerate(storage):
        part = matrix[:, i * _ext.STRIP : (i + 1) * _ext.STRIP]
        strip[:, : part.shape[1]] = part
    return storage


def to_strips(matrix: Array) -> Array:
    """(in, out) → new strips, padded with zeros."""
    return fill_strips(strips_of(matrix.shape, matrix.dtype), matrix)


def from_strips(storage: Array, columns: int) -> Array:
    """(strips, in, STRIP) → a new (in, columns)."""
    return storage.transpose(1, 0, 2).reshape(storage.shape[1], -1)[:, :columns].copy()
