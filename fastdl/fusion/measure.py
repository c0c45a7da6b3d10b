"""Latency of two graphs, side by side: rounds in turn, so that both meet the same noise."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np
from onnx import ModelProto

from .feeds import Feeder
from .session import Binding, open_session

BATCHES = (1, 1024)
ROUNDS = (3, 25)  # at least, at most
SLICE = 0.004  # seconds of calls that one measurement lasts
BUDGET = 0.2  # seconds a batch size may take in all, when calls are not slower than that


def measure(before: ModelProto, after: ModelProto) -> dict[str, dict[str, float]]:
    """Microseconds a call on one thread, best of all rounds, and the median of the rounds' ratios.

    Keys: "batch_1" and "batch_1024" (or the one batch size that the model states).
    """
    feeder = Feeder(before)
    sessions = [open_session(model.SerializeToString()) for model in (before, after)]
    found = {}
    for batch in (feeder.fixed_batch,) if feeder.fixed_batch else BATCHES:
        feed = feeder.draw(np.random.default_rng(0), batch)
        runs = []
        for session in sessions:
            names = [output.name for output in session.get_outputs()]
            runs.append(Binding(session, feed, dict(zip(names, session.run(None, feed), strict=True))))
        arrays = list(feed.values())
        start = perf_counter()
        for run in runs:  # the first call warms up, the second tells how many make a slice
            run.run(arrays)
            start = perf_counter()
            run.run(arrays)
        calls = max(1, int(SLICE / (perf_counter() - start)))
        rounds: list[list[float]] = []
        end = perf_counter() + BUDGET
        while len(rounds) < ROUNDS[0] or (len(rounds) < ROUNDS[1] and perf_counter() < end):
            rounds.append([_seconds(run, arrays, calls) for run in runs])
        best = [min(r[side] for r in rounds) * 1e6 for side in (0, 1)]
        found[f"batch_{batch}"] = {
            "before_us": best[0],
            "after_us": best[1],
            "speedup": median(r[0] / r[1] for r in rounds),
        }
    return found


def _seconds(run: Binding, arrays: list[np.ndarray], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        run.run(arrays)
    return (perf_counter() - start) / calls
