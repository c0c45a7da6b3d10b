"""Metrics, with Keras's names: sums that a program gathers beside the loss, or `update_state` from numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastdl import losses
from fastdl.base import configured
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.configured import Configured
from fastdl.base.naming import no_such, unknown
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.losses import Loss, snake_case
from fastdl.ops import Activation
from fastdl.ops.terminal import Counts, Own, PerSample, on_arrays

MOST_THRESHOLDS = 2**24
EPSILON = 1e-7  # Keras's, in quotients of counts


class Metric(Configured):
    """Base: a kernel that adds to totals, and the `value` of totals. sparse: whether targets are labels."""

    sparse: ClassVar[bool] = False

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self._totals: Array | None = None

    def terminal(self, features: int) -> Terminal:
        """The kernel of predictions of so many features."""
        raise NotImplementedError

    def value(self, totals: Array) -> Any:
        """The metric of what has been added up."""
        raise NotImplementedError

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        """The kernel, and which it reads: the model's output or the loss's prediction, perhaps the logits behind it."""
        return self.terminal(output.features), output

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add samples. y_pred: (samples, features), y_true alike or labels (samples,)."""
        refuse_masked("y_pred", y_pred)
        predicted = np.asarray(y_pred)
        if predicted.ndim < 2:
            predicted = predicted.reshape(-1, 1)
        terminal = self.terminal(predicted.shape[-1])
        totals = on_arrays(terminal, y_true, predicted, sample_weight, each=False)[1]
        self._totals = totals if self._totals is None else self._totals + totals

    def result(self) -> Any:
        """The metric of all samples added since `reset_state`; zero before the first."""
        return 0.0 if self._totals is None else self.value(self._totals)

    def reset_state(self) -> None:
        """Forget all samples."""
        self._totals = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class _Mean(Metric):
    """A mean over samples."""

    def value(self, totals: Array) -> Any:
        return float(totals[0] / totals[1]) if totals[1] else 0.0


class MeanMetricWrapper(_Mean):
    """A numpy function's mean over samples: fn(y_true, y_pred) → each sample's value (batch,)."""

    def __init__(self, fn: Callable[[Array, Array], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__))
        self.fn = fn

    def terminal(self, features: int) -> Own:
        return Own(self.fn)


# -- errors -----------------------------------------------------------------------------------------------


class _OfLoss(_Mean):
    """A loss as a metric."""

    loss: ClassVar[type[Loss]]

    def terminal(self, features: int) -> Terminal:
        return self.loss().terminal(features)


