"""From what people hold their numbers in (arrays, frames, lists, batches that arrive one by one) to numpy's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastdl import _ext, config
from fastdl.errors import DataError
from fastdl.graph import Array


def numbers(name: str, value: Any) -> Array:
    """The value as an array of real numbers; a frame's columns are its last axis.

    Anything numpy can read: arrays, lists, pandas and polars frames and series, tensors on the CPU. DataError if it
    holds something else, is empty or ragged; of a frame it names the columns.
    """
    if value is None:
        raise DataError(f"{name} is missing")
    if isinstance(value, dict):
        raise DataError(f"{name} must be one array, not a dict of {', '.join(map(repr, value))}")
    array = value if type(value) is np.ndarray else _read(name, value)
    if array.dtype.kind not in "fiub":
        advice = ": encode what it holds as numbers" if array.dtype.kind in "USO" else ""
        raise DataError(f"{name} must hold real numbers, not {array.dtype}{advice}")
    if array.ndim == 0 or array.shape[0] == 0:
        raise DataError(f"{name} is empty: it has shape {array.shape}")
    return array


def _read(name: str, value: Any) -> Array:
    try:
        return _of_frame(name, value) if is_frame(value) else np.asarray(getattr(value, "detach", lambda: value)())
    except ValueError as error:
        raise DataError(f"{name} is not a regular array of numbers: {error}") from None


def is_frame(value: Any) -> bool:
    """Whether it is a table with named columns, as pandas' and polars' frames are."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _of_frame(name: str, frame: Any) -> Array:
    try:
        array = np.asarray(frame.to_numpy())
        if array.dtype.kind in "fiub":
            return array
    except TypeError:  # columns that have no type in common
        pass
    columns = {str(column): np.asarray(frame[column]) for column in frame.columns}  # numbers of several kinds
    wrong = [f"{column!r} ({values.dtype})" for column, values in columns.items() if values.dtype.kind not in "fiub"]
    if wrong:
        raise DataError(f"{name} must hold real numbers: encode or drop its column " + ", ".join(wrong))
    return np.column_stack(list(columns.values()))


def check_finite(name: str, array: Array, advice: str = "clean it, or pass check_input=False") -> None:
    """DataError that names the first row with a NaN or an infinity."""
    if array.dtype.kind != "f":
        return
    rows = array.reshape(len(array), -1)
    simple = array.dtype in (np.float32, np.float64) and array.dtype.isnative and array.flags.aligned
    if simple and rows.shape[1] and rows.strides[1] == rows.itemsize:
        if _ext.all_finite(rows, config.get_num_threads()):
            return
    else:
        with np.errstate(all="ignore"):
            if np.isfinite(array.sum()):  # one NaN or infinity anywhere makes the sum one
                return
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise DataError(f"{name} has NaN or Inf in row {bad[0]} ({bad.size} of {len(array)} rows): {advice}")


def arrive_in_batches(value: Any) -> bool:
    """Whether it is an iterable of batches, and not itself an array: a generator, a loader, a list of matrices."""
    if isinstance(value, list | tuple):
        return bool(value) and _rank(parts(value[0])[0]) > 1
    if hasattr(value, "shape") or hasattr(value, "__array__") or isinstance(value, str | bytes | dict):
        return False
    return hasattr(value, "__iter__") or is_sequence(value)


def parts(batch: Any) -> tuple[Any, ...]:
    """What a batch consists of: (x,), (x, y) or (x, y, sample_weight), in a tuple or, as some loaders do, in a list."""
    if isinstance(batch, tuple) and batch:
        return batch
    return tuple(batch) if isinstance(batch, list) and batch and _rank(batch[0]) > 1 else (batch,)


def _rank(value: Any) -> int:
    return len(getattr(value, "shape", ()))


def is_sequence(value: Any) -> bool:
    """Whether its batches are asked for by number, as those of Keras's Sequence and PyDataset."""
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def each_batch(value: Any) -> Iterator[Any]:
    """One pass over an iterable of batches."""
    if is_sequence(value) and not isinstance(value, list | tuple):
        return (value[i] for i in range(len(value)))
    batches: Iterable[Any] = value
    return iter(batches)
