"""What arguments must be: one line that names the argument and says what would be right, whatever was given."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl.errors import FastdlError

MOST = 2**31  # sizes and counts beyond are no numbers of rows, units or epochs that anybody has
ODD = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError)


class UnknownArgumentError(TypeError):
    """An argument of a name that there is none of."""


def whole(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """ValueError unless it is an integer from least to most."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= value <= most:
        return int(value)
    limits = "a positive integer" if least == 1 else f"an integer of {least} or more"
    raise ValueError(f"{name} must be {limits}{f', {most:,} at most' if _over(value, most) else ''}, not {value!r}")


def _over(value: Any, most: int) -> bool:
    return isinstance(value, int | np.integer) and bool(value > most)


def real(name: str, value: Any, least: float = 0.0, finite: bool = False) -> float:
    """ValueError unless it is a number of at least so much."""
    if _is_number(value) and value >= least and (not finite or value < math.inf):
        return float(value)
    bound = "zero or more" if least == 0 else f"{least} or more"
    raise ValueError(f"{name} must be a {'finite ' * finite}number, {bound}, not {value!r}")


def flag(name: str, value: Any) -> bool:
    """ValueError unless it is True or False; 1, 0 and None are taken for these."""
    if _is_flag(value):
        return bool(value)
    raise ValueError(f"{name} must be True or False, not {value!r}")


def _is_flag(value: Any) -> bool:
    return value is None or (isinstance(value, bool | np.bool_ | int | np.integer) and value in (0, 1))


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float | np.number) or isinstance(value, complex | np.complexfloating):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def _is_whole(value: Any) -> bool:
    return _is_number(value) and -(2**63) <= value < 2**63 and float(value).is_integer()


# by annotation: what is right, and a test of it
PLAIN: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "float": ("a number", _is_number),
    "int": ("an integer", _is_whole),
    "bool": ("True or False", _is_flag),
    "str": ("a text", lambda value: isinstance(value, str)),
}


def named(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose plain arguments (numbers, flags, texts) are as they are annotated, or named in a ValueError.

    What the constructor says itself, if it names the argument, is left.
    """
    signature = inspect.signature(init)
    plain = {}
    for name, parameter in signature.parameters.items():
        kind, _, none = str(parameter.annotation).partition(" | ")
        if kind in PLAIN and none in ("", "None"):
            plain[name] = (*PLAIN[kind], bool(none))

    def wrong(arguments: dict[str, Any]) -> tuple[str, str] | None:
        for name, (right, fits, optional) in plain.items():
            value = arguments.get(name, inspect.Parameter.empty)
            if value is inspect.Parameter.empty or (value is None and optional) or fits(value):
                continue
            return name, f"{name} must be {right}{', or None' if optional else ''}, not {value!r}"
        return None

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except UnknownArgumentError:
            raise
        except ODD as error:
            fault = wrong(_given(signature, self, args, kwargs))
            told = str(error)
            if fault and fault[0] not in told:
                raise ValueError(fault[1]) from None
            arguments = _given(signature, self, args, kwargs)
            if (
                not arguments
                or isinstance(error, FastdlError)
                or any(n in told for n in [*signature.parameters, *arguments])
            ):
                raise
            blamed = {name: value for name, value in arguments.items() if name not in plain} or arguments
            listed = ", ".join(f"{name}={value!r}" for name, value in blamed.items())
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{type(self).__name__} cannot be made with {listed}: {told}") from None
        if plain and (fault := wrong(_given(signature, self, args, kwargs))):
            raise ValueError(fault[1])

    return checked


def _given(signature: inspect.Signature, self: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by name, but for the object itself; none if they do not fit the signature."""
    try:
        given = signature.bind(self, *args, **kwargs).arguments
    except TypeError:
        return {}
    named = dict(list(given.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(name, {})
    return named


def shown(name: str, value: Any, auto: int = 1) -> int:
    """How much is printed: 0, 1 or 2, or "auto". ValueError for all else."""
    if isinstance(value, str) and value == "auto":
        return auto
    if isinstance(value, int | np.integer) and 0 <= value <= 2:
        return int(value)
    raise ValueError(f"{name} must be 0, 1, 2 or 'auto', not {value!r}")


def path(name: str, value: Any) -> str:
    """ValueError unless it is a text or a path."""
    try:
        return os.fsdecode(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a path, not {value!r}") from None


class Named:
    """Base: the constructors of fastdl's own subclasses name the argument that is wrong."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls) and cls.__module__.startswith("fastdl."):
            cls.__init__ = named(cls.__init__)  # type: ignore[misc, method-assign]
