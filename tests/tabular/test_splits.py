"""Rows to learn from and rows to judge by: each a picture of all targets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastdl.tabular.splits import fold_numbers, holdout


@given(st.lists(st.integers(0, 3), min_size=10, max_size=200), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_folds_hold_each_class_in_like_numbers(labels: list[int], folds: int, seed: int) -> None:
    targets = np.array(labels)
    numbers = fold_numbers(targets, folds, np.random.default_rng(seed))
    sizes = np.bincount(numbers, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for k in np.unique(targets):
        shares = np.bincount(numbers[targets == k], minlength=folds)
        assert shares.max() - shares.min() <= 2  # a class begins and ends within blocks of all folds


@given(st.lists(st.integers(0, 5), min_size=2, max_size=100), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_a_holdout_leaves_rows_of_each_class_to_learn_from(labels: list[int], share: float, seed: int) -> None:
    targets = np.array(labels)
    learned, held = holdout(targets, share, np.random.default_rng(seed))
    assert sorted([*learned, *held]) == list(range(len(targets)))
    assert len(held) >= 1
    if len(np.unique(targets)) < len(targets):
        assert set(targets[held]) <= set(targets[learned])


def test_a_holdout_of_numbers_reaches_from_low_to_high() -> None:
    targets = np.random.default_rng(0).standard_normal((1000, 1))
    learned, held = holdout(targets, 0.2, np.random.default_rng(1))
    assert len(held) == 200
    for q in (0.1, 0.5, 0.9):
        assert abs(np.quantile(targets[held], q) - np.quantile(targets[learned], q)) < 0.1
