"""The progress bar of fit: loss, metrics, samples a second, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from fastdl.base.messages import is_interactive_logging_enabled, say


def describe(logs: dict[str, Any]) -> str:
    """`loss: 0.4321 - accuracy: 0.8512 - learning_rate: 1.0000e-04 - f1_score: 0.9000 0.8000`"""

    def number(value: float) -> str:
        return f"{value:.4e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"

    return " - ".join(f"{name}: {' '.join(map(number, np.ravel(value)))}" for name, value in logs.items())


EACH = 0.1  # seconds from one drawing of a notebook's line to the next


def _in_notebook() -> bool:
    """Whether what is printed goes to a notebook's cell."""
    return "ipykernel" in sys.modules and type(sys.stdout).__module__.startswith("ipykernel")


class Progress:
    """One epoch's line, live on a terminal, printed once at its end elsewhere. verbose: 0 nothing, 1 bar, 2 line."""

    def __init__(self, epoch: int, epochs: int, steps: int | None, verbose: int) -> None:
        self.title, self.verbose, self.steps, self.rows = f"Epoch {epoch + 1}/{epochs}", verbose, 0, 0
        self.started, self.total = time.perf_counter(), steps
        self.bar: Any = None
        live = verbose == 1 and is_interactive_logging_enabled()
        self.redraws = live and _in_notebook()  # the line itself, which a notebook writes over
        self._drawn, self._width = 0.0, 0
        if live and sys.stdout is not None and sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn(self.title),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[speed]} {task.fields[logs]}"),
                transient=True,
            )
            self.task = self.bar.add_task("", total=steps, speed="", logs="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def update(self, steps: int, rows: int, logs: dict[str, float]) -> None:
        """Show that `steps` steps with `rows` rows are done."""
        self.steps, self.rows = steps, rows
        if self.bar:
            speed = rows / max(time.perf_counter() - self.started, 1e-9)
            self.bar.update(self.task, completed=steps, speed=f"{speed:,.0f} samples/s", logs=describe(logs))
        elif self.redraws and time.perf_counter() - self._drawn > EACH:
            of = f"{steps}/{self.total}" if self.total else str(steps)
            done = "━" * round(24 * steps / self.total) if self.total else ""
            self._draw(f"{self.title} - {of} {done:<24} - {describe(logs)}")

    def _draw(self, line: str, end: str = "") -> None:
        """The line in place of the one before."""
        blank = max(self._width - len(line), 0) * " "
        print(f"\r{line}{blank}", end=end, flush=True)
        self._drawn, self._width = time.perf_counter(), len(line)

    def finish(self, logs: dict[str, float]) -> None:
        """The epoch's line. Its time is from the start, validation included."""
        seconds = time.perf_counter() - self.started
        if self.bar:
            self.bar.stop()
        if not (self.verbose or self.redraws):
            return
        line = (
            f"{self.title} - {self.steps}/{self.steps} - {seconds:.2f} s - "
            f"{self.rows / max(seconds, 1e-9):,.0f} samples/s - {describe(logs)}"
        )
        if self.redraws:
            self._draw(line, end="\n")
        else:
            say(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
