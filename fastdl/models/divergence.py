"""Says that training has diverged, once a fit: fit hears it itself, whoever else listens."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from fastdl.base.arrays import all_finite
from fastdl.compiler.graph import Parameter
from fastdl.errors import ADVICE, DivergenceWarning, warn
from fastdl.models.callback import Callback, Logs


class Divergence(Callback):
    """Warns when loss, validation loss or, at the end, a weight or what the optimizer keeps is NaN or infinite.

    It reads logs that are there anyway, and each weight once a fit. category: of the warning. fastdl's own.
    """

    def __init__(self, category: type[Warning] = DivergenceWarning) -> None:
        self.category = category
        self._restart()

    def _restart(self) -> None:
        self.warned, self._epoch = False, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._restart()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_slice_end(self, batch: int, logs: Logs | None = None) -> None:
        self._look(logs or {}, "loss", f" at or before batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._look(logs or {}, "val_loss", ", though the training loss is finite")

    def on_train_end(self, logs: Logs | None = None) -> None:
        if not self.warned and (what := self._broken()):
            self._warn(f"{what} by the end of epoch {self._epoch + 1}, though the loss is finite")

    def _look(self, logs: Logs, name: str, where: str) -> None:
        value = logs.get(name, 0.0)
        if not self.warned and not math.isfinite(value):
            self._warn(f"{name} became {value} in epoch {self._epoch + 1}{where}")

    def _warn(self, what: str) -> None:
        self.warned = True
        warn(f"training of {self.model.name} diverged: {what}; {ADVICE}", self.category)

    def _broken(self) -> str | None:
        optimizer = self.model.optimizer
        state = optimizer.kept if optimizer else []
        return first_not_finite([*self.model.graph_for(training=True).parameters, *state])


def first_not_finite(parameters: Iterable[Parameter]) -> str | None:
    """ "kernel of dense_1 holds NaN", or infinity, of the first that does; None if all are finite."""
    for parameter in parameters:
        if not all_finite(parameter.storage.reshape(1, -1)):
            owner, _, name = parameter.path.rpartition("/")
            return f"{name} of {owner} holds {'NaN' if np.isnan(parameter.storage).any() else 'infinity'}"
    return None
