"""Locks that a fork leaves behind: in the child, those that another thread held would never be released."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class _Owner(Protocol):
    def after_fork(self) -> None: ...


_owners: WeakSet[_Owner] = WeakSet()
_functions: list[Callable[[], None]] = []


def watch(owner: _Owner) -> None:
    """Call the owner's `after_fork` in each child of a fork, as long as there is the owner."""
    _owners.add(owner)


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call the function in each child of a fork."""
    _functions.append(function)
    return function


def left_behind(lock: threading.Lock | threading.RLock) -> bool:  # type: ignore[valid-type]
    """Whether a thread holds the lock that is not in this child: neither free, nor an RLock of the one that forked."""
    if lock.acquire(blocking=False):  # type: ignore[attr-defined]
        lock.release()  # type: ignore[attr-defined]
        return False
    return True


def _after_fork() -> None:
    for owner in list(_owners):
        owner.after_fork()
    for function in _functions:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
