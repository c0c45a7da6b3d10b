"""Callbacks that set the learning rate between epochs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl.base.messages import say
from fastdl.callbacks.monitor import Monitor
from fastdl.models.callback import Callback, Logs, Watched
from fastdl.optimizers import Optimizer


def _optimizer(model: Watched) -> Optimizer:
    assert model.optimizer is not None
    return model.optimizer


class LearningRateScheduler(Callback):
    """Before each epoch sets schedule(epoch) or schedule(epoch, learning rate); epochs count from 0 (Keras)."""

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        self.schedule, self.verbose = schedule, verbose
        try:
            inspect.signature(schedule).bind(0, 0.0)
        except (TypeError, ValueError):  # one argument, or a builtin that does not tell
            self._takes_rate = False
        else:
            self._takes_rate = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = _optimizer(self.model)
        rate = self.schedule(epoch, float(optimizer.learning_rate)) if self._takes_rate else self.schedule(epoch)
        if not isinstance(rate, (int, float, np.number)):
            raise ValueError(f"the schedule must return a number, not {rate!r}")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            say(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(_optimizer(self.model).learning_rate)


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` after `patience` epochs in which `monitor` did not improve (Keras).

    cooldown: epochs after that in which nothing is counted. The rate does not go below min_lr.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 0.0001,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 <= factor < 1:
            raise ValueError(f"factor must lie in [0, 1), not {factor}")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._restart()

    def _restart(self) -> None:
        self.best, self.wait, self.cooldown_counter = None, 0, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._restart()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(_optimizer(self.model).learning_rate)
        value = self.value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def in_cooldown(self) -> bool:
        """Whether epochs are not counted, as the rate was reduced just now (Keras)."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> None:
        optimizer = _optimizer(self.model)
        if optimizer.learning_rate <= self.min_lr:
            return
        optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            rate = optimizer.learning_rate
            say(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")
