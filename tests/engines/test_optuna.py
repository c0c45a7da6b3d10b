"""Optuna: trials that are not worth their time are pruned; a journal that several processes write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.callbacks import OptunaPruning

from . import guide

pytestmark = pytest.mark.engine
optuna = pytest.importorskip("optuna")
PRUNED, COMPLETE = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE


@pytest.fixture(autouse=True, scope="module")
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def trained(*callbacks: Any) -> float:
    """A small net's loss after six epochs."""
    model = fastdl.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((20, 2), np.float32)
    history = model.fit(x, x[:, 0], epochs=6, callbacks=list(callbacks), verbose=0)
    return float(history.history["loss"][-1])


class At(optuna.pruners.BasePruner):
    """Prunes at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: Any, trial: Any) -> bool:
        return trial.last_step >= self.step


@pytest.mark.parametrize(
    ("interval", "step", "steps"), [(1, 2, [0, 1, 2]), (2, 3, [1, 3]), (1, 99, [0, 1, 2, 3, 4, 5])]
)
def test_what_is_reported_and_when_it_ends(interval: int, step: int, steps: list[int]) -> None:
    """The numbers of the history, by epoch."""
    history: list[Any] = []

    def objective(trial: Any) -> float:
        noted = fastdl.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: history.append(logs["loss"]))
        return trained(noted, OptunaPruning(trial, "loss", interval))

    study = optuna.create_study(pruner=At(step))
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state == (PRUNED if step < 6 else COMPLETE)
    assert trial.intermediate_values == {epoch: pytest.approx(history[epoch]) for epoch in steps}
    assert len(history) == steps[-1] + 1


def test_a_name_that_is_not_measured_is_said_and_nothing_is_reported() -> None:
    trial = optuna.create_study(pruner=At(0)).ask()
    with pytest.warns(UserWarning, match="OptunaPruning waits for 'val_loss', but there is only loss"):
        trained(OptunaPruning(trial))
    assert trial.study.trials[0].intermediate_values == {}


@pytest.mark.parametrize("interval", [0, -1, 1.5])
def test_an_interval_that_is_none(interval: Any) -> None:
    with pytest.raises(ValueError, match="interval must be a positive integer"):
        OptunaPruning(None, "loss", interval)


def test_two_processes_search_by_one_journal(tmp_path: Path, digits: Any) -> None:
    np.savez(tmp_path / "digits.npz", x=digits[0], y=digits[1])
    code = "import numpy as np; data = np.load('digits.npz'); x, y = data['x'], data['y']\n" + guide.BLOCKS["optuna"]
    command = [sys.executable, "-P", "-c", code]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.communicate()[1] is not None
        assert process.returncode == 0
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "search.log"))
    study = optuna.load_study(study_name="digits", storage=optuna.storages.JournalStorage(journal))
    assert sorted(trial.number for trial in study.trials) == list(range(20))
    pruned, complete = ([t for t in study.trials if t.state == state] for state in (PRUNED, COMPLETE))
    assert len(pruned) + len(complete) == 20
    assert pruned
    assert all(len(trial.intermediate_values) < 10 for trial in pruned)
    assert all(len(trial.intermediate_values) == 10 for trial in complete)
    assert study.best_value == min(trial.value for trial in complete)
    assert study.best_value < 1.5
