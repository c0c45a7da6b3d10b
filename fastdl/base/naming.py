"""Names of which each stands for one thing, and what to say of one that stands for nothing."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterable

LONGEST = 60  # letters of a name that is compared with others


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number that makes it one that is not taken: a, a_1, a_2, …"""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


class Names:
    """Hands out names, each once: as `free_name` does, without counting anew each time."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}

    def free(self, name: str) -> str:
        """The name, or with the first number that makes it one that is not taken; it is taken from now on."""
        number = self._numbers.get(name, 0)
        free = f"{name}_{number}" if number else name
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._numbers[name] = number
        self._taken.add(free)
        return free


def snake_case(name: str) -> str:
    """MeanSquaredError → mean_squared_error, KLDivergence → kl_divergence."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


_made: Counter[str] = Counter()  # how many objects have a default name, by that name


def default_name(kind: str) -> str:
    """Keras's name of a class in snake case, by which objects and their places in files are called: dense, re_lu."""
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()


def auto_name(kind: str) -> str:
    """Keras's default names, of layers, metrics and optimizers alike: dense, dense_1, dense_2, …"""
    base = default_name(kind)
    _made[base] += 1
    return base if _made[base] == 1 else f"{base}_{_made[base] - 1}"


def number_names_anew() -> None:
    """The next default name of each kind is the first again."""
    _made.clear()


def unknown(what: str, name: object, names: Iterable[str]) -> str:
    """What to say of a name that is none of `names`: the one that was meant, if it can be told, and which there are."""
    choices = list(dict.fromkeys(names))
    near = meant(str(name), choices)
    return f"unknown {what} {name!r}: {f'{near} There are' if near else 'choose one of'} {', '.join(choices)}"


def no_attribute(owner: str, name: str, names: Iterable[str], advice: str = "") -> str:
    """What to say of an attribute or argument that is none of `names`: the one that was meant, else the advice."""
    hint = meant(name, names) or advice
    return f"{owner} {name!r}{': ' if hint else ''}{hint}"


def no_such(module: str, name: str, names: Iterable[str], advice: str = "") -> AttributeError:
    """The error for `module.name`."""
    return AttributeError(no_attribute(f"module {module!r} has no attribute", name, names, advice))


def meant(name: str, names: Iterable[str]) -> str:
    """`did you mean 'relu'?`, or nothing where none of the names is near."""
    known = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), known, 1) if len(name) <= LONGEST else []
    return f"did you mean {known[near[0]]!r}?" if near else ""
