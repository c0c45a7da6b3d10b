"""Raw columns in, probabilities of classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from fastdl.base.arrays import Array
from fastdl.errors import DataError
from fastdl.tabular.estimator import Tabular
from fastdl.tabular.recipes import CLASSES, Recipe


class TabularClassifier(ClassifierMixin, Tabular):  # type: ignore[misc]
    """A net for tables that classifies: raw columns (numbers, strings, dates, gaps) in, probabilities out.

    net: "slim" (RealMLP-TD with layers of 96 units), "realmlp" (as in its paper, Holzmüller et al. 2024),
    "realmlp-small" (TD-S), "tabm" (TabM-mini, Gorishniy et al. 2024), or a Recipe; epochs, learning_rate,
    hidden_layer_sizes and batch_size change it. folds: that many nets, each judged by its own part of the rows, which
    chooses its best epoch by `metric` ("accuracy", "log_loss" or "roc_auc"); their mean answers. folds=None: one net,
    and a share of validation_fraction judges it. time_limit: seconds in which recipes are searched, and the nets that
    help each other most are weighed. n_jobs: nets trained at once, each on one thread; None as many as cores.
    class_weight: by label, or "balanced".

    categorical_features: "from_dtype", or names of columns to take as categories whatever they hold;
    numeric_features, date_features, drop: as well. Missing values and unknown categories are ordinary input.
    random_state: of all that is drawn. verbose: 1 tells of each net.

    classes_; columns_ (what each column was taken for); model_ (a Model that reads what columns_ encodes);
    validation_score_, n_iter_, n_features_in_, feature_names_in_. ValueError for targets of one class.
    """

    task = CLASSES

    def __init__(
        self,
        net: str | Recipe = "slim",
        *,
        time_limit: float | None = None,
        folds: int | None = 5,
        metric: str | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        hidden_layer_sizes: Sequence[int] | None = None,
        batch_size: int | None = None,
        validation_fraction: float = 0.2,
        class_weight: Any = None,
        categorical_features: Any = "from_dtype",
        numeric_features: Sequence[str] = (),
        date_features: Sequence[str] = (),
        drop: Sequence[str] = (),
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "class_weight", "__class__")}
        super().__init__(**given)
        self.class_weight = class_weight

    def _targets(self, y: Any) -> Array:
        y = self._labels(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs rows of two classes or more, y has one class")
        numbers: Array = np.searchsorted(self.classes_, y)
        return numbers

    def known_targets(self, y: Any) -> Array:
        y = self._labels(y)
        unknown = ~np.isin(y, self.classes_)
        if unknown.any():
            raise DataError(f"y of eval_set holds {y[unknown][:1].tolist()[0]!r}, which y of fit does not")
        numbers: Array = np.searchsorted(self.classes_, y)
        return numbers

    @staticmethod
    def _labels(y: Any) -> Array:
        """One label a row, of one type. ValueError for a missing one."""
        labels: Array = column_or_1d(np.asarray(y) if hasattr(y, "to_numpy") else y, warn=True)
        if labels.dtype == object:
            missing = [each is None or each != each for each in labels]
            if any(missing):
                raise DataError(f"y has no label in row {missing.index(True)} ({sum(missing)} of {len(labels)} rows)")
            if len({type(each) for each in labels.tolist()}) > 1:
                labels = labels.astype(str)
        check_classification_targets(labels)
        return labels

    def outputs(self, targets: Array) -> int:
        return len(self.classes_)

    def _class_weights(self, y: Any) -> Array | None:
        if self.class_weight is None:
            return None
        weights: Array = compute_sample_weight(self.class_weight, self._labels(y))
        return weights

    def fitted(self) -> dict[str, Any]:
        return {**super().fitted(), "classes": self.classes_.tolist()}

    def take_fitted(self, told: Mapping[str, Any]) -> None:
        super().take_fitted(told)
        self.classes_ = np.array(told["classes"])

    def predict_proba(self, X: Any) -> Array:
        """(rows, classes): the probability of each of classes_."""
        return self.answers(X)

    def predict(self, X: Any) -> Array:
        """(rows,): the likeliest of classes_."""
        best = self.answers(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of predict_proba."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
