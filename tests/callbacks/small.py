"""A small model and data, a callback that notes every hook, and epochs without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastdl
from fastdl import layers
from fastdl.callbacks import Callback
from fastdl.optimizers import SGD

Array = np.ndarray[Any, Any]


def data(rows: int = 50) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 4)).astype(np.float32)
    return x, x @ np.array([1.0, -2, 0.5, 0], np.float32)


def small(learning_rate: Any = 0.05) -> fastdl.Sequential:
    """A regression, always from the same weights."""
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dense(1)])
    model.compile(SGD(learning_rate), "mse", metrics=["mae"])
    return model


class Notes(Callback):
    """Notes each hook and its number; `raises` one of them, at its `at`th call."""

    def __init__(self, raises: str = "", at: int = 0, error: type[BaseException] = ZeroDivisionError) -> None:
        self.raises, self.at, self.error = raises, at, error
        self.heard: list[Any] = []
        self.logs: list[Any] = []

    def note(self, hook: str, *arguments: Any) -> None:
        *number, logs = arguments
        if hook == self.raises:
            self.at -= 1
            if self.at < 0:
                raise self.error
        self.heard.append((hook, *number))
        self.logs.append(dict(logs))


class Epochs(Notes):
    """All hooks but those of batches."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.note("train_begin", logs)

    def on_train_end(self, logs: Any = None) -> None:
        self.note("train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.note("epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.note("epoch_end", epoch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self.note("test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        self.note("test_end", logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self.note("predict_begin", logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self.note("predict_end", logs)

    def on_train_slice_end(self, batch: int, logs: Any = None) -> None:
        self.note("slice_end", batch, logs)


class Batches(Notes):
    """The hooks of batches."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note("train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note("train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note("test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note("test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note("predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note("predict_batch_end", batch, logs)


class Everything(Epochs, Batches):
    """All hooks."""


class Stub:
    """As much of a model as callbacks of epochs touch. Its one weight is the number of the epoch."""

    def __init__(self, learning_rate: float = 1.0) -> None:
        self.optimizer = SGD(learning_rate)
        self.stop_training = False
        self.weights = [-1]
        self.saved: list[str] = []

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, weights: list[int]) -> None:
        self.weights = list(weights)

    def save(self, path: Any) -> None:
        self.saved.append(f"model {path}")

    def save_weights(self, path: Any) -> None:
        self.saved.append(f"weights {path}")


def run(callback: Any, values: Sequence[float], monitor: str = "val_loss", stub: Any = None) -> tuple[Any, list[Any]]:
    """Epochs in which `monitor` takes these values, until the callback stops; the model and the logs."""
    stub, kept = stub or Stub(), []
    callback.set_params({})
    callback.set_model(stub)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, {})
        stub.weights = [epoch]
        kept.append({monitor: value})
        callback.on_epoch_end(epoch, kept[-1])
        if stub.stop_training:
            break
    callback.on_train_end(kept[-1] if kept else {})
    return stub, kept
