"""Counts of right and wrong answers by threshold or class, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl.base.arguments import whole
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import elementwise, same_rank
from fastdl.errors import ShapeError
from fastdl.metrics.metric import Metric
from fastdl.ops.terminal import Counts, on_arrays

MOST_THRESHOLDS = 2**24
EPSILON = 1e-7  # Keras's, in quotients of counts
LEAST = -1e10  # a threshold that all lie above but what top_k leaves out


class _Thresholds(Metric):
    """What depends on how many positives and negatives lie above thresholds. class_id: look at this output only."""

    numbered = True

    def __init__(self, thresholds: Sequence[float], class_id: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        if not len(thresholds) or not (np.diff(thresholds) >= 0).all():
            raise ValueError(f"thresholds must be one or more numbers in ascending order, not {thresholds}")
        self._limits, self.class_id = tuple(float(limit) for limit in thresholds), class_id

    def terminal(self, features: int) -> Counts:
        if self.class_id is not None and not 0 <= self.class_id < features:
            raise ValueError(f"class_id is {self.class_id}: there are outputs 0 to {features - 1}")
        return self._kernel(features if self.class_id is None else self.class_id)

    def _kernel(self, only: int) -> Counts:
        """only: which output counts; one that there is not: all of them."""
        count = len(self._limits)
        more = {"count": count, "only": only}
        return Counts("count_above", 2 * (count + 1), more, each_feature=False, thresholds=self._limits)

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

    def above(self, totals: Array) -> tuple[Array, Array, float, float]:
        """True and false positives at each threshold; all positives, all negatives."""
        negative, positive = totals.reshape(2, -1)
        true, false = (part[::-1].cumsum()[::-1][1:] for part in (positive, negative))
        return true, false, positive.sum(), negative.sum()


def _share(part: Array, whole: Array | float) -> Array:
    """part / whole, zero where whole is."""
    whole = np.broadcast_to(whole, np.shape(part))
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0))


def _limits(thresholds: float | Sequence[float] | None, default: float) -> list[float]:
    """One or several thresholds as a list. ValueError for one outside [0, 1]."""
    limits = [default] if thresholds is None else list(np.atleast_1d(np.asarray(thresholds, np.float64)).tolist())
    if thresholds is not None and not all(0 <= limit <= 1 for limit in limits):
        raise ValueError(f"thresholds must lie in [0, 1], not {thresholds}")
    return limits


class Precision(_Thresholds):
    """Of what lies above the threshold, the share that is positive. thresholds: 0.5, another, or several.

    top_k: only a sample's k largest outputs can lie above; by numpy, and by itself without a threshold.
    """

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

    def value(self, totals: Array) -> Any:
        true, false, _, _ = self.above(totals)
        return self._one(_share(true, true + false))

    def _one(self, values: Array) -> Any:
        return float(values[0]) if len(values) == 1 else values


class Recall(Precision):
    """Of the positives, the share that lies above the threshold."""

    def value(self, totals: Array) -> Any:
        true, _, positive, _ = self.above(totals)
        return self._one(_share(true, positive))


class TruePositives(_Thresholds):
    """How many positives lie above the threshold: 0.5, another, or several."""

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        self.thresholds = thresholds
        super().__init__(_limits(thresholds, 0.5), None, name, dtype)

    def counts(self, totals: Array) -> Array:
        """One for each threshold."""
        return self.above(totals)[0]

    def value(self, totals: Array) -> Any:
        counts = self.counts(totals)
        return float(counts[0]) if len(counts) == 1 else counts


class FalsePositives(TruePositives):
    """How many negatives lie above the threshold."""

    def counts(self, totals: Array) -> Array:
        return self.above(totals)[1]


class TrueNegatives(TruePositives):
    """How many negatives do not lie above the threshold."""

    def counts(self, totals: Array) -> Array:
        _, false, _, negative = self.above(totals)
        return np.asarray(negative - false)


class FalseNegatives(TruePositives):
    """How many positives do not lie above the threshold."""

    def counts(self, totals: Array) -> Array:
        true, _, positive, _ = self.above(totals)
        return np.asarray(positive - true)


class _Best(_Thresholds):
    """The best of one share among the thresholds, num_thresholds of [0, 1], at which another is at least `least`."""

    def __init__(
        self, name_of_least: str, least: float, num_thresholds: int, class_id: Any, name: str | None, dtype: Any
    ) -> None:
        if not 0 <= least <= 1:
            raise ValueError(f"{name_of_least} must lie in [0, 1], not {least}")
        self.num_thresholds, self._least = whole("num_thresholds", num_thresholds, most=MOST_THRESHOLDS), float(least)
        limits = np.linspace(0, 1, num_thresholds).tolist() if num_thresholds > 1 else [0.5]
        super().__init__(limits, class_id, name, dtype)

    def shares(self, totals: Array) -> tuple[Array, Array, Array]:
        """Recall (sensitivity), specificity and precision at each threshold."""
        true, false, positive, negative = self.above(totals)
        return _share(true, positive), _share(negative - false, negative), _share(true, true + false)

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

    def value(self, totals: Array) -> float:
        recall, specificity, _ = self.shares(totals)
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

    def value(self, totals: Array) -> float:
        recall, specificity, _ = self.shares(totals)
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

    def value(self, totals: Array) -> float:
        recall, _, precision = self.shares(totals)
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

    def value(self, totals: Array) -> float:
        recall, _, precision = self.shares(totals)
        return self.best(recall, precision)


class AUC(_Thresholds):
    """The area under the curve of recall over the false positives' share, "ROC", or of precision over recall, "PR".

    The curve has a point at each of num_thresholds, or of `thresholds` in (0, 1). summation_method: between two points
    "interpolation" (of PR by Davis and Goadrich 2006), "minoring" or "majoring". from_logits: sigmoid of the outputs.
    multi_label: the mean of each output's own, of num_labels outputs if that is said. label_weights: one an output, in
    that mean, or in the counts of all; both by numpy.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        whole("num_thresholds", num_thresholds, 2, MOST_THRESHOLDS)
        if curve not in ("ROC", "PR") or summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(f"AUC knows no curve {curve!r} with summation_method {summation_method!r}")
        self.num_thresholds, self.curve, self.summation_method = int(num_thresholds), curve, summation_method
        self.thresholds, self.from_logits = thresholds, bool(from_logits)
        inner = np.sort(np.arange(1, num_thresholds - 1) / (num_thresholds - 1) if thresholds is None else thresholds)
        if self.from_logits:
            inner = np.log(inner / (1 - inner))
        super().__init__([-np.inf, *inner, np.inf], None, name, dtype)  # outputs count as if clipped to [0, 1]
        self.multi_label, self.num_labels = bool(multi_label), num_labels
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        if num_labels is not None and not multi_label:
            raise ValueError("num_labels is for multi_label=True")

    @property
    def counts_itself(self) -> bool:
        return self.multi_label or self.label_weights is not None or super().counts_itself

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if not self.multi_label and self.label_weights is None:
            return super().update_state(y_true, y_pred, sample_weight)
        predicted, target = np.asarray(y_pred), np.asarray(y_true)
        labels = predicted.shape[-1] if predicted.ndim > 1 else 1
        for name, asked in (("num_labels", self.num_labels), ("label_weights", len(self.label_weights or ()) or None)):
            if asked not in (None, labels):
                raise ShapeError(f"{name} is for {asked} outputs, y_pred has shape {predicted.shape}")
        weights = elementwise(predicted, 1.0 if sample_weight is None else sample_weight)
        if not self.multi_label:
            return super().update_state(target, predicted, weights * np.asarray(self.label_weights))
        columns = (each.reshape(-1, labels).T for each in (target, predicted, weights))
        kernel = self._kernel(1)
        each = [on_arrays(kernel, t[:, None], y[:, None], w, each=False)[1] for t, y, w in zip(*columns, strict=True)]
        return self.add(np.concatenate(each))

    def value(self, totals: Array) -> Any:
        if not self.multi_label:
            return self._area(totals)
        areas = [self._area(each) for each in totals.reshape(-1, 2 * (len(self._limits) + 1))]
        return float(np.average(areas, weights=self.label_weights))

    def _area(self, totals: Array) -> float:
        """Under the curve of one output, or of all together."""
        true, false, positive, negative = self.above(totals)
        recall = _share(true, positive)
        if self.curve == "ROC":
            x, y = _share(false, negative), recall
        elif self.summation_method == "interpolation":
            return self._precision_recall(true, false, positive)
        else:
            x, y = recall, _share(true, true + false)
        heights = {"minoring": np.minimum(y[:-1], y[1:]), "majoring": np.maximum(y[:-1], y[1:])}
        return float(((x[:-1] - x[1:]) * heights.get(self.summation_method, (y[:-1] + y[1:]) / 2)).sum())

    @staticmethod
    def _precision_recall(true: Array, false: Array, positive: float) -> float:
        """Between two points true and false positives grow in proportion: precision is no straight line there."""
        said = true + false
        slope = _share(true[:-1] - true[1:], np.maximum(said[:-1] - said[1:], 0))
        intercept = true[1:] - slope * said[1:]
        both = (said[:-1] > 0) & (said[1:] > 0)
        ratio = np.where(both, _share(said[:-1], np.maximum(said[1:], 0)), 1.0)
        parts = slope * (true[:-1] - true[1:] + intercept * np.log(ratio))
        return float(_share(parts, max(positive, 0)).sum())


