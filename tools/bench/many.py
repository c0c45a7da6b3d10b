"""`many`: 16 nets trained at once by utils.fit_all, beside vmap and one fit after the other."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool
from bench.workloads import TRAINING

PEERS = ("fastdl", "fastdl-each", "torch", "jax-scan")
TARGETS = {"tiny": 5.0, "textbook-b32": 3.5}  # × the best peer
CORES = 0.975  # of the speed of as many single cores
NOTE = """fastdl: utils.fit_all, a thread a net; fastdl-each: one fit after the other with all threads. torch: the
faster of vmap and one net after the other; jax-scan: a whole epoch in one call, the fastest of vmap with one order of
rows for all nets, vmap with one each, and a map over nets. µs of one step of one net; beside it the peer's time over
fastdl's, pair by pair. Of single cores: the speed over that of fit_all on one core, times the number of cores."""


def of_single_cores(rounds: Mapping[ratios.Who, Sequence[float]], threads: int) -> float | None:
    """The speed on so many cores over so many times the speed on one, pair by pair; None without both."""
    alone, together = rounds.get((ratios.OURS, 1)), rounds.get((ratios.OURS, threads))
    return None if not alone or not together else median(ratios.pairs(alone, together)) / threads


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a workload and thread count."""
    results = []
    for work in (work for work in TRAINING if work.name in (options.workload or TARGETS)):
        work = dataclasses.replace(work, rows=options.rows or work.rows, models=options.models)
        rivals = pool.rivals()
        rounds, words = pool.interleave(
            "train_many", dataclasses.asdict(work), options.rounds, options.seconds, work.name
        )
        others = rivals.cores()
        for threads in options.threads:
            line = ratios.compare(rounds, threads)
            ours = line["entries"].get(ratios.OURS)
            results.append(
                {
                    "workload": work.name,
                    "models": work.models,
                    "threads": threads,
                    "target": TARGETS[work.name],
                    "others": others,
                    **line,
                    "steps_per_second": ours and 1e6 / ours["median_us"],
                    "of_single_cores": of_single_cores(rounds, threads),
                    "skipped": {who: word for (who, at), word in words.items() if at == threads},
                }
            )
    return results


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A line a workload and thread count."""
    peers = [name for name in PEERS if any(name in line["entries"] for line in results)]
    head = [f"{options.models} nets, threads", "nets × steps / s", *peers, "best peer, its threads", "ours × best"]
    rows = []
    for line in results:
        best = line["best_peer"] or {}
        row = [f"{line['workload']}, {line['threads']}", tables.number(line["steps_per_second"])]
        row += [tables.cell(line["entries"].get(name)) for name in peers]
        row += [f"{best['peer']}, {best['threads']}" if best else "–", tables.times(best.get("ratio"))]
        row += [f"≥ {line['target']:g}", tables.percent(line["of_single_cores"]), f"{line['others']:.1f}"]
        rows.append(row)
    parts = [tables.table([*head, "target", "of single cores", "others"], rows), NOTE]
    parts.append(f"Targets: × the best peer at any thread count; {100 * CORES:g} % of two single cores' speed.")
    skipped = {f"{line['workload']}: {who}: {word}" for line in results for who, word in line["skipped"].items()}
    return tables.parts(parts, skipped)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Nothing is drawn."""
    return []
