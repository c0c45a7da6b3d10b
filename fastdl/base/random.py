"""The one source of randomness: initial weights, shuffles and dropout seeds are all drawn here."""

from __future__ import annotations

import random as pythons
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from fastdl.base import forks
from fastdl.base.arrays import Array
from fastdl.base.naming import auto_name
from fastdl.base.scopes import having

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
    """Make everything that follows repeatable, to the bit, and what `random` and `numpy.random` draw as well (Keras).

    ValueError unless 0 <= seed < 2**32.
    """
    global _generator
    _generator = _seeded(seed)
    pythons.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 # what others draw by it


class SeedGenerator:
    """A source of its own: other numbers at each call, the same ones after each start. Keras: random.SeedGenerator.

    seed: where it starts; None: drawn. state: (2,) uint32, the seed and how often it was asked.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self.seed, self.name = seed, name or auto_name("SeedGenerator")
        start = draw_seed() % 2**32 if seed is None else seed
        if not isinstance(start, (int, np.integer)) or not 0 <= start < 2**32:
            raise ValueError(f"seed must be an integer in [0, 2**32), or None, not {seed!r}")
        self.state: Array = np.array([start, 0], np.uint32)

    def next(self, ordered: bool = True) -> Array:
        """The state, (2,), which then becomes another; by a step of 1, or, not ordered, by a jump (Keras)."""
        state = self.state.copy()
        if ordered:
            self.state[1] += np.uint32(1)
        else:
            self.state[:] = (state.astype(np.uint64) + 1) * 5387 % 933199
        return state

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments: another one made of them starts as this one did (Keras)."""
        return {"seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)


Seed = int | SeedGenerator | None


def source(seed: Seed) -> np.random.Generator:
    """What draws for a seed: see fastdl.random. ValueError for what is none."""
    if seed is None:
        return generator()
    if isinstance(seed, SeedGenerator):
        return np.random.default_rng(seed.next())
    if isinstance(seed, (int, np.integer)) and seed >= 0:
        return np.random.default_rng(int(seed))
    raise ValueError(f"seed must be an integer of zero or more, a SeedGenerator, or None, not {seed!r}")


def within_two(draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers; those beyond two standard deviations are drawn again."""
    values = np.asarray(draw.standard_normal(shape))
    while (outside := np.abs(values) > 2).any():
        values[outside] = draw.standard_normal(int(outside.sum()))
    return values


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
    with having(_in_its_place, other):
        yield


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