class FBetaScore(Metric):
    """Precision and recall in one, recall weighing beta² times as much, for each class.

    An output is positive above the threshold; without one, a sample's largest is. average: over classes, "macro", or
    weighted by their positives, "weighted"; of all counts together, "micro"; or None for one number a class.
    """

    default_name = "fbeta_score"

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
        if not beta > 0 or (threshold is not None and not 0 < threshold <= 1):
            raise ValueError(f"beta must be positive and threshold in (0, 1] or None, not {beta} and {threshold}")
        self.average, self.beta, self.threshold = average, float(beta), threshold

    def terminal(self, features: int) -> Counts:
        more = {"by_threshold": int(self.threshold is not None), "threshold": self.threshold or 0.0}
        return Counts("count_classes", 3, more)

    def value(self, totals: Array) -> Any:
        counts = totals.reshape(3, -1)
        if self.average == "micro":
            counts = counts.sum(axis=1, keepdims=True)
        true, false, missed = counts
        precision, recall = true / (true + false + EPSILON), true / (true + missed + EPSILON)
        weight = self.beta**2
        scores = (1 + weight) * precision * recall / (weight * precision + recall + EPSILON)
        if self.average is None:
            return scores
        if self.average == "weighted":
            return float((scores * (true + missed)).sum() / ((true + missed).sum() + EPSILON))
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
