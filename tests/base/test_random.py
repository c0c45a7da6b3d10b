"""What is drawn, and how many threads draw it, can be another in one thread without the others hearing of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from fastdl import config
from fastdl.base import random


def side_by_side(*functions: Callable[[Barrier], Any]) -> list[Any]:
    """What each gives, in a thread of its own; the barrier lets them meet halfway."""
    meet = Barrier(len(functions), timeout=20)
    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result() for each in [pool.submit(function, meet) for function in functions]]


def test_each_thread_draws_from_its_own_generator() -> None:
    def draw(seed: int, meet: Barrier) -> list[float]:
        with random.replaced(np.random.default_rng(seed)):
            meet.wait()
            return [float(random.generator().random()) for _ in range(50)]

    drawn = side_by_side(lambda meet: draw(1, meet), lambda meet: draw(2, meet))
    assert drawn == [np.random.default_rng(seed).random(50).tolist() for seed in (1, 2)]


def test_threads_are_limited_in_one_thread_alone() -> None:
    everywhere = config.get_num_threads()

    def limited(meet: Barrier) -> int:
        with config.thread_limit(1):
            meet.wait()
            meet.wait()
            return config.get_num_threads()

    def free(meet: Barrier) -> int:
        meet.wait()
        seen = config.get_num_threads()
        meet.wait()
        return seen

    assert side_by_side(limited, free) == [1, everywhere]
    assert config.get_num_threads() == everywhere


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_limit_is_a_positive_number(number: Any) -> None:
    with pytest.raises(ValueError, match="positive integer"), config.thread_limit(number):
        pass


def test_a_seed_of_its_own_holds_in_one_thread_alone() -> None:
    def draw(seed: int, meet: Barrier) -> list[float]:
        with random.local_random_seed(seed):
            meet.wait()
            return [float(random.generator().random()) for _ in range(50)]

    drawn = side_by_side(lambda meet: draw(5, meet), lambda meet: draw(6, meet))
    for seed, each in zip((5, 6), drawn, strict=True):
        random.set_random_seed(seed)
        assert each == random.generator().random(50).tolist()
    with pytest.raises(ValueError, match="seed must be"), random.local_random_seed(-1):
        pass
