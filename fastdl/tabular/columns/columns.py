"""All columns of a table: what each is, and how they become numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastdl.base.arguments import Named, whole
from fastdl.base.arrays import Array
from fastdl.base.naming import meant
from fastdl.errors import DataError, DataWarning, warn
from fastdl.tabular.columns.boolean import Boolean
from fastdl.tabular.columns.category import Category, Coded
from fastdl.tabular.columns.date import Date
from fastdl.tabular.columns.encoder import Encoder, Nodes, Settings
from fastdl.tabular.columns.kinds import Candidate, encoder_of
from fastdl.tabular.columns.left_out import Constant, Identifier, LeftOut, Text
from fastdl.tabular.columns.number import Number, Ordered
from fastdl.tabular.columns.scaling import clip
from fastdl.tabular.table import Table

KINDS: dict[str, type[Encoder]] = {
    kind.__name__: kind for kind in (Number, Ordered, Boolean, Category, Coded, Date, Constant, Identifier, Text)
}


@dataclass
class Encoded:
    """A table as numbers: numbers (n, N), flags (n, F) and codes (n, C), float32; codes are whole numbers."""

    numbers: Array
    flags: Array
    codes: Array

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def arrays(self) -> list[Array]:
        """What a net reads: those of the three that have columns, in order."""
        return [each for each in (self.numbers, self.flags, self.codes) if each.shape[1]]

    def take(self, rows: Array) -> Encoded:
        """Some rows."""
        return Encoded(self.numbers[rows], self.flags[rows], self.codes[rows])


class Columns(Named):
    """What each column of a table is, and how it becomes numbers: in numpy, and as nodes of an ONNX file.

    categorical, numeric, date: names of columns that are so, whatever they look like; "from_dtype": what their types
    and values say. drop: names of columns to leave out. one_hot_up_to: values up to which a category becomes flags, and
    not a code. rare: rows below which a value of a large category is one of the rare ones, which share a code.
    scaled_flags: flags are scaled and clipped as numbers are (RealMLP).

    Once fit: kinds, what each column is; notes, what was assumed; numbers, flags and codes, the names of the outputs;
    sizes, of each code one more than the largest: 0 is missing or unknown.
    """

    def __init__(
        self,
        *,
        categorical: str | Sequence[str] = "from_dtype",
        numeric: Sequence[str] = (),
        date: Sequence[str] = (),
        drop: Sequence[str] = (),
        one_hot_up_to: int = 8,
        rare: int = 3,
        scaled_flags: bool = True,
    ) -> None:
        if isinstance(categorical, str) and categorical != "from_dtype":
            raise ValueError(f"categorical must be 'from_dtype' or a list of names, not {categorical!r}")
        self.categorical = categorical if isinstance(categorical, str) else _names("categorical", categorical)
        self.numeric = _names("numeric", numeric)
        self.date = _names("date", date)
        self.drop = _names("drop", drop)
        self.one_hot_up_to = whole("one_hot_up_to", one_hot_up_to, 0)
        self.rare = whole("rare", rare)
        self.scaled_flags = bool(scaled_flags)
        self.notes: list[str] = []
        self.encoders: list[Encoder] = []  # in the order of their outputs
        self._names: list[str] = []
        self._told_of: set[str] = set()

    # -- fit ------------------------------------------------------------------------------------------------

    def fit(self, table: Table, sample_weight: Any = None) -> Columns:
        """Learn what each column is, and its constants. sample_weight: (rows,), zero or more.

        DataError for an empty table, names of columns that it does not have, and if no column is of use.
        """
        if not len(table):
            raise DataError("the table has no rows to learn from")
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float64).reshape(-1)
        if weights is not None:
            if len(weights) != len(table) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
                raise DataError(
                    f"sample_weight must be one finite number of zero or more for each of {len(table)} rows"
                )
            if not weights.all():
                table, weights = table.take(weights > 0), weights[weights > 0]
        said = self._said(table)
        settings = Settings(self.one_hot_up_to, self.rare, self.scaled_flags)
        notes: list[str] = []
        encoders = [
            encoder_of(Candidate(name, table.column(name), weights, settings), said.get(name), notes)
            for name in table.names
            if name not in self.drop
        ]
        if all(isinstance(encoder, LeftOut) for encoder in encoders):
            raise DataError(f"no column tells anything: {' '.join(notes) or 'all are dropped.'}")
        self.notes = notes
        self._take(encoders)
        return self

    def _take(self, encoders: Sequence[Encoder]) -> None:
        self._names = [encoder.name for encoder in encoders]
        self.encoders = sorted(encoders, key=lambda encoder: encoder.order)
        self._told_of = set()

    def _said(self, table: Table) -> dict[str, str]:
        """Kinds by name, of the columns of which somebody says it."""
        listed = {
            "category": [] if isinstance(self.categorical, str) else self.categorical,
            "number": self.numeric,
            "date": self.date,
            "drop": self.drop,
        }
        said: dict[str, str] = {}
        for kind, names in listed.items():
            for name in names:
                if name not in table:
                    raise DataError(_no_column(name, table.names))
                if name in said:
                    raise ValueError(f"column {name!r} cannot be both {said[name]} and {kind}")
                said[name] = kind
        return said

    # -- what came of it ------------------------------------------------------------------------------------

    @property
    def kinds(self) -> dict[str, str]:
        """What each column is, by name in the order of the table."""
        kinds = {encoder.name: encoder.kind for encoder in self.encoders}
        return {name: kinds[name] for name in self._names}

    @property
    def inputs(self) -> list[str]:
        """The columns that are read, in the order of the table: those that a table must have."""
        own = {encoder.name for encoder in self.encoders if not isinstance(encoder, LeftOut)}
        return [name for name in self._names if name in own]

    @property
    def numbers(self) -> list[str]:
        """Names of the numbers, in order."""
        return [name for encoder in self.encoders for name in encoder.numbers]

    @property
    def flags(self) -> list[str]:
        """Names of the flags, in order: of booleans, of what is missing, of categories."""
        return [name for _, name in self._flags()]

    def _flags(self) -> list[tuple[Encoder, str]]:
        own = {kind: [e for e in self.encoders if isinstance(e, kind)] for kind in (Boolean, Category)}
        others = [e for e in self.encoders if not isinstance(e, Boolean | Category)]
        return [(e, name) for group in (own[Boolean], others, own[Category]) for e in group for name in e.flags]

    @property
    def codes(self) -> list[str]:
        """Names of the codes, in order: the columns' own."""
        return [encoder.name for encoder in self.encoders if encoder.size is not None]

    @property
    def sizes(self) -> list[int]:
        """Of each code, how many there are: 0 for what is missing or unknown, and one for each value."""
        return [encoder.size for encoder in self.encoders if encoder.size is not None]

    def described(self, name: str) -> str:
        """What a column becomes, in words: "1 number, 1 flag", "8 flags", "a code of 42 values", "left out"."""
        encoder = next((each for each in self.encoders if each.name == name), None)
        if encoder is None:
            raise DataError(_no_column(name, self._names))
        counts = {"number": len(encoder.numbers), "flag": len(encoder.flags)}
        parts = [f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count]
        parts += [f"a code of {encoder.size - 1} values"] if encoder.size is not None else []
        return ", ".join(parts) or "left out"

    # -- use ------------------------------------------------------------------------------------------------

    def transform(self, data: Any) -> Encoded:
        """A table, or what `Table.of` takes, encoded. Columns are found by name, in any order.

        DataError that names a column that is missing; new ones are ignored, with a warning once.
        """
        if not self.encoders:
            raise ValueError("columns are fit to a table before they transform one: call fit first")
        table = Table.of(data)
        for name in self.inputs:
            if name not in table:
                raise DataError(_no_column(name, table.names))
        known = {*self._names, *self.drop, *self._told_of}
        if more := [name for name in table.names if name not in known]:
            self._told_of.update(more)
            warn(f"columns that were not there in training are ignored: {', '.join(map(repr, more[:5]))}", DataWarning)
        rows = len(table)
        numbers, flags, codes = (np.empty((rows, len(n)), np.float32) for n in (self.numbers, self.flags, self.codes))
        truths = sum(isinstance(encoder, Boolean) for encoder in self.encoders)
        indicators = sum(len(e.flags) for e in self.encoders if not isinstance(e, Boolean | Category))
        filling = {
            "numbers": _Filling(numbers, 0),
            "truths": _Filling(flags, 0),
            "missing": _Filling(flags, truths),
            "tables": _Filling(flags, truths + indicators),
            "codes": _Filling(codes, 0),
        }
        for encoder in self.encoders:  # one at a time, so that only one column is held twice
            if not isinstance(encoder, LeftOut):
                parts = encoder.transform(table.column(encoder.name))
                for name, each in filling.items():
                    each.add(getattr(parts, name))
        clip(numbers)
        if self.scaled_flags:
            clip(flags[:, :truths])
        return Encoded(numbers, flags, codes)

    def reordered(self, encoded: Encoded, name: str, order: Array) -> Encoded:
        """The same rows, with what the column of this name became in another order of rows."""
        owners = (
            [e.name for e in self.encoders for _ in e.numbers],
            [encoder.name for encoder, _ in self._flags()],
            self.codes,
        )
        matrices = []
        for matrix, names in zip((encoded.numbers, encoded.flags, encoded.codes), owners, strict=True):
            own = [place for place, owner in enumerate(names) if owner == name]
            matrices.append(matrix.copy())
            matrices[-1][:, own] = matrix[order][:, own]
        return Encoded(*matrices)

    def write(self, nodes: Nodes) -> None:
        """Say to a graph what each column becomes."""
        for encoder in self.encoders:
            encoder.write(nodes)

    def draw(self, rng: np.random.Generator, rows: int) -> Table:
        """Random rows of the columns that are read: as in training, missing, unknown and extreme ones."""
        own = {e.name: e.draw(rng, rows) for e in self.encoders if not isinstance(e, LeftOut)}
        return Table({name: own[name] for name in self.inputs})

    # -- as JSON --------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The arguments and all that was learned, in types that JSON has."""
        names = "categorical", "numeric", "date", "drop", "one_hot_up_to", "rare", "scaled_flags"
        encoders = {encoder.name: encoder for encoder in self.encoders}
        learned = [{"class": type(encoders[n]).__name__, **encoders[n].get_config()} for n in self._names]
        return {**{name: getattr(self, name) for name in names}, "notes": list(self.notes), "learned": learned}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The columns that `get_config` described."""
        arguments = dict(config)
        notes, learned = arguments.pop("notes", []), arguments.pop("learned", [])
        columns = cls(**arguments)
        columns.notes = list(notes)
        if learned:
            columns._take(
                [KINDS[each["class"]].from_config({n: v for n, v in each.items() if n != "class"}) for each in learned]
            )
        return columns


@dataclass
class _Filling:
    """A matrix that is filled from the left, beginning at a column."""

    matrix: Array
    column: int

    def add(self, arrays: Sequence[Array]) -> None:
        for array in arrays:
            width = 1 if array.ndim == 1 else array.shape[1]
            self.matrix[:, self.column : self.column + width] = array.reshape(-1, width)
            self.column += width


def _names(what: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{what} must be a list of names of columns, not {names!r}")
    return [str(name) for name in names]


def _no_column(name: str, names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names[:8])) + ", …" * (len(names) > 8)
    return f"the table has no column {name!r}: {meant(name, names) or f'it has {listed}'}"
