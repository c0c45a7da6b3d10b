"""Runs programs for a model: which are compiled, how many threads, how a pass over data is cut into slices."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastdl import config
from fastdl.base.arrays import Array
from fastdl.compiler.program import Program

SLICE_SECONDS = 0.03  # between two slices Python looks up: progress, Ctrl-C, callbacks; beside rivals it takes longer
FIRST_SLICE_FLOPS = 2e7  # a few milliseconds on any machine: it measures how long a step takes
THREADS_FROM_FLOPS = 4e6  # a step of less work than this is done before a second thread has helped
PROBE_EVERY = 3  # at least so many slices between two looks at the thread count that was slower last time
PROBE_SHARE = 8  # how much shorter such a look is than a slice
PROBE_LOSS = 0.02  # and how much of all time these looks may lose
KEPT_PROGRAMS = 16


@dataclass(frozen=True)
class Slice:
    """Steps that one C call runs: `steps` batches of the program from row `start`, on `threads` threads."""

    program: Program
    pace: Pace
    start: int
    steps: int
    threads: int
    probe: bool


class Pace:
    """How many threads a program is fastest on, by measurement: on a busy machine one thread beats two that wait.

    Results do not depend on the number of threads, so it may change from slice to slice.
    """

    def __init__(self, flops: int) -> None:
        self.flops = max(flops, 1)
        self.seconds: dict[int, float] = {}  # a step's time, by threads, lately
        self._last: dict[int, float] = {}  # the last slice's, by threads
        self._warm: set[int] = set()
        self._slices = 0  # since the last probe
        self._spent = 0.0  # seconds since then

    def choose(self) -> tuple[int, bool]:
        """The threads for the next slice, and whether it is a probe, which should be short."""
        limit = config.get_num_threads() if self.flops >= THREADS_FROM_FLOPS else 1
        for threads in (limit, 1):
            if threads not in self.seconds:
                return threads, True
        best, other = sorted((limit, 1), key=lambda threads: self.seconds[threads])
        lost = self.steps(other, probe=True) * (self.seconds[other] - self.seconds[best])
        probe = limit > 1 and self._slices >= PROBE_EVERY and lost <= PROBE_LOSS * self._spent
        return (other if probe else best), probe

    def steps(self, threads: int, probe: bool) -> int:
        """How many steps to take at once."""
        if threads not in self.seconds:
            return max(1, int(FIRST_SLICE_FLOPS / self.flops))
        seconds = SLICE_SECONDS / (PROBE_SHARE if probe else 1)
        return max(1, int(seconds / max(self.seconds[threads], 1e-9)))

    def record(self, threads: int, seconds: float, steps: int, probe: bool) -> None:
        """Note what steps took. The first slice is not counted: it wakes threads and fills caches."""
        self._slices, self._spent = (0, 0.0) if probe else (self._slices + 1, self._spent + seconds)
        if threads not in self._warm:
            self._warm.add(threads)
            return
        each = seconds / steps
        # others on the machine only ever make a step slower: one slow slice is theirs, two may be the program's
        self.seconds[threads] = min(each, self._last.get(threads, each))
        self._last[threads] = each


class Engine:
    """The programs of one model, by purpose and batch size; the least recently used is dropped."""

    def __init__(self) -> None:
        self._programs: OrderedDict[tuple[str, int], tuple[Program, Pace]] = OrderedDict()

    def clear(self) -> None:
        self._programs.clear()

    def _program(self, purpose: str, batch: int, make: Callable[[int], Program]) -> tuple[Program, Pace]:
        key = purpose, batch
        if key not in self._programs:
            program = make(batch)
            self._programs[key] = program, Pace(program.flops)
            if len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]

    def small(self, purpose: str, rows: int, make: Callable[[int], Program]) -> Program | None:
        """The program for all rows at once if one thread runs it sooner than it could be measured, else None."""
        program, pace = self._program(purpose, rows, make)
        return program if pace.flops < THREADS_FROM_FLOPS else None

    def slices(
        self, purpose: str, rows: int, batch: int, make: Callable[[int], Program], most: int | None = None
    ) -> Iterator[Slice]:
        """Cut a pass over `rows` rows into slices of about SLICE_SECONDS; the rest of the rows is one smaller batch.

        most: a slice is no longer than so many steps. The caller runs each slice before it takes the next: its time
        decides the next one's length and threads.
        """
        rest = rows % batch
        for size, begin, full in ((batch, 0, rows // batch), (rest, rows - rest, 1 if rest else 0)):
            if full == 0:
                continue
            program, pace = self._program(purpose, size, make)
            program.reset()
            done = 0
            while done < full:
                threads, probe = pace.choose()
                steps = min(pace.steps(threads, probe), full - done, most or full)
                yield Slice(program, pace, begin + done * size, steps, threads, probe)
                done += steps

    def some(self, purpose: str, rows: int, steps: int, make: Callable[[int], Program], met: set[Program]) -> Slice:
        """Some batches of a pass in which the programs `met` have run; any other begins its sums anew, and is met."""
        program, pace = self._program(purpose, rows, make)
        if program not in met:
            program.reset()
            met.add(program)
        threads, probe = pace.choose()
        return Slice(program, pace, 0, steps, threads, probe)


def run(
    slice_: Slice,
    feeds: dict[int, Array],
    *,
    index: Array | None = None,
    rates: Array | None = None,
    step: int = 0,
    seed: int = 0,
    schedule_step: int | None = None,
) -> None:
    """Run one slice, and note how long it took: itself, not what callbacks do after it."""
    began = time.perf_counter()
    slice_.program.run(
        feeds,
        start=slice_.start,
        steps=slice_.steps,
        index=index,
        rates=rates,
        step=step,
        seed=seed,
        threads=slice_.threads,
        schedule_step=schedule_step,
    )
    slice_.pace.record(slice_.threads, time.perf_counter() - began, slice_.steps, slice_.probe)
