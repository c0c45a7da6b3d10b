"""Ends a trial of Optuna's that is not worth its time."""

from __future__ import annotations

from typing import Any

from fastdl.base.arguments import whole
from fastdl.callbacks.monitor import Monitor
from fastdl.models.callback import Logs


class OptunaPruning(Monitor):
    """Reports `monitor` to an Optuna trial after every `interval`th epoch, and raises optuna.TrialPruned when the
    study's pruner says so (optuna_integration: KerasPruningCallback).

    trial: an optuna.Trial; which way is better is the study's. The model keeps the weights it has then.
    """

    def __init__(self, trial: Any, monitor: str = "val_loss", interval: int = 1) -> None:
        super().__init__(monitor, "min")
        self.trial, self.interval = trial, whole("interval", interval, least=1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if (epoch + 1) % self.interval or (value := self.value(logs)) is None:
            return
        self.trial.report(value, step=epoch)
        if self.trial.should_prune():
            from optuna import TrialPruned

            raise TrialPruned(f"pruned after epoch {epoch + 1}, {self.monitor} {value:.4g}")
