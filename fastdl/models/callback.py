"""The base of all callbacks: the hooks that fit, evaluate and predict call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fastdl.base.arguments import Named
from fastdl.base.arrays import Array
from fastdl.base.configured import described
from fastdl.compiler.graph import Graph, Parameter
from fastdl.layers.layer import Layer
from fastdl.models.feeding import Feeds
from fastdl.models.session import Session
from fastdl.optimizers import Optimizer

Logs = dict[str, Any]  # loss and metrics as floats: means over the pass so far

BATCH_HOOKS = {
    "train": ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Watched(Protocol):
    """What a callback sees of the model. All else of Model is there as well."""

    name: str
    layers: list[Layer]
    optimizer: Optimizer | None
    session: Session
    stop_training: bool
    initial_epoch: int

    @property
    def weights(self) -> list[Parameter]: ...
    @property
    def trainable_weights(self) -> list[Parameter]: ...
    def graph_for(self, training: bool) -> Graph: ...
    def get_weights(self) -> list[Array]: ...
    def set_weights(self, weights: Sequence[Any]) -> None: ...
    def save(self, filepath: Any, overwrite: bool = True, *, include_optimizer: bool = True) -> None: ...
    def save_weights(self, filepath: Any, overwrite: bool = True) -> None: ...
    def trace(self) -> Graph: ...
    def predict(self, x: Any) -> Any: ...


class Callback(Named):
    """Base: override the hooks you need. `model` is the model, `params` has verbose, epochs and steps (Keras).

    A hook of batches makes a pass come back to Python after every batch; the others cost nothing, for training runs
    in slices of about 30 ms, between which `on_train_slice_end` is called. Setting `model.stop_training` ends
    training after the slice; what a hook adds to an epoch's logs goes into the history.
    """

    model: Watched
    params: dict[str, Any]

    def __repr__(self) -> str:
        return described(self)

    def __getstate__(self) -> dict[str, Any]:
        """All but the model, which the next fit names: for pickle and copies."""
        return {name: value for name, value in vars(self).items() if name != "model"}

    def set_model(self, model: Watched) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_validation_data(self, feeds: Feeds | None) -> None:
        """What fit validates on, checked, by feed of a program; None if nothing. fastdl's own."""

    def every_batch(self, purpose: str) -> bool:
        """Whether a pass of this purpose ("train", "test", "predict") has to come back after every batch."""
        return overridden(self, purpose, Callback)

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_train_slice_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each slice of an epoch, whose last batch was `batch`. fastdl's own."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


def overridden(callback: Callback, purpose: str, base: type[Callback]) -> bool:
    """Whether the callback has a hook of batches, in its class or of its own, that is not the base's."""
    hooks = [(getattr(callback, name), getattr(base, name)) for name in BATCH_HOOKS[purpose]]
    return any(getattr(own, "__func__", None) is not default for own, default in hooks)
