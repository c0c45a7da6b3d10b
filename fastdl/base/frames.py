"""From whatever people hold tables in (pandas, polars, pyarrow, numpy, mappings, rows) to columns by name."""

from __future__ import annotations

import datetime
import decimal
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.cells import Column, Factor, factor_of, is_missing, merged
from fastdl.errors import DataError

NUMERIC = (int, float, decimal.Decimal, np.number)
PLAIN = (*NUMERIC, str, bytes, np.bool_, np.datetime64, datetime.date, datetime.time)  # what a cell may be


def is_table(value: Any) -> bool:
    """Whether it has columns by name: a frame, a mapping of columns, rows as mappings."""
    if isinstance(value, Mapping) or _holds_columns(value):
        return True
    if hasattr(value, "__arrow_c_stream__") and hasattr(value, "schema"):
        return True
    if isinstance(value, list):
        return bool(value) and all(isinstance(row, Mapping) for row in value)
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _holds_columns(value: Any) -> bool:
    """Whether it is a table that holds columns as they are meant here."""
    return hasattr(value, "names") and hasattr(value, "column")


def columns_of(data: Any, names: Sequence[str] | None = None) -> dict[str, Column]:
    """The columns by name, all of one length. names: of those that have none, x0, x1, … unless given.

    Raises DataError for what is no table, and for names that are doubled or empty, columns that differ in length, and
    cells that are neither numbers, booleans, text nor dates.
    """
    listed = cells_of(data, names)
    _check_names([name for name, _ in listed])
    columns = {name: column_of(name, cells) for name, cells in listed}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (first, rows), *rest = lengths.items()
        other = next((name, n) for name, n in rest if n != rows)
        raise DataError(f"columns differ in length: {first!r} has {rows} rows, {other[0]!r} has {other[1]}")
    return columns


def cells_of(data: Any, names: Sequence[str] | None = None) -> list[tuple[str, Any]]:
    """Each column's name, and its cells as they came."""
    if _holds_columns(data):
        return [(name, data.column(name)) for name in data.names]
    root = type(data).__module__.partition(".")[0]
    if root == "pandas" and hasattr(data, "columns"):
        return [(_name(name), data.iloc[:, i]) for i, name in enumerate(data.columns)]
    if root == "polars" and hasattr(data, "columns"):
        frame = data.collect() if hasattr(data, "collect") else data
        return [(name, frame.get_column(name)) for name in frame.columns]
    if root == "pyarrow" and hasattr(data, "schema"):
        return list(zip(data.schema.names, data.columns, strict=True))
    if isinstance(data, Mapping):
        for name, cells in data.items():
            if isinstance(cells, str | bytes) or not hasattr(cells, "__len__"):
                raise DataError(f"column {str(name)!r} is one value, {cells!r}: give a list of them, one a row")
        return [(_name(name), cells) for name, cells in data.items()]
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        keys = dict.fromkeys(key for row in data for key in row)
        return [(_name(key), [row.get(key) for row in data]) for key in keys]
    if hasattr(data, "__arrow_c_stream__"):
        import pyarrow

        return cells_of(pyarrow.table(data))
    return _of_matrix(data, names)


def _name(name: Any) -> str:
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _of_matrix(data: Any, names: Sequence[str] | None) -> list[tuple[str, Any]]:
    if hasattr(data, "toarray") and not hasattr(data, "__array__"):
        raise DataError("a sparse matrix is no table: pass x.toarray()")
    if data is None or isinstance(data, str | bytes):
        raise DataError(f"a table must be a frame, a matrix or columns by name, not {data!r:.60}")
    try:
        matrix = data if isinstance(data, np.ndarray) else np.asarray(data)
        if not isinstance(data, np.ndarray) and matrix.dtype.kind in "US":
            matrix = np.asarray(data, object)  # numpy would have made text of numbers beside it
    except ValueError:
        raise DataError("the rows of a table must have one length: these differ") from None
    if np.ma.is_masked(matrix):
        matrix = _unmasked(matrix)
    if matrix.dtype.names:
        return [(name, matrix[name]) for name in matrix.dtype.names]
    if matrix.ndim != 2:
        raise DataError(f"a table must have rows and columns; this has shape {matrix.shape}")
    if names is None:
        names = [f"x{i}" for i in range(matrix.shape[1])]
    if len(names) != matrix.shape[1]:
        raise DataError(f"{len(names)} names are given for {matrix.shape[1]} columns")
    return [(str(name), matrix[:, i]) for i, name in enumerate(names)]


