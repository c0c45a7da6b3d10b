"""What predictions are judged by: lower is better. Each by the name that people know it by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.naming import unknown
from fastdl.tabular.recipes import CLASSES

Score = Callable[[Array, Array, Array | None], float]  # (targets, predictions, weights of rows) → lower is better
LEAST = 1e-15  # a probability below counts as this in a logarithm


def error_rate(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """The share of rows whose likeliest class is not theirs. labels: (rows,), numbers; probabilities: (rows, k)."""
    return float(np.average(probabilities.argmax(axis=1) != labels, weights=weights))


def log_loss(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """The mean of -log of the probability of each row's class."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.average(-np.log(np.clip(own, LEAST, None)), weights=weights))


def one_minus_auc(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """One minus the area under the ROC curve; of several classes the mean of each against the rest."""
    present = [k for k in range(probabilities.shape[1]) if 0 < (labels == k).sum() < len(labels)]
    if probabilities.shape[1] == 2:
        present = present[-1:]
    if not present:
        return 0.5
    return 1 - float(np.mean([_area(labels == k, probabilities[:, k], weights) for k in present]))


def _area(positive: Array, scores: Array, weights: Array | None) -> float:
    """The chance that a positive row has the higher score, ties counting half."""
    each = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    values, place = np.unique(scores, return_inverse=True)
    above = np.bincount(place, each * positive, len(values))
    below = np.bincount(place, each * ~positive, len(values))
    total = above.sum() * below.sum()
    return float((above * (np.cumsum(below) - below / 2)).sum() / total) if total > 0 else 0.5


def root_mean_squared_error(targets: Array, predictions: Array, weights: Array | None = None) -> float:
    """The root of the mean squared difference. Both (rows, outputs)."""
    return float(np.sqrt(np.average(((targets - predictions) ** 2).mean(axis=1), weights=weights)))


def mean_absolute_error(targets: Array, predictions: Array, weights: Array | None = None) -> float:
    """The mean absolute difference. Both (rows, outputs)."""
    return float(np.average(np.abs(targets - predictions).mean(axis=1), weights=weights))


OF_CLASSES: dict[str, Score] = {"accuracy": error_rate, "log_loss": log_loss, "roc_auc": one_minus_auc}
OF_NUMBERS: dict[str, Score] = {"rmse": root_mean_squared_error, "mae": mean_absolute_error}
LARGER_IS_BETTER = ("accuracy", "roc_auc")  # told as people know them: one minus what is computed


def score_of(metric: str | None, task: str) -> tuple[str, Score]:
    """The score of that name, accuracy or rmse if None. ValueError for one that the task does not have."""
    known = OF_CLASSES if task == CLASSES else OF_NUMBERS
    name = next(iter(known)) if metric is None else metric
    if name not in known:
        raise ValueError(unknown("metric", metric, known))
    return name, known[name]


def told(metric: str, value: float) -> float:
    """A score as people know it: accuracy, not the error rate."""
    return 1 - value if metric in LARGER_IS_BETTER else value
