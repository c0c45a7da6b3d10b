"""What a table's target asks for: classes or numbers, of which rows, with which weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.naming import meant
from fastdl.errors import DataError
from fastdl.tabular.recipes import CLASSES, NUMBERS
from fastdl.tabular.table import Table

FEW_VALUES = 20  # so many distinct whole numbers at most are classes
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Task:
    """kind: CLASSES or NUMBERS. told: the same in a sentence. notes: what was assumed."""

    kind: str
    target: str
    weight: str | None
    told: str
    notes: list[str] = field(default_factory=list)

    def rows(self, table: Table) -> Table:
        """The rows that have a target. DataError for a table without the column."""
        return table.take(np.flatnonzero(~missing(_column(table, self.target))))

    def columns(self, table: Table) -> Table:
        """All columns but the target and the weight."""
        return table.without([name for name in (self.target, self.weight) if name in table.names])

    def targets(self, table: Table) -> Array:
        """Labels, or numbers in float64. DataError for what is no number where numbers are asked for."""
        values = _column(table, self.target)
        if self.kind == NUMBERS:
            return as_numbers(self.target, values)
        return _plain(values)

    def weights(self, table: Table) -> Array | None:
        """The weight of each row. DataError unless they are numbers, zero or more."""
        if self.weight is None:
            return None
        weights = as_numbers(self.weight, _column(table, self.weight))
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
            raise DataError(f"the weights in {self.weight!r} must be numbers, zero or more, and not all zero")
        return weights


def find(table: Table, target: str, kind: str | None = None, weight: str | None = None) -> Task:
    """What the target asks for, unless `kind` says: text, booleans and few whole numbers are classes. DataError."""
    values = _column(table, target)
    if weight is not None:
        _column(table, weight)
    lost = missing(values)
    if lost.all():
        raise DataError(f"the target {target!r} is missing in all {len(values):,} rows")
    known = _plain(values[~lost])
    distinct = np.unique(known.astype(str) if known.dtype == object else known)
    notes = [f"{lost.sum():,} rows without a target are left out"] if lost.any() else []
    if len(distinct) < 2:
        raise DataError(f"the target {target!r} holds one value only, {distinct[0]!r}: there is nothing to learn")
    if kind is None:
        kind, why = _kind_of(known, distinct)
        notes += [why] if why else []
    if kind == CLASSES:
        if len(distinct) > MOST_CLASSES or len(distinct) > len(known) / 2:
            raise DataError(
                f"the target {target!r} has {len(distinct):,} distinct values in {len(known):,} rows, too many for "
                "classes: name another column, or say --task numbers if they are numbers"
            )
        some = ", ".join(map(str, distinct[:6].tolist())) + ", …" * (len(distinct) > 6)
        return Task(kind, target, weight, f"{len(distinct)} classes ({some})", notes)
    numbers = as_numbers(target, values[~lost])
    return Task(kind, target, weight, f"numbers from {numbers.min():g} to {numbers.max():g}", notes)


def _kind_of(known: Array, distinct: Array) -> tuple[str, str]:
    """Classes or numbers, and what to say of a choice that could have been another."""
    if known.dtype.kind not in "iuf":
        return CLASSES, ""
    whole = bool((np.asarray(known, np.float64) == np.round(np.asarray(known, np.float64))).all())
    if len(distinct) == 2 or (whole and len(distinct) <= FEW_VALUES):
        more = "" if len(distinct) == 2 else f"{len(distinct)} whole numbers are taken as classes; --task numbers else"
        return CLASSES, more
    return NUMBERS, ""


def _column(table: Table, name: str) -> Array:
    if name not in table.names:
        near = meant(name, table.names)
        raise DataError(f"there is no column {name!r}: {near or 'there are ' + ', '.join(table.names[:20])}")
    return table[name]


def missing(values: Array) -> Array:
    """Whether each value is missing: None, NaN or not a time."""
    if values.dtype == object:
        return np.array([value is None for value in values], bool)
    return (
        np.isnan(values)
        if values.dtype.kind == "f"
        else np.isnat(values)
        if values.dtype.kind in "mM"
        else (np.zeros(len(values), bool))
    )


def _plain(values: Array) -> Array:
    """Labels as people read them: whole numbers as integers, text as text."""
    if values.dtype.kind == "f" and (values == np.round(values)).all() and np.abs(values).max(initial=0) < 2**53:
        return values.astype(np.int64)
    return values


def as_numbers(name: str, values: Array) -> Array:
    """The column in float64. DataError that names the first cell that is no number."""
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    numbers = np.empty(len(values))
    for row, value in enumerate(values.tolist()):
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            raise DataError(f"the column {name!r} holds {value!r} in row {row}, which is no number") from None
    return numbers
