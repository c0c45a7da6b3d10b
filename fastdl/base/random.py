"""The one source of randomness: initial weights, shuffles and dropout seeds are all drawn here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from fastdl.base import forks

_generator: np.random.Generator | None = None
_in_its_place: ContextVar[np.random.Generator | None] = ContextVar("in_its_place", default=None)


def generator() -> np.random.Generator:
    """The global generator, from entropy unless `set_random_seed` was called; or what this thread has in its place."""
    if (other := _in_its_place.get()) is not None:
        return other
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator


def draw_seed() -> int:
    """A seed for draws that are made elsewhere: by a program, say."""
    return int(generator().integers(2**63))


def set_random_seed(seed: int) -> None:
    """Make everything that follows repeatable, to the bit. ValueError unless 0 <= seed < 2**32, as in Keras."""
    global _generator
    _generator = _seeded(seed)


@contextmanager
def local_random_seed(seed: int) -> Iterator[None]:
    """Make all that is drawn within a `with`, in the calling thread alone, follow a seed of its own: models that train
    side by side, each in a Python thread, are the same to the bit as one after the other. ValueError as for
    set_random_seed.
    """
    with replaced(_seeded(seed)):
        yield


def _seeded(seed: int) -> np.random.Generator:
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in [0, 2**32), not {seed!r}")
    return np.random.default_rng(int(seed))


@contextmanager
def replaced(other: np.random.Generator) -> Iterator[None]:
    """Another generator in the place of the global one, for a while, in this thread alone."""
    token = _in_its_place.set(other)
    try:
        yield
    finally:
        _in_its_place.reset(token)


@contextmanager
def restored() -> Iterator[None]:
    """What is drawn within will be drawn again afterwards."""
    state = generator().bit_generator.state
    try:
        yield
    finally:
        generator().bit_generator.state = state


@forks.in_child
def _unlock() -> None:
    """Another thread may have been drawing when this process was forked: numpy's generator would wait for it."""
    global _generator
    if _generator is not None and forks.left_behind(_generator.bit_generator.lock):
        bits = type(_generator.bit_generator)()
        bits.state = _generator.bit_generator.state
        _generator = np.random.Generator(bits)
