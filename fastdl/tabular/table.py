"""A table: named columns of one length, from whatever people hold them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, Factor
from fastdl.base.frames import columns_of
from fastdl.base.naming import meant
from fastdl.errors import DataError


class Table:
    """Named columns of one length. `Table.of` makes one of frames, matrices, mappings and rows.

    notes: what was assumed where it was read, one sentence each.
    """

    def __init__(self, columns: Mapping[str, Column], notes: Iterable[str] = ()) -> None:
        self._columns = dict(columns)
        self.notes = list(notes)

    @classmethod
    def of(cls, data: Any, names: Sequence[str] | None = None) -> Self:
        """A table of what people hold it in.

        data: a frame of pandas or polars, a Table or RecordBatch of pyarrow, a matrix (columns x0, x1, … unless names
        are given), a mapping of columns by name, a list of rows as mappings, or a table. Raises DataError for what is
        none, names that are doubled or empty, columns that differ in length, and cells that are neither numbers,
        booleans, text nor dates.
        """
        if isinstance(data, cls):
            return data
        return cls(columns_of(data, names))

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Array:
        """A column (rows,): float, int, bool or datetime64, or text as an object array of str, None where missing."""
        column = self.column(name)
        return column.texts() if isinstance(column, Factor) else column

    def column(self, name: str) -> Column:
        """A column as it is held: an array, or text by its distinct values. DataError if there is none of the name."""
        if name not in self._columns:
            hint = meant(name, self._columns)
            raise DataError(f"the table has no column {name!r}{': ' if hint else ''}{hint}")
        return self._columns[name]

    def take(self, rows: Array) -> Table:
        """Some rows, by number or by a mask, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index
        return Table({n: c.take(index) if isinstance(c, Factor) else c[index] for n, c in self._columns.items()})

    def select(self, names: Iterable[str]) -> Table:
        """Some columns, in that order. DataError if one is missing."""
        return Table({name: self.column(name) for name in names}, self.notes)

    def without(self, names: Iterable[str]) -> Table:
        """All columns but these. DataError if one is missing."""
        left_out = {name for name in names if self.column(name) is not None}
        return Table({n: c for n, c in self._columns.items() if n not in left_out}, self.notes)

    def ordered(self, name: str) -> list[str] | None:
        """The values of an ordered categorical, in their order; None of any other column."""
        column = self.column(name)
        return list(column.levels) if isinstance(column, Factor) and column.ordered else None

    def __repr__(self) -> str:
        return f"Table({len(self):,} rows × {len(self._columns)} columns: {', '.join(self._columns):.200})"
