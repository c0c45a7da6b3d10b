"""What a table's target asks for: classes or numbers, of which rows, with which weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import missing
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
        wrong = ~(np.isfinite(weights) & (weights >= 0))
        if wrong.any() or not weights.any():
            found = f"row {wrong.argmax()} has {weights[wrong.argmax()]:g}" if wrong.any() else "all are zero"
            raise DataError(f"the weights in {self.weight!r} must be numbers, zero or more, and not all zero: {found}")
        return weights

    def judged(self, test: Table, learned: Table, name: str) -> Table:
        """The rows of a test table that have a target, its classes as they were learned. name: of its file, for errors.

        DataError for a table without targets, or with a class that was not there to be learned.
        """
        values = _column(test, self.target, name)
        known = ~missing(values)
        if not known.any():
            raise DataError(f"{name}: the target {self.target!r} is missing in all {len(values):,} rows")
        rows = test.take(np.flatnonzero(known))
        if self.kind == NUMBERS:
            finite_numbers(self.target, rows[self.target], name)
            return rows
        classes = np.unique(self.targets(learned))
        spelled = {_spelled(each): each for each in classes.tolist()}
        given = [_spelled(each) for each in _plain(rows[self.target]).tolist()]
        if unknown := [each for each in given if each not in spelled]:
            there = ", ".join(list(spelled)[:6]) + ", …" * (len(spelled) > 6)
            raise DataError(f"{name}: {self.target!r} holds {unknown[0]!r}, which is none of the classes: {there}")
        labels = np.array([spelled[each] for each in given], classes.dtype)
        return Table({each: labels if each == self.target else rows.column(each) for each in rows.names}, rows.notes)


def find(table: Table, target: str, kind: str | None = None, weight: str | None = None) -> Task:
    """What the target asks for, unless `kind` says: text, booleans and few whole numbers are classes. DataError."""
    values = _column(table, target)
    if weight is not None:
        _column(table, weight)
    if weight == target:
        raise DataError(f"the column {target!r} cannot be both the target and the weight")
    if not set(table.names) - {target, weight}:
        raise DataError(f"there is no column beside the target {target!r} to learn from")
    lost = missing(values)
    if lost.all():
        raise DataError(f"the target {target!r} is missing in all {len(values):,} rows")
    known = _plain(values[~lost])
    distinct = np.unique(known.astype(str) if known.dtype == object else known)
    notes = [f"{lost.sum():,} rows without a target are left out"] if lost.any() else []
    if len(distinct) < 2:
        raise DataError(
            f"the target {target!r} holds one value only, {distinct.tolist()[0]!r}: there is nothing to learn"
        )
    if known.dtype.kind in "mM":
        raise DataError(f"the target {target!r} holds dates: make numbers of them, as days since one, or text")
    if kind is None:
        kind, why = _kind_of(known, distinct)
        notes += [why] if why else []
    if kind == CLASSES:
        if len(distinct) > MOST_CLASSES or len(distinct) > max(len(known) / 2, 2):
            raise DataError(
                f"the target {target!r} has {len(distinct):,} distinct values in {len(known):,} rows, too many for "
                "classes: name another column, or say --task numbers if they are numbers"
            )
        some = ", ".join(map(str, distinct[:6].tolist())) + ", …" * (len(distinct) > 6)
        return Task(kind, target, weight, f"{len(distinct)} classes ({some})", notes)
    numbers = finite_numbers(target, values[~lost])
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


def _spelled(label: object) -> str:
    """A label's text; true and false as files spell them, where a gap has made text of them."""
    return str(label).lower() if str(label) in ("True", "False", "TRUE", "FALSE") else str(label)


def _column(table: Table, name: str, where: str = "") -> Array:
    if name not in table.names:
        near = meant(name, table.names) or f"there are {', '.join(table.names[:20])}"
        raise DataError(f"{where}{': ' * bool(where)}there is no column {name!r}: {near}")
    return table[name]


def _plain(values: Array) -> Array:
    """Labels as people read them: whole numbers as integers, text as text."""
    if values.dtype.kind == "f" and (values == np.round(values)).all() and np.abs(values).max(initial=0) < 2**53:
        return values.astype(np.int64)
    return values


def as_numbers(name: str, values: Array, where: str = "") -> Array:
    """The column in float64. DataError that names the first cell that is no number."""
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    numbers = np.empty(len(values))
    for row, value in enumerate(values.tolist()):
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            told = f"the column {name!r} holds {value!r} in row {row}, which is no number"
            raise DataError(f"{where}: {told}" if where else told) from None
    return numbers


def finite_numbers(name: str, values: Array, where: str = "") -> Array:
    """The column in float64, of a target. DataError that names the first cell that is infinite or no number."""
    numbers = as_numbers(name, values, where)
    if (wrong := ~np.isfinite(numbers)).any():
        row = int(wrong.argmax())
        told = f"{name!r} holds {numbers[row]:g} in row {row}: numbers to predict must be finite"
        raise DataError(f"{where}: {told}" if where else f"the target {told}")
    return numbers
