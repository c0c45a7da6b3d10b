"""What each column is taken for, and what it becomes: beside scikit-learn, pandas and formulas in float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from fastdl.errors import DataError, DataWarning
from fastdl.tabular import Columns, Table

from .tables import beside, every_kind

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
ROWS = 200


def smooth(z: Array) -> Array:
    return np.asarray(z / np.sqrt(1 + (z / 3) ** 2))


def fit(cells: Any, **options: Any) -> Columns:
    """To a column and another that tells something, so that the first may tell nothing."""
    return Columns(**options).fit(Table.of({"x": cells, "other": np.linspace(0, 1, len(cells)) ** 2}))


def texts(*values: str, rows: int = ROWS) -> list[str]:
    return [values[i % len(values)] for i in range(rows)]


WORDS = "the lot was sold to a man from the town of"
KINDS: dict[str, tuple[Any, str, str]] = {
    "floats": (RNG.normal(size=ROWS), "number", ""),
    "integers": (RNG.integers(0, 5, ROWS), "number", ""),
    "0 and 1": (RNG.integers(0, 2, ROWS), "number", ""),
    "booleans": (RNG.random(ROWS) < 0.5, "boolean", ""),
    "texts of booleans": (texts("true", "False", "", "TRUE"), "boolean", ""),
    "texts": (texts("a", "b", "c"), "category", ""),
    "many texts": (texts(*map(str.upper, "abcdefghijklmno")), "category", ""),
    "a categorical": (pd.Series(texts("1", "2"), dtype="category"), "category", ""),
    "numbers as a categorical": (pd.Series([1, 2] * (ROWS // 2), dtype="category"), "category", ""),
    "an ordered categorical": (
        pd.Series(pd.Categorical(texts("lo", "hi"), ["lo", "hi"], ordered=True)), "ordered", ""
    ),
    "dates": (np.datetime64("2020-01-01") + np.arange(ROWS), "date", ""),
    "texts of dates": (
        [str(d) for d in np.datetime64("2020-01-01") + np.arange(ROWS)], "date", "is text that holds dates"
    ),
    "texts of numbers": ([str(i / 7) for i in range(ROWS)], "number", "is text that holds numbers"),
    "numbers with marks": (
        [str(i * i) if i % 3 else "?" for i in range(ROWS)], "number", r"67 cells that are none \('\?'\) count"
    ),
    "numbers with some other text": (
        [str(i * i) if i % 50 else f"about {i}" for i in range(ROWS)], "number", r"4 cells that are none \('about 0'"
    ),
    "half numbers": ([str(i % 9) if i % 2 else "none yet" for i in range(ROWS)], "category", ""),
    "one value": (np.full(ROWS, 3.5), "constant", "holds one value alone and was left out"),
    "one text": (texts("a"), "constant", "holds one value alone"),
    "nothing": (np.full(ROWS, np.nan), "constant", "holds nothing"),
    "row numbers": (np.arange(5, 5 + ROWS), "identifier", "counts the rows"),
    "names of rows": ([f"row-{i}" for i in range(ROWS)], "identifier", "another value in each row"),
    "names, rarely twice": ([f"row-{i // 2}" for i in range(ROWS)], "identifier", "each is in next to no row"),
    "sentences": ([f"{WORDS} {i % 150}" for i in range(ROWS)], "text", "holds sentences"),
    "a text or nothing": (texts("a", ""), "category", ""),
    "a number or nothing": (np.where(np.arange(ROWS) % 3, 1.0, np.nan), "number", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_a_column_is_taken_for(name: str) -> None:
    cells, kind, note = KINDS[name]
    columns = fit(cells)
    assert columns.kinds == {"x": kind, "other": "number"}
    if note:
        (said,) = columns.notes
        assert pd.Series(said).str.contains(note).all(), said
        assert said.startswith("'x' ")
    else:
        assert columns.notes == []
    encoded = columns.transform({"x": cells, "other": np.zeros(ROWS)})
    for part in (encoded.numbers, encoded.flags, encoded.codes):
        assert part.dtype == np.float32
        assert np.isfinite(part).all()
    assert (len(columns.numbers), len(columns.flags), len(columns.codes)) == (
        encoded.numbers.shape[1], encoded.flags.shape[1], encoded.codes.shape[1]
    )  # fmt: skip


def test_what_is_said_is_done() -> None:
    numbers = RNG.integers(0, 3, ROWS)
    assert fit(numbers, categorical=["x"]).flags == ["x=0", "x=1", "x=2"]
    assert fit(numbers.astype(float), categorical=["x"]).flags == ["x=0", "x=1", "x=2"]
    assert fit(texts("1", "2", "a"), numeric=["x"]).kinds["x"] == "number"
    assert fit(np.arange(ROWS), numeric=["x"]).kinds["x"] == "number"
    assert fit(RNG.normal(size=ROWS) * 1e9, date=["x"]).kinds["x"] == "date"
    dropped = fit(numbers, drop=["x"])
    assert (dropped.kinds, dropped.inputs) == ({"other": "number"}, ["other"])


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"categorical": ["y"]}, DataError, "no column 'y'"),
    ({"drop": ["Other"]}, DataError, "no column 'Other': did you mean 'other'"),
    ({"numeric": ["x"], "date": ["x"]}, ValueError, "'x' cannot be both number and date"),
    ({"categorical": "x"}, ValueError, "categorical must be 'from_dtype' or a list"),
    ({"drop": "x"}, ValueError, "drop must be a list of names"),
    ({"one_hot_up_to": -1}, ValueError, "one_hot_up_to must be"),
    ({"rare": 0}, ValueError, "rare must be"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_what_cannot_be_done(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(RNG.normal(size=ROWS), **options)


def test_tables_that_tell_nothing() -> None:
    with pytest.raises(DataError, match="no column tells anything: 'x' holds one value alone"):
        Columns().fit(Table.of({"x": [1, 1]}))
    with pytest.raises(DataError, match="no rows"):
        Columns().fit(Table.of({"x": []}))
    with pytest.raises(ValueError, match="call fit first"):
        Columns().transform({"x": [1]})


# -- numbers ----------------------------------------------------------------------------------------------

SPREADS: dict[str, Array] = {
    "normal": RNG.normal(3, 5, ROWS),
    "skewed": RNG.lognormal(size=ROWS) * 1e5,
    "few values": RNG.integers(0, 4, ROWS).astype(float),
    "tiny": RNG.normal(size=ROWS) * 1e-30,
    "huge": RNG.normal(size=ROWS) * 1e300,
    "far from zero": 1.7e9 + RNG.normal(size=ROWS),
    "far from zero, close together": 4e15 + RNG.integers(0, 1000, ROWS),
}


@pytest.mark.parametrize("name", SPREADS)
def test_numbers_are_scaled_and_clipped(name: str) -> None:
    """z = (x − median) / (q75 − q25), then z / √(1 + (z/3)²)."""
    x = SPREADS[name]
    low, median, high = np.quantile(x, [0.25, 0.5, 0.75])
    z = (x - median) / (high - low)
    got = fit(x).transform({"x": x, "other": np.zeros(ROWS)}).numbers
    names = fit(x).numbers
    np.testing.assert_allclose(got[:, names.index("x")], smooth(z), atol=2e-5, rtol=1e-5)


def test_a_spread_of_nothing_in_the_middle() -> None:
    x = np.zeros(ROWS)
    x[:7] = [-1, 3, 1, 1, 1, 1, 1]
    got = fit(x).transform({"x": x, "other": np.zeros(ROWS)}).numbers[:, 0]
    np.testing.assert_allclose(got, smooth(2 * x / 4), rtol=1e-6)  # 2 / (max − min)


def test_a_missing_number_is_the_mean_and_has_a_flag() -> None:
    x = RNG.lognormal(size=ROWS)
    x[::5] = np.nan
    columns = fit(x)
    assert columns.numbers == ["x", "other"]
    assert columns.flags == ["x is missing"]
    encoded = columns.transform({"x": [np.nan, np.nanmean(x), None], "other": [0, 0, np.nan]})
    assert encoded.numbers[0, 0] == pytest.approx(encoded.numbers[1, 0])
    assert encoded.flags[0] == encoded.flags[2] != encoded.flags[1]
    assert np.isfinite(encoded.numbers).all()  # what was never missing may be


def test_no_number_is_too_large() -> None:
    x = RNG.normal(size=ROWS)
    values = [np.inf, -np.inf, 1e38, -3e38, 1e300, 1e19, 1e20]
    got = fit(x).transform({"x": values, "other": np.zeros(len(values))}).numbers[:, 0]
    np.testing.assert_allclose(got, 3 * np.sign(values), rtol=1e-6)


def test_infinite_ones_in_training_do_no_harm() -> None:
    x = RNG.normal(size=ROWS)
    odd = np.append(x, [np.inf, -np.inf, np.nan])
    encoded = fit(odd).transform({"x": odd, "other": np.zeros(len(odd))})
    assert np.isfinite(beside(encoded)).all()
    plain = fit(x).transform({"x": x, "other": np.zeros(ROWS)}).numbers[:, 0]
    np.testing.assert_allclose(encoded.numbers[:ROWS, 0], plain, rtol=1e-5)


def test_double_where_float32_would_lose_digits() -> None:
    wide, far = RNG.normal(1000, 50, ROWS), 1.7e9 + RNG.integers(0, 100, ROWS)
    for x, double in ((wide, False), (far, True), (1e-42 * wide, True), (1e39 * wide, True)):
        columns = fit(x)
        (encoder,) = [e for e in columns.encoders if e.name == "x"]
        assert encoder.scaling.double == double  # type: ignore[attr-defined]
    values = np.unique(fit(far).transform({"x": far, "other": np.zeros(ROWS)}).numbers[:, -1])
    assert len(values) == len(np.unique(far))


# -- categories -------------------------------------------------------------------------------------------


def test_few_values_are_one_hot() -> None:
    """As scikit-learn's encoder has it, and without it where the value is missing or unknown."""
    cells = np.array(texts("b", "a", "c", "d"), object)
    columns = fit(cells, scaled_flags=False)
    theirs = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(cells[:, None])
    new = np.array(["a", "d", "x", "", "c"], object)
    got = columns.transform({"x": new, "other": np.zeros(5)}).flags
    np.testing.assert_array_equal(got, theirs.transform(new[:, None]))
    assert columns.flags == [f"x={c}" for c in theirs.categories_[0]]