class MeanSquaredError(_OfLoss):
    """(y - target)²."""

    loss = losses.MeanSquaredError


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (y - target)²."""

    def value(self, totals: Array) -> Any:
        return float(np.sqrt(super().value(totals)))


class MeanAbsoluteError(_OfLoss):
    """|y - target|."""

    loss = losses.MeanAbsoluteError


class MeanAbsolutePercentageError(_OfLoss):
    """100 |y - target| / |target|."""

    loss = losses.MeanAbsolutePercentageError


class MeanSquaredLogarithmicError(_OfLoss):
    """(log(1 + y) - log(1 + target))²."""

    loss = losses.MeanSquaredLogarithmicError


class LogCoshError(_OfLoss):
    """log cosh(y - target)."""

    loss = losses.LogCosh

    def __init__(self, name: str | None = "logcosh") -> None:
        super().__init__(name)


class KLDivergence(_OfLoss):
    """Sum of target log(target / y)."""

    loss = losses.KLDivergence


class Poisson(_OfLoss):
    """y - target log y."""

    loss = losses.Poisson


class CategoricalHinge(_OfLoss):
    """max(1 + the largest wrong output - the right one, 0)."""

    loss = losses.CategoricalHinge


class Hinge(_OfLoss):
    """max(1 - target y, 0)."""

    loss = losses.Hinge


class SquaredHinge(_OfLoss):
    """max(1 - target y, 0)²."""

    loss = losses.SquaredHinge


class _CrossEntropy(_Mean):
    """A cross-entropy as a metric: from the logits behind the output, as the loss."""

    def _loss(self) -> Loss:
        raise NotImplementedError

    def terminal(self, features: int) -> Terminal:
        return self._loss().terminal(features)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        tensor, terminal = self._loss().attach(output)
        return terminal, tensor


class BinaryCrossentropy(_CrossEntropy):
    """-target log p - (1 - target) log(1 - p)."""

    def __init__(self, name: str | None = None, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__(name)
        self.from_logits, self.label_smoothing = bool(from_logits), float(label_smoothing)

    def _loss(self) -> Loss:
        return losses.BinaryCrossentropy(self.from_logits, self.label_smoothing)


class CategoricalCrossentropy(BinaryCrossentropy):
    """-sum of target log p."""

    def _loss(self) -> Loss:
        return losses.CategoricalCrossentropy(self.from_logits, self.label_smoothing)


class SparseCategoricalCrossentropy(_CrossEntropy):
    """-log p[label]."""

    sparse = True

    def __init__(self, name: str | None = None, from_logits: bool = False) -> None:
        super().__init__(name)
        self.from_logits = bool(from_logits)

    def _loss(self) -> Loss:
        return losses.SparseCategoricalCrossentropy(self.from_logits)


class CosineSimilarity(_Mean):
    """The cosine of the angle between y and the target."""

    def terminal(self, features: int) -> PerSample:
        return PerSample("cosine_similarity")


class R2Score(Metric):
    """1 - the error's sum of squares / the targets' about their mean, for each output.

    class_aggregation: the mean of the outputs, "uniform_average", weighted by the targets' variance,
    "variance_weighted_average", or None for one number each.
    """

    def __init__(self, class_aggregation: str | None = "uniform_average", name: str | None = None) -> None:
        super().__init__(name)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "class_aggregation must be uniform_average, variance_weighted_average or None, not "
                f"{class_aggregation!r}"
            )
        self.class_aggregation = class_aggregation

    def terminal(self, features: int) -> Counts:
        return Counts("sum_moments", 4)

    def value(self, totals: Array) -> Any:
        first, second, error, count = totals.reshape(4, -1)
        with np.errstate(all="ignore"):
            variation = second - first * first / count
            scores = 1 - error / variation
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation is None:
            return scores
        weights = variation if self.class_aggregation == "variance_weighted_average" else np.ones_like(scores)
        return float((scores * weights).sum() / weights.sum())


# -- accuracy ---------------------------------------------------------------------------------------------


class _Ranked(_Mean):
    """What depends on the order of the outputs alone, which is the logits' too."""

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        return self.terminal(prediction.features), prediction


class CategoricalAccuracy(_Ranked):
    """How often the largest output is the target's largest."""

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy", labels=self.sparse)


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """How often the largest output is the label's."""

    sparse = True


class TopKCategoricalAccuracy(_Ranked):
    """How often the target's largest is among the k largest outputs."""

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        if k < 1:
            raise ValueError(f"k must be positive, not {k}")
        self.k = int(k)

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy_top", labels=self.sparse, more={"k": self.k})


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the label is among the k largest outputs."""

    sparse = True


class BinaryAccuracy(_Mean):
    """How often the outputs lie on the targets' side of the threshold; targets are 0 and 1."""

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = float(threshold)

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy_binary", mean=True, own=self.threshold)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        behind = isinstance(output.op, Activation) and output.op.kind == "sigmoid" and output.op.inputs[0] is prediction
        if not behind or not 0 < self.threshold < 1:
            return self.terminal(output.features), output
        logit = float(np.log(self.threshold / (1 - self.threshold)))  # sigmoid x > t where x > logit t
        return replace(self.terminal(output.features), own=logit), prediction


# -- counts of positives and negatives --------------------------------------------------------------------


