"""The text of a cell is one rule: whatever holds the column, CSV, a frame or an array, and in the ONNX file as well."""

from __future__ import annotations

import datetime
import decimal
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastdl.base.cells import as_factor, as_numbers, as_seconds, as_strings, is_missing, number_of, seconds_of, text_of
from fastdl.base.frames import cells_of, column_of, columns_of, is_table
from fastdl.errors import DataError

TEXTS: list[tuple[Any, str | None]] = [
    ("a", "a"),
    ("1.0", "1.0"),
    (" a ", " a "),
    ("NA", "NA"),
    ("None", "None"),
    ("", None),
    ("nan", None),
    (None, None),
    (math.nan, None),
    (np.float32("nan"), None),
    (pd.NA, None),
    (pd.NaT, None),
    (np.datetime64("NaT"), None),
    (1, "1"),
    (1.0, "1"),
    (-0.0, "0"),
    (np.int8(-3), "-3"),
    (0.1, "0.1"),
    (np.float32(0.1), "0.1"),
    (np.float64(1e-7), "1e-07"),
    (1e300, "1e+300"),
    (math.inf, "inf"),
    (2**60, str(2**60)),
    (True, "True"),
    (np.False_, "False"),
    (b"abc", "abc"),
    (decimal.Decimal("1.50"), "1.50"),
    (datetime.date(2020, 1, 5), "2020-01-05"),
    (datetime.datetime(2020, 1, 5), "2020-01-05"),
    (datetime.datetime(2020, 1, 5, 12, 30), "2020-01-05T12:30:00"),
    (np.datetime64("2020-01-05T12:30:00.250"), "2020-01-05T12:30:00.25"),
    (pd.Timestamp("2020-01-05"), "2020-01-05"),
]


@pytest.mark.parametrize(("cell", "text"), TEXTS)
def test_the_text_of_a_cell(cell: Any, text: str | None) -> None:
    assert text_of(cell) == text
    assert is_missing(cell) == (text is None)


# One column of text, numbers, … as everybody holds it, and the texts of its cells
COLUMNS: dict[str, tuple[list[Any], list[str]]] = {
    "text": (["a", None, "b", "a"], ["a", "", "b", "a"]),
    "integers": ([1, 2, 10, 1], ["1", "2", "10", "1"]),
    "integers with gaps": ([1, None, 10, 1], ["1", "", "10", "1"]),
    "floats": ([1.0, 2.5, 1e-7, 3.0], ["1", "2.5", "1e-07", "3"]),
    "booleans": ([True, False, True, True], ["True", "False", "True", "True"]),
    "booleans with gaps": ([True, None, False, True], ["True", "", "False", "True"]),
    "dates": (
        [datetime.datetime(2020, 1, 5), datetime.datetime(2020, 1, 6, 12), None, datetime.datetime(1969, 12, 31)],
        ["2020-01-05", "2020-01-06T12:00:00", "", "1969-12-31"],
    ),
    "nothing": ([None, None, None, None], ["", "", "", ""]),
}
HOLDERS: dict[str, Any] = {
    "a list": lambda cells: cells,
    "an object array": lambda cells: np.array(cells, object),
    "pandas": pd.Series,
    "pandas, objects": lambda cells: pd.Series(cells, dtype=object),
    "pandas, nullable": lambda cells: pd.Series(cells).convert_dtypes(),
    "pandas, arrow": lambda cells: pd.Series(cells).convert_dtypes(dtype_backend="pyarrow"),
    "pandas, categorical": lambda cells: pd.Series(cells).astype("category"),
    "polars": lambda cells: pl.Series(cells),
    "pyarrow": pa.array,
    "pyarrow, in chunks": lambda cells: pa.chunked_array([pa.array(cells[:2], pa.array(cells).type), cells[2:]]),
    "pyarrow, dictionary": lambda cells: pa.array(cells).dictionary_encode(),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("name", COLUMNS)
def test_the_texts_of_a_column(name: str, holder: str) -> None:
    cells, texts = COLUMNS[name]
    try:
        held = HOLDERS[holder](cells)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        pytest.skip(f"there are no {name} in {holder}")
    assert as_strings(column_of("x", held)).tolist() == texts


def test_texts_of_csv(tmp_path: Path) -> None:
    from fastdl.tabular import read_table

    (tmp_path / "t.csv").write_text("i,f,b,t,d\n1,1.0,true,x,2020-01-05\n2,2.5,FALSE,,2020-01-06\n")
    for engine in ("pyarrow", "polars", "pandas"):
        table = read_table(tmp_path / "t.csv", engine=engine)
        texts = {name: as_strings(table.column(name)).tolist() for name in table.names}
        assert texts == {
            "i": ["1", "2"],
            "f": ["1", "2.5"],
            "b": ["True", "False"],
            "t": ["x", ""],
            "d": ["2020-01-05", "2020-01-06"],
        }


NUMBERS = [("1", 1.0), (" -2.5e3 ", -2500.0), ("true", 1.0), ("FALSE", 0.0), ("inf", math.inf), ("1_000", math.nan),
           ("?", math.nan), ("", math.nan), ("1,5", math.nan), ("nan", math.nan), ("0x10", math.nan)]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_the_number_that_a_text_spells(text: str, number: float) -> None:
    np.testing.assert_equal(number_of(text), number)


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-29",
        "1969-12-31T23:59:59",
        "2020-01-05 12:30:00.25",
        "2020-01-05T12:30:00+02:00",
        "2020-01-05T12:30:00Z",
    ],
)
def test_the_seconds_of_a_date(text: str) -> None:
    """As pandas has it."""
    assert seconds_of(text) == pd.to_datetime(text, utc=True).timestamp()


