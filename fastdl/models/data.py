"""From what people pass to what programs read: rows of the model's dtype, checked, named when wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype, copied
from fastdl.base.arrays import as_dtype as as_dtype
from fastdl.base.arrays import as_labels as as_labels
from fastdl.base.arrays import check_finite as check_finite
from fastdl.base.arrays import column_names as column_names
from fastdl.base.arrays import in_order as in_order
from fastdl.base.arrays import is_frame as is_frame
from fastdl.base.arrays import is_mapped as is_mapped
from fastdl.base.arrays import numbers as numbers
from fastdl.base.columns import TEXT, integers, texts
from fastdl.compiler.graph import Shape
from fastdl.errors import DataError, DataWarning, ShapeError, warn
from fastdl.losses import Loss


def as_rows(name: str, value: Any, shape: Shape, dtype: Dtype, check: bool = True) -> Array:
    """(rows, *sample) → (rows, features), the features contiguous, of the dtype. DataError, ShapeError.

    Those of a memory map are checked as they are read: see ahead.py.
    """
    array = _of_sample(name, numbers(name, value), shape)
    if check and not (is_mapped(array) and array.dtype == dtype):
        check_finite(name, array)
    array = as_dtype(name, array, dtype)
    rows = array.reshape(len(array), -1)
    readable = rows.strides[1] == dtype.itemsize and rows.flags.aligned
    return rows if readable else copied(rows, dtype)


def as_column(name: str, value: Any, shape: Shape, dtype: Dtype) -> Array:
    """As `as_rows`, (rows, *sample), of strings or whole numbers. DataError, ShapeError."""
    return _of_sample(name, read_column(name, value, dtype), shape)


def read_column(name: str, value: Any, dtype: Dtype) -> Array:
    """The value as an array of strings or whole numbers, whichever the dtype is of. DataError."""
    return texts(name, value) if dtype == TEXT else integers(name, value)


def _of_sample(name: str, array: Array, shape: Shape) -> Array:
    """The array as (rows, *sample). ShapeError."""
    sample = shape[1:]
    if array.shape[1:] != sample and array.shape[1:] == (*sample, 1):  # an axis of one comes or goes, as in Keras
        array = array[..., 0]
    elif sample[-1:] == (1,) and array.shape[1:] == sample[:-1]:
        array = array[..., None]
    if array.shape[1:] != sample:
        raise ShapeError(
            f"{name} has shape {array.shape}, the model takes (rows, {', '.join(map(str, sample))})"
            + (" (one sample is a batch of one: x[None])" if array.shape == sample else "")
        )
    return array


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


def check_targets(name: str, targets: Array, loss: Loss, members: int = 1) -> None:
    """DataError unless the targets are what the loss is defined for; DataWarning for rows that are no distribution.

    members: how many distributions, side by side, a row holds.
    """
    least, most = loss.targets
    if least > -np.inf and not (targets.min() >= least and targets.max() <= most):
        row, column = np.argwhere((targets < least) | (targets > most))[0]
        told = f"from {least:g} to {most:g}" if most < np.inf else f"of {least:g} or more"
        raise DataError(f"{name} holds {targets[row, column]:g} in row {row}: {loss.name} takes targets {told}")
    sums = targets.reshape(len(targets) * members, -1).sum(axis=1) if loss.distributions else np.ones(1)
    if np.abs(sums - 1).max() > 1e-3:
        warn(
            f"y has rows that do not sum to 1: {loss.name} takes one-hot rows or probabilities; for several classes a "
            "row, end in sigmoid and use binary_crossentropy",
            DataWarning,
        )


def check_weights(name: str, weights: Array) -> None:
    """DataError for weights of samples below zero: they would drive the loss up without a bound."""
    if weights.min() < 0:
        row = int(np.flatnonzero(weights[:, 0] < 0)[0])
        raise DataError(f"{name} holds {weights[row, 0]:g} in row {row}: weights are zero or more")


def class_weights(targets: Array, weights: Any, classes: Collection[int] | None) -> Array:
    """The weight of each row's class, 1 for those not named: (rows,). Targets: labels, or one number a class.

    classes: what labels there are; None for any whole numbers. TypeError, DataError.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(f"class_weight must be a mapping, as {{0: 1.0, 1: 5.0}}, not {weights!r}")
    for label, weight in weights.items():
        whole = isinstance(label, int | np.integer) or (isinstance(label, float) and label.is_integer())
        if not whole or (classes is not None and label not in classes):
            told = (
                "labels are whole numbers" if classes is None else f"the classes are {min(classes)} to {max(classes)}"
            )
            raise DataError(f"class_weight names the class {label!r}: {told}")
        if isinstance(weight, str) or not isinstance(weight, int | float | np.number) or not 0 <= weight < np.inf:
            raise DataError(f"class_weight[{label}] must be a finite number, zero or more, not {weight!r}")
    labels = targets.argmax(1) if targets.shape[1] > 1 else np.round(targets[:, 0]).astype(np.int64)
    present, places = np.unique(labels, return_inverse=True)
    return np.array([float(weights.get(int(label), 1.0)) for label in present])[places]
