"""What layers take from Keras's ways: a `build` that others may call, and a dtype."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastdl import config
from fastdl.base.configured import is_fastdls
from fastdl.layers.given import argument_of, shapes


def policy_of(dtype: Any) -> str:
    """config.dtype_policy() for None. ValueError unless it is the model's, or "mixed_bfloat16" where the CPU has it."""
    if dtype is None:
        return config.dtype_policy()
    name = str(getattr(dtype, "name", dtype))
    if name == "mixed_bfloat16" and config.floatx() == "float32":
        config.bfloat16_products()
    elif name != config.floatx():
        raise ValueError(
            f"dtype must be {config.floatx()}, mixed_bfloat16 or None, not {dtype!r}: layers take their model's"
        )
    return name


def saved_policy(policy: str) -> dict[str, str]:
    """A layer's policy in its config: only where it is not plainly that of its model."""
    return {"dtype": policy} if policy == "mixed_bfloat16" else {}


def buildable(build: Callable[..., None]) -> Callable[..., None]:
    """A layer's `build` that may be called from without as well, with the shape alone, as Keras's is."""

    @functools.wraps(build)
    def either(layer: Any, *given: Any, **named: Any) -> None:
        if layer.building:
            build(layer, *given, **named)
        elif len(named) > 1:
            layer.build_for(*given, **named)
        else:
            layer.build_for(*given, *named.values())

    return either


def arguments_of_method(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Those of a function of a class, but for the object itself."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


_looked_up = functools.cache(arguments_of_method)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """As inspect.signature tells them; of fastdl's own methods, which each layer of a kind has, they are kept."""
    plain = getattr(function, "__func__", None)
    return _looked_up(plain) if plain and is_fastdls(plain) else inspect.signature(function).parameters


def names_of_arguments(function: Callable[..., Any]) -> list[str]:
    """Those that have a name of their own."""
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [name for name, each in parameters_of(function).items() if each.kind not in several]


def build_arguments(
    layer: Any, args: Sequence[Any], named: Mapping[str, Any], dtype: Any, target: Any = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a layer's `build`, or another function of shapes, is called with, where `call` is given these arguments.

    One argument is the shape of the first one of `call`, and may have the dtype beside it; several are each of the one
    whose name they have before _shape (Keras). ValueError for other names.
    """
    names = names_of_arguments(target or layer.build)
    if len(names) < 2 or names[1] == "dtype":
        first = shapes([*args, *named.values()][0])
        return (first, dtype)[: len(names)], {}
    takes = inspect.signature(layer.call)
    given = takes.bind_partial(*args, **named).arguments
    for name in names:
        if not name.endswith("_shape"):
            raise ValueError(
                f"{layer.name}: build has the argument `{name}`, which does not end in `_shape`: of several, each must "
                "name an argument of call()"
            )
        if argument_of(name) not in takes.parameters:
            raise ValueError(
                f"{layer.name}: build has the argument `{name}`, but `call()` does not have argument "
                f"`{argument_of(name)}`"
            )
    return (), {name: shapes(given.get(argument_of(name))) for name in names}
