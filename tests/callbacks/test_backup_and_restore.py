"""BackupAndRestore: a training that was interrupted ends as one that was not, to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, optimizers, schedules
from fastdl.callbacks import BackupAndRestore, LambdaCallback, ReduceLROnPlateau
from fastdl.errors import ModelFileError

from .small import Batches, data

EPOCHS = 5
OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    "momentum": lambda: optimizers.SGD(0.05, 0.9),
    "adam": optimizers.Adam,
    "schedule": lambda: optimizers.RMSprop(schedules.CosineDecay(0.05, 20), centered=True),
    "averaged": lambda: optimizers.Nadam(0.01, use_ema=True, ema_momentum=0.9),
}


def net(seed: int, optimizer: str = "adam") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(seed)
    stack = layers.Dense(6, "tanh"), layers.BatchNormalization(), layers.Dropout(0.3), layers.GaussianNoise(0.1)
    model = fastdl.Sequential([fastdl.Input((4,)), *stack, layers.Dense(1)])
    model.compile(OPTIMIZERS[optimizer](), "mse", metrics=["mae"])
    return model


def fit(model: fastdl.Sequential, *callbacks: Any) -> dict[str, list[float]]:
    return model.fit(*data(50), 8, EPOCHS, 0, list(callbacks)).history


def crash(model: fastdl.Sequential, epoch: int, *callbacks: Any) -> None:
    """Train until something breaks, in the middle of an epoch."""
    steps = 7
    with pytest.raises(ZeroDivisionError):
        fit(model, *callbacks, Batches("train_batch_end", epoch * steps + 3))


def same(one: fastdl.Sequential, other: fastdl.Sequential) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("epoch", range(EPOCHS))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_going_on_from_every_epoch(epoch: int, optimizer: str, tmp_path: Path) -> None:
    whole = net(1, optimizer)
    history = fit(whole)
    crash(net(1, optimizer), epoch, BackupAndRestore(tmp_path))
    assert (tmp_path / "latest.safetensors").exists() == (epoch > 0)
    resumed = net(9 if epoch else 1, optimizer)  # another process starts from other weights and another seed
    rest = fit(resumed, BackupAndRestore(tmp_path))
    assert rest == {name: values[epoch:] for name, values in history.items()}
    assert resumed.history is not None
    assert resumed.history.epoch == list(range(epoch, EPOCHS))
    assert same(whole, resumed)
    assert not list(tmp_path.iterdir()), "the backup is removed when fit has ended"


def test_several_crashes(tmp_path: Path) -> None:
    whole = net(1)
    fit(whole)
    for seed, epoch in enumerate((1, 1, 2), start=1):  # epochs that each training lasts
        crash(net(seed), epoch, BackupAndRestore(tmp_path, double_checkpoint=True))
    resumed = net(7)
    assert len(fit(resumed, BackupAndRestore(tmp_path))["loss"]) == EPOCHS - 4
    assert same(whole, resumed)
    assert not list(tmp_path.iterdir())


def test_a_learning_rate_that_fell_stays(tmp_path: Path) -> None:
    """The plateau counts anew after a crash, but the rate it has set is the optimizer's."""
    model = net(1)
    crash(model, 4, ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=100), BackupAndRestore(tmp_path))
    assert model.optimizer is not None
    assert model.optimizer.learning_rate < 0.001
    rates = fit(net(5), BackupAndRestore(tmp_path), ReduceLROnPlateau("loss"))["learning_rate"]
    assert rates == [model.optimizer.learning_rate]


def test_the_same_model_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    whole = net(1)
    fit(whole)
    model = net(1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, BackupAndRestore(tmp_path), Batches("train_batch_end", 17, KeyboardInterrupt))
    fit(model, BackupAndRestore(tmp_path))
    assert same(whole, model)


def test_what_is_kept_and_what_is_refused(tmp_path: Path) -> None:
    model = net(1)
    fit(model, BackupAndRestore(tmp_path, delete_checkpoint=False, double_checkpoint=True))
    latest, previous = tmp_path / "latest.safetensors", tmp_path / "previous.safetensors"
    assert fit(net(2), BackupAndRestore(tmp_path, delete_checkpoint=False)) == {}, "all epochs are done"
    other = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(1)])
    other.compile("adam", "mse")
    with pytest.raises(ModelFileError, match="weight arrays, the model has 2"):
        fit(other, BackupAndRestore(tmp_path))
    with pytest.raises(ModelFileError, match="its optimizer is not the model's, which has SGD"):
        fit(net(1, "momentum"), BackupAndRestore(tmp_path))
    latest.write_bytes(latest.read_bytes()[:-1])
    resumed = net(3)
    fit(resumed, BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert resumed.history is not None
    assert resumed.history.epoch == [EPOCHS - 1], "the one before is whole"
    assert same(model, resumed)
    previous.unlink()
    model.save(latest)
    with pytest.raises(ModelFileError, match="not a backup of a training"):
        fit(model, BackupAndRestore(tmp_path))


def test_other_callbacks_hear_the_epochs_that_are_left(tmp_path: Path) -> None:
    heard: list[int] = []
    crash(net(1), 3, BackupAndRestore(tmp_path / "new" / "folder"))
    fit(
        net(1),
        BackupAndRestore(tmp_path / "new" / "folder"),
        LambdaCallback(on_epoch_begin=lambda epoch, logs: heard.append(epoch)),
    )
    assert heard == [3, 4]


@pytest.mark.parametrize(("arguments", "message"), [(("",), "must name a folder"), (("b", 10), "must be 'epoch'")])
def test_wrong_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackupAndRestore(*arguments)


def test_a_full_disk_keeps_the_backup_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash(net(1), 2, BackupAndRestore(tmp_path))
    before = (tmp_path / "latest.safetensors").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            fit(net(1), BackupAndRestore(tmp_path))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
    whole, resumed = net(1), net(1)
    fit(whole)
    fit(resumed, BackupAndRestore(tmp_path))
    assert same(whole, resumed)
    assert np.isfinite(resumed.get_weights()[0]).all()
