"""Columns of strings and of whole numbers: whatever holds them is read alike, and what is neither is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdl.base.columns import column_dtype, dtype_name, holds_texts, integers, texts
from fastdl.errors import DataError

TEXTS: dict[str, Callable[[], Any]] = {
    "a list": lambda: ["a", "bc", ""],
    "a tuple": lambda: ("a", "bc", ""),
    "fixed width": lambda: np.array(["a", "bc", ""]),
    "bytes": lambda: np.array([b"a", b"bc", b""]),
    "objects": lambda: np.array(["a", "bc", ""], object),
    "None": lambda: ["a", "bc", None],
    "NaN": lambda: np.array(["a", "bc", np.nan], object),
    "numpy's strings": lambda: np.array(["a", "bc", ""], np.dtypes.StringDType()),
    "pandas, of strings": lambda: pytest.importorskip("pandas").Series(["a", "bc", None]),
    "pandas, of categories": lambda: pytest.importorskip("pandas").Series(["a", "bc", None], dtype="category"),
    "pandas, with NA": lambda: pytest.importorskip("pandas").array(["a", "bc", None], dtype="string"),
    "polars": lambda: pytest.importorskip("polars").Series(["a", "bc", None]),
    "pyarrow": lambda: pytest.importorskip("pyarrow").chunked_array([["a", "bc", None]]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_from_whatever_holds_them(name: str) -> None:
    value = TEXTS[name]()
    array = texts("x", value)
    assert array.dtype == object
    assert array.tolist() == ["a", "bc", ""]
    assert all(type(each) is str for each in array)
    assert holds_texts(value)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_texts_of_a_frame_are_its_columns(library: str) -> None:
    frame = pytest.importorskip(library).DataFrame({"a": ["x", "y"], "b": ["z", None]})
    assert texts("x", frame).tolist() == [["x", "z"], ["y", ""]]
    assert holds_texts(frame)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "x is missing"),
        ([], "x is empty"),
        ("a", "x is empty"),
        ([1, 2], "row 0 holds 1, of int"),
        (np.arange(3), "x must hold strings, not int64"),
        ([["a"], ["b", "c"]], "row 0 holds ['a'], of list"),
        ([["a", "b"], ["c", 2.5]], "row 1 holds 2.5, of float"),
        (["a", b"\xff"], "no UTF-8 text in row 1"),
        (np.ma.array(["a", "b"], mask=[False, True]), "x is masked in row 1"),
    ],
)
def test_what_is_no_text_is_named(value: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        texts("x", value)
    assert said in str(error.value)


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2], np.uint8), np.array([1.0, 2.0]), (1, 2), [True, 2]])
def test_whole_numbers_from_whatever_holds_them(value: Any) -> None:
    array = integers("x", value)
    assert array.dtype == np.int64
    assert array.tolist() == [1, 2]
    assert not holds_texts(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1.0, 2.5], "2.5 in row 1"),
        ([[1.0], [np.nan]], "nan in row 1"),
        ([1.0, np.inf], "inf in row 1"),
        ([1.0, 1e30], "1e+30 in row 1"),
        (np.array([1, 2**63], np.uint64), "9223372036854775808 in row 1"),
        (["a"], "x must hold real numbers"),
    ],
)
def test_what_is_no_whole_number_is_named(value: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        integers("x", value)
    assert said in str(error.value)


@pytest.mark.parametrize(("name", "dtype"), [("string", object), ("int64", np.int64), ("int32", np.int32)])
def test_dtypes_have_the_names_of_keras(name: str, dtype: Any) -> None:
    assert column_dtype(name) == np.dtype(dtype)
    assert dtype_name(np.dtype(dtype)) == name
