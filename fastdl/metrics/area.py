"""The area under a curve of two shares, over all thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.base.configured import described
from fastdl.base.weighting import elementwise
from fastdl.errors import ShapeError
from fastdl.metrics.counts import MOST_THRESHOLDS, Confusion, share
from fastdl.ops.terminal import on_arrays

CURVES = "ROC", "PR", "PRGAIN"
METHODS = "interpolation", "minoring", "majoring"
EPSILON = 1e-7  # by which the first and the last threshold lie outside [0, 1]


class AUC(Confusion):
    """The area under the curve of recall over the false positives' share, "ROC", of precision over recall, "PR", or of
    their gains over answering always yes, "PRGAIN" (Flach and Kull 2015).

    The curve has a point at each of num_thresholds, or of `thresholds` in (0, 1) and both ends. summation_method:
    between two points "interpolation" (of PR by Davis and Goadrich 2006), "minoring" or "majoring". from_logits:
    sigmoid of the outputs. multi_label: the mean of each output's own, of num_labels outputs if that is said.
    label_weights: one an output, in that mean, or in the counts of all; both by numpy.
    """

    def __init__(
        self,
        num_thresholds: int | None = 200,
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
        if thresholds is None:
            count = whole("num_thresholds", num_thresholds, 2, MOST_THRESHOLDS) - 1
            inner = np.arange(1, count) / count
        else:
            inner = np.sort(np.asarray(thresholds, np.float64))
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        if self.curve not in CURVES or self.summation_method not in METHODS:
            raise ValueError(f"AUC knows no curve {curve!r} with summation_method {summation_method!r}")
        self._points, self._given = np.array([-EPSILON, *inner, 1 + EPSILON]), thresholds is not None
        self.from_logits = bool(from_logits)
        if self.from_logits:
            inner = np.log(inner / (1 - inner))
        beside = () if not multi_label else None if num_labels is None else (num_labels,)
        # outputs count as if clipped to [0, 1]
        super().__init__([-np.inf, *inner, np.inf], None, name, dtype, beside)
        self.multi_label, self.num_labels = bool(multi_label), num_labels
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        if num_labels is not None and not multi_label:
            raise ValueError("num_labels is for multi_label=True")

    @property
    def num_thresholds(self) -> int:
        """How many points the curve has."""
        return len(self._points)

    @property
    def thresholds(self) -> list[float]:
        """Those of the curve's points; the ends lie a little outside [0, 1] (Keras)."""
        return list(map(float, self._points))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; thresholds only if they were given (Keras)."""
        config = super().get_config()
        inner = config.pop("thresholds")[1:-1]
        return {**config, "thresholds": inner} if self._given else config

    def __repr__(self) -> str:
        return described(self, {"thresholds": None, **self.get_config()})

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

    def sums(self, totals: Array) -> Mapping[str, Array]:
        if not self.multi_label:
            return super().sums(totals)
        each = [self.counts(part) for part in totals.reshape(-1, 2 * (self.num_thresholds + 1))]
        return {name: np.stack([counts[name] for counts in each], axis=1) for name in each[0]}

    def result(self) -> Any:
        if "true_positives" not in vars(self):  # nobody has told of how many outputs it is
            return 0.0
        counts = [vars(self)[name].value for name in self.counted]
        if not self.multi_label:
            return self._area(*counts)
        areas = [self._area(*each) for each in zip(*(count.T for count in counts), strict=True)]
        return float(np.average(areas, weights=self.label_weights))

    def _area(self, true: Array, false: Array, right: Array, missed: Array) -> float:
        """Under the curve of one output, or of all together, of true and false positives and negatives."""
        if (self.curve, self.summation_method) == ("PR", "interpolation"):
            return _interpolated(true, false, float((true + missed)[0]))
        x, y = self._curve(true, false, right, missed)
        heights = {"minoring": np.minimum(y[:-1], y[1:]), "majoring": np.maximum(y[:-1], y[1:])}
        return float(((x[:-1] - x[1:]) * heights.get(self.summation_method, (y[:-1] + y[1:]) / 2)).sum())

    def _curve(self, true: Array, false: Array, right: Array, missed: Array) -> tuple[Array, Array]:
        """Its points' x and y."""
        recall = share(true, true + missed)
        if self.curve == "ROC":
            return share(false, false + right), recall
        if self.curve == "PR":
            return recall, share(true, true + false)
        odds = share(true + missed, right + false)  # of a positive
        gains = (np.where(true == 0, none, 1 - odds * share(lost, true)) for lost, none in ((missed, 0), (false, 1)))
        recall_gain, precision_gain = gains
        return np.maximum(recall_gain, 0), precision_gain


def _interpolated(true: Array, false: Array, positive: float) -> float:
    """Between two points true and false positives grow in proportion: precision is no straight line there."""
    said = true + false
    slope = share(true[:-1] - true[1:], np.maximum(said[:-1] - said[1:], 0))
    intercept = true[1:] - slope * said[1:]
    both = (said[:-1] > 0) & (said[1:] > 0)
    ratio = np.where(both, share(said[:-1], np.maximum(said[1:], 0)), 1.0)
    parts = slope * (true[:-1] - true[1:] + intercept * np.log(ratio))
    return float(share(parts, max(positive, 0)).sum())
