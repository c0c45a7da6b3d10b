"""Counts of right and wrong answers by threshold, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fastdl.base.arguments import whole
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import elementwise, same_rank
from fastdl.errors import ShapeError
from fastdl.metrics.metric import Metric
from fastdl.metrics.variable import Variable
from fastdl.ops.terminal import Counts, on_arrays

MOST_THRESHOLDS = 2**24
LEAST = -1e10  # a threshold that all lie above but what top_k leaves out


class Confusion(Metric):
    """What depends on how many positives and negatives lie above thresholds. class_id: look at this output only.

    counted: the names of the counts that it keeps, one a threshold, as Keras does.
    """

    nameable = False
    numbered = True
    counted: ClassVar[tuple[str, ...]] = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    true_positives: Variable
    false_positives: Variable
    true_negatives: Variable
    false_negatives: Variable

    def __init__(
        self,
        limits: Sequence[float],
        class_id: int | None,
        name: str | None,
        dtype: Any,
        beside: tuple[int, ...] | None = (),
    ) -> None:
        """beside: the shape of the counts at one threshold; None if the first samples tell it."""
        super().__init__(name=name, dtype=dtype)
        self._limits, self.class_id = np.array(limits, np.float64), class_id
        if not self._limits.size or not (np.diff(self._limits) >= 0).all():
            raise ValueError(f"thresholds must be one or more numbers in ascending order, not {limits}")
        if beside is not None:
            for each in self.counted:
                self.counter(each, (self._limits.size, *beside))

    def terminal(self, features: int) -> Counts:
        if self.class_id is not None and not 0 <= self.class_id < features:
            raise ValueError(f"class_id is {self.class_id}: there are outputs 0 to {features - 1}")
        return self._kernel(features if self.class_id is None else self.class_id)

    def _kernel(self, only: int) -> Counts:
        """only: which output counts; one that there is not: all of them."""
        count = len(self._limits)
        more = {"count": count, "only": only}
        return Counts("count_above", 2 * (count + 1), more, each_feature=False, thresholds=tuple(self._limits.tolist()))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add samples, (samples, outputs) or (samples,). sample_weight: one a sample, or broadcast. ShapeError."""
        for name, value in (("y_true", y_true), ("y_pred", y_pred), ("sample_weight", sample_weight)):
            refuse_masked(name, value)
        predicted, target = same_rank(np.asarray(y_pred), np.asarray(y_true))
        if predicted.shape != target.shape:
            raise ShapeError(f"y_true has shape {target.shape}, which does not fit y_pred's {predicted.shape}")
        if self.class_id is not None:
            if predicted.ndim < 2:
                raise ValueError(f"class_id needs y_pred of (samples, outputs), not {predicted.shape}")
            self.terminal(predicted.shape[-1])
            predicted, target = (each[..., self.class_id, None] for each in (predicted, target))
        weights = None if sample_weight is None else elementwise(predicted, sample_weight).ravel()
        columns = target.reshape(-1, 1), predicted.reshape(-1, 1)
        self.add(on_arrays(self._kernel(1), *columns, weights, each=False)[1])

    def counts(self, totals: Array) -> dict[str, Array]:
        """Each of the four, one a threshold, of how many negatives and positives lie between thresholds."""
        negative, positive = totals.reshape(2, -1)
        true, false = (part[::-1].cumsum()[::-1][1:] for part in (positive, negative))
        return {
            "true_positives": true,
            "false_positives": false,
            "true_negatives": np.asarray(negative.sum() - false),
            "false_negatives": np.asarray(positive.sum() - true),
        }

    def sums(self, totals: Array) -> Mapping[str, Array]:
        counts = self.counts(totals)
        return {name: counts[name] for name in self.counted}


def share(part: Any, whole: Any) -> Array:
    """part / whole, zero where whole is."""
    part, whole = np.asarray(part, np.float64), np.broadcast_to(np.asarray(whole, np.float64), np.shape(part))
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0))


def _one(values: Array) -> Any:
    """A number, if there is one threshold."""
    return float(values[0]) if len(values) == 1 else values


def _limits(thresholds: float | Sequence[float] | None, default: float) -> list[float]:
    """One or several thresholds as a list. ValueError for one outside [0, 1]."""
    limits = [default] if thresholds is None else list(np.atleast_1d(np.asarray(thresholds, np.float64)).tolist())
    if thresholds is not None and not all(0 <= limit <= 1 for limit in limits):
        raise ValueError(f"thresholds must lie in [0, 1], not {thresholds}")
    return limits