def test_two_values_are_one_flag() -> None:
    columns = fit(texts("yes", "no", ""), scaled_flags=False)
    assert columns.flags == ["x=yes"]
    got = columns.transform({"x": ["yes", "no", None, "perhaps"], "other": np.zeros(4)}).flags
    assert got[:, 0].tolist() == [1, -1, 0, 0]


def test_booleans_are_one_flag() -> None:
    columns = fit([True, False, False, None] * 50, scaled_flags=False)
    assert columns.flags == ["x"]
    for cells in ([True, False, None], ["TRUE", "false", ""], [1, 0, np.nan], ["True", "0", "?"]):
        assert columns.transform({"x": cells, "other": np.zeros(3)}).flags[:, 0].tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    "cells", [texts("a", "b", "c", "c", "c"), texts("a", "b", "", "b"), [True, True, False, None] * 50]
)
def test_flags_are_scaled_as_numbers_are(cells: Any) -> None:
    raw = fit(cells, scaled_flags=False).transform({"x": cells, "other": np.zeros(len(cells))}).flags.astype(float)
    got = fit(cells).transform({"x": cells, "other": np.zeros(len(cells))}).flags
    low, median, high = np.quantile(raw, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, 1 / np.where(high > low, high - low, 1), 2 / (raw.max(axis=0) - raw.min(axis=0)))
    np.testing.assert_allclose(got, smooth(scale * (raw - median)), rtol=1e-5, atol=1e-7)


