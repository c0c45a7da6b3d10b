"""How good answers are: scores with intervals, beside those of the simplest answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular import scores
from fastdl.tabular.recipes import CLASSES
from fastdl.tabular.scores import Score

RESAMPLED = 400
MOST_RESAMPLED = 50_000  # rows of each
TOLD = {
    "accuracy": "accuracy",
    "log_loss": "log-loss",
    "roc_auc": "area under ROC",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "explained variance (R²)",
}


@dataclass(frozen=True)
class Estimate:
    """A score, and between what it lies with 95 % confidence by resampling of rows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Judgement:
    """Scores of answers to some rows. where: which rows, in a sentence. baselines: scores of simpler answers by name.

    targets: class numbers, or numbers (rows, outputs); answers: probabilities, or numbers.
    """

    where: str
    estimates: Mapping[str, Estimate]
    baselines: Mapping[str, Mapping[str, float]]
    targets: Array
    answers: Array

    def lines(self) -> list[str]:
        """For a terminal."""
        names = list(self.baselines)
        lines = [f"Scores on {self.where} (in brackets: 95 % interval)"]
        for metric, estimate in self.estimates.items():
            others = "; ".join(f"{name} {self.baselines[name][metric]:.4g}" for name in names)
            lines.append(f"  {TOLD[metric]:24} {estimate!s:34} {others}")
        return lines

    def to_json(self) -> str:
        """Scores, intervals, baselines."""
        told: dict[str, Any] = {
            "where": self.where,
            "rows": len(self.targets),
            "scores": {n: {"value": e.value, "low": e.low, "high": e.high} for n, e in self.estimates.items()},
            "baselines": {name: dict(values) for name, values in self.baselines.items()},
        }
        return json.dumps(told, indent=2)


def metrics_of(task: str) -> dict[str, Score]:
    """All that answers of a task are judged by."""
    return dict(scores.OF_CLASSES) if task == CLASSES else {**scores.OF_NUMBERS, "r2": _unexplained}


def _unexplained(targets: Array, answers: Array, weights: Array | None = None) -> float:
    """One minus R²."""
    spread = np.average(((targets - np.average(targets, axis=0, weights=weights)) ** 2).mean(axis=1), weights=weights)
    left = scores.root_mean_squared_error(targets, answers, weights) ** 2
    return float(left / spread) if spread > 0 else float(left > 0)


def _as_told(metric: str, value: float) -> float:
    return 1 - value if metric == "r2" else scores.told(metric, value)


def judge(
    task: str,
    where: str,
    targets: Array,
    answers: Array,
    simpler: Mapping[str, Array],
    weights: Array | None = None,
    seed: int = 0,
) -> Judgement:
    """Scores of answers, with intervals, and of simpler ones by name."""
    estimates = {}
    for metric, score in metrics_of(task).items():
        value = score(targets, answers, weights)
        low, high = _interval(score, targets, answers, weights, np.random.default_rng(seed))
        ends = sorted([_as_told(metric, low), _as_told(metric, high)])
        estimates[metric] = Estimate(_as_told(metric, value), *ends)
    baselines = {
        name: {metric: _as_told(metric, score(targets, other, weights)) for metric, score in metrics_of(task).items()}
        for name, other in simpler.items()
    }
    return Judgement(where, estimates, baselines, targets, answers)


def _interval(
    score: Score, targets: Array, answers: Array, weights: Array | None, generator: np.random.Generator
) -> tuple[float, float]:
    """The middle 95 % of scores of rows drawn with replacement; of many rows fewer are drawn, and it is narrowed."""
    count = min(len(targets), MOST_RESAMPLED)
    values = []
    for _ in range(RESAMPLED):
        rows = generator.integers(0, len(targets), count)
        values.append(score(targets[rows], answers[rows], None if weights is None else weights[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    middle, narrower = np.median(values), np.sqrt(count / len(targets))
    return float(middle + (low - middle) * narrower), float(middle + (high - middle) * narrower)


def constant_answers(task: str, learned: Array, rows: int, outputs: int, weights: Array | None = None) -> Array:
    """What is answered without a look at any column: each class's share, or the mean."""
    if task == CLASSES:
        shares = np.bincount(learned, weights, outputs)
        return np.tile(shares / shares.sum(), (rows, 1))
    return np.tile(np.average(learned, axis=0, weights=weights), (rows, 1))


Linear = Callable[[Any, Array], Any]


def linear_answers(
    task: str, columns: tuple[Array, Array, Array], targets: Array, judged: tuple[Array, Array, Array] | None, seed: int
) -> Array:
    """A linear model's answers: to the judged rows if there are any, else to each row by one that has not learned it.

    columns: numbers, flags and codes of the rows to learn from. (rows, outputs).
    """
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    x = np.hstack(columns)
    coded = list(range(x.shape[1] - columns[2].shape[1], x.shape[1]))
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), coded), remainder="passthrough", sparse_threshold=1.0
    )
    model = make_pipeline(encoder, LogisticRegression(max_iter=300) if task == CLASSES else Ridge())
    if judged is not None:
        model.fit(x, targets)
        z = np.hstack(judged)
        answers = model.predict_proba(z) if task == CLASSES else model.predict(z)
    else:
        answers = cross_val_predict(model, x, targets, cv=3, method="predict_proba" if task == CLASSES else "predict")
    return np.asarray(answers).reshape(len(answers), -1)
