"""The base of metrics: sums that a program gathers beside the loss, or `update_state` from numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.configured import Configured
from fastdl.base.naming import snake_case
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.ops.terminal import Own, PerSample, on_arrays, traced


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
        terminal = self.terminal(output.features)
        if output.members > 1 and isinstance(terminal, PerSample):
            terminal = self.terminal(output.channels)
        return terminal, output

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


class MeanOverSamples(Metric):
    """A mean over samples."""

    nameable = False

    def value(self, totals: Array) -> Any:
        return float(totals[0] / totals[1]) if totals[1] else 0.0


class MeanMetricWrapper(MeanOverSamples):
    """A function's mean over samples: fn(y_true, y_pred) → each sample's value, (batch,) or (batch, …).

    Made of fastdl.ops and of operators, it is compiled into the program; else it is a numpy function.
    """

    nameable = False

    def __init__(self, fn: Callable[[Array, Array], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__))
        self.fn = fn
        self._by_numpy: Exception | None = None  # why it was not compiled, once that was tried

    def terminal(self, features: int) -> Own:
        return Own(self.fn)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        if self._by_numpy is None:
            try:
                tensor, terminal = traced(self.fn, output)
                return terminal, tensor
            except Exception as error:  # it computes by numpy
                self._by_numpy = error.with_traceback(None)
        return Own(self.fn, self._by_numpy), output
