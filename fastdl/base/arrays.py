"""From what people hold their numbers in (arrays, frames, lists, batches that arrive one by one) to numpy's arrays."""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fastdl import _ext, config
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]  # of any type and shape
Dtype = np.dtype[Any]

AT_ONCE = 2**23  # numbers
SHARED = 1_000_000  # numbers, below which one thread looks for NaN sooner than others wake: as ext/program.c has it


def numbers(name: str, value: Any) -> Array:
    """The value as an array of real numbers; a frame's columns are its last axis.

    Anything numpy can read: arrays, lists, pandas and polars frames and series, tensors on the CPU. DataError if it
    holds something else, is empty or ragged, or has entries that are masked; of a frame it names the columns.
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
    refuse_masked(name, value)
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise DataError(f"{name} is a sparse matrix: pass {name}.toarray()")
    try:
        return _of_frame(name, value) if is_frame(value) else np.asarray(getattr(value, "detach", lambda: value)())
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{name} is not a regular array of numbers: {error}") from None


def refuse_masked(name: str, value: Any) -> None:
    """DataError for an array of np.ma's with something masked, or lists of such: numpy would read what is beneath."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        masked = np.ma.getmaskarray(value)
        rows = np.flatnonzero(masked.reshape(len(masked), -1).any(axis=1)) if masked.ndim else [0]
        count = len(masked) if masked.ndim else 1
        raise DataError(
            f"{name} is masked in row {rows[0]} ({len(rows)} of {count} rows): fill what is masked, or drop these rows"
        )
    if isinstance(value, list | tuple):
        for each in value:
            if isinstance(each, list | tuple | np.ma.MaskedArray):
                refuse_masked(name, each)


def is_frame(value: Any) -> bool:
    """Whether it is a table with named columns, as pandas' and polars' frames are."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def column_names(name: str, frame: Any) -> list[str]:
    """The names of a frame's columns. DataError if two are alike: none could be told from the other."""
    names = [str(column) for column in frame.columns]
    if twice := [column for column, count in Counter(names).items() if count > 1]:
        raise DataError(f"{name} has the column {twice[0]!r} twice")
    return names


def in_order(name: str, value: Any, names: Sequence[str] | None) -> Any:
    """A frame with its columns in the order of the names; what is no frame, or is to have no names, stays.

    DataError that names the columns that are missing, too many or doubled.
    """
    if names is None or not is_frame(value):
        return value
    columns_of_frame = column_names(name, value)
    if columns_of_frame == list(names):
        return value
    missing, more = [n for n in names if n not in columns_of_frame], [n for n in columns_of_frame if n not in names]
    if missing or more:
        told = [
            f"{what} {', '.join(map(repr, which[:5]))}" for what, which in (("lacks", missing), ("has", more)) if which
        ]
        raise DataError(f"{name} must have the columns that were learnt from, {_some(names)}: it {' and '.join(told)}")
    columns = dict(zip(columns_of_frame, value.columns, strict=True))
    return value[[columns[column] for column in names]]


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + ", …" * (len(names) > 8)


def _of_frame(name: str, frame: Any) -> Array:
    try:
        array = np.asarray(frame.to_numpy())
        # of columns of several kinds it is not told whether a date has become a number
        if array.dtype.kind in "fiub" and len(set(getattr(frame, "dtypes", ()))) <= 1:
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
    if all_finite(array):
        return
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    raise DataError(f"{name} has NaN or Inf in row {bad[0]} ({bad.size} of {len(array)} rows): {advice}")


def is_mapped(array: Array) -> bool:
    """Whether its numbers lie in a file that is mapped into memory (numpy.memmap): reading them may wait for a disk."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return isinstance(base, mmap.mmap)


def all_finite(array: Array) -> bool:
    """Whether no number is NaN or infinite. Array: (rows, …)."""
    if array.dtype.kind != "f":
        return True
    return _finite(array) if array.size <= AT_ONCE else all(_finite(array[part]) for part in _parts(array))


def _parts(array: Array) -> Iterator[slice]:
    """Rows of the array that take a few milliseconds to walk: between two Python hears Ctrl-C."""
    step = max(1, AT_ONCE * len(array) // max(array.size, 1))
    return (slice(start, start + step) for start in range(0, len(array), step))


def _finite(array: Array) -> bool:
    rows = array.reshape(len(array), -1)
    simple = array.dtype.char in "fd" and array.dtype.isnative and array.flags.aligned
    if simple and rows.shape[1] and rows.strides[1] == rows.itemsize:
        return _ext.all_finite(rows, config.get_num_threads() if rows.size >= SHARED else 1)
    with np.errstate(all="ignore"):  # one NaN or infinity anywhere makes the sum one
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def copied(array: Array, dtype: Dtype) -> Array:
    """A new array, contiguous, of the dtype; a number too large for it becomes infinite."""
    new = np.empty(array.shape, dtype)
    with np.errstate(over="ignore"):
        for part in _parts(array):
            new[part] = array[part]
    return new


def as_dtype(name: str, array: Array, dtype: Dtype) -> Array:
    """The array in a model's dtype. DataError that names the first row with a number too large for it."""
    if array.dtype == dtype:
        return array
    converted = copied(array, dtype)
    if array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize and not all_finite(converted):
        lost = np.isfinite(array) & ~np.isfinite(converted)
        rows = np.flatnonzero(lost.reshape(len(array), -1).any(axis=1))
        if rows.size:
            raise DataError(
                f"{name} has numbers beyond {np.finfo(dtype).max:.2g}, too large for {dtype}, in row {rows[0]} "
                f"({rows.size} of {len(array)} rows): scale it, or make the model with dtype='float64'"
            )
    return converted


def as_labels(name: str, value: Any, classes: int, sample: tuple[int, ...] = ()) -> Array:
    """(rows, *sample) or (rows, *sample, 1) of whole numbers in [0, classes) → (rows, labels) int32.

    DataError, ShapeError.
    """
    array = numbers(name, value)
    if array.ndim == len(sample) + 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 0 or array.shape[1:] != sample:
        right = f"(rows, {', '.join(map(str, sample))}), one for each vector of the output" if sample else "(rows,)"
        other = (
            "a Flatten() before the last Dense layer makes it one a row"
            if sample
            else ("for one-hot rows use the loss categorical_crossentropy")
        )
        raise ShapeError(f"{name} has shape {array.shape}, integer labels have shape {right}; {other}")
    fits = bool(array.min() >= 0 and array.max() < classes)  # a NaN makes both comparisons false
    if not fits or (array.dtype.kind == "f" and (array != np.floor(array)).any()):
        right = (array >= 0) & (array < classes) & (array == np.floor(array))
        row = int(np.flatnonzero(~right)[0]) // math.prod(sample)
        array = array.reshape(len(array), -1)[row]
        wrong = array[~right.reshape(len(right), -1)[row]][0]
        told = f"classes 0 to {classes - 1}" if classes > 1 else "one output, labels need one for each class"
        raise DataError(f"{name} holds label {wrong} in row {row}; the model has {told}")
    return np.ascontiguousarray(array, np.int32).reshape(len(array), -1)


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
