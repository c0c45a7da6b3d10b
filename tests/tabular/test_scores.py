"""Scores of predictions, beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn import metrics

from fastdl.tabular import scores
from fastdl.tabular.recipes import CLASSES, NUMBERS
from fastdl.tabular.training import best_temperature, sharpened

RNG = np.random.default_rng(0)
ROWS = 400


def answers(classes: int, ties: bool) -> tuple[Any, Any, Any]:
    labels = RNG.integers(0, classes, ROWS)
    logits = RNG.standard_normal((ROWS, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties:
        probabilities = np.round(probabilities, 1) + 1e-3
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities, RNG.random(ROWS)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_classes_are_judged_as_scikit_learn_does(classes: int, ties: bool, weighted: bool) -> None:
    labels, p, weights = answers(classes, ties)
    weights = weights if weighted else None
    error = 1 - metrics.accuracy_score(labels, p.argmax(1), sample_weight=weights)
    assert scores.error_rate(labels, p, weights) == pytest.approx(error, rel=1e-12)
    loss = metrics.log_loss(labels, p, sample_weight=weights)
    assert scores.log_loss(labels, p, weights) == pytest.approx(loss, rel=1e-9)
    each = [metrics.roc_auc_score(labels == k, p[:, k], sample_weight=weights) for k in range(classes)]
    area = each[1] if classes == 2 else np.mean(each)
    assert 1 - scores.one_minus_auc(labels, p, weights) == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_numbers_are_judged_as_scikit_learn_does(weighted: bool) -> None:
    y, p = RNG.standard_normal((2, ROWS, 1))
    weights = RNG.random(ROWS) if weighted else None
    squared = metrics.mean_squared_error(y, p, sample_weight=weights)
    assert scores.root_mean_squared_error(y, p, weights) == pytest.approx(np.sqrt(squared), rel=1e-12)
    absolute = metrics.mean_absolute_error(y, p, sample_weight=weights)
    assert scores.mean_absolute_error(y, p, weights) == pytest.approx(absolute, rel=1e-12)


def test_one_class_has_no_area() -> None:
    assert scores.one_minus_auc(np.zeros(5, np.int64), np.full((5, 2), 0.5)) == 0.5


@pytest.mark.parametrize(("task", "first"), [(CLASSES, "accuracy"), (NUMBERS, "rmse")])
def test_a_metric_is_known_by_name(task: str, first: str) -> None:
    assert scores.score_of(None, task)[0] == first
    with pytest.raises(ValueError, match="unknown metric 'acuracy'"):
        scores.score_of("acuracy", task)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    p = RNG.dirichlet(np.ones(4), 20_000)
    labels = (p.cumsum(axis=1) > RNG.random((len(p), 1))).argmax(axis=1)  # as probable as p says
    found = best_temperature(labels, sharpened(p, 1 / temperature))
    assert found == pytest.approx(temperature, rel=0.05)
    assert (sharpened(p, temperature).argmax(1) == p.argmax(1)).all()
