"""Runs programs for a model: which are compiled, and how a pass over data is cut into slices."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastdl.base.arrays import Array
from fastdl.compiler.program import Program
from fastdl.models.pace import THREADS_FROM_FLOPS, Pace, Plan

KEPT_PROGRAMS = 16


@dataclass(frozen=True)
class Slice:
    """Steps that one C call runs: `steps` batches of the program from row `start`, as its pace has planned them."""

    program: Program
    pace: Pace
    start: int
    steps: int
    plan: Plan

    @property
    def threads(self) -> int:
        return self.plan.threads


class Engine:
    """The programs of one model, by purpose and batch size; the least recently used is dropped."""

    def __init__(self) -> None:
        self._programs: OrderedDict[tuple[str, int], tuple[Program, Pace]] = OrderedDict()
        # By the shape of rows, what predicts arrays of it that need no look, and the answer's width: see Session
        self.ready: dict[tuple[int, ...], tuple[Program, int] | None] = {}

    def clear(self) -> None:
        self._programs.clear()
        self.ready.clear()

    def _program(self, purpose: str, batch: int, make: Callable[[int], Program]) -> tuple[Program, Pace]:
        key = purpose, batch
        if key not in self._programs:
            program = make(batch)
            self._programs[key] = program, Pace(program.flops)
            if len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
                self.ready.clear()
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
                left = min(full - done, most or full)
                plan = pace.plan(left, alone=left == full)
                steps = min(plan.steps, left)
                yield Slice(program, pace, begin + done * size, steps, plan)
                done += steps

    def some(self, purpose: str, rows: int, steps: int, make: Callable[[int], Program], met: set[Program]) -> Slice:
        """Some batches of a pass in which the programs `met` have run; any other begins its sums anew, and is met."""
        program, pace = self._program(purpose, rows, make)
        if program not in met:
            program.reset()
            met.add(program)
        return Slice(program, pace, 0, steps, pace.plan(steps))


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
    slice_.pace.record(slice_.plan, time.perf_counter() - began, slice_.steps)
