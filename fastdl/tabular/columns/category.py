"""Categories: few values are flags, one each; many are a code, by which an embedding is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, Factor, as_factor
from fastdl.tabular.columns.encoder import Encoder, Nodes, Parts, Settings
from fastdl.tabular.columns.number import drawn_texts
from fastdl.tabular.columns.scaling import flag_constants

LARGE = 32  # values from which those that are rarely seen are one


def level_counts(factor: Factor, weights: Array | None) -> dict[str, float]:
    """How often each value that is there is seen, or what its rows weigh; in the order of their texts."""
    there = factor.codes >= 0
    given = None if weights is None else weights[there]
    counts = np.bincount(factor.codes[there], given, len(factor.levels))
    return {level: float(n) for level, n in sorted(zip(factor.levels, counts, strict=True)) if n > 0}


@dataclass(frozen=True)
class Category(Encoder):
    """A category of few values: a flag for each, ±1 of two; zeros where it is missing or unknown."""

    levels: list[str]
    rows: list[list[float]]  # what each value becomes, and before them what is missing or unknown does
    kind: ClassVar[str] = "category"
    order: ClassVar[int] = 5

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        factor = as_factor(column)
        seen = level_counts(factor, weights)
        gone = factor.codes < 0
        missing = float(gone.sum() if weights is None else weights[gone].sum())
        levels, total = list(seen), sum(seen.values()) + missing
        table = np.zeros((len(levels) + 1, 1 if len(levels) == 2 else len(levels)), np.float32)
        if len(levels) == 2:
            counts = (missing, *seen.values())
            table[:, 0] = flag_constants((0.0, -1.0, 1.0), counts, settings.scaled_flags)
        else:
            for column_, level in enumerate(levels):
                off, on = flag_constants((0.0, 1.0), (total - seen[level], seen[level]), settings.scaled_flags)
                table[:, column_] = off
                table[column_ + 1, column_] = on
        return cls(name, levels, [[float(x) for x in row] for row in table])

    @property
    def flags(self) -> list[str]:  # type: ignore[override]
        chosen = self.levels[1:] if len(self.levels) == 2 else self.levels
        return [f"{self.name}={level}" for level in chosen]

    @cached_property
    def _table(self) -> Array:
        return np.array(self.rows, np.float32)

    def transform(self, column: Column) -> Parts:
        factor, places = as_factor(column), {level: i + 1 for i, level in enumerate(self.levels)}
        rows = factor.spread(np.array([places.get(level, 0) for level in factor.levels], np.intp), 0)
        return Parts(tables=[self._table[rows]])

    def write(self, nodes: Nodes) -> None:
        nodes.table(self.name, self.levels, self._table)

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        return drawn_texts(rng, rows, self.levels)


@dataclass(frozen=True)
class Coded(Encoder):
    """A category of many values: 1, 2, … by the order of their texts, one number for all that are rare, else 0."""

    levels: list[str]
    rare: list[str]
    kind: ClassVar[str] = "category"
    order: ClassVar[int] = 6

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        factor = as_factor(column)
        seen = level_counts(factor, None if weights is None else (weights > 0).astype(np.float64))
        least = settings.rare if len(seen) > LARGE else 1
        return cls(name, [each for each, n in seen.items() if n >= least], [e for e, n in seen.items() if n < least])

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.levels) + bool(self.rare) + 1

    @cached_property
    def _codes(self) -> dict[str, int]:
        codes = {level: i + 1 for i, level in enumerate(self.levels)}
        return codes | dict.fromkeys(self.rare, len(self.levels) + 1)

    def transform(self, column: Column) -> Parts:
        factor, codes = as_factor(column), self._codes
        of_levels = np.array([codes.get(level, 0) for level in factor.levels], np.float32)
        return Parts(codes=[factor.spread(of_levels, 0)])

    def write(self, nodes: Nodes) -> None:
        nodes.code(self.name, self._codes)

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        return drawn_texts(rng, rows, [*self.levels, *self.rare])