class Precision(Confusion):
    """Of what lies above the threshold, the share that is positive. thresholds: 0.5, another, or several.

    top_k: only a sample's k largest outputs can lie above; by numpy, and by itself without a threshold.
    """

    counted = "true_positives", "false_positives"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.thresholds, self.top_k = thresholds, None if top_k is None else whole("top_k", top_k)
        super().__init__(_limits(thresholds, 0.5 if top_k is None else LEAST), class_id, name, dtype)

    @property
    def counts_itself(self) -> bool:
        return self.top_k is not None or super().counts_itself

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.top_k is not None:
            predicted = np.asarray(y_pred)
            if not predicted.ndim or predicted.shape[-1] < self.top_k:
                raise ShapeError(f"top_k={self.top_k} needs as many outputs, y_pred has shape {predicted.shape}")
            places = np.argsort(-predicted, axis=-1, kind="stable")
            y_pred = predicted.astype(np.result_type(predicted, np.float32))
            np.put_along_axis(y_pred, places[..., self.top_k :], -np.inf, axis=-1)
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        return _one(share(self.true_positives, self.true_positives + self.false_positives))


class Recall(Precision):
    """Of the positives, the share that lies above the threshold."""

    counted = "true_positives", "false_negatives"

    def result(self) -> Any:
        return _one(share(self.true_positives, self.true_positives + self.false_negatives))


class TruePositives(Confusion):
    """How many positives lie above the threshold: 0.5, another, or several."""

    counted = ("accumulator",)
    of: ClassVar[str] = "true_positives"
    accumulator: Variable

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        self.thresholds = thresholds
        super().__init__(_limits(thresholds, 0.5), None, name, dtype)

    def sums(self, totals: Array) -> Mapping[str, Array]:
        return {"accumulator": self.counts(totals)[self.of]}

    def result(self) -> Any:
        return _one(self.accumulator.value)


class FalsePositives(TruePositives):
    """How many negatives lie above the threshold."""

    of = "false_positives"


class TrueNegatives(TruePositives):
    """How many negatives do not lie above the threshold."""

    of = "true_negatives"


class FalseNegatives(TruePositives):
    """How many positives do not lie above the threshold."""

    of = "false_negatives"


class _Best(Confusion):
    """The best of one share among the thresholds, num_thresholds of [0, 1], at which another is at least `least`."""

    def __init__(
        self, name_of_least: str, least: float, num_thresholds: int, class_id: Any, name: str | None, dtype: Any
    ) -> None:
        if not 0 <= least <= 1:
            raise ValueError(f"{name_of_least} must lie in [0, 1], not {least}")
        self.num_thresholds, self._least = whole("num_thresholds", num_thresholds, most=MOST_THRESHOLDS), float(least)
        limits = np.linspace(0, 1, num_thresholds).tolist() if num_thresholds > 1 else [0.5]
        super().__init__(limits, class_id, name, dtype)

    def shares(self) -> tuple[Array, Array, Array]:
        """Recall (sensitivity), specificity and precision at each threshold."""
        true, right = self.true_positives.value, self.true_negatives.value
        of_all = true + self.false_negatives, right + self.false_positives, true + self.false_positives
        return share(true, of_all[0]), share(right, of_all[1]), share(true, of_all[2])

    def best(self, values: Array, others: Array) -> float:
        return float(np.where(others >= self._least, values, 0).max())


class SensitivityAtSpecificity(_Best):
    """The largest share of positives above a threshold at which so many negatives are not."""

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity

    def result(self) -> float:
        recall, specificity, _ = self.shares()
        return self.best(recall, specificity)


class SpecificityAtSensitivity(_Best):
    """The largest share of negatives not above a threshold at which so many positives are."""

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity

    def result(self) -> float:
        recall, specificity, _ = self.shares()
        return self.best(specificity, recall)


class PrecisionAtRecall(_Best):
    """The largest precision at a threshold with this recall."""

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)
        self.recall = recall

    def result(self) -> float:
        recall, _, precision = self.shares()
        return self.best(precision, recall)


class RecallAtPrecision(_Best):
    """The largest recall at a threshold with this precision."""

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)
        self.precision = precision

    def result(self) -> float:
        recall, _, precision = self.shares()
        return self.best(recall, precision)
