"""CSV and Parquet as people write them, the same by each engine; what is assumed is said, what is wrong is named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastdl.errors import DataError
from fastdl.tabular import Table, read_table

ENGINES = ("pyarrow", "polars", "pandas")
nan = float("nan")

READ: dict[str, tuple[bytes, dict[str, list[Any]], list[str]]] = {
    "plain": (b"a,b,c\n1,x,2.5\n2,,3\n", {"a": [1, 2], "b": ["x", None], "c": [2.5, 3]}, []),
    "a byte order mark": (b"\xef\xbb\xbfa,b\n1,x\n", {"a": [1], "b": ["x"]}, []),
    "semicolons, decimal commas": (
        b"a;b\n1,5;x\n-,25;y\n",
        {"a": [1.5, -0.25], "b": ["x", "y"]},
        ["Its cells are separated by semicolons.", "Its numbers have decimal commas."],
    ),
    "semicolons, decimal points": (
        b"a;b\n1.5;x\n", {"a": [1.5], "b": ["x"]}, ["Its cells are separated by semicolons."]
    ),
    "tabs": (b"a\tb\n1\tx, y\n", {"a": [1], "b": ["x, y"]}, ["Its cells are separated by tabs."]),
    "bars": (b"a|b\n1|x\n", {"a": [1], "b": ["x"]}, ["Its cells are separated by bars."]),
    "cp1252": (
        "a,b\n1,é €\n".encode("cp1252"), {"a": [1], "b": ["é €"]}, ["It is no UTF-8, so it was read as cp1252."]
    ),
    "latin-1": (b"a,b\n1,\x81\n", {"a": [1], "b": ["\x81"]}, ["It is no UTF-8, so it was read as latin-1."]),
    "utf-16": (
        "a,b\n1,é\n".encode("utf-16"), {"a": [1], "b": ["é"]}, ["It was read as utf-16, as its first bytes say."]
    ),
    "quotes and lines in cells": (b'a,b\n1,"x, ""q""\nnew"\n2,y\n', {"a": [1, 2], "b": ['x, "q"\nnew', "y"]}, []),
    "numbers with a mark": (b"a,b\n1,x\n?,y\n", {"a": ["1", "?"], "b": ["x", "y"]}, []),
    "true and false": (b"a,b\ntrue,1\nFALSE,2\n", {"a": [True, False], "b": [1, 2]}, []),
    "true and gaps": (b"a,b\ntrue,1\n,2\n", {"a": ["True", None], "b": [1, 2]}, []),
    "spaces": (b"a, b, c\n1, x, 3\n", {"a": [1], "b": ["x"], "c": [3]}, ["Spaces around cells were left out."]),
    "separators at the ends": (b"a,b,\n1,x,\n", {"a": [1], "b": ["x"]}, []),
    "a column without a name": (
        b",b\n1,x\n", {"column_1": [1], "b": ["x"]}, ["Column 1 has no name: it is called 'column_1'."]
    ),
    "lines of Windows": (b"a,b\r\n1,x\r\n", {"a": [1], "b": ["x"]}, []),
    "one column": (b"a\n1\n2\n", {"a": [1, 2]}, []),
    "no names": (
        b"1,2\n3,4\n",
        {"1": [3], "2": [4]},
        ["Its first row holds numbers, which were taken for the names of its columns."],
    ),
    "NaN, infinity": (b"a,b\nnan,1\ninf,2\n", {"a": [nan, float("inf")], "b": [1, 2]}, []),
    "nothing in a column": (b"a,b\n1,\n2,\n", {"a": [1, 2], "b": [nan, nan]}, []),
    "lines without a cell": (b"a,b\n\n1,x\n\n\n2,y\n\n", {"a": [1, 2], "b": ["x", "y"]}, []),
    "such lines of Windows": (b"a,b\r\n1,x\r\n\r\n2,y\r\n\r\n", {"a": [1, 2], "b": ["x", "y"]}, []),
    "such lines, and quotes": (b'a,b\n1,"x\n\ny"\n\n', {"a": [1], "b": ["x\n\ny"]}, []),
    "one column, such lines": (b"a\n1\n\n2\n\n", {"a": [1, 2]}, []),
    "no line end": (b"a,b\n1,x", {"a": [1], "b": ["x"]}, []),
    "another type further down": (
        b"a,b\n" + b"1,2\n" * 12_000 + b"1.5,x\n", {"a": [1.0] * 12_000 + [1.5], "b": ["2"] * 12_000 + ["x"]}, []
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", READ)
def test_what_is_read(tmp_path: Path, name: str, engine: str) -> None:
    content, want, notes = READ[name]
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv", engine=engine)
    np.testing.assert_equal({column: table[column].tolist() for column in table.names}, want)
    kinds = {column: {bool: "b", str: "O"}.get(type(cells[0]), "if") for column, cells in want.items()}
    assert all(table[column].dtype.kind in kinds[column] for column in table.names)
    assert table.notes == notes
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(content))
    assert read_table(tmp_path / "t.csv.gz").names == table.names


WRONG: dict[str, tuple[bytes, str]] = {
    "two columns of a name": (b"a,b,a\n1,2,3\n", "two columns have the name 'a'"),
    "a short row": (b"a,b\n1,2\n3\n", "line 3 has 1 cells, the names are 2"),
    "a long row": (b"a,b\n1,2\n\n3,4,5\n", "line 4 has 3 cells, the names are 2"),
    "a long row among quotes": (b'a,b\n1,"2\n2"\n3,4,5\n', "line 4 has 3 cells"),
    "names alone": (b"a,b\n", "names of columns but no rows"),
    "as many cells as two rows have": (b"a,b\n1,2,3\n4\n", "line 2 has 3 cells, the names are 2"),
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "a spreadsheet": (b"PK\x03\x04abcdefgh", "spreadsheet or archive: save it as CSV"),
    "no text": (b"a,b\0\n1,2\n", "holds bytes of zero"),
    "an open quote": (b'a,b\n1,"x\n2,y\n', "line 3: unexpected end of data"),
    "a broken .gz": (b"\x1f\x8b\x08abc", "cannot be unpacked"),
    "a broken Parquet": (b"PAR1abcdefgh", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(tmp_path: Path, name: str, engine: str) -> None:
    content, message = WRONG[name]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "t.csv", engine=engine)
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is none"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match="path must be a path"):
        read_table(3)  # type: ignore[arg-type]


def test_what_is_said_is_done(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a;b\n1,5;é\n".encode("cp1252"))
    table = read_table(tmp_path / "t.csv", separator=";", decimal=",", encoding="cp1252")
    assert (table["a"].tolist(), table["b"].tolist(), table.notes) == ([1.5], ["é"], [])
    for options, error, message in (
        ({"encoding": "utf-8"}, DataError, "is not text in utf-8"),
        ({"encoding": "klingon"}, DataError, "no encoding 'klingon'"),
        ({"separator": ";;"}, ValueError, "separator must be one letter"),
        ({"engine": "excel"}, ValueError, "engine must be one of pyarrow, polars, pandas"),
    ):
        with pytest.raises(error, match=message):
            read_table(tmp_path / "t.csv", **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_parquet(tmp_path: Path, engine: str) -> None:
    frame = pd.DataFrame({"n": [1.5, None], "t": ["a", None], "d": pd.to_datetime(["2020-01-05", None]), "i": [1, 2]})
    frame["c"] = pd.Categorical(["x", "y"])
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    table, want = read_table(tmp_path / "t.parquet", engine=engine), Table.of(frame)
    assert table.names == want.names
    for name in table.names:
        np.testing.assert_array_equal(table[name], want[name])


@pytest.mark.slow
def test_random_cells_come_back(tmp_path: Path) -> None:
    """As Python's csv module writes them, whatever they hold."""
    import csv

    rng = np.random.default_rng(0)
    letters = np.array([*'ab ,;"\n\t|.é漢'])
    for _ in range(150):
        rows = [["a", "b", "c"]]
        for _ in range(int(rng.integers(5, 30))):
            rows.append(["x" + "".join(rng.choice(letters, rng.integers(0, 6))) for _ in range(3)])
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        for engine in ENGINES:
            table = read_table(tmp_path / "t.csv", separator=",", engine=engine)
            read = [list(row) for row in zip(*(table[name] for name in table.names), strict=True)]
            assert read == rows[1:], engine
