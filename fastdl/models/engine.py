"""Runs programs for a model: which are compiled, how many threads, how a pass over data is cut into slices."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastdl import config
from fastdl.graph import Array
from fastdl.program import Program

SLICE_SECONDS = 0.05  # between two slices Python looks up: progress, Ctrl-C, callbacks
FIRST_SLICE_FLOPS = 2e7  # a few milliseconds on any machine: it measures how long a step takes
THREADS_FROM_FLOPS = 4e6  # a step of less work than this is done before a second thread has helped
KEPT_PROGRAMS = 16


@dataclass(frozen=True)
class Slice:
    """Steps that one C call runs: `steps` batches of the program from row `start`."""

    program: Program
    start: int
    steps: int


class Engine:
    """The programs of one model, by purpose and batch size; the least recently used is dropped."""

    def __init__(self) -> None:
        self._programs: OrderedDict[tuple[str, int], Program] = OrderedDict()

    def clear(self) -> None:
        self._programs.clear()

    def program(self, purpose: str, batch: int, make: Callable[[int], Program]) -> Program:
        key = purpose, batch
        if key not in self._programs:
            self._programs[key] = make(batch)
            if len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]

    def slices(self, purpose: str, rows: int, batch: int, make: Callable[[int], Program]) -> Iterator[Slice]:
        """Cut a pass over `rows` rows into slices of about SLICE_SECONDS; the rest of the rows is one smaller batch.

        The caller runs each slice before it takes the next: its time decides the next one's length.
        """
        full = rows // batch
        done = 0
        if full:
            program = self.program(purpose, batch, make)
            steps = max(1, int(FIRST_SLICE_FLOPS / max(program.flops, 1)))
            while done < full:
                steps = min(steps, full - done)
                began = time.perf_counter()
                yield Slice(program, done * batch, steps)
                done += steps
                seconds = max(time.perf_counter() - began, 1e-7)
                steps = max(1, int(steps * min(SLICE_SECONDS / seconds, 16)))
        if rows % batch:
            yield Slice(self.program(purpose, rows % batch, make), done * batch, 1)


def run(
    piece: Slice,
    feeds: dict[int, Array],
    *,
    index: Array | None = None,
    rates: Array | None = None,
    step: int = 0,
    seed: int = 0,
) -> None:
    """Run one slice on as many threads as its work deserves."""
    threads = config.get_num_threads() if piece.program.flops >= THREADS_FROM_FLOPS else 1
    piece.program.run(
        feeds, start=piece.start, steps=piece.steps, index=index, rates=rates, step=step, seed=seed, threads=threads
    )
