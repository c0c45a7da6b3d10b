"""Saves the model while it trains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastdl.base.files import check_target
from fastdl.base.messages import say
from fastdl.callbacks.monitor import Monitor
from fastdl.models.callback import Callback, Logs, overridden
from fastdl.models.saving import check_ending


class ModelCheckpoint(Monitor):
    """Saves after each epoch, or every `save_freq` batches; with save_best_only when `monitor` improved (Keras).

    filepath ends in .fastdl, and may name the epoch, batch and logs: "{epoch:02d}-{val_loss:.2f}.fastdl"; epochs and
    batches count from 1. Folders are made. save_weights_only calls `save_weights`, not `save`.
    initial_value_threshold: a value to be better than. ValueError.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode if save_best_only else "min")
        check_ending(filepath)
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"save_freq must be 'epoch' or a positive number of batches, not {save_freq!r}")
        self.mode, self.best = mode, initial_value_threshold
        self.filepath, self.verbose, self.save_freq = os.fspath(filepath), verbose, save_freq
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self._epoch = self._batches = 0

    def every_batch(self, purpose: str) -> bool:
        return overridden(self, purpose, ModelCheckpoint if self.save_freq == "epoch" else Callback)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """OSError, before the first epoch, for what could not be written after it."""
        if Path(self.filepath).parent.is_dir():
            check_target(self.filepath)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, int):
            self._batches += 1
            if self._batches % self.save_freq == 0:
                self._save(logs or {}, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {})

    def _path(self, logs: Logs, names: dict[str, int]) -> Path:
        known = {"epoch": self._epoch + 1, **names, **logs}
        try:
            return Path(self.filepath.format(**known))
        except KeyError as error:
            raise KeyError(f"{self.filepath!r} names {error}, but there is only {', '.join(known)}") from None

    def _save(self, logs: Logs, **names: int) -> None:
        title = f"Epoch {self._epoch + 1}"
        if self.save_best_only:
            value = self.value(logs)
            if value is not None and not self.improves(value, self.best):
                if self.verbose:
                    say(f"{title}: {self.monitor} did not improve from {self.best}")
                return
            self.best = self.best if value is None else value
        path = self._path(logs, names)
        path.parent.mkdir(parents=True, exist_ok=True)
        model: Any = self.model
        (model.save_weights if self.save_weights_only else model.save)(path)
        if self.verbose:
            say(f"{title}: saved to {path}")
