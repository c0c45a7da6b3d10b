"""Raw columns in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from fastdl.base.arrays import Array
from fastdl.errors import DataError
from fastdl.tabular.estimator import Tabular
from fastdl.tabular.recipes import NUMBERS

LARGEST = 1e37  # of targets: answers are float32, and squares of deviations are summed in float64


class TabularRegressor(RegressorMixin, Tabular):  # type: ignore[misc]
    """A net for tables that predicts a number, or several: raw columns (numbers, strings, dates, gaps) in.

    Arguments and attributes are TabularClassifier's, but for class_weight and classes_. metric: "rmse" or "mae".
    Targets are standardised for training; predictions keep to the range that was seen.
    """

    task = NUMBERS

    def _targets(self, y: Any) -> Array:
        targets = self.known_targets(y)
        self._flat = targets.shape[1] == 1
        return targets

    def known_targets(self, y: Any) -> Array:
        try:
            targets = np.asarray(y, np.float64)
        except (TypeError, ValueError):
            raise DataError("y holds what is no number: use TabularClassifier for classes") from None
        targets = targets.reshape(len(targets), -1)
        wrong = ~np.isfinite(targets).all(axis=1)
        if wrong.any():
            raise DataError(f"y has NaN or Inf in row {wrong.argmax()} ({wrong.sum()} of {len(targets)} rows)")
        large = ~(np.abs(targets) < LARGEST).all(axis=1)
        if large.any():
            raise DataError(
                f"y has {np.abs(targets).max():g} in row {large.argmax()}: nets compute with less than 1e+37"
            )
        return targets

    def outputs(self, targets: Array) -> int:
        return int(targets.shape[1])

    def fitted(self) -> dict[str, Any]:
        return {**super().fitted(), "flat": self._flat}

    def take_fitted(self, told: Mapping[str, Any]) -> None:
        super().take_fitted(told)
        self._flat = bool(told["flat"])

    def predict(self, X: Any) -> Array:
        """(rows,), or (rows, outputs), as y was."""
        answers = self.answers(X).astype(np.float64)
        return answers[:, 0] if self._flat else answers

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
