"""How predictions and targets rise and fall together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fastdl import ops
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import same_rank
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.metrics.reduction import MeanOverSamples
from fastdl.ops.numeric import symbolic
from fastdl.ops.terminal import Own, traced

Axis = int | Sequence[int]
EPSILON = 1e-7  # Keras's, in the quotient


def pearson_correlation(y_true: Any, y_pred: Any, axis: Axis = -1) -> Any:
    """The correlation of targets and predictions along the axis, in [-1, 1] (Pearson 1895). Keras: metrics.

    NaN where one of them does not vary.
    """
    (t, _), (y, _) = _deviations(y_true, y_pred, axis)
    spread = ops.sqrt(ops.mean(t * t, axis=axis)) * ops.sqrt(ops.mean(y * y, axis=axis))
    with np.errstate(divide="ignore", invalid="ignore"):
        return ops.mean(t * y, axis=axis) / spread


def concordance_correlation(y_true: Any, y_pred: Any, axis: Axis = -1) -> Any:
    """How near targets and predictions lie to y = x along the axis, in [-1, 1] (Lin 1989). Keras: metrics."""
    (t, mean), (y, other) = _deviations(y_true, y_pred, axis)
    apart = ops.mean(ops.square(mean - other), axis=axis)
    spread = ops.mean(t * t, axis=axis) + ops.mean(y * y, axis=axis) + apart
    return 2 * ops.mean(t * y, axis=axis) / (spread + EPSILON)


def _deviations(y_true: Any, y_pred: Any, axis: Axis) -> list[tuple[Any, Any]]:
    """Of each what it differs from its mean, and the mean."""
    if not symbolic(y_true, y_pred):
        for name, value in (("y_true", y_true), ("y_pred", y_pred)):
            refuse_masked(name, value)
        y_pred = np.asarray(y_pred)
        y_pred = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float32)
        y_true, y_pred = same_rank(np.asarray(y_true).astype(y_pred.dtype), y_pred)
    means = [ops.mean(each, axis=axis, keepdims=True) for each in (y_true, y_pred)]
    return [(y_true - means[0], means[0]), (y_pred - means[1], means[1])]


class PearsonCorrelation(MeanOverSamples):
    """The mean of the samples' own correlations of targets and predictions, each along its axis (Pearson 1895).

    axis: other axes than the last by numpy, batch by batch.
    """

    function: ClassVar[Callable[..., Any]] = staticmethod(pearson_correlation)

    def __init__(self, name: str | None = None, dtype: Any = None, axis: Axis = -1) -> None:
        super().__init__(name, dtype)
        self.axis: Axis = int(axis) if isinstance(axis, int) else tuple(axis)

    @property
    def counts_itself(self) -> bool:
        return self.axis not in (-1, (-1,)) or super().counts_itself

    def of(self, y_true: Any, y_pred: Any) -> Any:
        """The correlations."""
        return type(self).function(y_true, y_pred, self.axis)

    def terminal(self, features: int) -> Terminal:
        return Own(self.of)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        tensor, terminal = traced(self.of, output)
        return terminal, tensor

    def values(self, y_true: Any, y_pred: Any) -> Array:
        return np.asarray(self.of(y_true, y_pred), np.float64)


class ConcordanceCorrelation(PearsonCorrelation):
    """The mean of the samples' own concordances of targets and predictions, each along its axis (Lin 1989).

    axis: other axes than the last by numpy, batch by batch.
    """

    function = staticmethod(concordance_correlation)
