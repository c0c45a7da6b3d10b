"""From what people hold texts and whole numbers in to numpy's arrays: columns of a table, before they are encoded."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype, is_frame, numbers, refuse_masked
from fastdl.errors import DataError

TEXT = np.dtype(object)  # how numpy holds strings here; Keras's name for it is "string"
MISSING = ("NAType", "NaTType")  # pandas' own, which is not imported to ask


def column_dtype(dtype: Any) -> Dtype:
    """numpy's dtype of Keras's name for it: "string" is TEXT."""
    return TEXT if dtype is str or (isinstance(dtype, str) and dtype in ("string", "str")) else np.dtype(dtype)


def dtype_name(dtype: Dtype) -> str:
    """Keras's name of numpy's dtype."""
    return "string" if dtype == TEXT else dtype.name


def is_column(dtype: Dtype) -> bool:
    """Whether it is a dtype that programs do not compute with: strings, whole numbers."""
    return dtype == TEXT or dtype.kind in "iu"


def holds_texts(value: Any) -> bool:
    """Whether an array, a series, a frame or a list holds strings, going by its first entry where the dtype is open."""
    if is_frame(value):
        return len(value.columns) > 0 and holds_texts(value[value.columns[0]])
    if isinstance(value, list | tuple):
        return len(value) > 0 and (isinstance(value[0], str | bytes) or holds_texts(value[0]))
    array = np.asarray(value) if hasattr(value, "__array__") else None
    if array is None or array.dtype.kind not in "OUST":
        return isinstance(value, str | bytes)
    return array.dtype.kind != "O" or any(isinstance(each, str | bytes) for each in array.ravel()[:100])


def texts(name: str, value: Any) -> Array:
    """The value as an array of str; what is missing (None, NaN, NA) becomes "". A frame's columns are its last axis.

    DataError if it holds something else, is empty, or has entries that are masked.
    """
    if value is None:
        raise DataError(f"{name} is missing")
    refuse_masked(name, value)
    if is_frame(value):
        columns = [texts(f"{name}[{str(column)!r}]", value[column]) for column in value.columns]
        if columns:
            return np.column_stack(columns)
    array = np.asarray(value, object) if isinstance(value, list | tuple) else np.asarray(value)
    if array.dtype.kind not in "OUST":
        raise DataError(f"{name} must hold strings, not {array.dtype}")
    array = array.astype(object)
    if array.ndim == 0 or array.shape[0] == 0:
        raise DataError(f"{name} is empty: it has shape {array.shape}")
    entries = array.ravel().tolist()
    if set(map(type, entries)) == {str}:
        return array
    fixed = np.empty(array.size, object)
    fixed[:] = [entry if type(entry) is str else _text(name, entry, i, array) for i, entry in enumerate(entries)]
    return fixed.reshape(array.shape)


def _text(name: str, entry: Any, place: int, array: Array) -> str:
    if isinstance(entry, str):
        return str(entry)
    if entry is None or type(entry).__name__ in MISSING or (isinstance(entry, float | np.floating) and entry != entry):
        return ""
    row = place // max(array[0].size if array.ndim > 1 else 1, 1)
    if isinstance(entry, bytes):
        try:
            return entry.decode()
        except UnicodeDecodeError:
            raise DataError(f"{name} holds bytes that are no UTF-8 text in row {row}") from None
    raise DataError(f"{name} must hold strings: row {row} holds {entry!r}, of {type(entry).__name__}")


def integers(name: str, value: Any) -> Array:
    """The value as an array of int64. DataError that names the first row which holds no whole number of its range."""
    array = numbers(name, value)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wrong = ~((array == np.floor(array)) & (np.abs(array) < 2.0**63))
    elif array.dtype == np.uint64:
        wrong = array > np.uint64(2**63 - 1)
    else:
        return array.astype(np.int64, copy=False)
    if wrong.any():
        row = int(np.flatnonzero(wrong.reshape(len(array), -1).any(axis=1))[0])
        first = array.reshape(len(array), -1)[row][wrong.reshape(len(array), -1)[row]][0]
        raise DataError(f"{name} holds {first} in row {row}: it must hold whole numbers of int64")
    return array.astype(np.int64)