def test_many_values_are_codes() -> None:
    cells = np.array(texts(*(f"v{i}" for i in range(20))), object)
    columns = fit(cells)
    assert (columns.flags, columns.codes, columns.sizes) == ([], ["x"], [21])
    theirs = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(cells[:, None])
    new = np.array(["v0", "v19", "w", "v7"], object)
    got = columns.transform({"x": new, "other": np.zeros(4)}).codes
    np.testing.assert_array_equal(got, theirs.transform(new[:, None]) + 1)
    assert columns.transform({"x": [None, ""], "other": [0, 0]}).codes.tolist() == [[0], [0]]
    assert fit(cells, one_hot_up_to=20).codes == []


def test_rare_values_share_a_code() -> None:
    cells = [f"v{i:02}" for i in range(40)] + [f"v{i:02}" for i in range(30)] * 5
    columns = fit(cells)
    assert columns.sizes == [32]
    got = columns.transform({"x": ["v00", "v29", "v30", "v39", "new"], "other": np.zeros(5)}).codes[:, 0]
    assert got.tolist() == [1, 30, 31, 31, 0]
    assert columns.notes == ["'x': 10 of its 40 values are in fewer than 3 rows and count as one."]
    assert fit(cells, rare=1).sizes == [41]


def test_ordered_values_are_numbers() -> None:
    cells = pd.Series(pd.Categorical(texts("mid", "low", "high", "low"), ["low", "mid", "high"], ordered=True))
    columns = fit(cells)
    assert columns.numbers == ["other", "x"]
    low, mid, high, unknown = columns.transform({"x": ["low", "mid", "high", "top"], "other": np.zeros(4)}).numbers[
        :, 1
    ]
    assert low < mid < high
    assert low < unknown < high


# -- dates ------------------------------------------------------------------------------------------------


