"""Uses of layers, and what is known while they are called or made: by a model that is traced, a file that is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from fastdl.base.scopes import having
from fastdl.compiler.graph import Tensor
from fastdl.initializers import Function
from fastdl.layers.given import filled, tensors_in

losses_added: ContextVar[list[Tensor] | None] = ContextVar("losses_added", default=None)  # while a model is traced
# what gives a weight its first values, by its initializer, shape and dtype: a file, while one is loaded
values_from: ContextVar[Callable[[Function, tuple[int, ...], Any], Any]] = ContextVar(
    "values_from", default=lambda draw, shape, dtype: draw(shape, dtype)
)
on_its_own: ContextVar[bool] = ContextVar("on_its_own", default=False)  # nobody says whether a model is training
layers_around: ContextVar[tuple[str, ...]] = ContextVar("layers_around", default=())  # those of one's own that call
training_around: ContextVar[bool | None] = ContextVar("training_around", default=None)  # what a layer around it said
_calls_noted: ContextVar[list[Any] | None] = ContextVar("calls_noted", default=None)
_together: ContextVar[dict[str, Any] | None] = ContextVar("together", default=None)


class Phase(int):
    """What a `call` of one's own is told of training where nobody has said it: 1 or 0, by the graph that is traced.

    Handed on to a layer of fastdl's it stands for nothing said: that one acts as the program does.
    """

    told = False  # whether a `call` has been given it


phase: ContextVar[Phase | None] = ContextVar("phase", default=None)  # while a model is traced


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer: what it read, and what it gave."""

    layer: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    training: bool | None
    apart: bool = False  # whether several inputs were given as several arguments
    form: Any = None  # of inputs that were given in another way than one, a list or several: see `given`

    def arguments(self, inputs: Sequence[Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """What it was called with, by position and by name, with other inputs, of which one may be missing."""
        if self.form is not None:
            args, named = filled(self.form, inputs)
            return args, named
        if self.apart:
            return inputs, {}
        return [list(inputs) if len(inputs) > 1 or self.layer.takes_several else inputs[0]], {}

    def again(self, inputs: Sequence[Any], training: bool | None = None) -> list[Tensor]:
        """The outputs of the same use of the layer with other inputs.

        That it is told to train counts where nobody runs the model for a purpose, as in Keras.
        """
        if self.training is False or (self.training and on_its_own.get()):
            training = self.training
        args, named = self.arguments(inputs)
        return tensors_in(self.layer(*args, **named, training=training))


def listed(value: Any) -> list[Any]:
    """A list of one, or of several."""
    return list(value) if isinstance(value, list | tuple) else [value]


@contextmanager
def calls_noted(calls: list[Any] | None) -> Iterator[None]:
    """Each layer that is called within is added to the list."""
    with having(_calls_noted, calls):
        yield


def note_call(layer: Any) -> None:
    if (calls := _calls_noted.get()) is not None:
        calls.append(layer)


def made(layer: Any) -> Any:
    """The layer, which others that are made together with it may now ask for by name."""
    if (known := _together.get()) is not None and hasattr(layer, "call"):
        known[layer.name] = layer
    return layer


@contextmanager
def together() -> Iterator[None]:
    """Layers made within belong to one model: one may name another."""
    token = None if _together.get() is not None else _together.set({})
    try:
        yield
    finally:
        if token:
            _together.reset(token)


def made_before(name: str) -> Any:
    """The layer of that name of the model that is being made. ValueError if there is none before."""
    known = _together.get() or {}
    if name not in known:
        raise ValueError(f"there is no layer {name!r} before the one that shares its weights")
    return known[name]
