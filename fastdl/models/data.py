"""From what people pass to what programs read: rows of the model's dtype, checked, named when wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.arrays import check_finite as check_finite
from fastdl.arrays import numbers as numbers
from fastdl.errors import DataError, ShapeError
from fastdl.graph import Array, Shape


def as_rows(name: str, value: Any, shape: Shape, dtype: np.dtype[Any], check: bool = True) -> Array:
    """(rows, *sample) → (rows, features), the features contiguous, of the dtype. DataError, ShapeError."""
    array = numbers(name, value)
    sample = shape[1:]
    if array.ndim == 1 and sample == (1,):
        array = array[:, None]
    if array.shape[1:] != sample:
        raise ShapeError(
            f"{name} has shape {array.shape}, the model takes (rows, {', '.join(map(str, sample))})"
            + (" (one sample is a batch of one: x[None])" if array.shape == sample else "")
        )
    if check:
        check_finite(name, array)
    if array.dtype != dtype:
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        if check and array.dtype.itemsize > dtype.itemsize:
            check_finite(f"{name} as {dtype}", converted)
        array = converted
    rows = array.reshape(len(array), -1)
    readable = rows.strides[1] == dtype.itemsize and rows.flags.aligned
    return rows if readable else np.require(rows, requirements=["C", "A"])


def as_labels(name: str, value: Any, classes: int) -> Array:
    """(rows,) or (rows, 1) of whole numbers in [0, classes) → (rows, 1) int32. DataError, ShapeError."""
    array = numbers(name, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ShapeError(
            f"{name} has shape {array.shape}, integer labels have shape (rows,); for one-hot rows use the loss "
            "categorical_crossentropy"
        )
    fits = bool(array.min() >= 0 and array.max() < classes)  # a NaN makes both comparisons false
    if not fits or (array.dtype.kind == "f" and (array != np.floor(array)).any()):
        right = (array >= 0) & (array < classes) & (array == np.floor(array))
        row = int(np.flatnonzero(~right)[0])
        told = f"classes 0 to {classes - 1}" if classes > 1 else "one output, labels need one for each class"
        raise DataError(f"{name} holds label {array[row]} in row {row}; the model has {told}")
    return np.ascontiguousarray(array, np.int32)[:, None]


def same_length(x: Array | int, y: Array, name: str = "y") -> None:
    """DataError unless x and y have as many rows. x: rows, or how many there are."""
    rows = x if isinstance(x, int) else len(x)
    if rows != len(y):
        raise DataError(f"x has {rows} rows, {name} has {len(y)}")


def by_name(what: str, value: Any, names: Sequence[str], several: bool) -> list[tuple[str, Any]]:
    """What belongs to each name: a mapping's entries, a list's if there are several, or else the one value.

    DataError for names that are missing or unknown, and for a list of another length.
    """
    if isinstance(value, Mapping):
        if wrong := set(value) ^ set(names):
            raise DataError(f"{what} must have the entries {', '.join(names)}: {sorted(map(str, wrong))[0]!r} is wrong")
        return [(f"{what}[{name!r}]", value[name]) for name in names]
    if not several:
        return [(what, value)]
    if not isinstance(value, list | tuple) or len(value) != len(names):
        count = len(value) if isinstance(value, list | tuple) else "one"
        raise DataError(f"{what} must be a list of {len(names)} arrays ({', '.join(names)}), not of {count}")
    return [(f"{what}[{name!r}]", each) for name, each in zip(names, value, strict=True)]


def class_weights(targets: Array, weights: Mapping[int, float]) -> Array:
    """The weight of each row's class, 1 for those not named: (rows,). Targets: labels, or one number a class."""
    classes = targets.argmax(1) if targets.shape[1] > 1 else np.round(targets[:, 0]).astype(np.int64)
    found, places = np.unique(classes, return_inverse=True)
    return np.array([float(weights.get(int(label), 1.0)) for label in found])[places]
