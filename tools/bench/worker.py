"""The child: one peer, asked line by line over pipes (JSON in, JSON out) to prepare a case and run rounds.

    {"do": "prepare", "kind": "train", "case": {…}, "seconds": 0.2}   → {"value": {"calls": …, "steps": …}}
    {"do": "round"}                                                   → {"value": seconds per step}

An answer is {"value": …}, or {"skip": "why, in a word"}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from bench import machine
from bench.peers import PEERS
from bench.workloads import Skip, Unit, workload

PATIENCE = 3  # a round is cut short after so many times the seconds it should take


def _seconds(unit: Unit, calls: int) -> float:
    """Seconds that a step takes."""
    run = unit.run
    began = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - began) / (calls * unit.steps)


class Worker:
    """A peer, and what it has prepared."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.peer = importlib.import_module(f"bench.peers.{PEERS[name].module}")
        self.peer.setup(threads, PEERS[name].variant)
        self.unit, self.calls, self.seconds = Unit(lambda: None), 1, 0.0
        self.learner: Any = None

    def versions(self) -> dict[str, Any]:
        """What runs here."""
        versions: dict[str, Any] = self.peer.versions()
        return versions

    def prepare(self, kind: str, case: dict[str, Any], seconds: float) -> dict[str, int]:
        """Make the unit of `kind`, warm it up, and find how many calls make a round of about `seconds`."""
        make: Callable[..., Unit] | None = getattr(self.peer, kind, None)
        if make is None:
            raise Skip(f"has no {kind}")
        if kind == "matmul":
            import numpy as np

            rng = np.random.default_rng(0)
            a, b = (rng.standard_normal(case[name], np.float32) for name in "ab")
            self.unit = make(a, b, case["transpose_a"], case["transpose_b"])
        else:
            self.unit = make(workload(case))
        self.unit.run()  # compiles
        self.calls, self.seconds = 1, seconds
        while (taken := _seconds(self.unit, self.calls) * self.unit.steps * self.calls) < 0.2 * seconds:
            self.calls = 1 + int(self.calls * min(10, 0.3 * seconds / max(taken, 1e-9)))
        self.calls = max(1, round(self.calls * seconds / taken))
        return {"calls": self.calls, "steps": self.unit.steps}

    def round(self) -> float:
        """Seconds a step, of one round; cut short where it takes far longer than it did while preparing."""
        chunk, done, began = max(1, self.calls // 8), 0, time.perf_counter()
        while done < self.calls and (done == 0 or time.perf_counter() - began < PATIENCE * self.seconds):
            for _ in range(chunk):
                self.unit.run()
            done += chunk
        return (time.perf_counter() - began) / (done * self.unit.steps)

    def profile(self, case: dict[str, Any]) -> str:
        """Where a step's time goes."""
        return str(self.peer.profile(workload(case)))

    def first(self, case: dict[str, Any]) -> float:
        """Seconds from making a model to the end of one step, less a warm step's."""
        work = workload(case)
        work.data  # noqa: B018 (made before the clock starts)
        began = time.perf_counter()
        unit = self.peer.train(work)
        unit.run()
        whole = time.perf_counter() - began
        return whole - min(_seconds(unit, 1) for _ in range(5)) * unit.steps

    def open_files(self, case: dict[str, Any], folder: str) -> None:
        """Prepare to train on the files in a folder."""
        self.unit = self.peer.open_files(workload(case), folder)

    def epoch(self) -> tuple[float, int]:
        """Seconds of one epoch on files that no cache holds, and the bytes that were read from the disk."""
        self.peer.drop()
        before, began = machine.disk_bytes(), time.perf_counter()
        self.unit.run()
        return time.perf_counter() - began, machine.disk_bytes() - before

    def new_learner(self, case: dict[str, Any], seed: int) -> None:
        """A new net, and Fashion-MNIST in as many parts as a pass is split into."""
        from bench.accuracy import data

        self.train, self.test = data()
        self.learner = self.peer.Learner(workload(case), seed)

    def learn(self, part: int, parts: int) -> tuple[float, float]:
        """Train on one part of the rows: its seconds, and the test accuracy after it."""
        x, y = (array[len(array) * part // parts : len(array) * (part + 1) // parts] for array in self.train)
        began = time.perf_counter()
        self.learner.learn(x, y)
        seconds = time.perf_counter() - began
        return seconds, self.learner.accuracy(*self.test)


def _serve(worker: Worker, answers: TextIO) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(worker, request.pop("do"))(**request)}
        except Skip as skip:
            answer = {"skip": str(skip)}
        except Exception as error:
            traceback.print_exc()
            answer = {"skip": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:60]}"}
        print(json.dumps(answer), file=answers, flush=True)


def main(arguments: Sequence[str]) -> int:
    """`worker NAME THREADS`: pins itself before any library looks at the cores, then serves standard input."""
    _, name, threads = arguments
    machine.pin(int(threads))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    try:
        worker = Worker(name, int(threads))
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({"skip": f"{type(error).__name__} at import"}), file=answers, flush=True)
        return 1
    print(json.dumps({"value": worker.versions()}), file=answers, flush=True)
    _serve(worker, answers)
    return 0
