"""What a column is: told from its type and its values, unless someone says so; each choice in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import ISO_DATE, MARKS, Column, Factor, as_factor, as_truths, missing, number_of, seconds_of
from fastdl.tabular.columns.boolean import Boolean
from fastdl.tabular.columns.category import LARGE, Category, Coded, level_counts
from fastdl.tabular.columns.date import Date
from fastdl.tabular.columns.encoder import Encoder, Settings
from fastdl.tabular.columns.left_out import Constant, Identifier, Text
from fastdl.tabular.columns.number import Number, Ordered

MOSTLY = 0.95  # of the cells that are there: so many must be numbers, or dates, for the column to be of these
SHOWN = 3
FEW = 20  # rows up to which distinct values are no sign of anything
WORDS, LETTERS = 4, 40  # on average, from which text is sentences


@dataclass(frozen=True)
class Candidate:
    """One column and all that its kind is told by."""

    name: str
    cells: Column
    weights: Array | None
    settings: Settings


def encoder_of(given: Candidate, said: str | None, notes: list[str]) -> Encoder:
    """The encoder of a column, fit to it. said: its kind, if somebody says so; notes: what was assumed is added."""
    name, cells = given.name, given.cells
    if said is None:
        if (distinct := _distinct(cells)) == 0 or (distinct == 1 and not _any_missing(cells)):
            told = "holds nothing" if distinct == 0 else "holds one value alone"
            notes.append(f"{name!r} {told} and was left out.")
            return Constant(name)
        said = _kind(given, notes)
    args = name, cells, given.weights, given.settings
    if said == "category":
        return _category(given, notes)
    if said == "number":
        _say_bad_cells(given, notes, number_of, "numbers")
        return Number.fit(*args)
    if said == "date":
        _say_bad_cells(given, notes, seconds_of, "dates")
        return Date.fit(*args)
    if said == "boolean":
        return Boolean.fit(*args)
    if said == "ordered":
        return Ordered.fit(*args)
    return Identifier(name) if said == "identifier" else Text(name)


def _kind(given: Candidate, notes: list[str]) -> str:
    name, cells = given.name, given.cells
    if isinstance(cells, Factor) and cells.declared:
        return "ordered" if cells.ordered else "category"
    if as_truths(cells) is not None:
        return "boolean"
    if not isinstance(cells, Factor):
        if cells.dtype.kind == "M":
            return "date"
        if cells.dtype.kind in "iu" and len(cells) > FEW and bool((np.diff(cells) == 1).all()):
            notes.append(f"{name!r} counts the rows and was left out.")
            return "identifier"
        return "number"
    if _share(cells, number_of, MARKS) >= MOSTLY:
        return "number"
    if _share(cells, seconds_of) >= MOSTLY:
        return "date"
    return _kind_of_text(name, cells, notes)


def _kind_of_text(name: str, cells: Factor, notes: list[str]) -> str:
    rows = int(cells.counts.sum())
    distinct = int((cells.counts > 0).sum())
    if distinct > max(FEW, LARGE) and distinct > rows / 2:
        sample = cells.levels[:: max(1, len(cells.levels) // 1000)]
        words = float(np.mean([level.count(" ") + 1 for level in sample]))
        if words >= WORDS or float(np.mean([*map(len, sample)])) >= LETTERS:
            notes.append(f"{name!r} holds sentences, which are not read, and was left out.")
            return "text"
    if rows > FEW and distinct == rows:
        notes.append(f"{name!r} has another value in each row and was left out.")
        return "identifier"
    return "category"


def _category(given: Candidate, notes: list[str]) -> Encoder:
    seen = level_counts(as_factor(given.cells), given.weights)
    args = given.name, given.cells, given.weights, given.settings
    if len(seen) <= given.settings.one_hot_up_to:
        return Category.fit(*args)
    encoder = Coded.fit(*args)
    if not encoder.levels:
        notes.append(f"{given.name!r} has values of which each is in next to no row, and was left out.")
        return Identifier(given.name)
    if encoder.rare:
        notes.append(
            f"{given.name!r}: {len(encoder.rare):,} of its {len(seen):,} values are in fewer than "
            f"{given.settings.rare} rows and count as one."
        )
    return encoder


def _distinct(cells: Column) -> int:
    """0, 1 or 2, which is more."""
    if isinstance(cells, Factor):
        return min(2, int((cells.counts > 0).sum()))
    there = cells[~missing(cells)]
    return 0 if not len(there) else 1 + bool((there != there[0]).any())


def _any_missing(cells: Column) -> bool:
    return bool((cells.codes < 0).any() if isinstance(cells, Factor) else missing(cells).any())


def _share(cells: Factor, read: object, marks: frozenset[str] = frozenset()) -> float:
    """Of the cells that are there and no marks of missing ones: how many can be read so."""
    counts = cells.counts
    good = bad = 0
    for level, count in zip(cells.levels, counts.tolist(), strict=True):
        if level.strip() in marks:
            continue
        if np.isnan(read(level)):  # type: ignore[operator]
            bad += count
            if bad > (1 - MOSTLY) * len(cells):
                return 0.0
        else:
            good += count
    return good / (good + bad) if good else 0.0


def _say_bad_cells(given: Candidate, notes: list[str], read: object, what: str) -> None:
    """A note where text is taken for numbers, and which cells are none."""
    cells = given.cells
    if not isinstance(cells, Factor):
        return

    def readable(level: str) -> bool:
        dates = what == "dates" and not ISO_DATE.fullmatch(level) and not np.isnan(number_of(level))
        return dates or not np.isnan(read(level))  # type: ignore[operator]

    seen = zip(cells.levels, cells.counts.tolist(), strict=True)
    wrong = [(level, n) for level, n in seen if n and not readable(level)]
    if not wrong:
        notes.append(f"{given.name!r} is text that holds {what}, and was taken for them.")
        return
    count = sum(n for _, n in wrong)
    examples = ", ".join(repr(level) for level, _ in wrong[:SHOWN]) + ", …" * (len(wrong) > SHOWN)
    notes.append(f"{given.name!r} was taken for {what}: {count:,} cells that are none ({examples}) count as missing.")
