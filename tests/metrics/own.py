"""Metrics of one's own, as Keras's documentation has people write them: for fastdl and for Keras alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def array(value: Any) -> np.ndarray[Any, Any]:
    """Of a tensor or an array."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def made(api: Any) -> dict[str, Callable[[], Any]]:
    """By name, what makes the metric with this package."""

    class Counted(api.metrics.Metric):  # type: ignore[misc]
        """Rows, batches, and the sum of weights."""

        def __init__(self, name: str = "counted", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.rows = self.add_weight(name="rows", initializer="zeros")
            self.batches = self.add_weight(shape=(2,), name="batches", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            assert array(y_pred).dtype.kind == "f"
            self.rows.assign_add(len(array(y_true)) if sample_weight is None else float(array(sample_weight).sum()))
            self.batches.assign(self.batches + np.array([1.0, 2.0], "float32"))

        def result(self) -> Any:
            return {"rows": self.rows + 0, "batches": self.batches[1] / 2}

    class Right(api.metrics.Metric):  # type: ignore[misc]
        """How many labels are right."""

        def __init__(self, name: str = "right", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.right = self.add_variable(shape=(), initializer="zeros", name="right")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            labels = array(y_true)
            right = array(y_pred).argmax(-1) == (labels if labels.ndim == 1 else labels.argmax(-1))
            self.right.assign_add(float(right.sum()))

        def result(self) -> Any:
            return self.right + 0  # of a variable itself Keras logs what it holds later, after validation

    class Half(api.metrics.MeanSquaredError):  # type: ignore[misc]
        """`result` alone."""

        def result(self) -> Any:
            return super().result() / 2

    class Twice(api.metrics.MeanAbsoluteError):  # type: ignore[misc]
        """`update_state` alone."""

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(2 * y_true, 2 * y_pred, sample_weight)

    class Kept(api.metrics.MeanMetricWrapper):  # type: ignore[misc]
        """`reset_state` alone: nothing is forgotten at first."""

        def __init__(self, name: str = "kept", **options: Any) -> None:
            super().__init__(lambda y_true, y_pred: ((y_true - y_pred) ** 2).mean(-1), name=name, **options)
            self.resets = 0

        def reset_state(self) -> None:
            self.resets += 1
            if self.resets > 5:
                super().reset_state()

    class Furthest(api.metrics.Mean):  # type: ignore[misc]
        """A Mean of values."""

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            values = np.abs(array(y_true) - array(y_pred)).max(-1)
            return super().update_state(values, sample_weight)

    class Both(api.metrics.Metric):  # type: ignore[misc]
        """Of other metrics."""

        def __init__(self, name: str = "both", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.one, self.other = api.metrics.MeanSquaredError(), api.metrics.Mean()

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.one.update_state(y_true, y_pred)
            self.other.update_state(y_pred)

        def result(self) -> Any:
            return {"one": self.one.result(), "other": self.other.result()}

        def reset_state(self) -> None:
            self.one.reset_state()
            self.other.reset_state()

    return {
        "variables, and two results": Counted,
        "labels": Right,
        "result": Half,
        "update_state": Twice,
        "reset_state": Kept,
        "mean of values": Furthest,
        "of others": Both,
    }
