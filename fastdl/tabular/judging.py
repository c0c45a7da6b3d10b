"""How good answers are: scores with intervals, beside those of the simplest answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular import scores
from fastdl.tabular.columns import Encoded
from fastdl.tabular.recipes import CLASSES
from fastdl.tabular.scores import Score
from fastdl.tabular.splits import FEW
from fastdl.tabular.table import Table
from fastdl.tabular.tasks import Task

if TYPE_CHECKING:
    from fastdl.tabular.estimator import Tabular

RESAMPLED, FEWEST_RESAMPLED = 400, 60  # times
MOST_RESAMPLED, FEWEST_ROWS = 50_000, 500  # rows of each
READ_CELLS, SORTED_CELLS = 200_000_000, 20_000_000  # rows × classes over all times: of many classes fewer are drawn
MOST_LINEAR = 20_000  # rows that the linear model beside learns from
LINEAR_FOLDS = 3
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
    cells = SORTED_CELLS if score is scores.one_minus_auc else READ_CELLS
    rounds = int(np.clip(cells // answers.size, FEWEST_RESAMPLED, RESAMPLED))
    count = min(len(targets), MOST_RESAMPLED, max(FEWEST_ROWS, cells // (rounds * answers.shape[1])))
    values = []
    for _ in range(rounds):
        rows = generator.integers(0, len(targets), count)
        values.append(score(targets[rows], answers[rows], None if weights is None else weights[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    if count == len(targets):
        return float(low), float(high)
    middle, narrower = np.median(values), np.sqrt(count / len(targets))
    value = score(targets, answers, weights)
    return float(value + (low - middle) * narrower), float(value + (high - middle) * narrower)


def constant_answers(task: str, learned: Array, rows: int, outputs: int, weights: Array | None = None) -> Array:
    """What is answered without a look at any column: each class's share, or the mean."""
    if task == CLASSES:
        shares = np.bincount(learned, weights, outputs)
        return np.tile(shares / shares.sum(), (rows, 1))
    return np.tile(np.average(learned, axis=0, weights=weights), (rows, 1))


def linear_answers(
    task: str, columns: Encoded, targets: Array, judged: Encoded | None = None, outputs: int = 1
) -> Array | None:
    """A linear model's answers (rows, outputs): to the judged rows if there are any, else to each row by one that has
    not learned it. None where rows are too few of a class for that."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def matrix(encoded: Encoded) -> Array:
        return np.hstack([encoded.codes, encoded.numbers, encoded.flags])

    if task == CLASSES and (judged is None and np.bincount(targets, minlength=outputs).min() < LINEAR_FOLDS):
        return None
    x, coded = matrix(columns), list(range(columns.codes.shape[1]))
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), coded), remainder="passthrough", sparse_threshold=1.0
    )
    model = make_pipeline(encoder, LogisticRegression(max_iter=300) if task == CLASSES else Ridge())
    method = "predict_proba" if task == CLASSES else "predict"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not quite converged
        if judged is None:
            answers = cross_val_predict(model, x, targets, cv=LINEAR_FOLDS, method=method)
        else:
            answers = getattr(model.fit(x, targets), method)(matrix(judged))
    return np.asarray(answers).reshape(len(answers), -1)


def _told_where(judged: int, rows: int) -> str:
    if rows < FEW:
        return f"the {judged} rows that were learned, which are too few to hold any back: scores are far too good"
    held = ", each judged by a net that did not learn from it" if judged == rows else " that were held back"
    return f"{judged:,} rows{held} (they chose the epoch, so scores are a little too good)"


def validate(model: Tabular, task: Task, table: Table, test: Table | None = None) -> Judgement:
    """A trained estimator, judged by a test table, or by the rows that were held back from each of its nets."""
    learned = model.known_targets(task.targets(table))
    outputs, encoded = model.outputs(learned), model.columns_.transform(task.columns(table))
    few = np.arange(len(table))
    if len(few) > MOST_LINEAR:
        few = np.sort(np.random.default_rng(0).permutation(few)[:MOST_LINEAR])
    if test is not None:
        rows = task.rows(test)
        targets, judged = model.known_targets(task.targets(rows)), task.columns(rows)
        answers = model.answers(judged)
        linear = linear_answers(task.kind, encoded.take(few), learned[few], model.columns_.transform(judged), outputs)
        where = f"{len(targets):,} test rows, of which nothing was learned"
    else:
        chosen = model.validation_rows_
        targets, answers = learned[chosen], model.validation_answers_
        whole = linear_answers(task.kind, encoded.take(few), learned[few], None, outputs)
        linear = None
        if whole is not None:
            every = np.full((len(table), whole.shape[1]), np.nan)
            every[few] = whole
            kept = np.isfinite(every[chosen]).all(axis=1)
            linear = every[chosen] if kept.all() else None
        where = _told_where(len(targets), len(table))
    simplest = "most frequent class" if task.kind == CLASSES else "mean"
    simpler = {simplest: constant_answers(task.kind, learned, len(targets), outputs)}
    if linear is not None:
        simpler["linear model"] = linear
    return judge(task.kind, where, targets, answers, simpler)
