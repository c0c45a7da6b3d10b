"""`time-to-accuracy`: seconds of training until 88.5 % of Fashion-MNIST's test images are right."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from statistics import median
from typing import Any

from bench import tables
from bench.machine import Limits
from bench.pool import Child, Pool, note
from bench.workloads import Array, Skip, Workload

PEERS = ("fastdl", "torch")
WORK = Workload("fashion", (784, 300, 100, 10), 128, 60_000, norm=True)
GOAL, PARTS, PASSES = 0.885, 4, 20  # tested after each quarter of a pass
TARGET = 4.0


@functools.cache
def data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Training and test rows: float32 in [0, 1], labels int64. Skip where the files are not here."""
    import numpy as np

    from fastdl import datasets

    if datasets.find_fashion_mnist() is None:
        raise Skip("Fashion-MNIST is not on this machine")
    train, test = (
        ((x.reshape(len(x), -1) / np.float32(255)).astype(np.float32), y.astype(np.int64))
        for x, y in datasets.fashion_mnist()
    )
    return train, test


def _learn(child: Child, seed: int) -> list[tuple[float, float]]:
    """Seconds and accuracy after each part, until the goal."""
    child.ask("new_learner", case=dataclasses.asdict(WORK), seed=seed)
    seconds, curve = 0.0, []
    for part in range(PASSES * PARTS):
        taken, accuracy = child.ask("learn", part=part % PARTS, parts=PARTS)
        seconds += taken
        curve.append((seconds, accuracy))
        note(f"{child.name}@{child.threads}, seed {seed}: {accuracy:.4f} after {seconds:.1f} s")
        if accuracy >= GOAL:
            break
    return curve


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a peer, thread count and seed; seeds outside, so that everyone's runs lie beside each other."""
    results = []
    for seed in range(options.seeds):
        for (name, threads), child in pool.children.items():
            line: dict[str, Any] = {"peer": name, "threads": threads, "seed": seed}
            try:
                curve = _learn(child, seed)
                reached = curve[-1][1] >= GOAL
                line |= {"curve": curve, "seconds": curve[-1][0] if reached else None, "passes": len(curve) / PARTS}
            except Skip as skip:
                line |= {"curve": [], "seconds": None, "passes": 0, "skip": str(skip)}
            results.append(line)
    note("")
    return results


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """Median seconds and passes, and the ratio seed by seed."""
    found = {(line["peer"], line["threads"], line["seed"]): line["seconds"] for line in results if line["seconds"]}
    rows = []
    for who, threads in dict.fromkeys((line["peer"], line["threads"]) for line in results):
        mine = [line for line in results if (line["peer"], line["threads"]) == (who, threads)]
        seconds = [line["seconds"] for line in mine if line["seconds"]]
        ratios = [
            found[who, threads, seed] / found["fastdl", threads, seed]
            for seed in range(options.seeds)
            if (who, threads, seed) in found and ("fastdl", threads, seed) in found
        ]
        told = next((line["skip"] for line in mine if "skip" in line), f"{len(seconds)} of {len(mine)}")
        rows.append(
            [
                f"{who}, {threads} thread{'s' * (threads > 1)}",
                tables.number(median(seconds) if seconds else None),
                tables.number(median(line["passes"] for line in mine)),
                tables.times(median(ratios) if ratios else None),
                told,
            ]
        )
    return (
        tables.table([f"to {100 * GOAL:g} %", "seconds", "passes", "ours ×", "seeds that reached it"], rows)
        + f"\n\n784-300-100-10, BN, batch {WORK.batch}, Adam. Training time only, first compilation in it; tested "
        f"after\neach quarter of a pass. Median over seeds, ratio seed by seed. Target: ≥ {TARGET:g} × PyTorch."
    )


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Accuracy against seconds."""
    from bench import plots

    return [plots.accuracy_curves(results, folder / "time-to-accuracy.png", GOAL)]
