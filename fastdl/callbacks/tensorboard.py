"""Logs for TensorBoard, written by tensorboardX."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from fastdl.models.callback import Callback, Logs, Watched, overridden


class TensorBoard(Callback):
    """Writes loss, metrics and learning rate to log_dir/train and log_dir/validation, under Keras's names (Keras).

    histogram_freq: epochs between histograms of all weights, 0 for none. update_freq: "epoch", or after how many
    batches ("batch": each) to write as well. write_graph has no effect, and Keras's images, profiles and embeddings
    are refused. ImportError without tensorboardX.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX: pip install 'fastdl[tensorboard]'") from None
        if write_images or profile_batch or embeddings_freq or embeddings_metadata is not None:
            raise ValueError("fastdl writes no images, profiles or embeddings for TensorBoard")
        update_freq = 1 if update_freq == "batch" else update_freq
        if update_freq != "epoch" and (not isinstance(update_freq, int) or update_freq < 1):
            raise ValueError(f"update_freq must be 'epoch', 'batch' or a number of batches, not {update_freq!r}")
        self.log_dir, self.histogram_freq, self.write_graph = Path(log_dir), histogram_freq, write_graph
        self.write_steps_per_second, self.update_freq = write_steps_per_second, update_freq
        self._open = SummaryWriter
        self._writers: dict[str, Any] = {}
        self._batches = 0

    def every_batch(self, purpose: str) -> bool:
        return overridden(self, purpose, TensorBoard if self.update_freq == "epoch" else Callback)

    def set_model(self, model: Watched) -> None:
        super().set_model(model)
        self._close()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, side: str, prefix: str, logs: Logs, step: int, suffix: str = "") -> None:
        if side not in self._writers:
            self._writers[side] = self._open(str(self.log_dir / side))
        for name, value in logs.items():
            self._writers[side].add_scalar(f"{prefix}_{name}{suffix}", value, step)
        self._writers[side].flush()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began, self._first = time.perf_counter(), self._iterations()

    def _iterations(self) -> int:
        return self.model.optimizer.batches if self.model.optimizer else 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if isinstance(self.update_freq, int) and self._batches % self.update_freq == 0:
            self._write("train", "batch", logs or {}, self._batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._write("validation", "evaluation", logs or {}, self._iterations(), "_vs_iterations")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        testing = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        if self.model.optimizer:
            training["learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.write_steps_per_second:
            steps = self._iterations() - self._first
            training["steps_per_second"] = steps / max(time.perf_counter() - self._began, 1e-9)
        self._write("train", "epoch", training, epoch)
        if testing:
            self._write("validation", "epoch", testing, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for weight in self.model.weights:
                self._writers["train"].add_histogram(f"{weight.path}/histogram", weight.numpy(), epoch)
