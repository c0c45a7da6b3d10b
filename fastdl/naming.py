"""Names of which each stands for one thing."""

from __future__ import annotations

from collections.abc import Container


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number that makes it one that is not taken: a, a_1, a_2, …"""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
