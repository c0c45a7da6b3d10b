"""A progress bar for loops of one's own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastdl.base.messages import is_interactive_logging_enabled, say


class Progbar:
    """A line of steps done, the time left, and the means of numbers so far, to sys.stdout. Keras: utils.Progbar.

    target: how many steps there will be, None if nobody knows. verbose: 0 nothing, 1 a bar that is written over, 2 one
    line at the end. interval: seconds at least between two drawings. stateful_metrics: names of numbers that are shown
    as they are; or stateless_metrics: those alone that are averaged. ValueError if both are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Only one of stateful_metrics and stateless_metrics can be given")
        self.target, self.width, self.verbose, self.interval, self.unit_name = (
            target,
            width,
            verbose,
            interval,
            unit_name,
        )
        self.stateful_metrics = None if stateless_metrics is not None else set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[float, int]] = {}  # of each number, and of how many steps
        self._seen, self._letters = 0, 0
        self._began = time.perf_counter()
        self._drawn: float | None = None

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """current: steps done; values: (name, number of the last step), or several numbers, of which the mean counts;
        finalize: whether it is the last, which is so at the target if None."""
        last = finalize if finalize is not None else self.target is not None and current >= self.target
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            number = float(np.mean(value))
            total, count = (0.0, 0) if last or not self._averages(name) else self._sums.get(name, (0.0, 0))
            fresh = 1 if last or not self._averages(name) else steps
            self._sums[name] = total + number * fresh, count + fresh
        self._seen, now = current, time.perf_counter()
        if self.verbose == 1 and is_interactive_logging_enabled():
            if last or self._drawn is None or now - self._drawn >= self.interval:
                self._draw(current, now, last)
                self._drawn = now
        elif self.verbose and last:
            say(self._told(current, now, last))

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """As update, with so many more steps done."""
        self.update(self._seen + n, values)

    def _averages(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name in self.stateless_metrics
        return name not in (self.stateful_metrics or ())

    def _draw(self, current: int, now: float, last: bool) -> None:
        """The line in place of the one before."""
        bar = ""
        if self.target:
            done = min(round(self.width * current / self.target), self.width)
            bar = f" {'━' * done}{'─' * (self.width - done)}"
        line = self._told(current, now, last, bar)
        blank = " " * max(self._letters - len(line), 0)
        sys.stdout.write(f"\r{line}{blank}" + "\n" * last)
        sys.stdout.flush()
        self._letters = len(line)

    def _told(self, current: int, now: float, last: bool, bar: str = "") -> str:
        taken = now - self._began
        each = taken / max(current, 1)
        left = each * (self.target - current) if self.target and not last else taken
        count = f"{current}/{self.target}" if self.target is not None else f"{current}/Unknown"
        unit = f"{each:.0f}s" if each >= 1 else f"{1e3 * each:.0f}ms" if each >= 1e-3 else f"{1e6 * each:.0f}us"
        means = {name: total / count for name, (total, count) in self._sums.items()}
        told = (
            f" - {name}: {mean:.4f}" if abs(mean) > 1e-3 else f" - {name}: {mean:.4e}" for name, mean in means.items()
        )
        return f"{count}{bar} {_time(left)} {unit}/{self.unit_name}" + "".join(told)


def _time(seconds: float) -> str:
    """7s, 1:05, 2:00:09"""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"
