"""What a caller gives a model, as arrays of the types that the model states; nothing is lost without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.base.metadata import FEATURE_NAMES_KEY
from fastdl.errors import DataError


def as_input(what: str, given: Any, dtype: Dtype, names: Sequence[str] | None = None) -> Array:
    """The array of that dtype (object: strings); a frame's columns by `names`, in their order, where there are some.

    DataError: it is no array, has masked entries, holds what is not of the dtype's kind, or values that it cannot hold.
    """
    if names is not None and hasattr(given, "columns") and hasattr(given, "to_numpy"):
        given = _by_name(what, given, [*given.columns], names)
    if np.ma.is_masked(given):
        raise DataError(f"{what} has masked entries: fill them, by .filled(value), or leave their rows out")
    try:
        array = np.asarray(given)
    except ValueError as error:  # ragged lists
        raise DataError(f"{what} is not an array: {error}") from None
    if dtype.kind == "O":
        if array.size and not (array.dtype.kind in "UO" and all(isinstance(value, str) for value in array.flat)):
            raise DataError(f"{what} takes strings, not {array.dtype}")
        return array.astype(object)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {array.dtype}, not numbers")
    return array if array.dtype == dtype else _convert(what, array, dtype)


def feature_names(metadata: Mapping[str, str]) -> list[str] | None:
    """The names of a model's features, if its file holds them."""
    try:
        names = json.loads(metadata.get(FEATURE_NAMES_KEY, "null"))
    except (ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def _by_name(what: str, frame: Any, columns: list[Any], names: Sequence[str]) -> Any:
    """The frame with the columns that the model was trained on; one whose columns have no names as it is."""
    if not all(isinstance(column, str) for column in columns):
        return frame
    doubled = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    missing = [name for name in names if name not in columns]
    more = [column for column in columns if column not in names]
    wrong = [
        f"{words} {', '.join(map(repr, found))}"
        for words, found in (("several columns", doubled), ("no column", missing), ("columns of its own", more))
        if found
    ]
    if wrong:
        raise DataError(f"{what} has {'; '.join(wrong)}; the model was trained on {', '.join(map(repr, names))}")
    return frame[[*names]]


def _convert(what: str, array: Array, dtype: Dtype) -> Array:
    """To the model's dtype; refuses values that it cannot hold, not those that it rounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f":
        lost = bool((np.isinf(converted) & ~np.isinf(array)).any())
    else:
        lost = not np.can_cast(array.dtype, dtype) and not np.array_equal(converted, array)
    if lost:
        raise DataError(f"{what} holds values that {dtype} cannot hold")
    return converted
