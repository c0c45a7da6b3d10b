"""The order in which things are done that need one another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def in_order(ends: Iterable[T], needs: Callable[[T], Iterable[T]]) -> Iterator[T]:
    """The ends and all that they need, each once, after what it needs itself, which stands in no circle.

    Depth first, and without recursion: networks may be deeper than Python's stack.
    """
    done: set[T] = set()
    stack = [(each, False) for each in reversed(list(ends))]
    while stack:
        each, ready = stack.pop()
        if each in done:
            continue
        if ready:
            done.add(each)
            yield each
        else:
            stack.append((each, True))
            stack.extend((need, False) for need in reversed(list(needs(each))))
