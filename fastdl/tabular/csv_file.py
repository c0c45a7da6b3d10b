"""CSV as people write it: which encoding, separator and decimal sign, where rows are ragged, and the cells' types."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastdl import config
from fastdl.base.cells import TRUTHS, Column, Factor, merged, number_of
from fastdl.base.frames import columns_of
from fastdl.errors import DataError
from fastdl.tabular.table import Table

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SAMPLE = 1 << 16  # letters by which separators are told
ROWS = 200
FIRST = 10_000  # rows by which polars tells types at first
BLOCK = 1 << 22  # bytes that pyarrow reads at a time, and tells types by


@dataclass(frozen=True)
class Dialect:
    """How a file writes its cells."""

    separator: str
    decimal: str
    padded: bool  # a space after each separator, which is no part of the cell


def read_csv(
    file: Path,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    engine: str | None = None,
) -> Table:
    """See read_table."""
    if separator is not None and len(separator) != 1:
        raise ValueError(f"separator must be one letter, not {separator!r}")
    notes: list[str] = []
    content = _content(file)
    text = _as_utf8(file, content, encoding, notes)
    del content
    if text.endswith((b"\n\n", b"\n\r\n")):
        text = text.rstrip(b"\r\n")
    end = text.find(b"\n", text.find(b"\n") + 1) + 1  # of the first row below the names
    sample = text[: max(SAMPLE, end)].decode("utf-8", "ignore")
    if len(text) > SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample
    dialect = _dialect(sample, separator, decimal, notes)
    names, last = _header(file, sample, dialect, notes)
    if text.count(b'"') % 2:  # an open quote would swallow all that follows
        _check_widths(file, text, dialect, strict=True)
    frame = _read(file, text, dialect, engine)
    del text
    return Table(_columns(names, last, frame, dialect), notes)


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be unpacked: {error}") from None


def _as_utf8(file: Path, content: bytes, encoding: str | None, notes: list[str]) -> bytes:
    """The text in UTF-8, without a byte order mark."""
    chosen = encoding or next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    if chosen is None and _is_text(content, "utf-8"):
        text = content
    else:
        if chosen is None:
            chosen = "cp1252" if _is_text(content, "cp1252") else "latin-1"
            notes.append(f"It is no UTF-8, so it was read as {chosen}.")
        elif encoding is None and chosen == "utf-16":
            notes.append("It was read as utf-16, as its first bytes say.")
        try:
            text = content.decode(chosen).encode()
        except LookupError:
            raise DataError(f"there is no encoding {chosen!r}") from None
        except UnicodeError as error:
            raise DataError(f"{file} is not text in {chosen}: {error}") from None
    if b"\0" in text[:SAMPLE]:
        raise DataError(f"{file} is no text: it holds bytes of zero")
    text = text.removeprefix(b"\xef\xbb\xbf")
    if not text or text.isspace():
        raise DataError(f"{file} is empty")
    return text


def _is_text(content: bytes, encoding: str) -> bool:
    """Whether it can be read so."""
    try:
        return content.isascii() or content.decode(encoding) is not None
    except UnicodeDecodeError:
        return False


def _dialect(sample: str, separator: str | None, decimal: str | None, notes: list[str]) -> Dialect:
    """The separator that cuts most rows into as many cells as the first, and is there most often."""
    if separator is None:
        found = {sep: _cells(sample, sep) for sep in SEPARATORS}

        def fit(sep: str) -> tuple[float, int]:
            rows = found[sep]
            width = len(rows[0])
            return (sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0, width)

        separator = max(SEPARATORS, key=fit)
        if len(found[separator][0]) == 1:
            separator = ","
        if separator != ",":
            notes.append(f"Its cells are separated by {SEPARATORS[separator]}.")
    cells = [cell for row in _cells(sample, separator)[1:] for cell in row]
    if decimal is None:
        commas = sum(bool(re.fullmatch(r"\s*[+-]?\d*,\d+\s*", cell)) for cell in cells)
        points = sum(bool(re.fullmatch(r"\s*[+-]?\d*\.\d+\s*", cell)) for cell in cells)
        decimal = "," if separator != "," and commas > points else "."
        if decimal == ",":
            notes.append("Its numbers have decimal commas.")
    rows = _cells(sample, separator)
    inner = [cell for row in rows for cell in row[1:] if cell]
    padded = bool(inner) and sum(cell[0] == " " for cell in inner) > 0.9 * len(inner)
    if padded:
        notes.append("Spaces around cells were left out.")
    return Dialect(separator, decimal, padded)


def _cells(sample: str, separator: str) -> list[list[str]]:
    rows = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator):
            if row:
                rows.append(row)
            if len(rows) > ROWS:
                break
    except csv.Error:
        pass
    return rows or [[""]]


def _header(file: Path, sample: str, dialect: Dialect, notes: list[str]) -> tuple[list[str], bool]:
    """The names, and whether the last has none and is left out if nothing stands in it (a separator at lines' ends)."""
    names = [name.strip() for name in _cells(sample, dialect.separator)[0]]
    if twice := [name for name, count in Counter(name for name in names if name).items() if count > 1]:
        raise DataError(f"{file}: two columns have the name {twice[0]!r}: each needs its own")
    last = len(names) > 1 and not names[-1]
    for position, name in enumerate(names):
        if not name:
            names[position] = f"column_{position + 1}"
            while names.count(names[position]) > 1:
                names[position] += "_"
            if not (last and position == len(names) - 1):
                notes.append(f"Column {position + 1} has no name: it is called {names[position]!r}.")
    if all(not np.isnan(number_of(name)) for name in names):
        notes.append("Its first row holds numbers, which were taken for the names of its columns.")
    return names, last


def _read(file: Path, text: bytes, dialect: Dialect, engine: str | None) -> Any:
    engines: dict[str, Callable[[bytes, Dialect], Any]] = {
        "pyarrow": _by_pyarrow,
        "polars": _by_polars,
        "pandas": _by_pandas,
    }
    if engine is not None and engine not in engines:
        raise ValueError(f"engine must be one of {', '.join(engines)}, not {engine!r}")
    for name in [engine] if engine else engines:
        try:
            frame = engines[name](text, dialect)
        except ImportError:
            continue
        except MemoryError:
            raise
        except Exception as error:
            _check_widths(file, text, dialect)
            raise DataError(f"{file} cannot be read as CSV: {str(error).splitlines()[0]:.200}") from error
        if name != "pyarrow":  # the others fill short rows without a word
            _check_widths(file, text, dialect)
        return frame
    raise DataError("CSV is read by pyarrow, polars or pandas: pip install 'fastdl[tabular]'")


def _check_widths(file: Path, text: bytes, dialect: Dialect, strict: bool = False) -> None:
    """DataError that names the first line that has more or fewer cells than the names; strict: or an open quote."""
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")
    if not strict and _regular(text, dialect):
        return
    rows = csv.reader(lines, delimiter=dialect.separator, strict=strict)
    width = 0
    try:
        for row in rows:
            width = width or len(row)
            if row and len(row) != width:
                raise DataError(f"{file}: line {rows.line_num} has {len(row)} cells, the names are {width}")
    except csv.Error as error:
        raise DataError(f"{file}: line {rows.line_num}: {error}") from None


def _regular(text: bytes, dialect: Dialect) -> bool:
    """Whether all lines of a file without quotes are known to have as many separators: told faster than by reading."""
    if b'"' in text or (b"\r" in text and b"\r" in text.replace(b"\r\n", b"\n")):
        return False
    separator = dialect.separator.encode()
    if len(separator) > 1:
        return False
    left = text.translate(None, bytes({*range(256)} - {ord("\n"), *separator}))
    line = left[: left.find(b"\n") + 1]
    return left == line * left.count(b"\n") + (b"" if text.endswith(b"\n") else line[:-1])


def _by_pyarrow(text: bytes, dialect: Dialect) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc

    def read(types: dict[str, Any]) -> Any:
        return pc.read_csv(
            pa.BufferReader(text),
            read_options=pc.ReadOptions(
                autogenerate_column_names=True,
                skip_rows_after_names=1,
                block_size=BLOCK,
                use_threads=config.get_num_threads() > 1,
            ),
            parse_options=pc.ParseOptions(delimiter=dialect.separator, newlines_in_values=b'"' in text),
            convert_options=pc.ConvertOptions(
                decimal_point=dialect.decimal,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                column_types=types,
            ),
        )

    types: dict[str, Any] = {}
    while True:  # types are told by the first block: a column in which a later one differs is read as text
        try:
            return read(types)
        except pa.ArrowInvalid as error:
            match = re.search(r"In CSV column #(\d+): CSV conversion error to (\w+)", str(error))
            if match is None or types.get(f"f{match[1]}") == pa.string():
                raise
            first = f"f{match[1]}" not in types and match[2].startswith("int")
            types[f"f{match[1]}"] = pa.float64() if first else pa.string()


def _by_polars(text: bytes, dialect: Dialect) -> Any:
    import polars as pl

    if b'"' not in text and (b"\n\n" in text or b"\n\r\n" in text):  # which would be rows of gaps
        text = re.sub(rb"\n(\r?\n)+", b"\n", text)

    def read(rows: int | None) -> pl.DataFrame:
        return pl.read_csv(
            io.BytesIO(text),
            separator=dialect.separator,
            decimal_comma=dialect.decimal == ",",
            infer_schema_length=rows,
            truncate_ragged_lines=False,
        )

    try:
        frame = read(FIRST)
    except pl.exceptions.ComputeError:  # further below there is something else
        frame = read(None)
    frame.columns = [f"f{i}" for i in range(frame.width)]
    return frame


def _by_pandas(text: bytes, dialect: Dialect) -> Any:
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(text),
        sep=dialect.separator,
        decimal=dialect.decimal,
        index_col=False,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
    )


