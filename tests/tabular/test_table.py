"""A table: columns by name, rows by number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fastdl.errors import DataError
from fastdl.tabular import Table

ORDER = ["low", "mid", "high"]


@pytest.fixture
def table() -> Table:
    grades = pd.Categorical(["mid", None, "low"], ORDER, ordered=True)
    return Table.of({"n": [1.5, None, 3.0], "t": ["a", None, "b"], "g": pd.Series(grades), "b": [True, False, True]})


def test_columns(table: Table) -> None:
    assert table.names == ["n", "t", "g", "b"]
    assert len(table) == 3
    np.testing.assert_array_equal(table["n"], [1.5, np.nan, 3])
    assert table["t"].tolist() == ["a", None, "b"]
    assert table["b"].dtype == bool
    assert "t" in table
    assert "x" not in table
    assert repr(table) == "Table(3 rows × 4 columns: n, t, g, b)"


def test_the_order_of_categories(table: Table) -> None:
    assert table.ordered("g") == ORDER
    assert table.ordered("t") is None
    assert table.ordered("n") is None
    arrow = pa.DictionaryArray.from_arrays(pa.array([0, 2, None]), pa.array(ORDER), ordered=True)
    assert Table.of({"g": arrow}).ordered("g") == ORDER
    assert Table.of({"g": pd.Series(["a"], dtype="category")}).ordered("g") is None


def test_rows(table: Table) -> None:
    for rows in (np.array([2, 0]), np.array([True, False, True])):
        part = table.take(rows)
        assert sorted(part["t"]) == ["a", "b"]
        assert part.ordered("g") == ORDER
    assert table.take(np.array([2, 0]))["n"].tolist() == [3, 1.5]
    assert len(table.take(np.array([], int))) == 0


def test_some_columns(table: Table) -> None:
    assert table.select(["b", "n"]).names == ["b", "n"]
    assert table.without(["t"]).names == ["n", "g", "b"]
    for call in (lambda: table["N"], lambda: table.select(["N"]), lambda: table.without(["N"])):
        with pytest.raises(DataError, match="no column 'N': did you mean 'n'"):
            call()


def test_a_table_is_one(table: Table) -> None:
    assert Table.of(table) is table
