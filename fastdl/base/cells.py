"""What one cell of a table is: the one rule by which it is text, a number, a date, or missing.

Text: whole numbers as "1", whether they were held as 1 or 1.0; other floats in the fewest digits that tell them apart;
"True" and "False"; dates as ISO has them, without the time where it is midnight; strings as they are, so that "1.0"
written as text is not "1". Missing: None, NaN, NaT, NA, "" and the text "nan", which is what None-less string arrays
make of NaN.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastdl.base.arrays import Array

MISSING_TEXTS = ("", "nan")
# What people write into a column of numbers where they have none; in a column of text these are values
MARKS = frozenset(("?", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "NULL", "null", "None", "none", "-", "."))
TRUTHS = {"true": True, "false": False}
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")
WHOLE = 2.0**53  # up to which every whole number is a float64 of its own


@dataclass(frozen=True)
class Factor:
    """A column of text by its distinct values: codes (rows,), -1 where missing, and levels, the text of each code.

    declared: its type said that it is categorical; ordered: that its levels have an order, the one they stand in.
    """

    codes: Array
    levels: list[str]
    declared: bool = False
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Array) -> Factor:
        """Some rows, in that order."""
        return Factor(self.codes[rows], self.levels, self.declared, self.ordered)

    @cached_property
    def counts(self) -> Array:
        """How many rows have each level."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.levels))

    def spread(self, of_levels: Array, missing: Any) -> Array:
        """One value a row, from one a level."""
        return np.append(of_levels, np.array([missing], of_levels.dtype))[self.codes]

    def texts(self) -> Array:
        """(rows,) of str, None where missing."""
        return self.spread(np.array([*self.levels, None], object)[:-1], None)


Column = Array | Factor  # (rows,): float, int, bool or datetime64; or text


def missing(cells: Array) -> Array:
    """Whether each cell of a column is missing: None, NaN or not a time. (rows,)."""
    if cells.dtype == object:
        return np.array([cell is None for cell in cells], bool)
    if cells.dtype.kind in "mM":
        return np.isnat(cells)
    return np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(len(cells), bool)


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    if value is None or (isinstance(value, str) and value in MISSING_TEXTS):
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def text_of(value: Any) -> str | None:
    """The cell's text, None where it is missing: see the module."""
    if is_missing(value):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        whole = math.isfinite(value) and float(value).is_integer() and abs(float(value)) < WHOLE
        return str(int(value)) if whole else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.date | np.datetime64):
        return _date_text(value)
    return str(value)


def _date_text(value: Any) -> str:
    text = str(value.astype("datetime64[us]")) if isinstance(value, np.datetime64) else value.isoformat()
    text = re.sub(r"\.(\d*?)0+$", r".\1", text).rstrip(".") if "." in text else text
    return text.removesuffix("T00:00:00")


def factor_of(cells: Sequence[Any] | Array, declared: bool = False, ordered: bool = False) -> Factor:
    """A column of any cells as text by its distinct values, in the order in which these first stand."""
    numbers: dict[Any, int] = {}
    if isinstance(cells, np.ndarray) and cells.dtype != object:
        distinct, codes = np.unique(cells, return_inverse=True)
        cells = list(distinct)
        return merged(codes.reshape(-1), cells, declared, ordered)
    several = len({*map(type, cells)} - {str, type(None)}) > 1  # True == 1 == 1.0, but their texts differ
    keys = ((type(cell), cell) for cell in cells) if several else cells
    codes = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(cells))
    return merged(codes, [key[1] for key in numbers] if several else list(numbers), declared, ordered)


def merged(codes: Array, values: Sequence[Any], declared: bool = False, ordered: bool = False) -> Factor:
    """A factor of codes, -1 where missing, that stand for any values: those of one text become one level."""
    levels: dict[str, int] = {}
    own = [-1 if (text := text_of(value)) is None else levels.setdefault(text, len(levels)) for value in values]
    return Factor(np.array([*own, -1], np.int32)[codes], list(levels), declared, ordered)


def as_factor(column: Column) -> Factor:
    """Any column as text."""
    return column if isinstance(column, Factor) else factor_of(column)


def number_of(text: str) -> float:
    """The number that a text spells, true and false as 1 and 0; NaN where it spells none."""
    stripped = text.strip()
    truth = TRUTHS.get(stripped.lower())
    if truth is not None:
        return float(truth)
    try:
        return math.nan if "_" in stripped else float(stripped)
    except ValueError:
        return math.nan


def as_numbers(column: Column) -> Array:
    """Any column as float64 (rows,), NaN where it is missing or no number; dates as seconds since 1970."""
    if isinstance(column, Factor):
        return column.spread(np.array([number_of(level) for level in column.levels], np.float64), np.nan)
    if column.dtype.kind == "M":
        return as_seconds(column)
    with np.errstate(over="ignore"):
        return column.astype(np.float64)


def seconds_of(text: str) -> float:
    """Seconds since 1970 of an ISO date, with or without a time and its zone (else UTC); NaN for all else."""
    stripped = text.strip()
    if not ISO_DATE.fullmatch(stripped):
        return math.nan
    try:
        moment = datetime.datetime.fromisoformat(stripped)
    except ValueError:
        return math.nan
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds()


def as_seconds(column: Column) -> Array:
    """Any column as seconds since 1970, float64 (rows,), NaN where it is missing or no date; numbers are seconds."""
    if isinstance(column, Factor):
        seconds = np.array([seconds_of(level) for level in column.levels], np.float64)
        numbers = [math.nan if ISO_DATE.fullmatch(level) else number_of(level) for level in column.levels]
        return column.spread(np.where(np.isnan(seconds), numbers, seconds), np.nan)
    if column.dtype.kind != "M":
        return as_numbers(column)
    unit = np.timedelta64(1, "s")
    with np.errstate(invalid="ignore"):
        return np.asarray((column - np.datetime64(0, "s")) / unit, np.float64)


def as_strings(column: Column) -> Array:
    """Any column as an object array of str, "" where missing: what ONNX takes."""
    factor = as_factor(column)
    return factor.spread(np.array([*factor.levels, None], object)[:-1], "")


def as_truths(column: Column) -> Array | None:
    """The column as 1, 0 and NaN, if it is of booleans or their texts; None if it is not."""
    if isinstance(column, Factor):
        if not column.levels or any(level.strip().lower() not in TRUTHS for level in column.levels):
            return None
        return as_numbers(column)
    return column.astype(np.float64) if column.dtype.kind == "b" else None