def _columns(names: list[str], last: bool, frame: Any, dialect: Dialect) -> dict[str, Column]:
    """The columns under their names; text in which all is a number, or true and false, as that."""
    own = columns_of(frame)
    columns = {
        name: _typed(column, dialect) if isinstance(column, Factor) else column
        for name, column in zip(names, own.values(), strict=True)
    }
    if last and (end := columns[names[-1]]) is not None and not _holds_something(end):
        del columns[names[-1]]
    return columns


def _holds_something(column: Column) -> bool:
    if isinstance(column, Factor):
        return bool(column.levels)
    return column.dtype.kind != "f" or not bool(np.isnan(column).all())


def _typed(factor: Factor, dialect: Dialect) -> Column:
    if dialect.padded:
        factor = merged(factor.codes, [level.strip() for level in factor.levels])
    if not factor.levels:
        return np.full(len(factor), np.nan)
    if all(level.strip().lower() in TRUTHS for level in factor.levels):
        truths = np.array([TRUTHS[level.strip().lower()] for level in factor.levels])
        return factor if (factor.codes < 0).any() else truths[factor.codes]
    texts = [level.replace(",", ".") for level in factor.levels] if dialect.decimal == "," else factor.levels
    values = np.array([number_of(text) for text in texts])
    if np.isnan(values).any():
        return factor
    numbers = factor.spread(values, np.nan)
    whole = not np.isnan(numbers).any() and not any("." in text or "e" in text.lower() for text in texts)
    return numbers.astype(np.int64) if whole and np.abs(numbers).max() < 2**53 else numbers
