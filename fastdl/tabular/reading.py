"""Tables from files: CSV, TSV (also .gz) and Parquet. What is assumed is said in the table's notes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastdl import config
from fastdl.base.arguments import path as as_path
from fastdl.errors import DataError
from fastdl.tabular.csv_file import read_csv
from fastdl.tabular.table import Table

PARQUET, ZIP, EXCEL = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


def read_table(path: str | os.PathLike[str], *, empty: bool = False, **options: Any) -> Table:
    """A table from a CSV or TSV file, plain or .gz, or a Parquet file, told apart by what they hold.

    empty: whether one that has names of columns and no rows is a table too, and no DataError.
    options, for text alone: separator ("," ";" tab or "|"), decimal ("." or ","), encoding; found and said in the
    table's notes unless given; engine ("pyarrow", "polars" or "pandas"): the first that is installed. Text in which
    all is a number or true and false becomes that. Raises DataError, with the line where there is one, for a file that
    is missing or empty, rows of unequal length, names that are doubled, and bytes that are no text.
    """
    file = Path(as_path("path", path))
    if not file.is_file():
        raise DataError(f"{file} is {'a folder, not a file' if file.is_dir() else 'no file: there is none'}")
    with file.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise DataError(f"{file} is empty")
    if start.startswith((ZIP, EXCEL)):
        raise DataError(f"{file} is a spreadsheet or archive: save it as CSV or Parquet")
    table = _read_parquet(file, options.get("engine")) if start.startswith(PARQUET) else read_csv(file, **options)
    if not empty and not len(table):
        raise DataError(f"{file} has names of columns but no rows")
    return table


def _read_parquet(file: Path, engine: str | None) -> Table:
    for name in [engine] if engine else ["pyarrow", "polars", "pandas"]:
        try:
            if name == "pyarrow":
                import pyarrow.parquet as pq

                frame = pq.ParquetFile(file).read(use_threads=config.get_num_threads() > 1)
            elif name == "polars":
                import polars as pl

                frame = pl.read_parquet(file)
            else:
                import pandas as pd

                frame = pd.read_parquet(file)
        except ImportError:
            continue
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]:.200}") from error
        return Table.of(frame)
    raise DataError("Parquet is read by pyarrow or polars: pip install 'fastdl[tabular]'")
