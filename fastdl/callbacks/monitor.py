"""Callbacks that watch one number: which way is better, and by how much."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl import ops
from fastdl.models.callback import Callback, Logs

HIGHER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "f_beta", "r2", "iou", "top_", "cosine", "correlation")
LOWER = ("loss", "error", "mse", "mae", "mape", "msle", "entropy", "hinge", "divergence", "poisson", "huber", "cosh")


def higher_is_better(monitor: str, mode: str = "auto") -> bool:
    """By `mode` ("min", "max"), else by the monitor's name. ValueError where that does not tell."""
    if mode in ("min", "max"):
        return mode == "max"
    if mode != "auto":
        raise ValueError(f"mode must be auto, min or max, not {mode!r}")
    name = monitor.removeprefix("val_").lower()
    for words, answer in ((LOWER, False), (HIGHER, True)):
        if any(word in name for word in words):
            return answer
    raise ValueError(
        f"monitor: whether a high {monitor!r} is good cannot be told from its name: pass mode='max' or mode='min'"
    )


class Monitor(Callback):
    """Watches `monitor`; `best` is its best value so far, which another must pass by more than `min_delta`.

    monitor_op: what a better value is to a worse one, ops.greater or ops.less (Keras).
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.sign = 1 if higher_is_better(monitor, mode) else -1
        self.monitor_op: Callable[[Any, Any], Any] = ops.greater if self.sign > 0 else ops.less
        self.best: float | None = None

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether the value is better than the reference; every number is better than none, and NaN is never."""
        if reference is None:
            return not math.isnan(value)
        return bool(self.monitor_op(value - self.sign * self.min_delta, reference))

    def get_monitor_value(self, logs: Logs | None) -> float | None:
        """As `value`. Keras: EarlyStopping.get_monitor_value."""
        return self.value(logs)

    def value(self, logs: Logs | None) -> float | None:
        """The watched number, or None after a warning that names those there are."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"{type(self).__name__} waits for {self.monitor!r}, but there is only {', '.join(logs or {})}",
                stacklevel=2,
            )
            return None
        if np.size(value) != 1:
            raise ValueError(
                f"{type(self).__name__} watches one number, but {self.monitor} is one for each of {np.size(value)} "
                "outputs: give the metric an average, as F1Score(average='macro')"
            )
        return float(np.asarray(value).item())
