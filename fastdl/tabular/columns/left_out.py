"""Columns of which nothing is taken: constants, identifiers, free text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastdl.base.cells import Column
from fastdl.tabular.columns.encoder import Encoder, Nodes, Parts


@dataclass(frozen=True)
class LeftOut(Encoder):
    """Base: a column that gives nothing, and that no table that is encoded need have."""

    def transform(self, column: Column) -> Parts:
        return Parts()

    def write(self, nodes: Nodes) -> None:
        """No node."""

    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        return np.zeros(rows)


@dataclass(frozen=True)
class Constant(LeftOut):
    """A column of one value, or of none."""

    kind: ClassVar[str] = "constant"


@dataclass(frozen=True)
class Identifier(LeftOut):
    """A column that names rows: each value stands once, or next to never twice."""

    kind: ClassVar[str] = "identifier"


@dataclass(frozen=True)
class Text(LeftOut):
    """Sentences: no net here reads them."""

    kind: ClassVar[str] = "text"
