"""What a model looks at: permutation importance of columns (Breiman 2001), and partial dependence on a few of them
(Friedman 2001)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular.scores import Score
from fastdl.tabular.table import Table
from fastdl.tabular.tasks import missing

MOST_ROWS = 2000  # that importance is measured on
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


def replaced(table: Table, name: str, values: Array) -> Table:
    """The table with other values in one column."""
    return Table.of({each: values if each == name else table[each] for each in table.names})


def importances(
    predict: Predict, table: Table, targets: Array, score: Score, columns: Sequence[str], seed: int = 0
) -> list[tuple[str, float]]:
    """How much worse the score is when a column's values are shuffled among rows, largest first."""
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(table))[:MOST_ROWS]
    table, targets = table.take(rows), targets[rows]
    best = score(targets, predict(table), None)
    worse = []
    for name in columns:
        shuffled = replaced(table, name, table[name][generator.permutation(len(table))])
        worse.append((name, score(targets, predict(shuffled), None) - best))
    return sorted(worse, key=lambda pair: -pair[1])


def dependence(predict: Predict, table: Table, column: str, seed: int = 0) -> Dependence | None:
    """The mean answer for each of some values of a column; None where there are no two of them."""
    rows = np.random.default_rng(seed).permutation(len(table))[:GRID_ROWS]
    values = _values(table[column])
    if len(values) < 2:
        return None
    few = table.take(rows)
    answers = []
    for value in values:
        filled = np.full(len(few), value, dtype=few[column].dtype)
        answers.append(predict(replaced(few, column, filled)).mean(axis=0))
    return Dependence(column, list(values), np.array(answers))


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
