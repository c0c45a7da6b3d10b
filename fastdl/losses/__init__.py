"""Losses, with Keras's names: which kernel computes them, and from which tensor. Called, they take numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.base.naming import snake_case as snake_case
from fastdl.losses.cross_entropy import *
from fastdl.losses.loss import *
from fastdl.losses.loss import Function as Function
from fastdl.losses.loss import Loss as Loss


def _as_function(kind: Callable[..., Loss]) -> Callable[..., Any]:
    """The class as Keras's function: (y_true, y_pred, the class's arguments) → each sample's loss."""

    def function(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, **options).call(y_true, y_pred)

    function.__doc__ = kind.__doc__
    return function


def entropy(p: Any, base: float | None = None) -> Array:
    """-sum of p log p over the last axis, zero where p is: in nats, or with the base 2 in bits (Shannon 1948)."""
    p = np.asarray(p, np.float64)
    if not (p >= 0).all():
        raise ValueError("entropy is of probabilities: none may be negative or NaN")
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0.0)
    return np.asarray(-terms.sum(-1) / (np.log(base) if base else 1.0))


CLASSES = family(Loss)
NAMES = names_of(CLASSES)
FUNCTIONS = {snake_case(name): _as_function(kind) for name, kind in CLASSES.items()}

serialize = configured.serialize


def deserialize(config: Mapping[str, Any]) -> Loss:
    """The loss that `serialize` described. ValueError if there is none of that name."""
    return get(configured.deserialize(config, CLASSES))


def get(loss: Any) -> Loss:
    """A loss by Keras name, class, instance, config, or a function of one's own (see Function). ValueError if none."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if isinstance(loss, str) and loss in NAMES:
        return NAMES[loss]()
    if isinstance(loss, Mapping):
        return deserialize(loss)
    if callable(loss):
        by_function = {id(function): NAMES[name] for name, function in FUNCTIONS.items()}
        return by_function[id(loss)]() if id(loss) in by_function else Function(loss)
    raise ValueError(f"{unknown('loss', loss, filter(str.islower, sorted(NAMES)))}, or a fastdl.losses object")


def __getattr__(name: str) -> Callable[..., Array]:
    """`losses.mean_squared_error` is the class as a function, as in Keras."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise no_such(__name__, name, [*CLASSES, *FUNCTIONS])
