"""Losses, with Keras's names: which kernel computes them, and from which tensor. Called, they take numpy arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.base.naming import snake_case as snake_case
from fastdl.losses.batchwise import *
from fastdl.losses.batchwise import circle
from fastdl.losses.cross_entropy import *
from fastdl.losses.loss import *
from fastdl.losses.loss import Function as Function
from fastdl.losses.loss import Loss as Loss

OF_OBJECTS = "reduction", "name", "dtype"  # arguments of classes that functions do not have


def _as_function(name: str, kind: Callable[..., Loss]) -> Callable[..., Any]:
    """The class as Keras's function: (y_true, y_pred, what the loss depends on) → each sample's loss."""
    own = [each for each in inspect.signature(kind).parameters.values() if each.name not in OF_OBJECTS]
    both = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in ("y_true", "y_pred")]
    signature = inspect.Signature([*both, *own])

    def function(*arguments: Any, **options: Any) -> Any:
        given = signature.bind(*arguments, **options).arguments
        return kind(**{n: each for n, each in given.items() if n not in ("y_true", "y_pred")}).call(
            given["y_true"], given["y_pred"]
        )

    function.__doc__ = kind.__doc__
    function.__signature__ = signature  # type: ignore[attr-defined] # what help tells
    function.__name__ = function.__qualname__ = name  # by which pickle and files find it
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
FUNCTIONS = {snake_case(name): _as_function(snake_case(name), kind) for name, kind in CLASSES.items()}
FUNCTIONS["circle"] = circle  # which takes references as well

serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The loss, or the function, that `serialize` described. ValueError if there is none of that name."""
    told = config.get("config") if config.get("class_name") == "function" else None
    named = str(told.get("name") if isinstance(told, Mapping) else told)
    return FUNCTIONS[named] if named in FUNCTIONS else configured.deserialize(config, CLASSES, custom_objects)


def get(identifier: Any) -> Any:
    """A loss by its class's name, class, instance or config; a function by its name; a function, and None, as they are.

    ValueError if there is none. Keras: losses.get.
    """
    if isinstance(identifier, str) and identifier in CLASSES:
        return CLASSES[identifier]()
    if isinstance(identifier, str) and identifier in NAMES:
        return FUNCTIONS[snake_case(NAMES[identifier].__name__)]
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if identifier is None or callable(identifier):
        return identifier
    raise ValueError(f"{unknown('loss', identifier, filter(str.islower, sorted(NAMES)))}, or a fastdl.losses object")


def loss_for(loss: Any) -> Loss:
    """What `compile` takes for a loss: as `get`, but always a Loss, also of a function (see Function). ValueError."""
    found = get(loss)
    if found is None:
        raise ValueError("a loss is needed, not None")
    classes = {id(function): CLASSES[name] for name, function in zip(CLASSES, FUNCTIONS.values(), strict=True)}
    if id(found) in classes:
        return classes[id(found)]()
    return found if isinstance(found, Loss) else Function(found)


def __getattr__(name: str) -> Callable[..., Array]:
    """`losses.mean_squared_error` is the class as a function, as in Keras."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise no_such(__name__, name, [*CLASSES, *FUNCTIONS])
