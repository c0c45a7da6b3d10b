"""Losses as metrics, and what else tells how far outputs are from targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fastdl import losses
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.base.weighting import elementwise as weights_of
from fastdl.base.weighting import same_rank
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import DataWarning, ShapeError, warn
from fastdl.losses import Loss
from fastdl.metrics.metric import Metric, predictions
from fastdl.metrics.reduction import MeanOverSamples, elementwise
from fastdl.metrics.variable import Variable
from fastdl.ops.terminal import Counts, PerSample


def last_axis(axis: int) -> int:
    """ValueError unless it is the last one, which is the outputs'."""
    if axis != -1:
        raise ValueError(f"axis must be the outputs', -1, not {axis!r}")
    return -1


class _OfLoss(MeanOverSamples):
    """A loss as a metric."""

    loss: ClassVar[type[Loss]]

    def terminal(self, features: int) -> Terminal:
        return self.loss().terminal(features)


class MeanSquaredError(_OfLoss):
    """(y - target)²."""

    aliases = "mse", "MSE"
    loss = losses.MeanSquaredError


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (y - target)²."""

    aliases = "rmse", "RMSE"

    def result(self) -> Any:
        return float(np.sqrt(super().result()))

    def values(self, y_true: Any, y_pred: Any) -> Array:
        return elementwise(lambda t, y: np.square(y - t), *same_rank(np.asarray(y_true), np.asarray(y_pred)))


class MeanAbsoluteError(_OfLoss):
    """|y - target|."""

    aliases = "mae", "MAE"
    loss = losses.MeanAbsoluteError


class MeanAbsolutePercentageError(_OfLoss):
    """100 |y - target| / |target|."""

    aliases = "mape", "MAPE"
    loss = losses.MeanAbsolutePercentageError


class MeanSquaredLogarithmicError(_OfLoss):
    """(log(1 + y) - log(1 + target))²."""

    aliases = "msle", "MSLE"
    loss = losses.MeanSquaredLogarithmicError


class LogCoshError(_OfLoss):
    """log cosh(y - target)."""

    default_name = "logcosh"
    loss = losses.LogCosh


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


class _CrossEntropy(MeanOverSamples):
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

    aliases = "bce", "BCE"

    def __init__(
        self, name: str | None = None, dtype: Any = None, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing = bool(from_logits), float(label_smoothing)

    def _loss(self) -> Loss:
        return losses.BinaryCrossentropy(self.from_logits, self.label_smoothing)


class CategoricalCrossentropy(_CrossEntropy):
    """-sum of target log p."""

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing, self.axis = bool(from_logits), float(label_smoothing), last_axis(axis)

    def _loss(self) -> Loss:
        return losses.CategoricalCrossentropy(self.from_logits, self.label_smoothing)


class SparseCategoricalCrossentropy(_CrossEntropy):
    """-log p[label]. ignore_class: a label that does not count; by numpy."""

    sparse = True

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.axis = bool(from_logits), last_axis(axis)
        self.ignore_class = None if ignore_class is None else int(ignore_class)

    @property
    def counts_itself(self) -> bool:
        return self.ignore_class is not None or super().counts_itself

    def update_state(  # type: ignore[override] # as Keras's
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        if self.ignore_class is not None and sample_weight is not None:
            counted = np.asarray(y_true) != self.ignore_class
            sample_weight = weights_of(counted, sample_weight) * counted
        super().update_state(y_true, y_pred, sample_weight)

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """As Keras's: zero for labels that do not count, which without weights are part of the mean."""
        if self.ignore_class is None:
            return super().values(y_true, y_pred)
        counted = np.asarray(y_true) != self.ignore_class
        values = super().values(np.where(counted, y_true, 0), y_pred)
        return np.where(counted.reshape(values.shape), values, 0)

    def _loss(self) -> Loss:
        return losses.SparseCategoricalCrossentropy(self.from_logits)


class CosineSimilarity(MeanOverSamples):
    """The cosine of the angle between y and the target. axis: others than the last by numpy, batch by batch."""

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = int(axis)

    @property
    def counts_itself(self) -> bool:
        return self.axis != -1 or super().counts_itself

    def values(self, y_true: Any, y_pred: Any) -> Array:
        return -np.asarray(losses.CosineSimilarity(self.axis).call(y_true, y_pred))

    def terminal(self, features: int) -> PerSample:
        return PerSample("cosine_similarity")


class R2Score(Metric):
    """1 - the error's sum of squares / the targets' about their mean, for each output.

    class_aggregation: the mean of the outputs, "uniform_average", weighted by the targets' variance,
    "variance_weighted_average", or None for one number each. num_regressors: how many inputs a linear model has, for
    the adjusted R² (Wherry 1931), 0 for the plain one.
    """

    sum: Variable
    squared_sum: Variable
    residual: Variable  # the errors' sum of squares
    count: Variable  # the sum of the weights

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "class_aggregation must be uniform_average, variance_weighted_average or None, not "
                f"{class_aggregation!r}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = whole("num_regressors", num_regressors, 0)
        self.num_samples = self.add_variable((), "zeros", np.float64, name="num_samples")  # times outputs, as in Keras

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add samples, (samples, outputs). sample_weight: one a sample, or broadcast to these. ShapeError."""
        if max(np.ndim(y_true), np.ndim(y_pred)) != 2:
            shapes = f"{np.shape(y_true)} and {np.shape(y_pred)}"
            raise ShapeError(f"R2Score takes targets and predictions of (samples, outputs), not {shapes}")
        predicted = predictions(y_pred)
        self.num_samples.assign_add(predicted.size)
        if sample_weight is None or np.shape(sample_weight) in ((len(predicted),), (len(predicted), 1)):
            return super().update_state(y_true, predicted, sample_weight)
        target = np.asarray(y_true, np.float64).reshape(predicted.shape)
        weight = weights_of(target, sample_weight)
        sums = weight * target, weight * target**2, weight * (target - predicted) ** 2, weight
        return self.add(np.stack([each.sum(0) for each in sums]).ravel())

    def terminal(self, features: int) -> Counts:
        return Counts("sum_moments", 4)

    def sums(self, totals: Array) -> Mapping[str, Array]:
        first, second, error, count = totals.reshape(4, -1)
        return {"squared_sum": second, "sum": first, "residual": error, "count": count}

    def take(self, totals: Array, rows: float) -> None:
        super().take(totals, rows)
        self.num_samples.assign(rows * self.sum.size)

    def result(self) -> Any:
        if not self.num_samples:
            return 0.0
        first, second, error, count = (np.asarray(x) for x in (self.sum, self.squared_sum, self.residual, self.count))
        with np.errstate(all="ignore"):
            variation = second - first * first / count
            scores = 1 - error / variation
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation is None:
            return self._adjusted(scores)
        weights = variation if self.class_aggregation == "variance_weighted_average" else np.ones_like(scores)
        return self._adjusted(float((scores * weights).sum() / weights.sum()))

    def _adjusted(self, score: Any) -> Any:
        """Of a linear model with so many inputs; the plain score, after a DataWarning, of too few samples."""
        if not self.num_regressors:
            return score
        numbers = int(self.num_samples)
        free = numbers - self.num_regressors - 1
        if free <= 0:
            warn(f"{numbers} numbers are too few for num_regressors={self.num_regressors}", DataWarning)
            return score
        return 1 - (1 - score) * (numbers - 1) / free
