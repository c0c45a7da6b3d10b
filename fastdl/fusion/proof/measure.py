"""Latency of two graphs, side by side: rounds in turn, so that both meet the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from time import perf_counter
from typing import Any

import numpy as np

from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.proof.feeds import Feeder, Samples
from fastdl.fusion.runtime.session import DTYPES, Binding, Feed, Session

BATCHES = (1, 1024)
ROUNDS = (3, 25)  # at least, at most
WARM = 3  # calls that tell how many make a slice, however busy the machine is during one
SLICE = 0.004  # seconds of calls that one measurement lasts
BUDGET = 0.2  # seconds a batch size may take in all, when calls are not slower than that
LONGEST = 0.5  # seconds of a call at the large batch; where it would be more, a smaller one is measured
FASTER = 8  # times: as much quicker a row may be in a large batch
SURE = 0.95  # of an interval: how often it is to hold the median


Call = Callable[[], object]


def measure(before: AnyModel, after: AnyModel, samples: Samples | None = None) -> dict[str, dict[str, float]]:
    """Microseconds a call on one thread, the best of rounds in which both are timed in turn, and how they compare.

    Keys: "batch_1" and "batch_1024" (or the one batch size that the model states, or fewer rows where 1024 would take
    long), on the first of the samples, repeated as needed, else on random inputs. Each holds "before_us", "after_us",
    their ratio "speedup", and between "least" and "most" what that may be, as the rounds' own ratios differ: where 1
    lies between them, no difference could be told from noise. A batch size on which the model does not run is left out.
    """
    feeder = Feeder(before)
    models = [Lean.of(model) for model in (before, after)]
    sessions = [Session(model.proto.SerializeToString(), weights=model.weights) for model in models]
    latencies: dict[str, dict[str, float]] = {}
    for batch in (feeder.fixed_batch,) if feeder.fixed_batch else BATCHES:
        if latencies:  # a row takes at most what the one of the first batch did
            while batch > 2 and batch * latencies["batch_1"]["before_us"] > FASTER * LONGEST * 1e6:
                batch //= 2
            while batch > 2 and not feeder.fixed_batch and not feeder.fits(batch):
                batch //= 2
            if f"batch_{batch}" in latencies:
                continue
        try:
            feed = _feed(feeder, batch, samples)
            calls = [_call(session, feed) for session in sessions]
        except MemoryError:
            raise
        except Exception:  # what the proof needed samples for, or a number of rows that the graph does not take
            continue
        latencies[f"batch_{batch}"] = compare(*calls)
    return latencies


def compare(before: Call, after: Call) -> dict[str, float]:
    """Both calls timed in turn."""
    pair = (before, after)
    for call in pair:  # warms up
        call()
    count = max(1, int(SLICE / max(1e-7, min(_seconds(call, 1) for call in pair for _ in range(WARM)))))
    rounds: list[list[float]] = []
    end = perf_counter() + BUDGET
    while len(rounds) < ROUNDS[0] or (len(rounds) < ROUNDS[1] and perf_counter() < end):
        turn = pair if len(rounds) % 2 else pair[::-1]  # neither is always the one that follows the other
        seconds = {call: _seconds(call, count) for call in turn}
        rounds.append([seconds[call] * 1e6 for call in pair])
    was, now = (min(r[side] for r in rounds) for side in (0, 1))  # what else the machine does only adds to a time
    least, most = interval([r[0] / r[1] for r in rounds])
    ratio = was / now
    return {"before_us": was, "after_us": now, "speedup": ratio, "least": min(least, ratio), "most": max(most, ratio)}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values between which their distribution's median lies in 95 of 100 cases, by the sign test alone.

    With fewer than six values that cannot be told: then the smallest and the largest.
    """
    ordered, cut, outside = sorted(values), 0, 2 / 2 ** len(values)
    while (outside := outside + 2 * comb(len(ordered), cut + 1) / 2 ** len(ordered)) <= 1 - SURE:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


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
