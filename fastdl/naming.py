"""Names of which each stands for one thing."""

from __future__ import annotations

from collections.abc import Container, Iterable


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
