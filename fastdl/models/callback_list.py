"""The callbacks of one call of fit, evaluate or predict."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastdl.base.naming import no_attribute
from fastdl.models.callback import BATCH_HOOKS, Callback, Logs
from fastdl.models.divergence import Divergence
from fastdl.models.history import History

Callbacks = Callback | Iterable[Any] | None  # one, or several, in lists within lists


def _flat(callbacks: Callbacks) -> Iterator[Callback]:
    if isinstance(callbacks, Callback):
        yield callbacks
    elif isinstance(callbacks, Iterable) and not isinstance(callbacks, str):
        for callback in callbacks:
            yield from _flat(callback)
    elif callbacks is not None:
        made = f": make one, {callbacks.__name__}(…)" if isinstance(callbacks, type) else ""
        raise TypeError(f"callbacks are fastdl.callbacks.Callback objects, not {callbacks!r}{made}")


class CallbackList:
    """Callbacks in their order, told of one call of the model's. TypeError for what is none.

    In a loop of one's own: their hooks are its methods, model and params are what they are introduced to, add_history
    has a History among them. ValueError for add_progbar: the bar is fit's. Keras: callbacks.CallbackList.
    """

    def __init__(
        self,
        callbacks: Callbacks = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        if add_progbar:
            raise ValueError("add_progbar: fastdl's bar belongs to fit, evaluate and predict; print the logs yourself")
        self.callbacks = list(_flat(callbacks))
        if add_history:
            self.history()
        self._every_batch = {
            purpose for purpose in BATCH_HOOKS if any(callback.every_batch(purpose) for callback in self.callbacks)
        }
        self._execution = 1  # how many batches are told of at once
        self._waiting: list[Logs] = []  # those of the batches of an execution that has begun
        self._first = 0  # and its first batch
        if params:
            self.set_params(params)
        if model is not None:
            self.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Tell each how the model was called."""
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Introduce the model to each."""
        for callback in self.callbacks:
            callback.set_model(model)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Each hook of a Callback is a method that calls those of all."""
        if not name.startswith("on_") or not hasattr(Callback, name):
            raise AttributeError(no_attribute("CallbackList has no attribute", name, dir(Callback)))
        return functools.partial(self.tell, name)

    def begin(self, model: Any, **params: Any) -> None:
        """Introduce the model and how it was called."""
        self._execution = model.session.steps_per_execution
        self.set_params(params)
        self.set_model(model)

    def history(self) -> History:
        """The first History, or one that is put last: it records what the others add to the logs."""
        for callback in self.callbacks:
            if isinstance(callback, History):
                return callback
        self.callbacks.append(history := History())
        return history

    def watch(self) -> None:
        """Let a Divergence listen, if none does: last, as it changes nothing."""
        if not any(isinstance(callback, Divergence) for callback in self.callbacks):
            self.callbacks.append(Divergence())

    def most(self, purpose: str) -> int | None:
        """After how many batches a pass must come back: one if anybody wants to hear of each."""
        return 1 if purpose in self._every_batch else None

    def tell(self, hook: str, *arguments: Any) -> None:
        """Call a hook of each."""
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def batch_begins(self, purpose: str, batch: int) -> None:
        """Call on_…_batch_begin, if anybody wants to hear of it, at the first batch of an execution."""
        if purpose in self._every_batch and not self._waiting:
            self._first = batch
            self.tell(f"on_{purpose}_batch_begin", batch, {})

    def batch_ends(self, purpose: str, batch: int, logs: Logs) -> None:
        """Call on_…_batch_end with a copy of the logs, if anybody wants to hear of it, at the last of an execution."""
        if purpose in self._every_batch:
            self._waiting.append(logs)
            if len(self._waiting) == self._execution:
                self.pass_ends(purpose)

    def pass_ends(self, purpose: str) -> None:
        """Tell of an execution's end: the number of its last batch, as if there were as many left (Keras)."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        logs = dict(waiting[-1])
        if purpose == "predict" and len(waiting) > 1:
            logs = {"outputs": _joined([each["outputs"] for each in waiting])}
        self.tell(f"on_{purpose}_batch_end", self._first + self._execution - 1, logs)


def _joined(outputs: list[Any]) -> Any:
    """The outputs of several batches as of one."""
    if isinstance(outputs[0], list):
        return [np.concatenate(each) for each in zip(*outputs, strict=True)]
    return np.concatenate(outputs)
