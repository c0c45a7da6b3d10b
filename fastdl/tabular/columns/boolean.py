"""Booleans: one flag of ±1, 0 where missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, as_numbers
from fastdl.tabular.columns.encoder import Encoder, Nodes, Parts, Settings, sprinkled
from fastdl.tabular.columns.number import counted
from fastdl.tabular.columns.scaling import Scaling, scaling_of


@dataclass(frozen=True)
class Boolean(Encoder):
    """True or false, as booleans, their texts, or 1 and 0, which is what the file takes."""

    scaling: Scaling
    kind: ClassVar[str] = "boolean"

    @classmethod
    def fit(cls, name: str, column: Column, weights: Array | None, settings: Settings) -> Self:
        """Learn from a column."""
        if not settings.scaled_flags:
            return cls(name, Scaling(0.5, 2.0, 0.0))
        x = as_numbers(column)
        signs, counts = counted(2 * np.where(np.isnan(x), 0.5, x) - 1, weights)  # −1, 0 where missing, 1
        scaling = scaling_of(signs, counts)
        zero = float(np.float32(-scaling.center * scaling.factor))
        return cls(name, Scaling((scaling.center + 1) / 2, 2 * scaling.factor, zero))

    @property
    def flags(self) -> list[str]:  # type: ignore[override]
        return [self.name]

    def transform(self, column: Column) -> Parts:
        return Parts(truths=[self.scaling.apply(as_numbers(column))[0]])

    def write(self, nodes: Nodes) -> None:
        nodes.truth(self.name, self.scaling)

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        return sprinkled(rng, rng.integers(0, 2, rows).astype(np.float32), np.array([np.nan]))
