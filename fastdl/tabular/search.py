"""A short search: recipes drawn at random, bagged over folds, as many as a limit of time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular import nets
from fastdl.tabular.ensembles import Candidate, candidate_of, train_all, workers_for
from fastdl.tabular.recipes import CLASSES, SLIM, Recipe
from fastdl.tabular.scores import Score
from fastdl.tabular.splits import fold_numbers
from fastdl.tabular.training import Data, Job, Member, Progressing, train

FOLDS = 5
LEAST = 1 / 16  # of a recipe's epochs, where there is no time for all
LIGHT = (64, 64)  # layers of half the cost
PILOT_ROWS, PILOT_EPOCHS = 2560, 8
RESERVE = 0.1  # of the time: for the file, the proof, and what is slower than it was foreseen
MOST = 40  # candidates


@dataclass(frozen=True)
class Plan:
    """folds: 0 where there is time for nets that are judged by one fifth of the rows only."""

    folds: int
    epochs: int


def plan(most: int, epochs: float) -> Plan:
    """How to spend so many epochs over all rows, on recipes of `most` each. A bag takes as many as its epochs, times 4.

    One whole bag comes before several that are half trained: with few rows an epoch is a step or two.
    """
    for folds, each in ((FOLDS, epochs / (FOLDS - 1)), (0, epochs / 2 / (1 - 1 / FOLDS))):
        if each >= LEAST * most:
            return Plan(folds, min(most, int(each)))
    return Plan(0, max(1, round(most * LEAST / 2)))


@dataclass(frozen=True)
class Cost:
    """Seconds of one thread: to make a net, and of each of its epochs over all rows."""

    start: float
    epoch: float

    def of(self, nets: int, epochs: float) -> float:
        return nets * self.start + epochs * self.epoch


def pilot(recipe: Recipe, data: Data, score: Score, seed: int) -> Cost:
    """What a net of the recipe costs: as measured on some of the rows."""
    rows = np.arange(min(len(data), PILOT_ROWS))
    ends: list[float] = []
    progress = Progressing(tell=lambda *_: ends.append(time.monotonic()))
    began = time.monotonic()
    train(
        Job(recipe.changed(epochs=PILOT_EPOCHS), rows, rows[: 1 + len(rows) // FOLDS], seed), data, score, progress, 1
    )
    epoch = float(np.median(np.diff(ends)))
    steps = [nets.steps_of(each, recipe.batch_size) for each in (len(rows), len(data))]
    return Cost(max(ends[0] - began - epoch, 0.0), epoch / steps[0] * steps[1])


def recipes(first: Recipe, task: str, generator: np.random.Generator) -> Iterator[Recipe]:
    """The first one, one without hidden layers, which adds up what each column says and is soon trained, then draws
    around the first, as Holzmüller et al. (2024) search."""
    yield first
    if first.hidden_layer_sizes and first.members == 1:
        yield first.changed(hidden_layer_sizes=(), dropout=0.0)
    while True:
        yield first.changed(
            hidden_layer_sizes=_one_of(generator, [(96, 96, 96), (64, 64), (128, 128, 128), (192, 192)]),
            activation=_one_of(generator, ["selu", "mish", "relu"]),
            numeric_encoding=_one_of(generator, ["pbld", "pbld", "pbld", None]),
            frequency_scale=float(np.exp(generator.uniform(np.log(0.03), np.log(0.6)))),
            learning_rate=first.learning_rate * float(np.exp(generator.uniform(np.log(0.4), np.log(2.5)))),
            weight_decay=_one_of(generator, [0.0, 0.02, 0.05]),
            dropout=_one_of(generator, [0.0, 0.1, 0.2, 0.3]),
            label_smoothing=_one_of(generator, [0.0, first.label_smoothing]) if task == CLASSES else 0.0,
        )


def _one_of(generator: np.random.Generator, choices: Sequence[object]) -> object:
    return choices[int(generator.integers(len(choices)))]


def jobs_of(recipe: Recipe, folds: Array, seed: int) -> list[Job]:
    """A net for each fold, which judges it. folds: of each row, as fold_numbers gives them."""
    return [
        Job(recipe, np.flatnonzero(folds != k), np.flatnonzero(folds == k), seed + k) for k in range(folds.max() + 1)
    ]


def search(
    first: Recipe,
    data: Data,
    score: Score,
    progress: Progressing,
    end: float,
    seed: int,
    n_jobs: int | None,
    learned: int | None = None,
) -> list[Candidate]:
    """Candidates that were judged by the same rows, trained until `end`, a time of time.monotonic.

    learned: rows from that number on judge them all; None: each fold its own nets, or one fifth where time is short.
    """
    generator = np.random.default_rng(seed)
    workers = workers_for(FOLDS, n_jobs)
    until = end - RESERVE * (end - time.monotonic())

    def planned() -> Plan:
        cost = pilot(first, data, score, seed)
        return plan(first.epochs, ((until - time.monotonic()) * workers - cost.of(FOLDS, 0)) / cost.epoch)

    chosen = planned()
    if chosen.epochs < first.epochs and first.hidden_layer_sizes == SLIM.hidden_layer_sizes:
        first = first.changed(hidden_layer_sizes=LIGHT)  # where time is short, epochs are worth more than units
        chosen = planned()
    folds = fold_numbers(data.targets, FOLDS, generator) if learned is None else (np.arange(len(data)) < learned) * 1
    bagged = chosen.folds and learned is None
    count, share = (FOLDS, FOLDS - 1) if bagged else (1, 1 - 1 / FOLDS)  # of nets, and of all rows in their epochs
    progress.deadline = end
    drawn = recipes(first.changed(epochs=chosen.epochs), data.task, generator)
    candidates: list[Candidate] = []
    waiting, number, slower = next(drawn), 0, 1.0  # than was foretold
    while number < MOST and not progress.stopped:
        wave: list[Recipe] = []
        foretold, left = 0.0, (until - time.monotonic()) * workers
        while number + len(wave) < MOST:
            seconds = slower * pilot(waiting, data, score, seed).of(count, share * waiting.epochs)
            if (number or wave) and foretold + seconds > left:
                break
            wave.append(waiting)
            foretold, waiting = foretold + seconds, next(drawn)
        if not wave:
            break
        jobs = [jobs_of(recipe, folds, seed + 1000 * (number + i)) for i, recipe in enumerate(wave, 1)]
        began = time.monotonic()
        candidates += _candidates(jobs if bagged else [bag[:1] for bag in jobs], data, score, progress, n_jobs)
        slower *= (time.monotonic() - began) * workers / foretold
        number += len(wave)
    most = max((len(each.rows) for each in candidates), default=0)  # of a bag with a net that diverged they are fewer
    return [each for each in candidates if len(each.rows) == most]


def _candidates(
    jobs: Sequence[Sequence[Job]], data: Data, score: Score, progress: Progressing, n_jobs: int | None
) -> list[Candidate]:
    """Those whose nets were all trained; if there are none, what there is of the first."""
    members = iter(train_all([job for bag in jobs for job in bag], data, score, progress, n_jobs))
    bags = [[next(members) for _ in bag] for bag in jobs]
    whole = [_present(bag) for bag in bags if all(bag)]
    return [candidate_of(bag, data, score) for bag in whole or [_present(bags[0])] if bag]


def _present(bag: Sequence[Member | None]) -> list[Member]:
    return [member for member in bag if member is not None]
