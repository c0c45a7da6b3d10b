"""What an encoder of a column is: it learns from a column, encodes one in numpy, writes the nodes that do the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column
from fastdl.tabular.columns.scaling import Scaling


@dataclass(frozen=True)
class Settings:
    """What the encoders of all columns go by: see Columns."""

    one_hot_up_to: int = 8
    rare: int = 3
    scaled_flags: bool = True


def _nothing() -> list[Array]:
    return []


@dataclass
class Parts:
    """What a column becomes, float32 (rows,): numbers and truths as w (see scaling); tables are flags (rows, k)."""

    numbers: list[Array] = field(default_factory=_nothing)
    truths: list[Array] = field(default_factory=_nothing)
    missing: list[Array] = field(default_factory=_nothing)
    tables: list[Array] = field(default_factory=_nothing)
    codes: list[Array] = field(default_factory=_nothing)


class Nodes(Protocol):
    """What encoders see of an ONNX graph while it is written: columns enter, and their parts are collected."""

    def truth(self, column: str, scaling: Scaling) -> None:
        """A number that becomes a flag."""

    def number(self, column: str, scaling: Scaling, indicator: Array | None) -> None:
        """A number; the two values of its indicator: there, missing."""

    def rank(self, column: str, levels: list[str], scaling: Scaling, indicator: Array | None) -> None:
        """A text's place among the levels, as a number."""

    def date(self, column: str, parts: dict[str, Scaling], indicator: Array | None) -> None:
        """Seconds since 1970, of which the parts are computed."""

    def table(self, column: str, levels: list[str], rows: Array) -> None:
        """A text that becomes a row of the table: the first where it is none of the levels."""

    def code(self, column: str, codes: Mapping[str, int]) -> None:
        """A text that becomes a whole number: 0 where it has none."""


@dataclass(frozen=True)
class Encoder(ABC):
    """One column's encoder. A subclass is a kind: what it learns, what it gives, its nodes, and rows to try it on.

    Its fields are all that it has learned, in types that JSON has.
    """

    name: str

    kind: ClassVar[str]
    order: ClassVar[int] = 0  # in which kinds stand among the outputs

    numbers: ClassVar[Any] = ()
    flags: ClassVar[Any] = ()
    size: ClassVar[int | None] = None  # rows of the embedding that its code chooses from, if it gives one

    @abstractmethod
    def transform(self, column: Column) -> Parts:
        """The column encoded. Nothing in it is an error: what cannot be read is missing."""

    @abstractmethod
    def write(self, nodes: Nodes) -> None:
        """Say to the graph what `transform` does."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, rows: int) -> Column:
        """Random cells to compare both on: of the training data, missing, unknown and extreme ones."""

    def get_config(self) -> dict[str, Any]:
        """The kind, and what was learned."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The encoder that `get_config` described."""
        fields = {name: value for name, value in config.items() if name != "kind"}
        return cls(**{name: _restored(value) for name, value in fields.items()})


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"center", "factor", "missing", "double"}:
        return Scaling(**value)
    if isinstance(value, dict):
        return {name: _restored(each) for name, each in value.items()}
    return value


def sprinkled(rng: np.random.Generator, column: Array, odd: Array, share: float = 0.1) -> Array:
    """The cells, some of them replaced by odd ones."""
    chosen = rng.random(len(column)) < share
    column = column.copy()
    column[chosen] = rng.choice(odd, int(chosen.sum()))
    return column
