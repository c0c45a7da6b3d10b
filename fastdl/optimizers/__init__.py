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


def deserialize(config: Mapping[str, Any]) -> Optimizer:
    """The optimizer that `serialize` described, without its slots; by its class's name or that in lower case.

    ValueError if there is none of that name.
    """
    return configured.deserialize(config, CLASSES | NAMES)


@overload
def get(optimizer: None) -> None: ...


@overload
def get(optimizer: str | Optimizer | type[Optimizer] | Mapping[str, Any]) -> Optimizer: ...


def get(optimizer: str | Optimizer | type[Optimizer] | Mapping[str, Any] | None) -> Optimizer | None:
    """An optimizer by Keras name, class, instance or config; None for None. ValueError if there is none."""
    if optimizer is None or isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if isinstance(optimizer, Mapping):
        return deserialize(optimizer)
    if isinstance(optimizer, str) and optimizer.lower() in NAMES:
        return NAMES[optimizer.lower()]()
    raise ValueError(f"{unknown('optimizer', optimizer, NAMES)}, or a fastdl.optimizers object")