class _Thresholds(Metric):
    """What depends on how many positives and negatives lie above thresholds. class_id: look at this output only."""

    def __init__(self, thresholds: Sequence[float], class_id: int | None, name: str | None) -> None:
        super().__init__(name)
        if not len(thresholds) or not (np.diff(thresholds) >= 0).all():
            raise ValueError(f"thresholds must be one or more numbers in ascending order, not {thresholds}")
        self._limits, self.class_id = tuple(float(limit) for limit in thresholds), class_id

    def terminal(self, features: int) -> Counts:
        if self.class_id is not None and not 0 <= self.class_id < features:
            raise ValueError(f"class_id is {self.class_id}: there are outputs 0 to {features - 1}")
        count, only = len(self._limits), features if self.class_id is None else self.class_id
        more = {"count": count, "only": only}
        return Counts("count_above", 2 * (count + 1), more, each_feature=False, thresholds=self._limits)

    def above(self, totals: Array) -> tuple[Array, Array, float, float]:
        """True and false positives at each threshold; all positives, all negatives."""
        negative, positive = totals.reshape(2, -1)
        true, false = (part[::-1].cumsum()[::-1][1:] for part in (positive, negative))
        return true, false, positive.sum(), negative.sum()


def _share(part: Array, whole: Array | float) -> Array:
    """part / whole, zero where whole is."""
    whole = np.broadcast_to(whole, np.shape(part))
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0))


class Precision(_Thresholds):
    """Of what lies above the threshold, the share that is positive. thresholds: 0.5, another, or several."""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        self.thresholds = thresholds
        super().__init__(np.atleast_1d(0.5 if thresholds is None else thresholds).tolist(), class_id, name)

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

    def __init__(self, thresholds: float | Sequence[float] | None = None, name: str | None = None) -> None:
        self.thresholds = thresholds
        super().__init__(np.atleast_1d(0.5 if thresholds is None else thresholds).tolist(), None, name)

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

    def __init__(self, name_of_least: str, least: float, num_thresholds: int, class_id: Any, name: str | None) -> None:
        if not 0 <= least <= 1:
            raise ValueError(f"{name_of_least} must lie in [0, 1], not {least}")
        self.num_thresholds, self._least = whole("num_thresholds", num_thresholds, most=MOST_THRESHOLDS), float(least)
        super().__init__(np.linspace(0, 1, num_thresholds).tolist() if num_thresholds > 1 else [0.5], class_id, name)

    def shares(self, totals: Array) -> tuple[Array, Array, Array]:
        """Recall (sensitivity), specificity and precision at each threshold."""
        true, false, positive, negative = self.above(totals)
        return _share(true, positive), _share(negative - false, negative), _share(true, true + false)

    def best(self, values: Array, others: Array) -> float:
        return float(np.where(others >= self._least, values, 0).max())


