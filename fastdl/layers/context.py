"""What is known while layers are called or made: by a model that is being traced, or a file that is being loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastdl.compiler.graph import Tensor
from fastdl.initializers import Function

losses_added: ContextVar[list[Tensor] | None] = ContextVar("losses_added", default=None)  # while a model is traced
values_from: ContextVar[Function | None] = ContextVar("values_from", default=None)  # a file, while one is loaded
on_its_own: ContextVar[bool] = ContextVar("on_its_own", default=False)  # nobody says whether a model is training
_calls_noted: ContextVar[list[Any] | None] = ContextVar("calls_noted", default=None)
_together: ContextVar[dict[str, Any] | None] = ContextVar("together", default=None)


@contextmanager
def calls_noted(calls: list[Any] | None) -> Iterator[None]:
    """Each layer that is called within is added to the list."""
    token = _calls_noted.set(calls)
    try:
        yield
    finally:
        _calls_noted.reset(token)


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
