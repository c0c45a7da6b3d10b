"""A search within a limit of time: what there is time for, what is tried first, and what a net is foreseen to cost."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdl.tabular import search
from fastdl.tabular.ensembles import Candidate, greedy_weights
from fastdl.tabular.nets import Inputs
from fastdl.tabular.recipes import CLASSES, NUMBERS, SLIM, recipe_of
from fastdl.tabular.scores import score_of
from fastdl.tabular.search import Plan, pilot, plan, recipes
from fastdl.tabular.training import Data

EPOCHS_FOR = {  # over all rows, for recipes of 256 each
    "several bags": (5000, Plan(5, 256)),
    "one bag": (1024, Plan(5, 256)),
    "a bag of fewer epochs": (600, Plan(5, 150)),
    "a bag of the fewest": (64, Plan(5, 16)),
    "two nets that one part judges": (63, Plan(0, 39)),
    "hardly an epoch": (1, Plan(0, 8)),
    "no time": (-3, Plan(0, 8)),
}


@pytest.mark.parametrize("case", EPOCHS_FOR)
def test_what_there_is_time_for(case: str) -> None:
    epochs, expected = EPOCHS_FOR[case]
    assert plan(256, epochs) == expected


@pytest.mark.parametrize("task", [CLASSES, NUMBERS])
def test_what_is_tried(task: str) -> None:
    first = recipe_of("slim", task)
    found = list(islice(recipes(first, task, np.random.default_rng(0)), 12))
    assert found[0] == first
    assert found[1] == first.changed(hidden_layer_sizes=(), dropout=0.0)
    assert len({each.learning_rate for each in found[2:]}) == 10


def test_a_net_without_hidden_layers_is_not_tried_twice() -> None:
    first = SLIM.changed(hidden_layer_sizes=())
    assert all(each.hidden_layer_sizes for each in islice(recipes(first, CLASSES, np.random.default_rng(0)), 1, 12))


@pytest.mark.parametrize("rows", [100, 2560, 25_600])
def test_what_a_net_costs_is_its_start_and_its_epochs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A net of few rows takes longer to be made than for all epochs of the pilot."""
    now = [0.0]

    def train(job: Any, data: Any, score: Any, progress: Any, threads: int) -> None:
        now[0] += 1.0
        for epoch in range(job.recipe.epochs):
            now[0] += 0.01 * len(job.learned)
            progress.epoch_ended(job, epoch, 0.0)

    monkeypatch.setattr(search, "train", train)
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: now[0]))
    data = Data(Inputs(1, 0), [np.zeros((rows, 1))], np.zeros(rows, int), CLASSES, 2)
    cost = pilot(SLIM, data, score_of(None, CLASSES)[1], 0)
    assert cost.start == pytest.approx(1.0)
    assert cost.epoch == pytest.approx(0.01 * rows)
    assert cost.of(5, 1000) == pytest.approx(5 + 10 * rows)


@pytest.mark.parametrize(("ahead", "shares"), [(0, [0, 1]), (3, [3 / 40, 37 / 40])])
def test_the_recipe_that_was_not_drawn_is_ahead(ahead: int, shares: list[float]) -> None:
    targets = np.arange(6.0).reshape(-1, 1)
    data = Data(Inputs(1, 0), [targets], targets, NUMBERS, 1)
    score = score_of(None, NUMBERS)[1]
    candidates = [Candidate([], np.arange(6), targets + off, abs(off)) for off in (0.5, 0.0)]
    assert greedy_weights(candidates, data, score, ahead).tolist() == pytest.approx(shares)
