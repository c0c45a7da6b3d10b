"""The thread count is chosen by measurement; results do not depend on it, so only time is at stake: a simulated one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from fastdl import config
from fastdl.models import pace
from fastdl.models.pace import FIRST_FLOPS, SLICE_SECONDS, THREADS_FROM_FLOPS, Pace, Plan

Times = Callable[[float, int, random.Random], float]  # what a step takes at this time on so many threads
ONE, TWO = 430e-6, 240e-6
NEVER = -1e9


class Machine:
    """A clock, and steps that take as long as `times` says, with noise, waking threads and cold caches."""

    def __init__(self, times: Times, seed: int) -> None:
        self.now, self.times, self.rng = 0.0, times, random.Random(seed)
        self.awake = self.ran = NEVER

    def run(self, threads: int, steps: int) -> float:
        began = self.now
        for _ in range(steps):
            taken = self.times(self.now, threads, self.rng) * self.rng.lognormvariate(0, 0.04)
            if threads > 1 and self.now - self.awake > 500e-6:  # its spinning has ended
                taken += self.rng.uniform(17e-6, 150e-6)
            if self.now - self.ran > 2e-3:
                taken *= 1.5
            self.now = self.ran = self.now + taken
            self.awake = self.now if threads > 1 else self.awake
        return self.now - began


@dataclass(frozen=True)
class Ran:
    at: float
    seconds: float
    steps: int
    plan: Plan


def simulated(
    monkeypatch: pytest.MonkeyPatch,
    times: Times,
    seconds: float,
    fit: float = 1e9,
    pause: float = 0,
    passes: int = 10**9,
    seed: int = 0,
) -> list[Ran]:
    """What ran: fits of so many seconds, or steps, with pauses between them."""
    machine = Machine(times, seed)
    monkeypatch.setattr(config, "get_num_threads", lambda: 2)
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: machine.now))
    chooser, log = Pace(int(5 * THREADS_FROM_FLOPS)), []
    while machine.now < seconds:
        machine.now += pause
        began, done = machine.now, 0
        while done < passes and machine.now - began < fit and machine.now < seconds:
            plan, at = chooser.plan(passes - done, alone=done == 0), machine.now
            steps = min(plan.steps, passes - done)
            taken = machine.run(plan.threads, steps)
            chooser.record(plan, taken, steps)
            log.append(Ran(at, taken, steps, plan))
            done += steps
    return log


def step_time(log: list[Ran], since: float = 0, until: float = 1e9) -> float:
    runs = [each for each in log if since <= each.at < until]
    return sum(each.seconds for each in runs) / sum(each.steps for each in runs)


def quiet(now: float, threads: int, rng: random.Random) -> float:
    return TWO if threads > 1 else ONE


def slower_on_two(now: float, threads: int, rng: random.Random) -> float:
    return 360e-6 if threads > 1 else 300e-6


def rivals_half_the_time(now: float, threads: int, rng: random.Random) -> float:
    """For two seconds nobody, for two a rival, beside whom two threads now and then wait for four milliseconds."""
    if int(now / 2) % 2 == 0:
        return quiet(now, threads, rng)
    return ONE if threads == 1 else TWO + (4e-3 if rng.random() < 0.15 else 0)


def test_small_work_stays_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "get_num_threads", lambda: 2)
    assert Pace(int(THREADS_FROM_FLOPS) - 1).plan(100).threads == 1


def test_the_first_steps_are_few_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "get_num_threads", lambda: 2)
    chooser = Pace(int(2 * THREADS_FROM_FLOPS))
    first = chooser.plan(1000)
    assert first == Plan(2, int(FIRST_FLOPS / chooser.flops), "warm")
    chooser.record(first, 1.0, 1)
    assert chooser.seconds == {}
    second = chooser.plan(1000)
    assert second == Plan(2, int(FIRST_FLOPS / chooser.flops), "look")
    chooser.record(second, 0.001, 1)
    assert chooser.seconds == {2: 0.001}


@pytest.mark.parametrize(("times", "best"), [(quiet, TWO), (slower_on_two, 300e-6)])
def test_the_faster_count_is_taken_and_looking_at_the_other_costs_little(
    monkeypatch: pytest.MonkeyPatch, times: Times, best: float
) -> None:
    log = simulated(monkeypatch, times, 4)
    assert step_time(log, since=0.05) < 1.03 * best
    worst = max(step_time(log, at / 10, (at + 1) / 10) for at in range(1, 39))
    assert worst < 1.1 * best
    assert max(each.seconds for each in log) < 1.3 * SLICE_SECONDS


def test_looks_at_one_thread_grow_rare_where_a_step_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two such steps on one thread, every second, would lose 4 % of the time."""
    log = simulated(monkeypatch, lambda now, threads, rng: 23e-3 if threads > 1 else 44e-3, 40)
    assert step_time(log, since=5) < 1.025 * 23e-3


