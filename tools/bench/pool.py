"""The parent's side: one child a peer and thread count, of which one runs and all others stand still."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench import machine
from bench.peers import PEERS
from bench.ratios import Who
from bench.workloads import Skip

SCRIPT = Path(__file__).resolve().parents[1] / "benchmark.py"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Child:
    """A peer's process; stopped (SIGSTOP) unless it is asked something."""

    def __init__(self, name: str, threads: int, home: str) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        environment |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_HOME": home}
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no helper processes
        environment |= PEERS[name].environment
        self.name, self.threads = name, threads
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the child)
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self.versions: dict[str, Any] = self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, do: str, **request: Any) -> Any:
        """What the child answers. Skip if it cannot."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
            return self._answer()
        except BrokenPipeError:
            raise Skip("its process has ended") from None
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Skip("its process has ended")
        answer = json.loads(line)
        if "skip" in answer:
            raise Skip(answer["skip"])
        return answer["value"]

    def cpu_seconds(self) -> float:
        """What it and those it waited for have used; 0 where the system does not tell."""
        return machine.cpu_seconds(self._process.pid)

    def log(self) -> str:
        """What it wrote to standard error."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Pool:
    """All children of a run, and why some peers have none."""

    def __init__(self, names: Iterable[str], threads: Sequence[int]) -> None:
        self.children: dict[Who, Child] = {}
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, Any] = {}
        self._home = tempfile.TemporaryDirectory(prefix="fastdl-bench-")
        for name in names:
            word = PEERS[name].missing()
            for count in () if word else threads:
                note(f"starting {name}, {count} thread{'s' * (count > 1)}")
                try:
                    self.children[name, count] = Child(name, count, self._home.name)
                except Skip as skip:
                    word = str(skip)
                    break
                self.versions = {**self.children[name, count].versions, **self.versions}
            if word:
                self.skipped[name] = word
        note("")

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children.values():
            child.close()
        self._home.cleanup()

    def rivals(self) -> Rivals:
        """A clock of what others use."""
        return Rivals(self)

    def interleave(
        self, kind: str, case: dict[str, Any], rounds: int, seconds: float, label: str
    ) -> tuple[dict[Who, list[float]], dict[Who, str]]:
        """Everyone prepares the case; then everyone runs one round after the other, `rounds` times.

        Seconds per step of each round, and why someone does not take part.
        """
        times: dict[Who, list[float]] = {}
        words: dict[Who, str] = {}
        for who, child in self.children.items():
            note(f"{label}: {who[0]} prepares, {who[1]} thread{'s' * (who[1] > 1)}")
            try:
                child.ask("prepare", kind=kind, case=case, seconds=seconds)
                times[who] = []
            except Skip as skip:
                words[who] = str(skip)
        for number in range(1, rounds + 1):
            for who in list(times):
                note(f"{label}: round {number} of {rounds}, {who[0]}")
                try:
                    times[who].append(self.children[who].ask("round"))
                except Skip as skip:
                    words[who] = str(skip)
                    del times[who]
        note("")
        return times, words


class Rivals:
    """How many cores others keep busy, from now until asked: what spoils a peer that spins."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._began = pool, time.perf_counter()
        self._before = self._used()

    def _used(self) -> float:
        ours = sum(os.times()[:4]) + sum(child.cpu_seconds() for child in self._pool.children.values())
        return machine.busy_seconds() - ours

    def cores(self) -> float:
        """On average since the start; 0 where the system does not tell."""
        return round(max(0.0, (self._used() - self._before) / (time.perf_counter() - self._began)), 2)


def note(text: str) -> None:
    """What goes on, on one line of the terminal that the next note replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
