"""A dense net that regresses."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from fastdl import layers, losses
from fastdl.base.arrays import Array
from fastdl.models import Model, Sequential
from fastdl.sklearn.estimator import Estimator, moments

OF_ANY_UNIT = {losses.MeanSquaredError, losses.MeanAbsoluteError}  # losses whose best weights do not depend on y's unit


class FastdlRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A dense net that predicts one number or several; by default with the mean squared error.

    Arguments and attributes are FastdlClassifier's, but for classes_ and class_weight. scale: targets are brought to
    mean 0 and variance 1 too, which model_'s last layer takes back; not with a `loss` that depends on their units, or
    a `model` of one's own. history_ is in the units trained on. Held rows are drawn evenly from low to high targets.
    """

    def _last(self) -> None:
        return None

    def _loss(self) -> Any:
        return "mean_squared_error"

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> Self:
        """Train. X: (rows, features), y: (rows,) or (rows, outputs), sample_weight: (rows,). eval_set: (X, y) of rows
        that say when to stop, in place of some that are held back."""
        return self._learn(X, y, sample_weight, more=False, eval_set=eval_set)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, on these rows, from the weights there are; scaled as the first call's rows asked for."""
        return self._learn(X, y, sample_weight, more=True)

    def _learn(self, X: Any, y: Any, sample_weight: Any, more: bool, eval_set: Any = None) -> Self:
        fresh = self._fresh(more)
        X, y = validate_data(self, X, y, dtype=self._dtype(), multi_output=True, y_numeric=True, reset=fresh)
        targets = y.reshape(len(y), -1).astype(np.float64)
        if not fresh and targets.shape[1] != self.model_.output_shape[1]:
            raise ValueError(f"y has {targets.shape[1]} columns, training began with {self.model_.output_shape[1]}")
        self._flat = y.ndim == 1
        judges = self._judges(eval_set, lambda more_y: np.asarray(more_y, np.float64).reshape(len(more_y), -1))
        return self._train(X, targets, targets.shape[1], self._weights(sample_weight, X), more, judges)

    def _learn_units(self, targets: Array, weights: Array | None) -> None:
        loss = None if self.loss is None else type(losses.loss_for(self.loss))
        scaled = self.scale and self.model is None and (loss is None or loss in OF_ANY_UNIT)
        self._units = moments(targets, weights) if scaled else None

    def _in_units(self, targets: Array) -> Array:
        if self._units is None:
            return targets
        mean, variance = self._units
        scaled: Array = (targets - mean) / np.sqrt(variance)
        return scaled

    def _finished(self, trained: Model) -> Model:
        if self._units is None:
            return trained
        return Sequential(
            [
                layers.Input(trained.input_shape[1:]),
                *trained.layers,
                layers.Normalization(-1, *self._units, invert=True),
            ]
        )

    def predict(self, X: Any) -> Array:
        """(rows,), or (rows, outputs), as y was."""
        answer = self._raw(X)
        return answer[:, 0] if self._flat else answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
