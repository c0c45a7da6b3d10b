"""Latency of two graphs, side by side: rounds in turn, so that both meet the same noise."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from onnx import ModelProto

from .feeds import Feed, Feeder, Samples
from .session import DTYPES, Binding, open_session

BATCHES = (1, 1024)
ROUNDS = (3, 25)  # at least, at most
SLICE = 0.004  # seconds of calls that one measurement lasts
BUDGET = 0.2  # seconds a batch size may take in all, when calls are not slower than that


Call = Callable[[], object]


def measure(before: ModelProto, after: ModelProto, samples: Samples | None = None) -> dict[str, dict[str, float]]:
    """Microseconds a call on one thread, best of all rounds, and the median of the rounds' ratios.

    Keys: "batch_1" and "batch_1024" (or the one batch size that the model states), on the first of the samples,
    repeated as needed, else on random inputs. A batch size on which the model does not run is left out.
    """
    feeder = Feeder(before)
    sessions = [open_session(model.SerializeToString()) for model in (before, after)]
    found = {}
    for batch in (feeder.fixed_batch,) if feeder.fixed_batch else BATCHES:
        if batch > feeder.most_rows and not feeder.fixed_batch:
            continue
        try:
            feed = _feed(feeder, batch, samples)
            calls = [_call(session, feed) for session in sessions]
        except Exception:  # what the proof needed samples for, or a number of rows that the graph does not take
            continue
        found[f"batch_{batch}"] = compare(*calls)
    return found


def compare(before: Call, after: Call) -> dict[str, float]:
    """Both calls timed in turn."""
    pair = (before, after)
    start = perf_counter()
    for call in pair:  # the first call warms up, the second tells how many make a slice
        call()
        start = perf_counter()
        call()
    count = max(1, int(SLICE / (perf_counter() - start)))
    rounds: list[list[float]] = []
    end = perf_counter() + BUDGET
    while len(rounds) < ROUNDS[0] or (len(rounds) < ROUNDS[1] and perf_counter() < end):
        rounds.append([_seconds(call, count) for call in pair])
    best = [min(r[side] for r in rounds) * 1e6 for side in (0, 1)]
    return {"before_us": best[0], "after_us": best[1], "speedup": median(r[0] / r[1] for r in rounds)}


def _feed(feeder: Feeder, batch: int, samples: Samples | None) -> Feed:
    if samples is None:
        return feeder.draw(np.random.default_rng(0), batch)
    feed = next(feeder.samples(samples))
    rows = min(len(array) for array in feed.values())
    return {name: array[np.arange(batch) % rows] for name, array in feed.items()}


def _call(session: Any, feed: Feed) -> Call:
    """Buffers bound once, as a server would, where all that goes in and out is tensors of numbers."""
    results = session.run(None, feed)
    if any(info.type not in DTYPES for info in (*session.get_inputs(), *session.get_outputs())):
        return lambda: session.run(None, feed)
    names = [output.name for output in session.get_outputs()]
    bound, arrays = Binding(session, feed, dict(zip(names, results, strict=True))), list(feed.values())
    return lambda: bound.run(arrays)


def _seconds(call: Call, count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count
