"""What a model looks at: permutation importance of columns (Breiman 2001), partial dependence on a few of them
(Friedman 2001), and what a column tells without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, Factor, missing
from fastdl.tabular.columns.columns import Columns, Encoded
from fastdl.tabular.recipes import CLASSES
from fastdl.tabular.scores import Score
from fastdl.tabular.table import Table

MOST_ROWS, FEWEST_ROWS = 2000, 200  # that importance is measured on
CELLS = 60_000  # rows × columns of importance: time is as this times the columns' number is
ALONE_ROWS = 4000
BINS = 32  # of a number, when a column is looked at alone
GRID_ROWS = 300  # of partial dependence
GRID = 20  # values of a number
VALUES = 8  # of a category

Predict = Callable[[Table], Array]


@dataclass(frozen=True)
class Dependence:
    """The mean answer as one column is set to each of some values, numbers or text. answers: (values, outputs)."""

    column: str
    values: list[Any]
    answers: Array


def replaced(table: Table, name: str, values: Column) -> Table:
    """The table with other values in one column."""
    return Table({each: values if each == name else table.column(each) for each in table.names})


def rows_for(columns: int) -> int:
    """How many rows importance is measured on, of so many columns: fewer for wide tables, so that it ends soon."""
    return int(np.clip(CELLS // max(columns, 1), FEWEST_ROWS, MOST_ROWS))


def importances(
    predict: Callable[[Encoded], Array], table: Table, targets: Array, score: Score, columns: Columns, seed: int = 0
) -> list[tuple[str, float]]:
    """How much worse the score is when a column's values are shuffled among rows, largest first.

    Rows are encoded once: what a column became is shuffled, which is the same.
    """
    generator, names = np.random.default_rng(seed), columns.inputs
    rows = generator.permutation(len(table))[: rows_for(len(names))]
    encoded, targets = columns.transform(table.take(rows).select(names)), targets[rows]
    best = score(targets, predict(encoded), None)
    worse = []
    for name in names:
        shuffled = columns.reordered(encoded, name, generator.permutation(len(rows)))
        worse.append((name, score(targets, predict(shuffled), None) - best))
    return sorted(worse, key=lambda pair: -pair[1])


def dependence(predict: Predict, table: Table, column: str, seed: int = 0) -> Dependence | None:
    """The mean answer for each of some values of a column; None where there are no two of them."""
    rows = np.random.default_rng(seed).permutation(len(table))[:GRID_ROWS]
    values = _values(table[column])
    if len(values) < 2:
        return None
    several = table.take(np.tile(rows, len(values)))
    repeated = np.repeat(np.asarray(values, table[column].dtype), len(rows))
    answers = predict(replaced(several, column, repeated))
    return Dependence(column, list(values), answers.reshape(len(values), len(rows), -1).mean(axis=1))


def _values(values: Array) -> Array:
    """Quantiles of numbers and dates; the most frequent of text."""
    known = values[~missing(values)]
    if known.dtype == object or known.dtype == bool:
        distinct, counts = np.unique(known, return_counts=True)
        return distinct[np.argsort(-counts, kind="stable")[:VALUES]]
    distinct = np.unique(known)
    if len(distinct) <= GRID:
        return distinct
    places = np.linspace(0.01, 0.99, GRID) * (len(known) - 1)
    return np.unique(np.sort(known)[places.astype(np.int64)])


def alone(table: Table, targets: Array, task: str, columns: Sequence[str], seed: int = 0) -> dict[str, float]:
    """How much of the target each column tells by itself: 0 nothing, 1 all of it.

    Half of the rows tell the mean target of each value of the column (of each of 32 ranges of a number), the other half
    judge it: R² of numbers; of classes the share of the most frequent class's errors that is gone.
    """
    rows = np.random.default_rng(seed).permutation(len(table))[:ALONE_ROWS]
    few, own = table.take(rows), targets[rows]
    if task == CLASSES:
        own = np.eye(int(targets.max()) + 1)[own]
    half = len(rows) // 2
    if half < BINS:
        return {}
    told = {}
    for name in columns:
        groups = _groups(few.column(name))
        counts = np.bincount(groups[:half], minlength=groups.max() + 1)[:, None]
        sums = np.stack([np.bincount(groups[:half], y, groups.max() + 1) for y in own[:half].T], axis=1)
        overall = own[:half].mean(axis=0)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
        told[name] = _share_told(task, own[half:], means[groups[half:]], overall)
    return told


def _groups(column: Column) -> Array:
    """One small number a row: of each text, of each range of a number, 0 where it is missing."""
    if isinstance(column, Factor):
        return column.codes.astype(np.int64) + 1
    gone = missing(column)
    x = column.astype(np.float64)
    known = np.sort(x[~gone])
    if not len(known):
        return np.zeros(len(x), np.int64)
    distinct = np.unique(known)
    edges = distinct if len(distinct) <= BINS else np.unique(known[np.arange(1, BINS) * len(known) // BINS])
    return np.where(gone, 0, np.searchsorted(edges, x, side="right") + 1)


def _share_told(task: str, targets: Array, answers: Array, overall: Array) -> float:
    if task == CLASSES:
        labels = targets.argmax(axis=1)
        before = float((labels != overall.argmax()).mean())
        after = float((labels != answers.argmax(axis=1)).mean())
    else:
        before, after = float(((targets - overall) ** 2).sum()), float(((targets - answers) ** 2).sum())
    return max(0.0, 1 - after / before) if before > 0 else 0.0
