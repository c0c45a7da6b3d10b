"""What an optimizer counts, as numbers that can be assigned to: its learning rate and its iterations, as in Keras."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np

from fastdl import config
from fastdl.base.arrays import Array


class Counting(Protocol):
    """Of an optimizer, what these numbers are of."""

    name: str
    batches: int
    learning_rate: Any


class _Variable:
    """A number as it was when it was asked for. Keras: Variable."""

    shape: tuple[int, ...] = ()
    trainable = False
    name: str
    of: Counting

    @property
    def path(self) -> str:
        return f"{self.of.name}/{self.name}"

    def numpy(self) -> Array:
        """A copy, of shape ()."""
        return np.array(self)

    @property
    def value(self) -> Array:
        """As `numpy`."""
        return self.numpy()

    def assign(self, value: Any) -> None:
        """Make it another; what was asked for before stays as it was."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return (float if isinstance(self, float) else int), (self + 0,)  # type: ignore[operator]


class LearningRate(_Variable, float):
    """An optimizer's learning rate."""

    name = "learning_rate"

    def __new__(cls, value: float, of: Counting) -> Self:
        number = super().__new__(cls, value)
        number.of = of
        return number

    @property
    def value(self) -> Array:
        """Rounded to the dtype floatx, as Keras keeps it; `numpy` gives all digits."""
        return np.array(self, config.floatx())

    def assign(self, value: Any) -> None:
        """Set the optimizer's, if it follows no schedule; else TypeError. ValueError for what is no rate."""
        self.of.learning_rate = np.asarray(value).item()


class Iterations(_Variable, int):
    """How many batches an optimizer was given, or how many steps it took."""

    name = "iteration"

    def __new__(cls, value: int, of: Counting) -> Self:
        number = super().__new__(cls, value)
        number.of = of
        return number

    def assign(self, value: Any) -> None:
        """Set how many batches the optimizer was given."""
        self.of.batches = int(value)
