"""Objects that are told apart by their constructor's arguments: `get_config`, `from_config`, and by name."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np

from fastdl.base import registry
from fastdl.base.arguments import Named
from fastdl.base.naming import snake_case, unknown

T = TypeVar("T", bound="Configured")


class Configured(Named):
    """Base: each argument of the constructor is kept as an attribute of its name.

    aliases: other names by which Keras knows a class. nameable, of a class itself and not of those below it: whether a
    file may name it; not a base, nor what is made of a function of one's own.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    nameable: ClassVar[bool] = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, arrays as lists and numpy's numbers as Python's (Keras)."""
        arguments = inspect.signature(type(self)).parameters.values()
        values = {each.name: getattr(self, each.name) for each in arguments if each.kind is not each.VAR_KEYWORD}
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


def described(value: object, arguments: Mapping[str, Any] | None = None) -> str:
    """One line: the class, and its constructor's arguments where they are not the defaults; by default its attributes
    are these."""
    told = []
    for name, argument in inspect.signature(type(value)).parameters.items():
        own = getattr(value, name, argument.default) if arguments is None else arguments[name]
        if name not in ("name", "dtype") and repr(own) != repr(argument.default):
            told.append(f"{name}={reprlib.repr(own)}")
    return f"{type(value).__name__}({', '.join(told)})"


def serialize(value: Any) -> dict[str, Any]:
    """The class's name and the object's arguments, as `deserialize` takes them; of a function, or what was made of one,
    the function's name (Keras). ValueError for a lambda."""
    function = value if inspect.isfunction(value) else getattr(value, "fn", None)
    if callable(function) and (function is value or is_fastdls(type(value))):
        return registry.function_config(function)
    return {"class_name": registry.get_registered_name(type(value)), "config": value.get_config()}


def is_fastdls(kind: type | Callable[..., Any]) -> bool:
    """Whether the class or function is fastdl's own, not one of a user's."""
    return str(kind.__module__).startswith("fastdl.")  # of a module that was not imported it is None


def refuse_overrides(kind: type, replaced: Mapping[str, str]) -> None:
    """TypeError where a class defines a method that nothing would ever call, with what to use in its place."""
    for name in replaced.keys() & vars(kind).keys():
        if not is_fastdls(kind):
            raise TypeError(
                f"{kind.__name__}.{name} would never be called: fastdl trains in compiled programs. Use "
                f"{replaced[name]}"
            )


def may_be_named(kind: type[Configured]) -> bool:
    """Whether files may name the class: it is fastdl's own, and public."""
    return is_fastdls(kind) and not kind.__name__.startswith("_") and bool(vars(kind).get("nameable", True))


def family(base: type[T]) -> dict[str, type[T]]:
    """The classes below the base that files may name, by name."""
    classes: dict[str, type[T]] = {}
    for kind in base.__subclasses__():
        if may_be_named(kind):
            classes[kind.__name__] = kind
        classes |= family(kind)
    return classes


def names_of(classes: Mapping[str, type[T]]) -> dict[str, type[T]]:
    """The classes by all their names: their own, that in snake case, and aliases."""
    by_name = {**classes, **{snake_case(name): kind for name, kind in classes.items()}}
    return by_name | {alias: kind for kind in classes.values() for alias in vars(kind).get("aliases", ())}


def is_one_of(value: object, classes: Mapping[str, type[Configured]]) -> bool:
    """Whether `deserialize` would make the value's own class again, not just one of its name or its base; a class of
    one's own where it is registered, or handed over as a custom object."""
    kind = type(value)
    if classes.get(kind.__name__) is kind:
        return True
    if is_fastdls(kind):
        return is_named_function(getattr(value, "fn", None))
    return isinstance(value, Configured) and kind.__name__ not in classes


def is_named_function(value: Any) -> bool:
    """Whether a file can name the function."""
    return callable(value) and getattr(value, "__name__", "<lambda>") != "<lambda>"


def deserialize(
    config: Mapping[str, Any], classes: Mapping[str, type[T]], custom_objects: Mapping[str, Any] | None = None
) -> T:
    """The object that `serialize` described, or the function. ValueError for a class that is not one of `classes`, nor
    registered, nor a custom object: none is imported."""
    if custom_objects:
        with registry.custom_object_scope(custom_objects):
            return deserialize(config, classes)
    if (function := registry.function_of(config)) is not None:
        return cast(T, function)
    name = str(config.get("class_name"))
    kind = classes.get(name) or registry.get_registered_object(name)
    if not isinstance(kind, type) or not issubclass(kind, Configured):
        raise ValueError(
            f"{unknown('class', name, classes)}. One of your own is found if it is in custom_objects, or registered by "
            "saving.register_keras_serializable"
        )
    return cast(T, kind.from_config(config.get("config") or {}))