def test_looks_at_one_thread_do_not_follow_from_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of a few long steps, with seconds between them."""
    log = simulated(monkeypatch, lambda now, threads, rng: 23e-3 if threads > 1 else 44e-3, 100, passes=6, pause=2)
    later = [each for each in log if each.at > 10]
    assert sum(each.steps for each in later if each.plan.threads == 1) < 0.03 * sum(each.steps for each in later)


def test_a_few_slow_steps_are_no_reason_to_look_where_a_look_loses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fit begins while others, who go to sleep, still spin: its first steps are slow."""
    ended = began = 0.0

    def slow_at_first(now: float, threads: int, rng: random.Random) -> float:
        nonlocal ended, began
        if now - ended > 0.2:
            began = now
        ended = now + (44e-3 if threads == 1 else 23e-3 * (1.4 if now - began < 0.06 else 1))
        return ended - now

    log = simulated(monkeypatch, slow_at_first, 60, passes=10, pause=0.3)
    later = [each for each in log if each.at > 10]
    assert sum(each.steps for each in later if each.plan.threads == 1) < 0.02 * sum(each.steps for each in later)


def test_two_threads_on_one_core_are_left_after_a_step_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a step is."""

    def one_core_left(now: float, threads: int, rng: random.Random) -> float:
        return 44e-3 if threads == 1 else 23e-3 if now < 10 else 90e-3

    log = simulated(monkeypatch, one_core_left, 12)
    assert step_time(log, since=10.25) < 1.15 * 44e-3


@pytest.mark.parametrize("fit", [0.02, 0.1, 0.15])
@pytest.mark.parametrize("pause", [0.15, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_pauses_between_short_fits_mislead_nobody(
    monkeypatch: pytest.MonkeyPatch, fit: float, pause: float, seed: int
) -> None:
    log = simulated(monkeypatch, quiet, 20, fit, pause, seed=seed)
    assert step_time(log, since=1) < 1.05 * TWO
    later = [each for each in log if each.at > 1]
    assert sum(each.steps for each in later if each.plan.threads == 1) < 0.05 * sum(each.steps for each in later)


@pytest.mark.parametrize("pause", [0.001, 0.01])
@pytest.mark.parametrize("seed", range(5))
def test_passes_of_one_step_each(monkeypatch: pytest.MonkeyPatch, seed: int, pause: float) -> None:
    log = simulated(monkeypatch, quiet, 10, passes=1, pause=pause, seed=seed)
    assert {each.plan.what for each in log} == {"short"}
    on_two = sum(each.plan.threads == 2 for each in log) / len(log)
    assert 0.98 < on_two < 1  # the rest are looks at one thread


@pytest.mark.parametrize(("one", "two"), [(1e-3, 4e-3), (1e-3, 10e-3), (4e-3, 0.6e-3)])
def test_looks_in_passes_of_one_step_lose_little_however_slow_the_other_count_is(
    monkeypatch: pytest.MonkeyPatch, one: float, two: float
) -> None:
    log = simulated(monkeypatch, lambda now, threads, rng: two if threads > 1 else one, 10, passes=1)
    assert step_time(log, since=0.5) < 1.1 * min(one, two)


@pytest.mark.parametrize("seed", range(6))
def test_rivals_that_come_and_go(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    log = simulated(monkeypatch, rivals_half_the_time, 12, seed=seed)
    for phase in range(6):
        best = ONE if phase % 2 else TWO
        assert step_time(log, 2 * phase + 0.05, 2 * phase + 2) < 1.15 * best


def test_a_busy_start_is_not_believed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy_first(now: float, threads: int, rng: random.Random) -> float:
        return rivals_half_the_time(2.5 if now < 1.5 else 0, threads, rng)

    log = simulated(monkeypatch, busy_first, 6)
    assert step_time(log, since=1.65) < 1.02 * TWO
    assert step_time(log, since=1.5, until=1.65) < 1.8 * TWO