def _unmasked(array: Array) -> Array:
    """What is masked is missing."""
    cells: Array = np.ma.getdata(array).astype(object)
    cells[np.ma.getmaskarray(array)] = None
    return cells


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise DataError("a table must have at least one column")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"two columns have the name {twice[0]!r}: each needs its own")
    if "" in names:
        raise DataError(f"column {list(names).index('') + 1} has no name: give it one")


def column_of(name: str, cells: Any) -> Column:
    """One column, from a series, array or list. DataError for cells that are no numbers, booleans, text or dates."""
    if isinstance(cells, Factor):
        return cells
    root = type(cells).__module__.partition(".")[0]
    if root == "pandas":
        return _of_pandas(name, cells)
    if root == "polars":
        return _of_polars(name, cells)
    if root == "pyarrow":
        return _of_arrow(name, cells)
    if isinstance(cells, np.ndarray):
        array = cells
    else:
        array = np.empty(len(cells), object)
        array[:] = list(cells)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"column {name!r} has shape {array.shape}: a column is one value a row")
    return of_array(name, array)


def of_array(name: str, array: Array) -> Column:
    """The column that an array (rows,) of any type is."""
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(array)
    kind = array.dtype.kind
    if kind in "fiub":
        return array.astype(np.float32) if array.dtype == np.float16 else np.asarray(array)
    if kind == "M":
        return np.asarray(array)
    if kind == "m":
        return np.asarray(array / np.timedelta64(1, "s"))
    if kind in "US" or kind == "T":
        return factor_of(array.astype(object))
    if kind != "O":
        raise DataError(f"column {name!r} holds {array.dtype}: a column is of numbers, booleans, text or dates")
    return _of_objects(name, array)


