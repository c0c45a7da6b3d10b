"""What is trained: nets, batches, numbers of rows and the targets of the project."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Skip(Exception):
    """Why a peer does not take part, in a word."""


@dataclass(frozen=True)
class Unit:
    """What is timed: one call, which takes `steps` steps."""

    run: Callable[[], object]
    steps: int = 1


def fastest(units: Sequence[Unit]) -> Unit:
    """The unit of the shortest call: of several forms of a peer, its best."""

    def shortest(unit: Unit) -> float:
        seconds: list[float] = []
        while len(seconds) < 3 and sum(seconds) < 5:  # the first compiles
            began = time.perf_counter()
            unit.run()
            seconds.append(time.perf_counter() - began)
        return min(seconds) / unit.steps

    return min(units, key=shortest)


@dataclass(frozen=True)
class Workload:
    """A dense softmax classifier, trained with Adam on cross-entropy; BN stands before the activation."""

    name: str
    widths: tuple[int, ...]
    batch: int
    rows: int
    norm: bool = False
    activation: str = "relu"
    target: float = 0.0  # at least so many times faster than the best peer
    models: int = 1  # so many nets at once, where they are trained so

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return -(-self.rows // self.batch)

    @property
    def full_batch(self) -> bool:
        """Whether a step takes all rows, so that shuffling changes nothing."""
        return self.batch >= self.rows

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each dense layer."""
        return list(pairwise(self.widths))

    @property
    def forward_flops(self) -> int:
        """Multiplications and additions of one row's matrix products, forward."""
        return sum(2 * inputs * outputs for inputs, outputs in self.layers)

    @property
    def step_flops(self) -> int:
        """Those of a training step: forward, dW, and dX of all layers but the first."""
        first = 2 * self.widths[0] * self.widths[1]
        return self.batch * (3 * self.forward_flops - first)

    @property
    def state_bytes(self) -> int:
        """What a step of Adam reads and writes of weights and moments."""
        return 6 * 4 * sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    def wall_us(self, gflops: float, gbytes: float, cache: int) -> float:
        """The least that a step can take: its products at the peak, and its traffic at the bandwidth.

        Traffic are the batch's rows; and weights and moments, where they do not fit into the cache.
        """
        traffic = 4 * self.batch * self.widths[0] * (not self.full_batch)
        traffic += self.state_bytes * (self.state_bytes / 2 > cache)
        return 1e-3 * (self.step_flops / gflops + traffic / gbytes)

    @functools.cached_property
    def data(self) -> tuple[Array, Array]:
        """x (rows, inputs) float32 in [0, 1), y (rows,) int64: a random teacher's classes, a fifth of them wrong."""
        rng = np.random.default_rng(0)
        inputs, classes = self.widths[0], self.widths[-1]
        x = rng.random((self.rows, inputs), np.float32)
        scores = (x - 0.5) @ rng.standard_normal((inputs, classes), np.float32)
        noise = rng.integers(0, classes, self.rows)
        return x, np.where(rng.random(self.rows) < 0.2, noise, scores.argmax(1)).astype(np.int64)


@dataclass(frozen=True)
class Lookup:
    """A classifier of two classes on columns of codes: one Embedding for all, flattened, and two dense layers."""

    values: int  # of a column
    rule: (
        str  # of the optimizer: "SparseAdam" steps the rows that a batch reads, "SGD" does by nature, "Adam" steps all
    )
    columns: int = 8
    size: int = 16
    hidden: int = 64
    batch: int = 256
    rows: int = 16_384

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return -(-self.rows // self.batch)

    @functools.cached_property
    def data(self) -> tuple[Array, Array]:
        """Codes (rows, columns) int64, all as likely, so that no cache helps; y (rows,) int64: is the first odd."""
        x = np.random.default_rng(0).integers(0, self.values, (self.rows, self.columns))
        return x, x[:, 0] % 2


def workload(case: dict[str, Any]) -> Any:
    """The Workload, or Lookup, that came as JSON."""
    return Workload(**{**case, "widths": tuple(case["widths"])}) if "widths" in case else Lookup(**case)


TRAINING = [
    Workload("tiny", (20, 64, 64, 2), 32, 16_000, target=4),
    Workload("tinyBN", (20, 64, 64, 2), 32, 16_000, norm=True, target=5),
    Workload("textbook-b32", (784, 300, 100, 10), 32, 12_800, norm=True, target=4.5),
    Workload("textbook-b128", (784, 300, 100, 10), 128, 12_800, norm=True, target=3),
    Workload("deep", (784, *[100] * 20, 10), 32, 6_400, norm=True, target=6),
    Workload("wide", (1024, 1024, 1024, 1024, 10), 256, 2_560, target=1.4),
    Workload("small-full", (4, 32, 16, 4), 10_000, 10_000, activation="tanh", target=6),
]
