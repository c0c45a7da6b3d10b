"""A short search: recipes drawn at random, bagged over folds, as many as a limit of time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular import nets
from fastdl.tabular.ensembles import Candidate, candidate_of, train_all, workers_for
from fastdl.tabular.recipes import CLASSES, Recipe
from fastdl.tabular.scores import Score
from fastdl.tabular.splits import fold_numbers
from fastdl.tabular.training import Data, Job, Member, Progressing, train

FOLDS = 5
WANTED = 4  # candidates that a plan should have time for: with fewer, their epochs are fewer
EPOCHS = 256, 128, 64, 32, 16
PILOT_ROWS = 2560
RESERVE = 0.1  # of the time: for the file, the proof, and what is slower than it was foreseen
MOST = 40  # candidates


@dataclass(frozen=True)
class Plan:
    """folds: 0 where there is time for nets that are judged by one fifth of the rows only."""

    folds: int
    epochs: int


def plan(epochs: float) -> Plan:
    """How to spend so many epochs over all rows. A candidate of a bag takes as many as its epochs, times 4."""
    for each in EPOCHS:
        if WANTED * each * (FOLDS - 1) <= epochs:
            return Plan(FOLDS, each)
    for each in EPOCHS:
        if each * (1 - 1 / FOLDS) * 2 <= epochs:
            return Plan(0, each)
    return Plan(0, EPOCHS[-1] // 2)


def seconds_an_epoch(recipe: Recipe, data: Data, score: Score, seed: int) -> float:
    """Of a net on all rows, on one thread: as measured on some."""
    rows = np.arange(min(len(data), PILOT_ROWS))
    two = Job(recipe.changed(epochs=2), rows, rows[:1], seed)
    train(two, data, score, threads=1)  # which compiles nothing, but wakes caches
    began = time.monotonic()
    train(replace(two, recipe=recipe.changed(epochs=4)), data, score, threads=1)
    steps = 4 * nets.steps_of(len(rows), recipe.batch_size)
    return (time.monotonic() - began) / steps * nets.steps_of(len(data), recipe.batch_size)


def recipes(first: Recipe, task: str, generator: np.random.Generator) -> Iterator[Recipe]:
    """The first one, then draws around it, as Holzmüller et al. (2024) search."""
    yield first
    while True:
        yield first.changed(
            hidden_layer_sizes=_one_of(generator, [(256, 256, 256), (256, 256), (128, 128, 128), (384, 384)]),
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
    epoch = seconds_an_epoch(first, data, score, seed)
    workers = workers_for(FOLDS, n_jobs)
    until = end - RESERVE * (end - time.monotonic())
    chosen = plan((until - time.monotonic()) * workers / epoch)
    folds = fold_numbers(data.targets, FOLDS, generator) if learned is None else (np.arange(len(data)) < learned) * 1
    bagged = chosen.folds and learned is None
    progress.deadline = end
    drawn = recipes(first.changed(epochs=chosen.epochs), data.task, generator)
    cost = epoch * chosen.epochs * (FOLDS - 1 if bagged else 1 - 1 / FOLDS)  # of a candidate, on one thread
    candidates: list[Candidate] = []
    number = 0
    while number < MOST and not progress.stopped:
        count = int((until - time.monotonic()) * workers / cost)
        if number and count < (1 if bagged else workers):
            break
        count = int(np.clip(count, 1 if bagged else workers, MOST - number))
        jobs = [jobs_of(next(drawn), folds, seed + 1000 * (number + i + 1)) for i in range(count)]
        began = time.monotonic()
        found = _candidates(jobs if bagged else [bag[:1] for bag in jobs], data, score, progress, n_jobs)
        cost = max((time.monotonic() - began) * workers / count, 1e-3)
        number += count
        candidates += found
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
