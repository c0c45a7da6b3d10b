"""LearningRateScheduler and ReduceLROnPlateau."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import schedules
from fastdl.callbacks import EarlyStopping, LearningRateScheduler, ReduceLROnPlateau

from .small import Stub, data, run, small


def by_step(epoch: int) -> float:
    return 0.1 / (epoch + 1)


def by_step_and_rate(epoch: int, rate: float) -> float:
    return rate / 2 if epoch else rate


class ByObject:
    def __call__(self, epoch: int, rate: float) -> np.float32:
        return np.float32(rate * 0.5)


SCHEDULES: dict[str, tuple[Any, list[float]]] = {
    "epoch": (by_step, [0.1, 0.05, 0.1 / 3]),
    "epoch and rate": (by_step_and_rate, [1, 0.5, 0.25]),
    "object": (ByObject(), [0.5, 0.25, 0.125]),
    "whole number": (lambda epoch: epoch, [0, 1, 2]),
    "default": (lambda epoch, rate=7.0: rate + 1, [2, 3, 4]),
    "a schedule of steps": (schedules.ExponentialDecay(0.8, 1, 0.5), [0.8, 0.4, 0.2]),
    "builtin": ({0: 1.0, 1: 0.5, 2: 0.1}.get, [1.0, 0.5, 0.1]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_scheduler(name: str) -> None:
    schedule, expected = SCHEDULES[name]
    _, kept = run(LearningRateScheduler(schedule), [3, 2, 1])
    assert [logs["learning_rate"] for logs in kept] == pytest.approx(expected)


def test_scheduler_in_fit_is_each_epoch_with_its_rate() -> None:
    x, y = data(50)
    model, other = small(), small()
    history = model.fit(x, y, 8, 3, 0, LearningRateScheduler(by_step), shuffle=False).history
    assert history["learning_rate"] == [by_step(epoch) for epoch in range(3)]
    for epoch in range(3):
        assert other.optimizer is not None
        other.optimizer.learning_rate = by_step(epoch)
        other.fit(x, y, 8, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (lambda epoch: None, ValueError, "must return a number, not None"),
        (lambda epoch: -1.0, ValueError, "learning_rate must be a finite number"),
        (lambda epoch, rate: rate + "a", TypeError, "unsupported operand"),
    ],
)
def test_a_schedule_that_gives_no_rate(schedule: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(LearningRateScheduler(schedule), [1.0])


NAN = float("nan")

# what: (settings, watched values, the learning rate after each epoch, from 1)
PLATEAUS: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "falls": ({"patience": 1}, [4, 3, 2], [1, 1, 1]),
    "waits": ({"patience": 2, "factor": 0.5}, [4, 4, 4, 4, 4], [1, 1, 0.5, 0.5, 0.25]),
    "delta": ({"patience": 1, "min_delta": 0.5}, [4, 3.6, 3.4, 3.4], [1, 0.1, 0.1, 0.01]),
    "accuracy": ({"patience": 1, "monitor": "val_accuracy", "factor": 0.5}, [0.5, 0.7, 0.6], [1, 1, 0.5]),
    "cooldown": ({"patience": 1, "cooldown": 2, "factor": 0.5}, [4] * 7, [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
    "least": ({"patience": 1, "factor": 0.5, "min_lr": 0.3}, [4] * 5, [1, 0.5, 0.3, 0.3, 0.3]),
    "to zero": ({"patience": 1, "factor": 0}, [4] * 3, [1, 0, 0]),
    "nan": ({"patience": 1, "factor": 0.5}, [4, NAN, 3, NAN], [1, 0.5, 0.5, 0.25]),
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_plateau(name: str) -> None:
    settings, values, expected = PLATEAUS[name]
    plateau = ReduceLROnPlateau(**settings)
    for _ in range(2):  # the second fit as the first
        rates: list[float] = []
        stub = Stub()
        original = plateau.on_epoch_end

        def keep(epoch: int, logs: Any, original: Any = original, stub: Stub = stub, rates: Any = rates) -> None:
            before = stub.optimizer.learning_rate
            original(epoch, logs)
            assert logs["learning_rate"] == before
            rates.append(stub.optimizer.learning_rate)

        vars(plateau)["on_epoch_end"] = keep
        run(plateau, values, plateau.monitor, stub)
        del vars(plateau)["on_epoch_end"]
        assert rates == pytest.approx(expected)


def test_plateau_in_fit_and_what_they_print(capsys: pytest.CaptureFixture[str]) -> None:
    plateau = ReduceLROnPlateau("loss", factor=0.25, patience=1, min_delta=100, verbose=1)
    history = small(0.08).fit(*data(20), epochs=3, callbacks=plateau, verbose=0).history
    assert history["learning_rate"] == pytest.approx([0.08, 0.08, 0.02])
    run(LearningRateScheduler(by_step, verbose=1), [1.0])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.02.",
        "Epoch 3: ReduceLROnPlateau reducing learning rate to 0.005.",
        "Epoch 1: LearningRateScheduler setting learning rate to 0.1.",
    ]


def test_what_a_watcher_tells() -> None:
    plateau = ReduceLROnPlateau("loss", factor=0.5, patience=1, cooldown=2)
    plateau.set_model(Stub())
    resting = []
    for epoch in range(4):
        plateau.on_epoch_end(epoch, {"loss": 4.0})
        resting.append(plateau.in_cooldown())
    assert resting == [False, True, True, True]  # the pause ends in the fourth, which reduces the rate again
    assert EarlyStopping("loss").get_monitor_value({"loss": np.float32(0.5)}) == 0.5


def test_a_schedule_in_the_optimizer_cannot_be_set_as_well() -> None:
    model = small(schedules.CosineDecay(0.1, 10))
    with pytest.raises(TypeError, match="the learning rate follows CosineDecay"):
        model.fit(*data(20), callbacks=LearningRateScheduler(by_step), verbose=0)
    with pytest.raises(ValueError, match="factor must lie"):
        ReduceLROnPlateau(factor=1.0)