def test_parts_of_dates() -> None:
    """As pandas has them, each scaled as a number."""
    days = pd.Series(pd.date_range("1999-12-25 03:00", periods=ROWS, freq="37h"))
    parts = {
        "epoch": days.astype("int64"), "year": days.dt.year, "month": days.dt.month, "day": days.dt.day,
        "weekday": days.dt.day_of_week, "hour": days.dt.hour,
    }  # fmt: skip
    columns = fit(days)
    assert columns.numbers == ["other", *(f"x: {part}" for part in parts)]
    got = columns.transform({"x": days, "other": np.zeros(ROWS)}).numbers[:, 1:]
    for column, values in zip(got.T, parts.values(), strict=True):
        x = values.to_numpy().astype(float)
        spread = np.subtract(*np.quantile(x, [0.75, 0.25]))
        scale = 1 / spread if spread else 2 / (x.max() - x.min())
        np.testing.assert_allclose(column, smooth(scale * (x - np.median(x))), rtol=1e-5, atol=1e-6)
    for other in (days.astype(str).tolist(), days.to_numpy(), days.dt.tz_localize("UTC"), days.astype("int64") / 1e6):
        np.testing.assert_array_equal(columns.transform({"x": other, "other": np.zeros(ROWS)}).numbers[:, 1:], got)


def test_parts_that_never_change_are_none() -> None:
    days = np.datetime64("2020-03-01") + np.arange(ROWS) % 20
    assert fit(days).numbers == ["other", "x: epoch", "x: day", "x: weekday"]


# -- tables -----------------------------------------------------------------------------------------------


def test_columns_are_found_by_name() -> None:
    table = every_kind()
    columns = Columns().fit(table)
    want = beside(columns.transform(table))
    np.testing.assert_array_equal(beside(columns.transform(table.select(table.names[::-1]))), want)
    np.testing.assert_array_equal(beside(columns.transform(table.without(["same", "number"]))), want)
    with pytest.raises(DataError, match="no column 'when': it has 'age', "):
        columns.transform(table.without(["when"]))
    more = Table.of({name: table.column(name) for name in table.names} | {"new": np.zeros(len(table))})
    with pytest.warns(DataWarning, match="not there in training are ignored: 'new'"):
        np.testing.assert_array_equal(beside(columns.transform(more)), want)
    columns.transform(more)  # said once: a second warning would be an error


def test_what_a_column_became_is_put_in_another_order_by_itself() -> None:
    table = every_kind(200)
    columns, order = Columns().fit(table), np.random.default_rng(1).permutation(200)
    encoded = columns.transform(table)
    for name in columns.inputs:
        values = table[name]
        shuffled = columns.transform({**{each: table[each] for each in columns.inputs}, name: values[order]})
        given = columns.reordered(encoded, name, order)
        for kind in ("numbers", "flags", "codes"):
            np.testing.assert_array_equal(getattr(given, kind), getattr(shuffled, kind), err_msg=name)


def test_they_come_back_from_json() -> None:
    table = every_kind()
    columns = Columns(drop=["few"], rare=2).fit(table)
    again = Columns.from_config(json.loads(json.dumps(columns.get_config(), allow_nan=False)))
    assert again.get_config() == columns.get_config()
    assert (again.kinds, again.notes, again.sizes) == (columns.kinds, columns.notes, columns.sizes)
    new = columns.draw(np.random.default_rng(1), 500)
    np.testing.assert_array_equal(beside(again.transform(new)), beside(columns.transform(new)))
    assert Columns.from_config(Columns(rare=7).get_config()).rare == 7


def test_weights_count_as_rows() -> None:
    table = every_kind(300).without(["number"])
    weights = np.random.default_rng(1).integers(0, 4, 300)
    weighted = Columns(rare=1).fit(table, weights)
    repeated = Columns(rare=1).fit(table.take(np.repeat(np.arange(300), weights)))
    np.testing.assert_allclose(
        beside(weighted.transform(table)), beside(repeated.transform(table)), rtol=1e-6, atol=1e-6
    )
    for wrong in ([1.0], np.full(300, -1.0), np.full(300, np.nan), np.zeros(300)):
        with pytest.raises(DataError, match="sample_weight must be"):
            Columns().fit(table, wrong)


def test_how_the_table_is_held_does_not_matter() -> None:
    import polars as pl
    import pyarrow as pa

    table = every_kind().without(["grade"])
    frame = pd.DataFrame({name: table[name] for name in table.names})
    want = beside(Columns().fit(table).transform(table))
    for data in (
        frame,
        pl.from_pandas(frame),
        pa.Table.from_pandas(frame),
        frame.convert_dtypes(),
        frame.to_dict("list"),
    ):
        columns = Columns().fit(Table.of(data))
        np.testing.assert_array_equal(beside(columns.transform(data)), want)
