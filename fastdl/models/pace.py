"""How many threads a program is fastest on, by measurement while it runs, on a machine that others use as well.

Results do not depend on the number of threads, so it may change from slice to slice. That others have come, and two
threads have become slow, a slice tells by itself; that they have gone, nothing tells but a look. So one thread looks at
two often, and two look at one seldom. A look begins with steps that are not measured: a thread that sleeps takes 17 to
150 microseconds to wake, and its caches are cold. Beside others two threads may be fast for a millisecond and then wait
for four: so what a look has found is tried in short slices first, and where that fails, the next look comes later.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastdl import config
from fastdl.base import forks

THREADS_FROM_FLOPS = 4e6  # a step of less work than this is done before a second thread has helped
FIRST_FLOPS = 2e7  # of the first steps, before it is known how long one takes: a few milliseconds on any machine
SLICE_SECONDS = 0.03  # between two slices Python looks up: progress, Ctrl-C, callbacks; beside rivals it takes longer
WARM_SECONDS = 0.0003  # of steps that are not measured, after a pause or on another number of threads
LOOK_SECONDS = 0.001  # of those that are, of a look
PAUSE_SECONDS = 0.002  # after a pause as long, threads sleep and caches are cold
LOOK_UP, LOOK_DOWN = 0.03, 1.0  # seconds of computing between looks at more threads, and at fewer
MOST_PATIENCE = 4  # so many times LOOK_UP, where looks up have failed again and again
MOST_TRUST = 8  # so many times LOOK_DOWN, where looks down have found nothing and no slice was slow
LOOKS_APART = 8  # times what a look at more threads loses, if they are as slow as they were
LOOK_LOSS = 0.02  # of the time since the last look, what a look may lose
FORGETTING = 0.05  # in so many seconds, how much slower the other count was is believed by half as much
CHANGED = 1.15  # a slice that took so much longer than the one before it: others have come
BETTER = 0.97  # of its time must the other count take to be preferred
SHORT_STEPS = 3  # a pass of so many steps leaves none to warm up: each is measured as it comes
SHORT_KEPT = 5  # of such passes, how many are remembered by count
SHORT_UP, SHORT_DOWN = 24, 192  # and one in how many, at least, looks at more threads, or at fewer …
SHORT_LOSS = 0.06  # … which may lose so much of the time


_lock, _side_by_side = threading.Lock(), 0  # fits that run in this process, each in a Python thread


@contextmanager
def side_by_side() -> Iterator[None]:
    """While several threads are within, each training takes its share of the cores, one at least, not all of them."""
    global _side_by_side
    with _lock:
        _side_by_side += 1
    try:
        yield
    finally:
        with _lock:
            _side_by_side = max(0, _side_by_side - 1)


@forks.in_child
def _alone() -> None:
    global _lock, _side_by_side
    _lock, _side_by_side = threading.Lock(), 0


@dataclass(frozen=True)
class Plan:
    """The next slice: so many steps on so many threads.

    what: "warm" is not measured, "look" is short, "short" is a pass of few steps, "run" is all else.
    """

    threads: int
    steps: int
    what: str = "run"


class Pace:
    """The thread count of one program; see above. flops: of a step."""

    def __init__(self, flops: int) -> None:
        self.flops = max(flops, 1)
        self.seconds: dict[int, float] = {}  # a step's time when it was last measured, by threads
        self._measured: dict[int, float] = {}  # when that was
        self._short: dict[int, deque[float]] = {}  # the same in short passes
        self._short_passes = 0  # since the last look
        self._threads = 0  # of the last slice
        self._best = 0
        self._ended = self._looked = -1e9  # when the last slice, and the last look, came to an end
        self._spent = 0.0  # seconds of slices since then
        self._steady = SLICE_SECONDS  # how long slices may be: short after a change, then twice as long each time
        self._patience, self._trust = LOOK_UP, LOOK_DOWN
        self._usual = 0.0  # a step's time before slices grew slow, while they are
        self._lost = 0.0  # seconds that they took longer since then

    def plan(self, left: int, alone: bool = False) -> Plan:
        """The next slice of a pass of which `left` steps are left. alone: the pass has no others."""
        limit = max(1, config.get_num_threads() // max(1, _side_by_side)) if self.flops >= THREADS_FROM_FLOPS else 1
        if limit == 1:
            return Plan(1, self._steps(1, SLICE_SECONDS))
        fresh = time.perf_counter() - self._ended > PAUSE_SECONDS
        if left < SHORT_STEPS and (alone or fresh):
            return Plan(self._of_short(limit), left, "short")
        threads, looks = self._choose(limit)
        if (fresh or threads != self._threads) and left > 1:
            return Plan(threads, min(self._steps(threads, WARM_SECONDS), left - 1), "warm")
        if looks:
            return Plan(threads, self._steps(threads, LOOK_SECONDS), "look")
        return Plan(threads, self._steps(threads, min(SLICE_SECONDS, self._steady)))

    def record(self, plan: Plan, seconds: float, steps: int) -> None:
        """Note what steps of a plan took."""
        now, each, threads = time.perf_counter(), seconds / steps, plan.threads
        self._threads, self._ended = threads, now
        self._spent += seconds
        if plan.what == "short":
            self._short.setdefault(threads, deque(maxlen=SHORT_KEPT)).append(each)
        elif plan.what != "warm":
            self._steady = min(SLICE_SECONDS, 2 * self._steady)
            if plan.what == "run":
                self._compare(each, steps, self.seconds.get(threads, each))
            self.seconds[threads], self._measured[threads] = each, now
            if plan.what == "look":
                self._usual = self._lost = 0.0
                if threads < self._best:
                    self._trust = min(2 * self._trust, MOST_TRUST * LOOK_DOWN)
                self._looked, self._spent = now, 0.0
            elif threads > 1 and self._steady == SLICE_SECONDS:
                self._patience = LOOK_UP  # they have proved themselves

    def _compare(self, each: float, steps: int, before: float) -> None:
        """Note whether steps of a slice took longer than those `before`, or still do."""
        if each > CHANGED * before:
            self._steady, self._usual = LOOK_SECONDS, self._usual or before
        if self._usual and each > CHANGED * self._usual:
            self._lost += steps * (each - self._usual)
        else:
            self._usual = self._lost = 0.0

    def _steps(self, threads: int, seconds: float) -> int:
        if threads not in self.seconds:
            return max(1, int(FIRST_FLOPS / self.flops))
        return max(1, int(seconds / max(self.seconds[threads], 1e-9)))

    def _choose(self, limit: int) -> tuple[int, bool]:
        """The threads for the next slice, and whether it is a look."""
        for threads in (limit, 1):
            if threads not in self.seconds:
                return threads, True
        best = self._best if self._best in (1, limit) else limit
        other = 1 if best == limit else limit
        if self.seconds[other] < BETTER * self.seconds[best]:
            best, other, self._steady, self._trust = other, best, LOOK_SECONDS, LOOK_DOWN
            if best == 1:
                self._patience = min(2 * self._patience, MOST_PATIENCE * LOOK_UP)
        self._best = best
        return (other, True) if self._due(best, other) else (best, False)

    def _due(self, best: int, other: int) -> bool:
        """Whether to look at the other count now."""
        steps = self._steps(other, WARM_SECONDS) + self._steps(other, LOOK_SECONDS)
        if other < best and self._usual and self._lost >= steps * (self.seconds[other] - self._usual):
            self._trust = LOOK_DOWN
            return True  # by now a look that finds nothing would not have lost more
        since = time.perf_counter() - max(self._measured[other], self._looked)
        longer = steps * (self.seconds[other] - self.seconds[best])  # than steps on the best count, if nothing changed
        least = max(self._patience, LOOKS_APART * longer) if other > best else self._trust
        if self._spent < least:  # of computing: pauses alone give no reason to look
            return False
        return longer * math.pow(0.5, since / FORGETTING) <= LOOK_LOSS * self._spent

    def _of_short(self, limit: int) -> int:
        """The threads for a pass of a few steps: by the second fastest of the last ones, cold as they are."""
        self._short_passes += 1
        for threads in (limit, 1):
            if len(self._short.get(threads, ())) < 2:
                return threads
        taken = {threads: sorted(self._short[threads])[1] for threads in (limit, 1)}
        best, other = sorted(taken, key=taken.__getitem__)
        every = max(SHORT_UP if other > best else SHORT_DOWN, (taken[other] / taken[best] - 1) / SHORT_LOSS)
        if self._short_passes <= every:
            return best
        self._short_passes = 0
        return other