def _of_objects(name: str, array: Array) -> Column:
    """Cells of Python's: of one kind where all that are there are."""
    kinds = set(map(type, array)) - {type(None)}
    if kinds == {str}:
        return factor_of(array)
    missing = np.fromiter(map(is_missing, array), bool, len(array))
    kinds = set(map(type, array[~missing]))
    if all(issubclass(kind, bool | np.bool_) for kind in kinds) and kinds:
        return factor_of(array) if missing.any() else array.astype(bool)
    if all(issubclass(kind, NUMERIC) and not issubclass(kind, bool | complex) for kind in kinds):
        whole = all(issubclass(kind, int | np.integer) for kind in kinds)
        if whole and kinds and not missing.any():
            try:
                return array.astype(np.int64)
            except OverflowError:
                pass
        return np.array([np.nan if gone else float(cell) for cell, gone in zip(array, missing, strict=True)])
    if all(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        return np.array([_moment(cell, gone) for cell, gone in zip(array, missing, strict=True)], "datetime64[us]")
    for kind in kinds:
        if not issubclass(kind, PLAIN) and kind.__name__ not in ("UUID", "Interval", "Period"):
            raise DataError(f"column {name!r} holds {kind.__name__}s: a column is of numbers, booleans, text or dates")
    return factor_of(array)


def _moment(cell: Any, missing: bool) -> np.datetime64:
    if missing:
        return np.datetime64("NaT", "us")
    if isinstance(cell, np.datetime64):
        return cell
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(cell, "us")


def _of_pandas(name: str, series: Any) -> Column:
    import pandas as pd

    if isinstance(series, pd.DataFrame):
        raise DataError(f"column {name!r} is several columns")
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categorical = series.array if isinstance(series, pd.Series) else series
        return merged(np.asarray(categorical.codes, np.int64), list(dtype.categories), True, bool(dtype.ordered))
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow

        return _of_arrow(name, pyarrow.array(series.array))
    if isinstance(dtype, pd.DatetimeTZDtype):
        return np.asarray(pd.Series(series).dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
    if isinstance(dtype, pd.StringDtype):
        codes, levels = pd.factorize(series)
        return merged(codes.astype(np.int64), list(levels))
    if isinstance(dtype, pd.SparseDtype):
        return of_array(name, np.asarray(series.array.to_dense()))
    if not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "fiu":  # nullable numbers
        if not series.isna().any():
            return np.asarray(series.to_numpy(dtype.numpy_dtype))
        return np.asarray(series.to_numpy(np.float64, na_value=np.nan))
    return of_array(name, np.asarray(series.to_numpy()) if isinstance(dtype, np.dtype) else series.to_numpy(object))


def _of_polars(name: str, series: Any) -> Column:
    import polars as pl

    dtype, gone = series.dtype, series.null_count() > 0
    if dtype in (pl.Categorical, pl.Enum):
        series, declared = series.cast(pl.String), True
    else:
        declared = False
    if series.dtype == pl.String:
        levels = series.drop_nulls().unique(maintain_order=True)
        codes = series.cast(pl.Enum(levels)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        return merged(codes, levels.to_list(), declared)
    if dtype == pl.Datetime and dtype.time_zone:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if dtype == pl.Null:
        return np.full(len(series), np.nan)
    if dtype.is_decimal():
        series = series.cast(pl.Float64)
    if (dtype == pl.Boolean and gone) or dtype in (pl.Time, pl.Object, pl.Binary) or dtype.is_nested():
        array = np.empty(len(series), object)
        array[:] = series.to_list()
        return of_array(name, array)
    return of_array(name, np.array(series.to_numpy()))


def _of_arrow(name: str, given: Any) -> Column:
    import pyarrow as pa

    kind, types = given.type, pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        if types.is_string_view(kind):
            given = given.cast(pa.large_string())
        return _of_dictionary(given.dictionary_encode(), False, False)
    if types.is_dictionary(kind):
        return _of_dictionary(given, True, bool(kind.ordered))
    if types.is_decimal(kind):
        given = given.cast(pa.float64())
    if types.is_integer(given.type) or types.is_floating(given.type):
        return of_array(name, _numbers(given))
    array = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    if types.is_null(kind):
        return np.full(len(array), np.nan)
    if types.is_date(kind) or types.is_timestamp(kind):
        # A stamp with a zone is held in UTC
        return np.asarray(array.cast(pa.timestamp(kind.unit if types.is_timestamp(kind) else "s")).to_numpy(False))
    if types.is_duration(kind) or (types.is_boolean(kind) and not array.null_count):
        return of_array(name, np.array(array.to_numpy(False)))
    cells = np.empty(len(array), object)
    cells[:] = array.to_pylist()
    return of_array(name, cells)


def _numbers(given: Any) -> Array:
    """Numbers of pyarrow as they are held, NaN where missing: what it has for this imports pandas, which takes longer
    than most files."""
    parts = [np.zeros(0, given.type.to_pandas_dtype())]
    for chunk in given.chunks if hasattr(given, "chunks") else [given]:
        if not len(chunk):
            continue
        there, held = chunk.buffers()
        rows = slice(chunk.offset, chunk.offset + len(chunk))
        values = np.frombuffer(held, parts[0].dtype)[rows]
        if chunk.null_count:
            values = values.astype(np.result_type(values, np.float64) if values.dtype.kind in "iu" else values.dtype)
            values[np.unpackbits(np.frombuffer(there, np.uint8), bitorder="little")[rows] == 0] = np.nan
        parts.append(values)
    return np.concatenate(parts)


def _of_dictionary(given: Any, declared: bool, ordered: bool) -> Factor:
    import pyarrow as pa

    chunks = given.unify_dictionaries().chunks if isinstance(given, pa.ChunkedArray) else [given]
    if not chunks:
        return merged(np.zeros(0, np.int64), [], declared, ordered)
    codes = np.concatenate([_numbers(chunk.indices) for chunk in chunks])
    if codes.dtype.kind == "f":
        codes = np.where(np.isnan(codes), -1, codes)
    return merged(codes.astype(np.int64), chunks[0].dictionary.to_pylist(), declared, ordered)
