"""Where a training step's time goes: kernel by kernel, on each thread, as the program itself measures it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import _ext, config
from fastdl.base.arguments import whole
from fastdl.base.text import InNotebooks
from fastdl.compiler.feeds import X_FEED
from fastdl.models.model import Model

SECONDS = 0.2  # of measured training, at least


@dataclass(frozen=True)
class KernelProfile:
    """A kernel of the step: microseconds a step on the thread it takes longest, and on average; see Profile."""

    kernel: str
    microseconds: float
    mean_microseconds: float
    flops: int
    nbytes: int

    @property
    def gflops(self) -> float:
        """Of a matrix product: how many floating-point operations it does a nanosecond, on all threads; 0 of others."""
        return self.flops / max(self.mean_microseconds, 1e-9) / 1e3


@dataclass(frozen=True, repr=False)
class Profile(InNotebooks):
    """A training step, kernel by kernel in the order in which they run.

    microseconds: of the whole step. waiting: of these, what threads waited for each other, on average. flops: of a
    matrix product a step; nbytes: of the arrays that a kernel is called with, which it reads or writes at most.
    """

    kernels: tuple[KernelProfile, ...]
    microseconds: float
    waiting: float
    batch: int
    threads: int

    def __str__(self) -> str:
        lines = [f"A step of {self.batch} rows, {self.threads} threads: {self.microseconds:.1f} µs"]
        lines.append(f"{'kernel':24}{'µs':>9}{'share':>8}{'GFLOP/s':>9}{'kB':>9}")
        for each in self.kernels:
            rate = f"{each.gflops:.0f}" if each.flops else ""
            lines.append(self._line(each.kernel, each.mean_microseconds) + f"{rate:>9}{each.nbytes / 1024:>9,.0f}")
        lines.append(self._line("waiting for each other", self.waiting))
        return "\n".join(lines)

    def _line(self, name: str, microseconds: float) -> str:
        return f"{name:24}{microseconds:>9.2f}{microseconds / self.microseconds:>8.0%}"


def profile(model: Model, x: Any, y: Any, batch_size: int = 32, threads: int | None = None) -> Profile:
    """Where a training step's time goes, on a copy of the compiled model: nothing of the model changes.

    x, y: arrays, of at least one batch. threads: config.get_num_threads() if None. DataError, ShapeError as `fit`;
    RuntimeError for a model that is not compiled; ValueError for fewer rows than a batch. Measuring costs some 20 ns
    a kernel.
    """
    batch = whole("batch_size", batch_size)
    count = whole("threads", config.get_num_threads() if threads is None else threads)
    session = copy.deepcopy(model).session
    feeds = session.feeds(session.feeding.inputs(x), y)
    steps = len(feeds[X_FEED]) // batch
    if not steps:
        raise ValueError(f"x has {len(feeds[X_FEED])} rows: a batch of {batch} needs more")
    program, (optimizer, _) = session.program(batch, training=True), session.compiled()
    rates = optimizer.rates(steps)

    def run() -> float:
        began = time.perf_counter()
        program.run(feeds, steps=steps, rates=rates, step=0, seed=session.seed or 0, threads=count)
        return time.perf_counter() - began

    warm = run()
    runs = max(2, round(SECONDS / max(warm, 1e-9)))
    program.measure(True)
    began = _ext.now()
    seconds = sum(run() for _ in range(runs))
    tick = seconds / (_ext.now() - began) / (runs * steps) * 1e6  # microseconds a step
    *kernels, waiting = program.times(count)
    return Profile(
        tuple(
            KernelProfile(
                each.kernel, max(each.ticks) * tick, float(np.mean(each.ticks)) * tick, each.flops, each.nbytes
            )
            for each in kernels
        ),
        seconds / (runs * steps) * 1e6,
        float(np.mean(waiting.ticks)) * tick,
        batch,
        count,
    )