class SensitivityAtSpecificity(_Best):
    """The largest share of positives above a threshold at which so many negatives are not."""

    def __init__(
        self, specificity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__("specificity", specificity, num_thresholds, class_id, name)
        self.specificity = specificity

    def value(self, totals: Array) -> float:
        recall, specificity, _ = self.shares(totals)
        return self.best(recall, specificity)


class SpecificityAtSensitivity(_Best):
    """The largest share of negatives not above a threshold at which so many positives are."""

    def __init__(
        self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name)
        self.sensitivity = sensitivity

    def value(self, totals: Array) -> float:
        recall, specificity, _ = self.shares(totals)
        return self.best(specificity, recall)


class PrecisionAtRecall(_Best):
    """The largest precision at a threshold with this recall."""

    def __init__(
        self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__("recall", recall, num_thresholds, class_id, name)
        self.recall = recall

    def value(self, totals: Array) -> float:
        recall, _, precision = self.shares(totals)
        return self.best(precision, recall)


class RecallAtPrecision(_Best):
    """The largest recall at a threshold with this precision."""

    def __init__(
        self, precision: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__("precision", precision, num_thresholds, class_id, name)
        self.precision = precision

    def value(self, totals: Array) -> float:
        recall, _, precision = self.shares(totals)
        return self.best(recall, precision)


class AUC(_Thresholds):
    """The area under the curve of recall over the false positives' share, "ROC", or of precision over recall, "PR".

    The curve has a point at each of num_thresholds, or of `thresholds` in (0, 1). summation_method: between two points
    "interpolation" (of PR by Davis and Goadrich 2006), "minoring" or "majoring". from_logits: sigmoid of the outputs.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
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
        super().__init__([-np.inf, *inner, np.inf], None, name)  # outputs count as if clipped to [0, 1]

    def value(self, totals: Array) -> Any:
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

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
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

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = None) -> None:
        super().__init__(average, 1.0, threshold, name)


# -- by name ----------------------------------------------------------------------------------------------

CLASSES: dict[str, type[Metric]] = {
    kind.__name__: kind
    for kind in (
        *(MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError),
        *(
            MeanSquaredLogarithmicError,
            LogCoshError,
            KLDivergence,
            Poisson,
            CategoricalHinge,
            CosineSimilarity,
            R2Score,
            Hinge,
            SquaredHinge,
        ),
        *(BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy),
        *(TruePositives, FalsePositives, TrueNegatives, FalseNegatives),
        *(SensitivityAtSpecificity, SpecificityAtSensitivity, PrecisionAtRecall, RecallAtPrecision),
        *(BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy),
        *(TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy),
        *(Precision, Recall, AUC, F1Score, FBetaScore),
    )
}
_SHORT: dict[str, type[Metric]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
    "rmse": RootMeanSquaredError,
}
NAMES: dict[str, type[Metric]] = {
    **CLASSES,
    **{snake_case(name): kind for name, kind in CLASSES.items()},
    **_SHORT,
    **{name.upper(): kind for name, kind in _SHORT.items()},
}


def __getattr__(name: str) -> Callable[..., Array]:
    """Losses as functions are metrics too, as in Keras: `metrics.mean_squared_error` is `losses`'s."""
    if name in losses.NAMES and name == name.lower() and hasattr(losses, name):
        return getattr(losses, name)  # type: ignore[no-any-return]
    raise no_such(__name__, name, [*CLASSES, *losses.NAMES])


serialize = configured.serialize


def deserialize(config: Mapping[str, Any]) -> Metric:
    """The metric that `serialize` described, without its state. ValueError if there is none of that name."""
    return configured.deserialize(config, CLASSES)


def get(metric: Any, loss: Loss, output: Tensor) -> Metric:
    """A metric by Keras name, class, instance, or a function of one's own (see MeanMetricWrapper).

    "accuracy" and "crossentropy" are chosen by the loss and the shape of the output, as Keras does. ValueError for an
    unknown name, or one that the loss's targets cannot serve.
    """
    if metric in ("accuracy", "acc"):
        binary = BinaryAccuracy if output.features == 1 else CategoricalAccuracy
        return (SparseCategoricalAccuracy if loss.sparse else binary)(name=metric)
    if metric in ("crossentropy", "ce"):
        many = BinaryCrossentropy if output.features == 1 else CategoricalCrossentropy
        return (SparseCategoricalCrossentropy if loss.sparse else many)(name=metric)
    if isinstance(metric, str) and metric in NAMES:
        made = NAMES[metric]()
        made.name = metric
    elif isinstance(metric, type) and issubclass(metric, Metric):
        made = metric()
    elif isinstance(metric, Metric):
        made = metric
    elif callable(metric):
        made = MeanMetricWrapper(metric)
    else:
        raise ValueError(unknown("metric", metric, ["accuracy", *filter(str.islower, NAMES)]))
    if made.sparse != loss.sparse:
        wants = "integer labels" if made.sparse else "outputs with targets of the same shape"
        raise ValueError(f"metric {made.name!r} compares {wants}; {loss.name} has none")
    return made
