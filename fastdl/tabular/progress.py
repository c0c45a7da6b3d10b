"""One line that tells how far nets are: rewritten on a terminal, anew every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time

from fastdl.tabular.scores import told
from fastdl.tabular.training import Job

ON_A_TERMINAL, ELSEWHERE = 0.2, 10.0  # seconds between two lines


class Teller:
    """Hears of each epoch of each net, from any thread; call `end` when all are done."""

    def __init__(self, metric: str) -> None:
        self._metric, self._lock, self._last = metric, threading.Lock(), 0.0
        self._epochs: dict[int, tuple[int, int]] = {}  # by the seed of a net: done, and of how many
        self._best = float("inf")
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._width = 0

    def __call__(self, job: Job, epoch: int, score: float) -> None:
        """A net has ended an epoch with this score on its held-out rows."""
        with self._lock:
            self._epochs[job.seed] = epoch + 1, job.recipe.epochs
            self._best = min(self._best, score)
            now = time.monotonic()
            if now - self._last >= (ON_A_TERMINAL if self._terminal else ELSEWHERE):
                self._last = now
                self._show(self._line())

    def end(self) -> None:
        """The last line."""
        with self._lock:
            if self._epochs:
                self._show(self._line())
                if self._terminal:
                    print(flush=True)

    def _line(self) -> str:
        done = sum(epoch >= most for epoch, most in self._epochs.values())
        running = [f"{epoch}/{most}" for epoch, most in self._epochs.values() if epoch < most]
        parts = [f"{time.monotonic() - self._began:.0f} s", f"{done} nets trained"]
        parts += [f"epochs {', '.join(running)}"] if running else []
        return "Training: " + "; ".join([*parts, f"best {self._metric} of one {told(self._metric, self._best):.4g}"])

    def _show(self, line: str) -> None:
        if self._terminal:
            print(f"\r{line.ljust(self._width)}", end="", flush=True)
            self._width = len(line)
        else:
            print(line, flush=True)
