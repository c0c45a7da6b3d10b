"""What data are like, feature by feature, in one pass over batches: float64, and no more memory than one batch."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fastdl.base.arrays import Array

SAMPLED = 100_000  # rows whose quantiles stand for those of more


class Statistic(Protocol):
    def add(self, rows: Array) -> None:
        """Heed some more rows, (rows, features) in float64."""


class Moments:
    """count, mean and, in `squares`, the sum of squared deviations from it, (features,).

    Batches are merged as Chan, Golub and LeVeque 1983 do it, which cancels nothing.
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.mean, self.squares = np.zeros(features), self._nothing(features)

    def add(self, rows: Array) -> None:
        count, mean = len(rows), rows.mean(axis=0)
        total, apart = self.count + count, mean - self.mean
        self.squares += self._product(rows - mean) + self._outer(apart) * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    def _nothing(self, features: int) -> Array:
        return np.zeros(features)

    def _product(self, centred: Array) -> Array:
        squares: Array = np.einsum("ij,ij->j", centred, centred)
        return squares

    def _outer(self, apart: Array) -> Array:
        return apart**2


class Covariance(Moments):
    """As Moments, with the products of all pairs of features in `squares`, (features, features)."""

    def _nothing(self, features: int) -> Array:
        return np.zeros((features, features))

    def _product(self, centred: Array) -> Array:
        return centred.T @ centred

    def _outer(self, apart: Array) -> Array:
        return np.outer(apart, apart)


class Extremes:
    """The least and the greatest of each feature, (features,)."""

    def __init__(self, features: int) -> None:
        self.least, self.greatest = np.full(features, np.inf), np.full(features, -np.inf)

    def add(self, rows: Array) -> None:
        self.least = np.minimum(self.least, rows.min(axis=0))
        self.greatest = np.maximum(self.greatest, rows.max(axis=0))


class Sample:
    """`rows`: all of them, (rows, features), or a random SAMPLED of more; the same ones in any batches."""

    def __init__(self, features: int) -> None:
        self._rows, self._keys = np.zeros((0, features)), np.zeros(0)
        self._random = np.random.default_rng(0)

    def add(self, rows: Array) -> None:
        self._rows = np.concatenate([self._rows, rows])
        self._keys = np.concatenate([self._keys, self._random.random(len(rows))])
        if len(self._rows) > 2 * SAMPLED:
            self._cut()

    def _cut(self) -> None:
        """Those with the smallest keys, in their order."""
        kept = np.sort(np.argpartition(self._keys, SAMPLED)[:SAMPLED])
        self._rows, self._keys = self._rows[kept], self._keys[kept]

    @property
    def rows(self) -> Array:
        if len(self._rows) > SAMPLED:
            self._cut()
        return self._rows