def test_what_is_no_date() -> None:
    for text in ("2020", "2020-13-01", "5.1.2020", "20200105", "", "2020-01-05x"):
        assert math.isnan(seconds_of(text))


def test_seconds_of_columns() -> None:
    days = np.array(["2020-01-05", "NaT", "1960-01-01"], "datetime64[D]")
    want = [1578182400.0, math.nan, -315619200.0]
    zoned = pd.Series(pd.to_datetime(["2020-01-05T01:00", None, "1960-01-01T01:00"])).dt.tz_localize("Europe/Berlin")
    for cells in (days, pd.Series(days.astype("datetime64[s]")), zoned, ["2020-01-05", "", "1960-01-01"], want,
                  [datetime.date(2020, 1, 5), None, datetime.date(1960, 1, 1)], pl.Series(days.astype("datetime64[ms]")),
                  pl.Series([*days.tolist()]), pa.array(days), pl.Series(zoned)):  # fmt: skip
        np.testing.assert_array_equal(as_seconds(column_of("x", cells)), want)


def test_numbers_of_columns() -> None:
    want = [1.0, math.nan, 2.5]
    for cells in (want, [1, None, 2.5], ["1", "?", "2.5"], [decimal.Decimal(1), None, decimal.Decimal("2.5")],
                  pl.Series(["1", None, "2.5"]).cast(pl.Decimal(10, 2)), pa.array([1, None, 2.5], pa.float32()),
                  pd.Series(pd.arrays.SparseArray(want)), np.ma.masked_invalid(want)):  # fmt: skip
        np.testing.assert_array_equal(as_numbers(column_of("x", cells)), want)


def test_levels_that_have_one_text_are_one() -> None:
    factor = as_factor(column_of("x", pd.Series([1, "1", 1.0, True, None, ""], dtype=object)))
    assert factor.levels == ["1", "True"]
    assert factor.codes.tolist() == [0, 0, 0, 1, -1, -1]
    assert factor.take(np.array([3, 4])).texts().tolist() == ["True", None]


WRONG: dict[str, tuple[Any, str]] = {
    "two columns of a name": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the name 'a'"),
    "unequal lengths": ({"a": [1, 2], "b": [1]}, "'a' has 2 rows, 'b' has 1"),
    "one value": ({"a": 1}, "column 'a' is one value, 1: give a list"),
    "a text": ({"a": "abc"}, "column 'a' is one value"),
    "no columns": ({}, "at least one column"),
    "no name": ({"": [1]}, "column 1 has no name"),
    "lists within": ({"a": [[1, 2], [3]]}, "column 'a' holds lists"),
    "dicts within": (pl.DataFrame({"a": [{"b": 1}]}), "column 'a' holds dicts"),
    "complex numbers": ({"a": np.zeros(2, complex)}, "column 'a' holds complex128"),
    "a matrix as a column": ({"a": np.zeros((2, 2))}, r"column 'a' has shape \(2, 2\)"),
    "ragged rows": ([[1, 2], [3]], "rows of a table must have one length"),
    "one axis": (np.zeros(3), r"must have rows and columns; this has shape \(3,\)"),
    "nothing": (None, "must be a frame, a matrix or columns by name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table(name: str) -> None:
    data, message = WRONG[name]
    with pytest.raises(DataError, match=message) as caught:
        columns_of(data)
    assert "\n" not in str(caught.value)


def test_tables() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2}]
    frame = pd.DataFrame(rows)
    for data in (rows, frame, pl.DataFrame(rows), pa.Table.from_pylist(rows), pa.RecordBatch.from_pylist(rows),
                 pl.DataFrame(rows).lazy(), frame.to_records(index=False)):  # fmt: skip
        columns = columns_of(data)
        assert list(columns) == ["a", "b"]
        assert columns["a"].tolist() == [1, 2]  # type: ignore[union-attr]
        assert as_strings(columns["b"]).tolist() == ["x", ""]
    assert list(columns_of(np.zeros((2, 3)))) == ["x0", "x1", "x2"]
    assert list(columns_of([[1, "a"], [2, "b"]], ["n", "t"])) == ["n", "t"]
    assert [name for name, _ in cells_of(pd.DataFrame({("a", "b"): [1], 3: [2]}))] == ["a b", "3"]
    assert all(map(is_table, (rows, frame, pl.DataFrame(rows), {"a": [1]})))
    assert not any(map(is_table, (np.zeros((2, 2)), [1, 2], pd.Series([1]), "text", None, pa.array([1]))))


def test_rows_of_unlike_cells_keep_their_kinds() -> None:
    columns = columns_of([[1, "a", True], [2.5, None, False]])
    assert columns["x0"].dtype == np.float64  # type: ignore[union-attr]
    assert as_strings(columns["x1"]).tolist() == ["a", ""]
    assert columns["x2"].dtype == bool  # type: ignore[union-attr]
