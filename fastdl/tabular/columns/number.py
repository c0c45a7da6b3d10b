"""Numbers, and what becomes one: the place of an ordered category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, Factor, as_factor, as_numbers, factor_of
from fastdl.tabular.columns.encoder import Encoder, Nodes, Parts, Settings, sprinkled
from fastdl.tabular.columns.scaling import Scaling, flag_constants, scaling_of

ODD = np.array([np.nan, 0.0, -0.0, 1e-30, -1.0, 1e6, -1e9, 3e38, -3e38, np.inf, -np.inf])


def counted(x: Array, weights: Array | None) -> tuple[Array, Array]:
    """The values that are there, ascending, and how often each is, or what its rows weigh."""
    there = ~np.isnan(x)
    if weights is None:
        return np.unique(x[there], return_counts=True)
    values, which = np.unique(x[there], return_inverse=True)
    return values, np.bincount(which, weights[there], len(values))


def indicator_of(gone: Array, weights: Array | None, settings: Settings) -> list[float]:
    """The two values of the flag that says whether a cell is missing; none if none ever was."""
    if not gone.any():
        return []
    missing = float(gone.sum() if weights is None else weights[gone].sum())
    there = float(len(gone) if weights is None else weights.sum()) - missing
    return [float(each) for each in flag_constants((0.0, 1.0), (there, missing), settings.scaled_flags)]


def flagged(indicator: list[float], gone: Array) -> list[Array]:
    """The indicator of each row, if there is one."""
    return [np.array(indicator, np.float32)[gone.astype(np.intp)]] if indicator else []


def as_constants(indicator: list[float]) -> Array | None:
    """The indicator's two values as an array, if there is one."""
    return np.array(indicator, np.float32) if indicator else None


@dataclass(frozen=True)
class Number(Encoder):
    """A number: scaled, smoothly clipped, the mean where it is missing; with an indicator if it was in training."""

    scaling: Scaling
    indicator: list[float]
    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        x = as_numbers(column)
        return cls(name, scaling_of(*counted(x, weights)), indicator_of(np.isnan(x), weights, settings))

    @property
    def order(self) -> int:  # type: ignore[override]
        return 3 if self.scaling.double else 1

    @property
    def numbers(self) -> list[str]:  # type: ignore[override]
        return [self.name]

    @property
    def flags(self) -> list[str]:  # type: ignore[override]
        return [f"{self.name} is missing"] if self.indicator else []

    def transform(self, column: Column) -> Parts:
        w, gone = self.scaling.apply(as_numbers(column))
        return Parts(numbers=[w], missing=flagged(self.indicator, gone))

    def write(self, nodes: Nodes) -> None:
        nodes.number(self.name, self.scaling, as_constants(self.indicator))

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        x = self.scaling.center + rng.standard_normal(rows) / (2 * self.scaling.factor or 1.0)
        return sprinkled(rng, x if self.scaling.double else x.astype(np.float32), ODD)


@dataclass(frozen=True)
class Ordered(Encoder):
    """A category whose values have an order: its place in it, as a number; missing or unknown alike."""

    levels: list[str]
    scaling: Scaling
    indicator: list[float]
    kind: ClassVar[str] = "ordered"
    order: ClassVar[int] = 2

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        factor = as_factor(column)
        x = np.where(factor.codes < 0, np.nan, factor.codes)
        scaling = scaling_of(*counted(x, weights))
        return cls(name, list(factor.levels), scaling, indicator_of(np.isnan(x), weights, settings))

    @property
    def numbers(self) -> list[str]:  # type: ignore[override]
        return [self.name]

    @property
    def flags(self) -> list[str]:  # type: ignore[override]
        return [f"{self.name} is missing"] if self.indicator else []

    def transform(self, column: Column) -> Parts:
        factor, places = as_factor(column), {level: float(i) for i, level in enumerate(self.levels)}
        x = factor.spread(np.array([places.get(level, np.nan) for level in factor.levels], np.float64), np.nan)
        w, gone = self.scaling.apply(x)
        return Parts(numbers=[w], missing=flagged(self.indicator, gone))

    def write(self, nodes: Nodes) -> None:
        nodes.rank(self.name, self.levels, self.scaling, as_constants(self.indicator))

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        return drawn_texts(rng, rows, self.levels)


def drawn_texts(rng: np.random.Generator, rows: int, levels: list[str]) -> Factor:
    """Texts of the levels, with some that are none, and some missing."""
    odd: list[Any] = [None, "", "nan", "unknown", "ÄÖ 漢字 🎈", " ", 'a,b\n"c"', *(f"{level} " for level in levels[:3])]
    cells = rng.choice(np.array([*levels, None], object), rows)
    return factor_of(sprinkled(rng, cells, np.array(odd, object)))
