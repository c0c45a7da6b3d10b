"""The columns that a careful user gives to a library which does not take raw ones. Fitted on the rows trained on.

For all of them dates become day, year, month, day of month and weekday; ordered categories their number in the order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


class Raw:
    """As it came."""

    categories: tuple[str, ...] = ()

    def fit(self, frame: pd.DataFrame) -> None:
        """Learn from the rows trained on."""

    def transform(self, frame: pd.DataFrame) -> Any:
        """What the library takes."""
        return frame


class Native(Raw):
    """Numbers with their gaps, and pandas categories, for libraries with categories of their own."""

    most = 1_000_000  # values of a category; beyond it becomes its number

    def fit(self, frame: pd.DataFrame) -> None:
        """Find the values of each category."""
        frame = unfolded(frame)
        self.levels = {name: pd.Index(sorted(words(frame[name]).dropna().unique())) for name in texts(frame)}
        self.categories = tuple(name for name, levels in self.levels.items() if len(levels) <= self.most)

    def transform(self, frame: pd.DataFrame) -> Any:
        """The frame; what was not seen is missing."""
        frame = unfolded(frame)
        for name, levels in self.levels.items():
            codes = levels.get_indexer(words(frame[name]))
            numbers = np.where(codes < 0, np.nan, codes)
            frame[name] = pd.Categorical.from_codes(codes, levels) if name in self.categories else numbers
        return frame


class FewValues(Native):
    """The same where a category may have 255 values."""

    most = 255


class Strings(Native):
    """Categories as text, a missing one a word of its own (CatBoost refuses NaN there)."""

    def transform(self, frame: pd.DataFrame) -> Any:
        """The frame."""
        frame = unfolded(frame)
        for name in self.levels:
            frame[name] = words(frame[name]).fillna("(missing)")
        return frame


class Filled(Native):
    """Gaps of numbers filled by the mean, beside a category that tells of them (pytabkit refuses NaN)."""

    def fit(self, frame: pd.DataFrame) -> None:
        """Find means, and the columns with gaps."""
        super().fit(frame)
        numbers = unfolded(frame).drop(columns=list(self.levels))
        self.means = numbers.mean()
        self.gaps = [name for name in numbers if numbers[name].isna().any()]

    def transform(self, frame: pd.DataFrame) -> Any:
        """The frame."""
        frame = super().transform(frame)
        told = {f"{name} is missing": frame[name].isna().map({True: "yes", False: "no"}) for name in self.gaps}
        frame = frame.fillna(self.means.to_dict())
        return frame.assign(**{name: pd.Categorical(column, ["no", "yes"]) for name, column in told.items()})


class Matrix(Raw):
    """Numbers filled and standardised, with a column of 0 and 1 for their gaps; categories one-hot, gaps too."""

    def fit(self, frame: pd.DataFrame) -> None:
        """Find means, spreads, and the values of each category."""
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        frame = unfolded(frame)
        names = texts(frame)
        numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        others = [name for name in frame if name not in names]
        self.encoder = make_column_transformer((numbers, others), (one_hot, names), sparse_threshold=0)
        self.encoder.fit(frame)

    def transform(self, frame: pd.DataFrame) -> Any:
        """A matrix of float32."""
        return np.asarray(self.encoder.transform(unfolded(frame)), np.float32)


def texts(frame: pd.DataFrame) -> list[str]:
    """The columns that are categories."""
    return [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]


def words(column: pd.Series) -> pd.Series:
    """A category as text, and None where it is missing."""
    return column.astype(str).astype(object).where(column.notna(), None)


def unfolded(frame: pd.DataFrame) -> pd.DataFrame:
    """Dates in parts, ordered categories as numbers, booleans as 0 and 1; numbers as float64."""
    columns: dict[str, Any] = {}
    for name in frame:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            parts = column.dt
            columns[f"{name} since 1970"] = (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
            for part in ("year", "month", "day", "day_of_week"):
                columns[f"{name} {part}"] = getattr(parts, part).astype(float)
        elif isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
            columns[name] = np.where(column.cat.codes < 0, np.nan, column.cat.codes)
        elif pd.api.types.is_numeric_dtype(column):
            columns[name] = column.astype(float)
        else:
            columns[name] = column
    return pd.DataFrame(columns, index=frame.index)
