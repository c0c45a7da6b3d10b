"""Which tables: PUBLISHED is what claims are made about, CHOOSING what settings may be chosen on; no table is in both.

All are real. Rows whose target is missing are dropped, and columns that number the rows; everything else is as it
came: text, categories (ordered where R's factor is), numbers with their gaps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.tabular import debian

CLASSES, NUMBERS = "classification", "regression"


@dataclass(frozen=True)
class Table:
    """A data set: rows, columns without the target, the target, its task, R's package (or sklearn) and name in it."""

    name: str
    rows: int
    columns: int
    target: str
    task: str
    package: str
    source: str
    drop: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    def load(self, folder: Path) -> tuple[Any, Any]:
        """Frame and target, both of pandas. ValueError if it has not the rows and columns stated.

        `folder` keeps what was read from R: reading pickles of this pandas takes no second package.
        """
        import pandas as pd

        if self.package == "sklearn":
            return self._checked(_sklearn(self.source))
        path = folder / f"{self.package}-{self.source}-pandas-{pd.__version__}.pickle"
        if path.exists():
            return self._checked(pd.read_pickle(path))
        frame = _plain(self, folder)
        part = path.with_suffix(f".{os.getpid()}")
        frame.to_pickle(part)
        part.replace(path)
        return self._checked(frame)

    def _checked(self, frame: Any) -> tuple[Any, Any]:
        frame = frame.dropna(subset=[self.target]).drop(columns=list(self.drop)).reset_index(drop=True)
        target = frame.pop(self.target)
        if frame.shape != (self.rows, self.columns):
            raise ValueError(f"{self.name} should be {self.rows} × {self.columns}, and is {frame.shape}")
        return frame, target.astype(str if self.task == CLASSES else float)


def _sklearn(source: str) -> Any:
    from sklearn import datasets

    options = {"scaled": False} if source == "diabetes" else {}
    return getattr(datasets, f"load_{source}")(as_frame=True, **options).frame


def _plain(table: Table, folder: Path) -> Any:
    """R's types as a frame of pandas commonly has them: int64, float64 with NaN, str, category, datetime."""
    import pandas as pd

    raw = debian.read(table.package, table.source, folder)
    columns = {}
    for name in raw.columns:
        column = raw[name]
        if str(name) in table.dates:
            column = pd.to_datetime(column, unit="D")  # R counts days
        elif pd.api.types.is_numeric_dtype(column) and pd.api.types.is_extension_array_dtype(column):
            column = column.astype("float64" if column.isna().any() else "int64")
        elif isinstance(column.dtype, pd.StringDtype):
            column = column.astype(str).where(column.notna(), None)
        columns[str(name)] = column.to_numpy() if column.dtype.kind in "if" else column.reset_index(drop=True)
    return pd.DataFrame(columns)


PUBLISHED = (
    Table("ozone", 361, 12, "V4", NUMBERS, "mlbench", "Ozone"),
    Table("diabetes", 442, 10, "target", NUMBERS, "sklearn", "diabetes"),
    Table("sacramento", 932, 8, "price", NUMBERS, "modeldata", "Sacramento"),
    Table("concrete", 1_030, 8, "compressive_strength", NUMBERS, "modeldata", "concrete"),
    Table("ames", 2_930, 73, "Sale_Price", NUMBERS, "modeldata", "ames"),
    Table("chicago", 5_698, 49, "ridership", NUMBERS, "modeldata", "Chicago", dates=("date",)),
    Table("wages", 28_155, 6, "wage", NUMBERS, "AER", "CPS1988"),
    Table("diamonds", 53_940, 9, "price", NUMBERS, "ggplot2", "diamonds"),
    Table("soybean", 683, 35, "Class", CLASSES, "mlbench", "Soybean"),
    Table("pima", 768, 8, "diabetes", CLASSES, "mlbench", "PimaIndiansDiabetes2"),
    Table("attrition", 1_470, 30, "Attrition", CLASSES, "modeldata", "attrition"),
    Table("credit", 4_454, 13, "Status", CLASSES, "modeldata", "credit_data"),
    Table("spam", 4_601, 57, "type", CLASSES, "kernlab", "spam"),
    Table("satellite", 6_435, 36, "classes", CLASSES, "mlbench", "Satellite"),
    Table("churn", 7_043, 19, "churn", CLASSES, "modeldata", "wa_churn"),
    Table("lending", 9_857, 22, "Class", CLASSES, "modeldata", "lending_club"),
    Table("letter", 20_000, 16, "lettr", CLASSES, "mlbench", "LetterRecognition"),
)
CHOOSING = (
    Table("boston", 506, 13, "medv", NUMBERS, "mlbench", "BostonHousing"),
    Table("windsor", 546, 11, "price", NUMBERS, "AER", "HousePrices"),
    Table("cars", 804, 17, "Price", NUMBERS, "modeldata", "car_prices"),
    Table("tate", 4_284, 2, "year", NUMBERS, "modeldata", "tate_text", drop=("id", "title")),
    Table("college", 4_739, 13, "score", NUMBERS, "AER", "CollegeDistance"),
    Table("checks", 13_626, 23, "check_time", NUMBERS, "modeldata", "check_times", drop=("package",)),
    Table("alzheimer", 333, 130, "Class", CLASSES, "modeldata", "ad_data"),
    Table("vehicle", 846, 18, "Class", CLASSES, "mlbench", "Vehicle"),
    Table("vowel", 990, 10, "Class", CLASSES, "mlbench", "Vowel"),
    Table("digits", 1_797, 64, "target", CLASSES, "sklearn", "digits"),
    Table("cells", 2_019, 56, "class", CLASSES, "modeldata", "cells", drop=("case",)),
    Table("mortgages", 2_380, 13, "deny", CLASSES, "AER", "HMDA"),
    Table("jobs", 4_331, 7, "class", CLASSES, "modeldata", "hpc_data"),
    Table("telecom", 5_000, 19, "churn", CLASSES, "modeldata", "mlc_churn"),
    Table("remote", 5_594, 20, "Remote", CLASSES, "modeldata", "stackoverflow"),
    Table("income", 8_993, 13, "INCOME", CLASSES, "kernlab", "income"),
    Table("caravan", 9_822, 85, "CARAVAN", CLASSES, "kernlab", "ticdata"),
)
TABLES = {table.name: table for table in (*PUBLISHED, *CHOOSING)}
ABLATION = tuple(TABLES[name] for name in ("boston", "windsor", "cars", "vehicle", "vowel", "mortgages"))
LISTS = {"published": PUBLISHED, "choosing": CHOOSING, "ablation": ABLATION}


def chosen(names: Sequence[str]) -> list[Table]:
    """The tables of these names and lists, once each, the smallest first."""
    tables = [table for name in names for table in (LISTS[name] if name in LISTS else [TABLES[name]])]
    return sorted(dict.fromkeys(tables), key=lambda table: table.rows * (table.columns + 20))
