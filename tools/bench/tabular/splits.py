"""Which rows are for testing: five parts of the rows, each the test part of one split; the same for every peer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.tabular.sets import CLASSES

PARTS = 5
SEED = 20_261_126


def parts(target: Any, task: str) -> np.ndarray:
    """The part, 0 to 4, of each row. Each class is dealt out evenly; the rows of the smallest come first."""
    rng = np.random.default_rng(SEED)
    target = np.asarray(target)
    if task != CLASSES:
        order = rng.permutation(len(target))
    else:
        labels, counts = np.unique(target, return_counts=True)
        of_class = [rng.permutation(np.flatnonzero(target == labels[i])) for i in np.argsort(counts, kind="stable")]
        order = np.concatenate(of_class)
    part = np.empty(len(target), np.int64)
    part[order] = np.arange(len(target)) % PARTS
    return part


def rows(target: Any, task: str, split: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that split 0 to 4 trains on, and those it tests on (a fifth)."""
    part = parts(target, task)
    return np.flatnonzero(part != split), np.flatnonzero(part == split)
