"""Objects that are told apart by their constructor's arguments: `get_config`, `from_config`, and by name."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import numpy as np

from fastdl.base.arguments import Named
from fastdl.base.naming import unknown

T = TypeVar("T", bound="Configured")


class Configured(Named):
    """Base: each argument of the constructor is kept as an attribute of its name."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, arrays as lists and numpy's numbers as Python's (Keras)."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {
            name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            for name, value in values.items()
        }

    def __repr__(self) -> str:
        return described(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An object with these arguments (Keras)."""
        return cls(**config)


def described(value: object) -> str:
    """One line: the class, and its constructor's arguments where they are not the defaults."""
    told = []
    for name, argument in inspect.signature(type(value)).parameters.items():
        own = getattr(value, name, argument.default)
        if name not in ("name", "dtype") and repr(own) != repr(argument.default):
            told.append(f"{name}={reprlib.repr(own)}")
    return f"{type(value).__name__}({', '.join(told)})"


def serialize(value: Configured) -> dict[str, Any]:
    """The class's name and the object's arguments, as `deserialize` takes them (Keras)."""
    return {"class_name": type(value).__name__, "config": value.get_config()}


def is_one_of(value: object, classes: Mapping[str, type[Configured]]) -> bool:
    """Whether `deserialize` would make the value's own class again, not just one of its name or its base."""
    return classes.get(type(value).__name__) is type(value)


def deserialize(config: Mapping[str, Any], classes: Mapping[str, type[T]]) -> T:
    """The object that `serialize` described. ValueError for a class that is not one of `classes`: none is imported."""
    name = str(config.get("class_name"))
    if name not in classes:
        raise ValueError(unknown("class", name, classes))
    return classes[name].from_config(config.get("config") or {})
