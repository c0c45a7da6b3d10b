"""Threads: forks, other threads, the floating-point state, cores."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import config, kernels

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((300, 400)).astype("f4"), RNG.standard_normal((400, 500)).astype("f4")


@pytest.fixture(autouse=True)
def three_threads() -> Any:
    fastdl.set_num_threads(3)
    yield
    fastdl.set_num_threads(None)


def test_matmul_is_the_same_at_any_number_of_threads() -> None:
    results = []
    for threads in (1, 2, 3, 8):
        fastdl.set_num_threads(threads)
        results.append(kernels.matmul(A, B))
        results.append(kernels.matmul(B, A, True, True).T)
    assert all(np.array_equal(results[i % 2], result) for i, result in enumerate(results))


def test_fork_after_the_team_has_started() -> None:
    """The child has no workers; both go on computing right, and nothing hangs."""
    expected = kernels.matmul(A, B)
    for _ in range(50):
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(kernels.matmul(A, B), expected) else 1)
        assert np.array_equal(kernels.matmul(A, B), expected)
        assert os.waitpid(child, 0)[1] == 0


def _product(seed: int) -> Array:
    return kernels.matmul(A * seed, B)


def test_multiprocessing_pool() -> None:
    kernels.matmul(A, B)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map(_product, range(8))
    assert all(np.array_equal(result, _product(seed)) for seed, result in enumerate(results))


def test_several_python_threads_share_the_team() -> None:
    expected = kernels.matmul(A, B)
    right: list[bool] = []
    threads = [
        threading.Thread(target=lambda: right.extend(np.array_equal(kernels.matmul(A, B), expected) for _ in range(20)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 120


def test_callers_floating_point_state_is_restored() -> None:
    """Inside programs subnormal numbers count as zero; outside nothing changes."""
    tiny = np.array([[1e-40]], np.float32)
    assert kernels.relu(tiny)[0, 0] in (0, tiny[0, 0])
    assert (tiny * np.float32(0.5))[0, 0] > 0


def test_more_threads_than_cores_finish() -> None:
    fastdl.set_num_threads(64)
    assert kernels.matmul(A, B).shape == (300, 500)


PLACES = """
import os
import numpy as np
import fastdl
from fastdl import kernels

a, b = np.ones((300, 400), np.float32), np.ones((400, 500), np.float32)
cores = sorted(os.sched_getaffinity(0))[:2]
fastdl.set_num_threads(2)
before = set(os.listdir("/proc/self/task"))
kernels.matmul(a, b)
(worker,) = map(int, set(os.listdir("/proc/self/task")) - before)
os.sched_setaffinity(0, cores[:1])
left = 0
for _ in range(20):
    kernels.matmul(a, b)
    os.sched_setaffinity(worker, cores[:1])  # it spins, so it is there at once
    os.sched_setaffinity(worker, cores)
    kernels.matmul(a, b)
    with open(f"/proc/self/task/{worker}/stat") as file:
        left += int(file.read().rpartition(")")[2].split()[36]) == cores[1]
assert os.sched_getaffinity(worker) == set(cores)
print(left)
"""


@pytest.mark.skipif(sys.platform != "linux" or config.available_cores() < 2, reason="needs two cores, and to see them")
def test_a_worker_leaves_the_callers_core_and_may_still_use_all() -> None:
    """The system alone moves it in one of forty cases."""
    done = subprocess.run([sys.executable, "-P", "-c", PLACES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_available_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert config.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert config.available_cores() <= len(before)
