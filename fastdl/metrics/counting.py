"""Metrics that count by themselves: a program calls their `update_state` with the arrays of each batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Tensor
from fastdl.compiler.phases import Ref, read
from fastdl.metrics.metric import Metric
from fastdl.ops.panels import from_panels


@dataclass
class Targets:
    """Where the batches of a slice take an output's integer labels from, and the shape of a row as it was given."""

    sample: tuple[int, ...] = ()
    labels: Array | None = None
    _index: Array | None = None
    _at: int = 0

    def begin(self, sample: tuple[int, ...], labels: Array | None, index: Array | None, start: int) -> None:
        """The next batch begins at this row of the labels, or of the index into them."""
        self.sample, self.labels, self._index, self._at = sample, labels, index, start

    def take(self, batch: int) -> Array:
        """The labels of the next batch."""
        assert self.labels is not None
        part = slice(self._at, self._at + batch)
        self._at += batch
        return self.labels[part if self._index is None else self._index[part]]


@dataclass(frozen=True, eq=False)
class Counting:
    """In place of a kernel: takes the GIL, and what update_state raises ends the pass."""

    metric: Metric
    targets: Targets = field(default_factory=Targets)
    labels: bool = False  # whether these are what the output's targets are

    def width(self, features: int) -> int:
        return 3

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None:
        batch, dtype, shape = build.batch, build.dtype, tuple(size or 0 for size in x.shape[1:])

        def run(prediction: Array, target: Array | None, weights: Array | None) -> None:
            y_true = self.targets.take(batch) if target is None else from_panels(target, batch, dtype)
            y_true = y_true.reshape(batch, *self._sample(y_true, shape))
            y_pred = from_panels(prediction, batch, dtype).reshape(batch, *shape)
            if weights is None:
                self.metric.update_state(y_true, y_pred)
            else:
                self.metric.update_state(y_true, y_pred, from_panels(weights, batch, dtype)[:, 0])

        build.call(
            run,
            read(build.value(x)),
            None if self.labels else read(build.target(x.features)),
            read(weight) if weight else None,
        )

    def _sample(self, rows: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a row of targets as it was given, or the outputs' where that is not known."""
        given = self.targets.sample
        if int(np.prod(given)) == rows.size // len(rows):
            return given
        return shape[:-1] if self.labels else shape

    def target_bytes(self, x: Tensor) -> int:
        return 4 * x.members if self.labels else x.features * x.dtype.itemsize


def merged(logs: dict[str, Any], name: str, result: Any) -> None:
    """Put a metric's result into the logs: a number under its name, or each of a mapping under its own (Keras)."""
    if isinstance(result, dict):
        for key, value in result.items():
            merged(logs, str(key), value)
        return
    value = np.asarray(result)
    logs[name] = float(value) if value.ndim == 0 else value
