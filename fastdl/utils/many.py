"""Many models at once: a sweep, an ensemble, a net for each sensor; each on one thread, all cores busy."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self

from fastdl import config
from fastdl.base.arguments import shown, whole
from fastdl.base.messages import is_interactive_logging_enabled, say
from fastdl.base.random import draw_seed, local_random_seed
from fastdl.callbacks import Callback
from fastdl.models import History, Model
from fastdl.models.progress import describe

LOOK_UP = 0.1  # seconds after which Ctrl-C is heard at the latest


def fit_all(
    models: Sequence[Model],
    x: Any = None,
    y: Any = None,
    *,
    each: Sequence[Mapping[str, Any]] | None = None,
    seeds: Sequence[int] | None = None,
    workers: int | None = None,
    verbose: int | str = "auto",
    **fit: Any,
) -> list[History]:
    """Fit compiled models side by side, each on one thread, with the bits that it would have alone.

    x, y and all else are `fit`'s arguments for every model; each: more of them, or others, model by model. Model i is
    fitted as within `local_random_seed(seeds[i])`; seeds that are not given are drawn in order, so that set_random_seed
    makes all of it repeatable. workers: how many at once, config.get_num_threads() if None. verbose: one display for
    all, or, 2 and where there is no terminal, a line a model.

    An error of one model, or Ctrl-C, stops the others after the batches that they are at, and is raised. ValueError for
    a model that is there twice, or another number of seeds or arguments.
    """
    models = list(models)
    count = whole("workers", config.get_num_threads() if workers is None else workers)
    if len({id(model) for model in models}) < len(models):
        raise ValueError("models has one model twice: each can be trained by one thread at a time")
    own = _one_each("each", each, models) or [{}] * len(models)
    starts = _one_each("seeds", seeds, models) or [draw_seed() % 2**32 for _ in models]
    display = _Display(len(models), shown("verbose", verbose))

    def run(number: int) -> History:
        arguments = {"x": x, "y": y, **fit, **own[number], "verbose": 0}
        arguments["callbacks"] = [arguments.get("callbacks"), _Epochs(display)]
        with config.thread_limit(1), local_random_seed(starts[number]):
            history = models[number].fit(**arguments)
        display.finished(number, models[number], history)
        return history

    with display, ThreadPoolExecutor(max(1, min(count, len(models)))) as pool:
        futures = [pool.submit(run, number) for number in range(len(models))]
        try:
            _join(futures)
        finally:
            if not all(future.done() for future in futures):
                _stop(futures, models)
    return [future.result() for future in futures]


def _one_each(name: str, values: Sequence[Any] | None, models: Sequence[Model]) -> list[Any] | None:
    if values is not None and len(values) != len(models):
        raise ValueError(f"{name} has {len(values)} entries for {len(models)} models")
    return None if values is None else list(values)


def _join(futures: Sequence[Future[History]]) -> None:
    """Wait for all; the error of one is raised as soon as it has failed."""
    left = set(futures)
    while left:
        done, left = wait(left, LOOK_UP, FIRST_COMPLETED)
        for future in done:
            future.result()


def _stop(futures: Sequence[Future[History]], models: Sequence[Model]) -> None:
    """No model begins any more, and those that are being fitted come to an end."""
    for future in futures:
        future.cancel()
    while not all(future.done() for future in futures):
        for future, model in zip(futures, models, strict=True):
            if future.running():
                model.stop_training = True
        wait(futures, LOOK_UP)


class _Display:
    """One line for all: models, epochs, time; verbose 0: nothing, 1: live on a terminal, 2: a line a model."""

    def __init__(self, models: int, verbose: int) -> None:
        self.models, self.verbose, self.done, self.epochs = models, verbose, 0, 0
        self._lock, self._began = threading.Lock(), time.perf_counter()
        self._bar: Any = None
        live = verbose == 1 and is_interactive_logging_enabled() and sys.stdout is not None and sys.stdout.isatty()
        if live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            words = TextColumn("{task.fields[told]}")
            self._bar = Progress(
                TextColumn("Models"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                words,
            )
            self._task = self._bar.add_task("", total=models, told="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def epoch(self) -> None:
        """One model has come to the end of an epoch."""
        with self._lock:
            self.epochs += 1
            if self._bar:
                self._bar.update(self._task, told=self._told())

    def finished(self, number: int, model: Model, history: History) -> None:
        """One model is fitted."""
        last = {name: values[-1] for name, values in history.history.items() if values}
        with self._lock:
            self.done += 1
            if self._bar:
                self._bar.update(self._task, completed=self.done, told=self._told())
            elif self.verbose:
                say(f"Model {number + 1} ({model.name}), {self.done}/{self.models} - {self._told()} - {describe(last)}")

    def _told(self) -> str:
        return f"{self.epochs:,} epochs, {time.perf_counter() - self._began:.1f} s"


class _Epochs(Callback):
    """Tells the display of each epoch."""

    def __init__(self, display: _Display) -> None:
        super().__init__()
        self._display = display

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._display.epoch()
