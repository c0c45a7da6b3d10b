"""Which rows a net learns from, and which judge it: shares of each class, or of targets from low to high, alike."""

from __future__ import annotations

import numpy as np

from fastdl.base.arrays import Array

FEW = 10  # rows below which none are held back: the last epoch is taken


def fold_numbers(targets: Array, folds: int, generator: np.random.Generator) -> Array:
    """The fold of each row, 0 to folds - 1, of sizes that differ by one at most; each a picture of all targets.

    targets: (rows,) of class numbers, or (rows, outputs) of numbers, of which the first counts.
    """
    first = targets.reshape(len(targets), -1)[:, 0]
    order = generator.permutation(len(first))
    order = order[np.argsort(first[order], kind="stable")]
    numbers = np.empty(len(first), np.int64)
    for start in range(0, len(order), folds):  # neighbours in the order of targets go to different folds
        block = order[start : start + folds]
        numbers[block] = generator.permutation(folds)[: len(block)]
    return numbers


def holdout(targets: Array, share: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Rows to learn from, and rows to judge by: about that share of them, and never all rows of a class."""
    folds = max(2, round(1 / share))
    taken = max(1, round(share * folds))
    held = fold_numbers(targets, folds, generator) < taken
    if targets.dtype.kind == "i":
        left = np.unique(targets[~held])
        held &= np.isin(targets, left)
    if not held.any():  # rows are few: one of the class that has most
        first = targets.reshape(len(targets), -1)[:, 0]
        values, counts = np.unique(first, return_counts=True)
        held[np.flatnonzero(first == values[counts.argmax()])[0]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
