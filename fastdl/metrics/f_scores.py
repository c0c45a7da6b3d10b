"""F-scores: precision and recall in one number, of counts by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.metrics.metric import Metric
from fastdl.metrics.variable import Variable
from fastdl.ops.terminal import Counts

EPSILON = 1e-7  # Keras's, in quotients of counts


class FBetaScore(Metric):
    """Precision and recall in one, recall weighing beta² times as much, for each class.

    An output is positive above the threshold; without one, a sample's largest is. average: over classes, "macro", or
    weighted by their positives, "weighted"; of all counts together, "micro"; or None for one number a class.
    """

    default_name = "fbeta_score"
    true_positives: Variable
    false_positives: Variable
    false_negatives: Variable
    intermediate_weights: Variable  # the positives, by which "weighted" weighs

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"average must be micro, macro, weighted or None, not {average!r}")
        if not isinstance(beta, float) or not beta > 0:
            raise ValueError(f"beta must be a float above zero, as 2.0, not {beta!r}")
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ValueError(f"threshold must be a float in (0, 1], as 0.5, or None, not {threshold!r}")
        self.average, self.beta, self.threshold = average, float(beta), threshold

    def terminal(self, features: int) -> Counts:
        more = {"by_threshold": int(self.threshold is not None), "threshold": self.threshold or 0.0}
        return Counts("count_classes", 3, more)

    def sums(self, totals: Array) -> Mapping[str, Array]:
        counts = totals.reshape(3, -1)
        true, false, missed = counts.sum(axis=1) if self.average == "micro" else counts
        return {
            "true_positives": np.asarray(true),
            "false_positives": np.asarray(false),
            "false_negatives": np.asarray(missed),
            "intermediate_weights": np.asarray(true + missed),
        }

    def result(self) -> Any:
        if "true_positives" not in vars(self):  # nobody has told of how many outputs it is
            return 0.0
        true = self.true_positives.value
        precision = true / (true + self.false_positives + EPSILON)
        recall = true / (true + self.false_negatives + EPSILON)
        weight = self.beta**2
        scores = (1 + weight) * precision * recall / (weight * precision + recall + EPSILON)
        if self.average is None:
            return scores
        if self.average == "weighted":
            positives = self.intermediate_weights.value
            return float((scores * positives).sum() / (positives.sum() + EPSILON))
        return float(scores.mean())


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
