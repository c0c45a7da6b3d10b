"""Classes and functions of one's own by the names under which files know them: those that a person has registered, or
hands over for one load. No file can name any other, and nothing is imported or run that a file speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeVar

from fastdl.base.scopes import having

T = TypeVar("T")

_known: dict[str, Any] = {}  # registered, or added to get_custom_objects()
_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default=MappingProxyType({}))


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """A decorator: files may name the class or function, as package>name. ValueError for a class without get_config.

    Keras: saving.register_keras_serializable.
    """

    def register(value: T) -> T:
        if isinstance(value, type) and not hasattr(value, "get_config"):
            raise ValueError(f"{value.__name__} has no get_config, which says how to make it again: a file needs it")
        _known[f"{package}>{name or value.__name__}"] = value  # type: ignore[attr-defined]
        return value

    return register


def get_custom_objects() -> dict[str, Any]:
    """Classes and functions that every file may name, by name: a dictionary to add to, which holds those that were
    registered as well (Keras)."""
    return _known


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Within, files may name these classes and functions (Keras: saving.custom_object_scope)."""
    with having(_scope, {**_scope.get(), **(custom_objects or {})}):
        yield


def get_registered_name(value: Any) -> str:
    """The name under which it is registered, or its own (Keras)."""
    for name, known in [*_known.items(), *_scope.get().items()]:
        if known is value:
            return name
    return str(value.__name__)


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What has that name: in custom_objects, the scope, or the registry; None if nothing has (Keras)."""
    for known in (custom_objects or {}, _scope.get(), _known):
        if name in known:
            return known[name]
        if found := [value for full, value in known.items() if full.rpartition(">")[2] == name]:
            return found[0]
    return None


def function_config(function: Any) -> dict[str, Any]:
    """How a file names a function of one's own. ValueError for a lambda, or what has no name."""
    name = get_registered_name(function) if hasattr(function, "__name__") else ""
    if not name or name == "<lambda>":
        raise ValueError(f"{function!r} has no name that a file could hold: write it as a function, with def")
    return {"class_name": "function", "config": {"name": name}}


def function_of(config: Any) -> Any:
    """The function of such a config; None for another config. ValueError if it is not known here."""
    if not isinstance(config, Mapping) or config.get("class_name") != "function":
        return None
    told = config.get("config") or {}
    name = told if isinstance(told, str) else str(told.get("name"))  # as Keras tells it, or as fastdl does
    if (function := get_registered_object(name)) is None:
        raise ValueError(
            f"the function {name!r} is not known here: pass custom_objects={{{name!r}: …}}, or register it by "
            "saving.register_keras_serializable"
        )
    return function
