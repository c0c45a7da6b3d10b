"""Losses as metrics, and what else tells how far outputs are from targets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastdl import losses
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.losses import Loss
from fastdl.metrics.metric import MeanOverSamples, Metric
from fastdl.ops.terminal import Counts, PerSample


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

    def value(self, totals: Array) -> Any:
        return float(np.sqrt(super().value(totals)))


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


class CosineSimilarity(MeanOverSamples):
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
