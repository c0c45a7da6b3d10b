"""The thread count is chosen by measurement: results do not depend on it, so only time is at stake."""

from __future__ import annotations

import numpy as np
import pytest

from fastdl import config
from fastdl.base import arrays
from fastdl.models.engine import FIRST_SLICE_FLOPS, PROBE_EVERY, PROBE_LOSS, THREADS_FROM_FLOPS, Pace


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "get_num_threads", lambda: 2)


def step(pace: Pace, seconds: dict[int, float]) -> tuple[int, bool, float]:
    """One slice on a machine whose steps take so long by threads: (threads, probe, seconds)."""
    threads, probe = pace.choose()
    steps = pace.steps(threads, probe)
    pace.record(threads, steps * seconds[threads], steps, probe)
    return threads, probe, steps * seconds[threads]


def warmed(seconds: dict[int, float]) -> Pace:
    pace = Pace(int(2 * THREADS_FROM_FLOPS))
    while len(pace.seconds) < 2:
        step(pace, seconds)
    return pace


def test_small_work_stays_on_one_thread(two_threads: None) -> None:
    assert Pace(int(THREADS_FROM_FLOPS) - 1).choose()[0] == 1


def test_the_first_slices_are_short_and_not_counted(two_threads: None) -> None:
    pace = Pace(int(2 * THREADS_FROM_FLOPS))
    assert pace.choose() == (2, True)
    assert pace.steps(2, True) == int(FIRST_SLICE_FLOPS / pace.flops)
    pace.record(2, 1.0, 1, True)
    assert pace.seconds == {}
    pace.record(2, 0.001, 1, True)
    assert pace.seconds == {2: 0.001}


@pytest.mark.parametrize(("seconds", "best"), [({1: 3e-4, 2: 2e-4}, 2), ({1: 2e-4, 2: 3e-4}, 1)])
def test_the_faster_count_is_taken(two_threads: None, seconds: dict[int, float], best: int) -> None:
    pace = warmed(seconds)
    chosen = [step(pace, seconds)[0] for _ in range(200)]
    assert chosen.count(best) >= 150  # the rest are short looks at the other


def test_one_slow_slice_changes_nothing_two_do(two_threads: None) -> None:
    pace = warmed({1: 3e-4, 2: 2e-4})
    pace.record(2, 1e-3, 1, False)
    pace.record(2, 2e-4, 1, False)
    pace.record(2, 1e-3, 1, False)
    assert pace.seconds[2] == 2e-4
    pace.record(2, 1e-3, 1, False)
    assert pace.seconds[2] == 1e-3
    assert pace.choose()[0] == 1


@pytest.mark.parametrize("ratio", [1.05, 1.5, 3, 20])
def test_looks_at_the_slower_count_lose_little_time_but_never_end(two_threads: None, ratio: float) -> None:
    seconds = {1: 2e-4 * ratio, 2: 2e-4}
    pace = warmed(seconds)
    slices = [step(pace, seconds) for _ in range(2000)]
    probes = [time for _, probe, time in slices if probe]
    lost = sum(probes) * (1 - 1 / ratio)
    assert 2 <= len(probes) <= 2000 / (PROBE_EVERY + 1) + 1
    assert lost <= 1.01 * PROBE_LOSS * sum(time for *_, time in slices) + max(probes)


def test_a_count_that_has_become_faster_is_found(two_threads: None) -> None:
    pace = warmed({1: 3e-4, 2: 2e-4})
    slices = [step(pace, {1: 1e-4, 2: 2e-4}) for _ in range(100)]
    assert (1, False) in [slice[:2] for slice in slices]


def test_large_data_are_looked_at_and_converted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the parts Python hears Ctrl-C."""
    monkeypatch.setattr(arrays, "AT_ONCE", 50)
    seen = []
    monkeypatch.setattr(arrays, "_finite", lambda part, real=arrays._finite: seen.append(len(part)) or real(part))
    x = np.random.default_rng(0).standard_normal((33, 10))
    assert arrays.all_finite(x)
    assert seen == [5] * 6 + [3]
    x[31, 2] = np.nan
    assert not arrays.all_finite(x)
    for layout in (x, np.asfortranarray(x), x[::-1], x.astype(">f8"), x.astype(np.float16)):
        assert np.array_equal(arrays.copied(layout, np.dtype(np.float32)), layout.astype(np.float32), equal_nan=True)
    assert arrays.copied(x[:, :0], np.dtype(np.float32)).shape == (33, 0)
