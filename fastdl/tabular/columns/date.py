"""Dates: seconds since 1970, and the parts of the date that differ between rows, each a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, as_seconds
from fastdl.tabular.columns.encoder import Encoder, Nodes, Parts, Settings, sprinkled
from fastdl.tabular.columns.number import as_constants, counted, flagged, indicator_of
from fastdl.tabular.columns.scaling import Scaling, scaling_of

PARTS = ("epoch", "year", "month", "day", "weekday", "hour")


def parts_of(seconds: Any, floor: Callable[[Any], Any]) -> dict[str, Any]:
    """The parts of a date in UTC, from sums, products and `floor` alone; Monday is weekday 0.

    seconds: since 1970, an array, or anything with arithmetic. Years begin in March on the way, so that a leap day
    comes last: http://howardhinnant.github.io/date_algorithms.html
    """
    days = floor(seconds / 86400.0)
    hour = floor((seconds - days * 86400.0) / 3600.0)
    weekday = days + 3.0 - floor((days + 3.0) / 7.0) * 7.0
    shifted = days + 719468.0
    era = floor(shifted / 146097.0)  # of 400 years
    in_era = shifted - era * 146097.0
    leaps = floor(in_era / 36524.0) - floor(in_era / 1460.0) - floor(in_era / 146096.0)
    year = floor((in_era + leaps) / 365.0)
    in_year = in_era - (year * 365.0 + floor(year / 4.0) - floor(year / 100.0))
    month = floor((in_year * 5.0 + 2.0) / 153.0)
    day = in_year - floor((month * 153.0 + 2.0) / 5.0) + 1.0
    late = floor(month / 10.0)  # January and February
    year, month = year + era * 400.0 + late, month + 3.0 - late * 12.0
    return dict(zip(PARTS, (seconds, year, month, day, weekday, hour), strict=True))


@dataclass(frozen=True)
class Date(Encoder):
    """A date, as ISO text, datetime or seconds since 1970 in UTC: the last is what the file takes, in double."""

    parts: dict[str, Scaling]
    indicator: list[float]
    kind: ClassVar[str] = "date"
    order: ClassVar[int] = 4

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        x = as_seconds(column)
        with np.errstate(invalid="ignore"):
            scalings = {part: scaling_of(*counted(v, weights)) for part, v in parts_of(x, np.floor).items()}
        parts = {
            part: Scaling(s.center, s.factor, s.missing, double=True)
            for part, s in scalings.items()
            if s.factor > 0 or part == "epoch"
        }
        return cls(name, parts, indicator_of(np.isnan(x), weights, settings))

    @property
    def numbers(self) -> list[str]:  # type: ignore[override]
        return [f"{self.name}: {part}" for part in self.parts]

    @property
    def flags(self) -> list[str]:  # type: ignore[override]
        return [f"{self.name} is missing"] if self.indicator else []

    def transform(self, column: Column) -> Parts:
        x = as_seconds(column)
        with np.errstate(all="ignore"):
            values = parts_of(x, np.floor)
        given = [scaling.apply(values[part]) for part, scaling in self.parts.items()]
        return Parts(numbers=[w for w, _ in given], missing=flagged(self.indicator, given[0][1]))

    def write(self, nodes: Nodes) -> None:
        nodes.date(self.name, self.parts, as_constants(self.indicator))

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        epoch = self.parts["epoch"]
        x = np.floor(epoch.center + rng.standard_normal(rows) / (2 * epoch.factor or 1.0))
        return sprinkled(rng, x, np.array([np.nan, 0.0, -1.0, -86400.5, 1e11, 951782399.0, 951782400.0, 1e18, -1e18]))
