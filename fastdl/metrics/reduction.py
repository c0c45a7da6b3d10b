"""Means and sums: of values, and of what a loss or a function of one's own makes of targets and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import same_rank, samplewise
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import ShapeError
from fastdl.metrics.metric import Metric
from fastdl.ops.terminal import Own, on_arrays, traced


class Sum(Metric):
    """The sum of values, each times its weight. Keras: metrics.Sum."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", np.float64, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override] # as Keras's
        """Add values of any shape. sample_weight: broadcast to them. ShapeError."""
        refuse_masked("values", values)
        added, _ = samplewise(np.asarray(values, np.float64), sample_weight, np.sum)
        self.total.assign_add(added.sum())

    def result(self) -> Any:
        return float(self.total)


class Mean(Metric):
    """The mean of values, weighted by the weights of samples. Keras: metrics.Mean."""

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", np.float64, name="total")
        self.count = self.add_variable((), "zeros", np.float64, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override] # as Keras's
        """Add values, (samples, …). sample_weight: broadcast to them. ShapeError."""
        refuse_masked("values", values)
        added, weights = samplewise(np.asarray(values, np.float64), sample_weight)
        self.total.assign_add(added.sum())
        self.count.assign_add(weights.sum())

    def sums(self, totals: Array) -> Mapping[str, Array]:
        return {"total": np.asarray(totals[0]), "count": np.asarray(totals[1])}

    def result(self) -> Any:
        """The mean of all values added since `reset_state`; zero before the first."""
        return float(self.total) / float(self.count) if self.count else 0.0


class MeanOverSamples(Mean):
    """A mean over samples of what a kernel makes of each."""

    nameable = False

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: Any, y_pred: Any) -> Array:
        """One for each sample; or for each number of each sample, where Keras's function gives as many."""
        refuse_masked("y_pred", y_pred)
        target, predicted = np.asarray(y_true), np.asarray(y_pred)
        if not self.sparse:
            target, predicted = same_rank(target, predicted)
        return on_arrays(self.terminal(predicted.shape[-1] if predicted.ndim else 1), target, predicted)[0]

    def update_state(  # type: ignore[override] # as Keras's
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add samples. y_pred: (samples, features), y_true alike or labels (samples,). ShapeError."""
        super().update_state(self.values(y_true, y_pred), sample_weight)


def elementwise(function: Callable[[Array, Array], Any], y_true: Array, y_pred: Array) -> Array:
    """A number for each number of targets and predictions. DataError for what is masked, ShapeError."""
    refuse_masked("y_true", y_true)
    refuse_masked("y_pred", y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(f"y_true has shape {y_true.shape}, which does not fit y_pred's {y_pred.shape}")
    return np.asarray(function(y_true, y_pred), np.float64)


class MeanMetricWrapper(MeanOverSamples):
    """A function's mean over samples: fn(y_true, y_pred, **options) → each sample's value, (batch,) or (batch, …).

    Made of fastdl.ops and of operators, it is compiled into the program; else it is a numpy function.
    """

    nameable = False

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **options: Any) -> None:
        super().__init__(name or getattr(fn, "__name__", None) or getattr(fn, "name", type(fn).__name__), dtype)
        self.fn, self.options = fn, options
        self._by_numpy: Exception | None = None  # why it was not compiled, once that was tried

    def terminal(self, features: int) -> Own:
        return Own(self._called if self.options else self.fn)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        if self._by_numpy is None:
            try:
                tensor, terminal = traced(self._called, output)
                return terminal, tensor
            except Exception as error:  # it computes by numpy
                self._by_numpy = error.with_traceback(None)
        return self.terminal(output.features), output

    def _called(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self.options)

    def values(self, y_true: Any, y_pred: Any) -> Array:
        refuse_masked("y_pred", y_pred)
        result = self._called(np.asarray(y_true), np.asarray(y_pred))
        return np.asarray(result[0] if isinstance(result, tuple) else result)
