"""Optimizers, with Keras's names, defaults and numbers: which rule steps a parameter, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from fastdl import schedules as schedules  # optimizers.schedules, as in Keras
from fastdl.base import configured
from fastdl.base.configured import family
from fastdl.base.naming import unknown
from fastdl.optimizers.directions import *
from fastdl.optimizers.optimizer import Optimizer as Optimizer
from fastdl.optimizers.rules import *

CLASSES = family(Optimizer)
NAMES = {name.lower(): kind for name, kind in CLASSES.items()}

serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """The optimizer that `serialize` described, without its slots; by its class's name or that in lower case.

    ValueError if there is none of that name.
    """
    return configured.deserialize(config, CLASSES | NAMES, custom_objects)


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: str | Optimizer | type[Optimizer] | Mapping[str, Any]) -> Optimizer: ...


def get(identifier: str | Optimizer | type[Optimizer] | Mapping[str, Any] | None) -> Optimizer | None:
    """An optimizer by Keras name, class, instance or config; None for None. ValueError if there is none."""
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str) and identifier.lower() in NAMES:
        return NAMES[identifier.lower()]()
    raise ValueError(f"{unknown('optimizer', identifier, NAMES)}, or a fastdl.optimizers object")
