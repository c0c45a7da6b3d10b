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


nan = float("nan")
# What pyarrow holds in several pieces, in a part of one, or in types of its own → the cells, and what numpy calls them
ARROW = {
    "whole numbers": (pa.array([1, 2], pa.int8()), [1, 2], "int8"),
    "whole numbers and a gap": (pa.array([1, None, 3], pa.int8()), [1, nan, 3], "float64"),
    "floats and a gap": (pa.array([1.5, None], pa.float32()), [1.5, nan], "float32"),
    "a part": (pa.array([9, None, 3, None, 5, 6, 7, 8, 9, 10]).slice(2, 3), [3, nan, 5], "float64"),
    "pieces, one with a gap": (pa.chunked_array([[1, 2], [], [None]], pa.int64()), [1, 2, nan], "float64"),
    "no piece": (pa.chunked_array([], pa.float64()), [], "float64"),
    "decimals": (pa.array([1, None], pa.decimal128(5, 2)), [1, nan], "float64"),
    "text in pieces": (pa.chunked_array([["b", "a", None], [], ["c", "a", ""]]), ["b", "a", None, "c", "a", None], "O"),
    "views of text": (pa.array(["x", None], pa.string_view()), ["x", None], "O"),
    "no text": (pa.chunked_array([], pa.string()), [], "O"),
    "categories in pieces": (
        pa.chunked_array([pa.array(["x", None]).dictionary_encode(), pa.array(["z", "x"]).dictionary_encode()]),
        ["x", None, "z", "x"],
        "O",
    ),
    "categories by numbers without a sign": (
        pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint8()), pa.array(["x", "y"])),
        ["y", None, "x"],
        "O",
    ),
    "no category among them": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([None, "y"])),
        [None, "y"],
        "O",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARROW)
def test_what_pyarrow_holds(name: str) -> None:
    held, want, dtype = ARROW[name]
    cells = Table.of(pa.table({"c": held}))["c"]
    np.testing.assert_equal(cells.tolist(), want)
    assert cells.dtype == dtype
    assert cells.flags.writeable
