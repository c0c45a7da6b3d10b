"""The learning-rate finder: train a few steps with ever larger rates, see where the loss falls and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastdl.base import random
from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import X_FEED
from fastdl.models.feeding import Feeds
from fastdl.models.model import Model
from fastdl.schedules import ExponentialDecay

MOST_STEPS = 100_000  # whoever waits for more does not look for a rate
SMOOTHING = 0.9
WARM = 10  # the first smoothed losses are as noisy as single ones
BROKEN = 4  # the search ends when the loss is so many times its least


@dataclass(frozen=True, repr=False)
class LearningRateSearch:
    """The rate of each step, the batch's loss before it, that smoothed, and a rate to train with.

    The suggestion is a tenth of the rate at which the smoothed loss was least: near there it is about to break. None
    if the loss never fell by more than its noise.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None

    def __repr__(self) -> str:
        tried = (
            f"{len(self.rates)} rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}"
            if len(self.rates)
            else "no rate"
        )
        return f"<LearningRateSearch: {tried}, suggestion {self.suggestion and f'{self.suggestion:.1e}'}>"

    def plot(self, path: str | Path) -> None:
        """Draw loss over rate to a PNG. ImportError: no matplotlib."""
        from fastdl.plots import learning_rate_search

        learning_rate_search(self, path)


@contextmanager
def _on_trial(model: Model, schedule: ExponentialDecay) -> Iterator[None]:
    """The model with a fresh optimizer that follows the schedule; afterwards all is as before, random draws too."""
    optimizer, _ = model.session.compiled()
    optimizer = optimizer.fresh()
    optimizer.learning_rate = schedule
    weights = model.get_weights()
    with random.restored(), model.session.trial(optimizer):
        try:
            yield
        finally:
            model.set_weights(weights)


def find_learning_rate(
    model: Model, x: Any, y: Any, min: float = 1e-6, max: float = 10.0, steps: int = 100, batch_size: int = 32
) -> LearningRateSearch:
    """Train `steps` batches with rates from min to max, each the same factor larger; then restore the model.

    The optimizer begins afresh, with the model's weights as they are. It ends early when the loss has grown fourfold
    or is no number. Smith 2017. ValueError, DataError, ShapeError, before any weight is touched.
    """
    if not 0 < real("min", min) < real("max", max, finite=True):
        raise ValueError(f"min and max must be rates with 0 < min < max, not {min} and {max}")
    whole("steps", steps, 2, MOST_STEPS)
    whole("batch_size", batch_size)
    feeds = model.session.feeds(model.session.feeding.inputs(x), y)
    schedule = ExponentialDecay(min, steps - 1, max / min)
    losses, smoothed, mean = list[float](), list[float](), 0.0
    with _on_trial(model, schedule):
        for loss in _losses(model, feeds, steps, batch_size):
            losses.append(loss)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            smoothed.append(mean / (1 - SMOOTHING ** len(losses)))
            least = np.min(smoothed)
            if not math.isfinite(loss) or 0 < BROKEN * least < smoothed[-1]:
                break
    curves = np.array(losses), np.array(smoothed)
    rates = schedule(np.arange(len(losses)))
    return LearningRateSearch(rates, *curves, _suggestion(rates, *curves))


def _losses(model: Model, feeds: Feeds, steps: int, batch_size: int) -> Iterator[float]:
    """The loss of each step."""
    rows = len(feeds[X_FEED])
    size = np.minimum(batch_size, rows).item()
    passes = -(-steps * size // rows)
    index = np.concatenate([random.generator().permutation(rows) for _ in range(passes)])
    for slice_ in model.session.slices("train", feeds, size, most=1, rows=steps * size):
        slice_.program.reset()
        model.session.train(slice_, feeds, index)
        yield model.session.logs([slice_.program])["loss"]


def _suggestion(rates: Array, losses: Array, smoothed: Array) -> float | None:
    usable = np.flatnonzero(np.isfinite(smoothed))
    quarter = len(losses) // 4  # its rates are too small to learn, or else the loss falls within it, and then more
    usable = usable[usable >= np.minimum(quarter, WARM)]
    if not quarter or not len(usable):
        return None
    best = usable[smoothed[usable].argmin()]
    noise = np.diff(losses[:quarter]).std() / math.sqrt(2) if quarter > 2 else 0.0  # of one batch's loss
    return float(rates[best] / 10) if smoothed[best] < losses[:quarter].mean() - noise else None
