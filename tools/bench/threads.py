"""`threads`: whether fastdl finds the faster number of threads while other processes come and go."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from bench import tables, train
from bench.machine import Limits
from bench.pool import Pool
from bench.ratios import Who

PEERS = ("fastdl", "fastdl-fixed")
WORKLOADS = ("textbook-b32", "textbook-b128", "small-full")
PHASE = 2.0  # seconds that rivals are there, and are away
SETTLED = 0.05  # after a change, this much of each one's own time is not counted
TURN = 0.03  # seconds of training at once, about: one takes turns with the others
NOTE = """Medians of turns of about 30 ms, one after the other, with rivals that come and go; the better of a turn's
fixed counts is often one that was lucky in that turn."""
BAR = 1.15  # of the better of one and two threads


@contextlib.contextmanager
def rivals(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a workload and phase: rounds of everyone, quiet and beside rivals."""
    results = []
    for work in (work for work in train.TRAINING if work.name in WORKLOADS):
        steps = max(1, round(TURN / 250e-6)) if not work.full_batch else 1
        case = dataclasses.asdict(dataclasses.replace(work, rows=work.rows if work.full_batch else steps * work.batch))
        whos = [("fastdl", max(options.threads)), *(("fastdl-fixed", count) for count in options.threads)]
        for who in whos:
            pool.children[who].ask("prepare", kind="train", case=case, seconds=TURN)
        for cycle in range(options.rounds):
            for busy in (0, 1, 2):
                with rivals(busy):
                    rounds = _phase(pool, whos)
                results.append({"workload": work.name, "cycle": cycle, "rivals": busy, "rounds": rounds})
        print(f"{work.name}: {_told(results, work.name)}", flush=True)
    return results


def _phase(pool: Pool, whos: list[Who]) -> list[list[float]]:
    """Microseconds a step of each, turn by turn, once each has had its time to settle."""
    rounds, began, own = [], time.perf_counter(), 0.0
    while time.perf_counter() - began < PHASE or not rounds:
        one = [1e6 * pool.children[who].ask("round") for who in whos]
        own += TURN
        if own > SETTLED:
            rounds.append(one)
    return rounds


def _ratios(results: list[dict[str, Any]], name: str, busy: int) -> list[float]:
    return [ours / min(fixed) for ours, *fixed in _rounds(results, name, busy)]


def _rounds(results: list[dict[str, Any]], name: str, busy: int) -> list[list[float]]:
    return [one for each in results if (each["workload"], each["rivals"]) == (name, busy) for one in each["rounds"]]


def _told(results: list[dict[str, Any]], name: str) -> str:
    return "; ".join(f"{busy} rivals {median(_ratios(results, name, busy)):.2f}" for busy in (0, 1, 2))


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A line a workload and number of rivals."""
    rows = []
    for name in dict.fromkeys(each["workload"] for each in results):
        for busy in (0, 1, 2):
            ratios, rounds = _ratios(results, name, busy), _rounds(results, name, busy)
            ours, *fixed = (median(times) for times in zip(*rounds, strict=True))
            above = sum(ratio > BAR for ratio in ratios) / len(ratios)
            row = [f"{name}, {busy}", tables.number(ours), *map(tables.number, fixed)]
            rows.append([*row, tables.number(ours / min(fixed)), tables.number(median(ratios)), tables.percent(above)])
    fixed_heads = [f"fixed at {count}" for count in options.threads]
    head = ["workload, rivals", "chosen, µs", *fixed_heads, "÷ the better", "turn by turn", f"turns above {BAR}"]
    return f"{tables.table(head, rows)}\n\n{NOTE}"


def plot(results: list[dict[str, Any]], folder: Any, limits: Limits, isa: str) -> list[Any]:
    """Nothing is drawn."""
    return []
