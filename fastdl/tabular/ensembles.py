"""Nets side by side: trained on all cores at once, bagged over folds, and weighed by what they add to each other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from fastdl import config
from fastdl.base.arrays import Array
from fastdl.distributed.dividing import share_out
from fastdl.tabular.recipes import CLASSES
from fastdl.tabular.scores import Score, log_loss
from fastdl.tabular.training import Data, Diverged, Job, Member, Progressing, train, within

ROUNDS = 40  # of the greedy choice
AHEAD = 3  # rounds that go to the first recipe of a search, which was not drawn: with few rows a score is part luck
WORTH = 1e-12  # the least that a round must gain


def train_all(
    jobs: Sequence[Job], data: Data, score: Score, progress: Progressing, n_jobs: int | None = None
) -> list[Member | None]:
    """Train nets, as many at once as there are cores, or n_jobs, each on its share of them. None for those never begun,
    or that diverged. Ctrl-C lets each end with its epoch, and those that wait be: what has begun is kept.

    Within `distributed.divided` ranks train a share each."""
    return share_out(jobs, lambda own: _train_here(own, data, score, progress, n_jobs), [*data.x, data.targets])


def _train_here(
    jobs: Sequence[Job], data: Data, score: Score, progress: Progressing, n_jobs: int | None
) -> list[Member | None]:
    workers = workers_for(len(jobs), n_jobs)
    threads = max(1, config.get_num_threads() // workers) if n_jobs is None else 1
    with ThreadPoolExecutor(workers) as pool:  # also for one: Ctrl-C comes to the main thread, and ends no epoch midway
        futures = [pool.submit(_one, job, data, score, progress, threads) for job in jobs]
        _until_done(futures, progress)
        return [future.result() for future in futures]


def workers_for(jobs: int, n_jobs: int | None) -> int:
    """How many nets to train at once: as many as cores, unless said; -1 is all cores, -2 all but one."""
    cores = config.get_num_threads()
    wanted = cores if n_jobs is None else cores + 1 + n_jobs if n_jobs < 0 else n_jobs
    return max(1, min(wanted, jobs))


def _one(job: Job, data: Data, score: Score, progress: Progressing, threads: int) -> Member | None:
    if progress.stopped:
        return None
    try:
        return train(job, data, score, progress, threads)
    except Diverged:
        return None
    except BaseException:
        progress.stop()
        raise


def _until_done(futures: Sequence[Future[Member | None]], progress: Progressing) -> None:
    """Wait for all; the first Ctrl-C asks them to end soon, a second one is raised."""
    left = set(futures)
    while left:
        try:
            left = wait(left, return_when=FIRST_COMPLETED).not_done
        except KeyboardInterrupt:
            if progress.interrupted:
                raise
            progress.interrupted = True
            progress.stop()


@dataclass
class Candidate:
    """Nets of one recipe, each judged by other rows: one, or a bag of one for each fold. rows: all that they were
    judged by; predicted: what each row's own judge says of it."""

    members: list[Member]
    rows: Array
    predicted: Array
    score: float


def candidate_of(members: Sequence[Member], data: Data, score: Score) -> Candidate:
    """A candidate of nets that were judged by different rows."""
    rows = np.concatenate([member.held for member in members])
    order = np.argsort(rows)
    predicted = np.concatenate([member.predicted for member in members])[order]
    rows = rows[order]
    value = score(data.targets[rows], within(predicted, data.bounds), data.weights_of(rows))
    return Candidate(list(members), rows, predicted, value)


def greedy_weights(candidates: Sequence[Candidate], data: Data, score: Score, ahead: int = 0) -> Array:
    """The share of each candidate: what Caruana et al. (2004) find, who add the one that helps most, again and again.

    All must have been judged by the same rows. Sums to 1. Among equal scores of classes the lower log-loss decides.
    ahead: rounds in which the first is added whatever it helps.
    """
    rows = candidates[0].rows
    targets, weights = data.targets[rows], data.weights_of(rows)
    counts, total = np.zeros(len(candidates)), np.zeros_like(candidates[0].predicted, np.float64)

    def value(answers: Array) -> tuple[float, float]:
        tie = log_loss(targets, answers, weights) if data.task == CLASSES else 0.0
        return score(targets, within(answers, data.bounds), weights), tie

    best = (np.inf, np.inf)
    best_counts = counts
    for chosen in range(ROUNDS):
        values = [value((total + each.predicted) / (chosen + 1)) for each in candidates]
        pick = 0 if chosen < ahead else min(range(len(candidates)), key=lambda i: values[i])
        total += candidates[pick].predicted
        counts = counts.copy()
        counts[pick] += 1
        if values[pick] < best or chosen < ahead:
            best, best_counts = values[pick], counts
    shares: Array = best_counts / best_counts.sum()
    return shares
