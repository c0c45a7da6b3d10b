"""`train`: a training step of each workload, fastdl's through model.fit."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool
from bench.workloads import TRAINING, Workload

PEERS = ("fastdl", "torch", "torch-compile", "jax-step", "jax-scan", "sklearn", "keras")
NAMES = [work.name for work in TRAINING]


def chosen(options: argparse.Namespace) -> list[Workload]:
    """The workloads asked for, with the rows asked for."""
    works = [work for work in TRAINING if not options.workload or work.name in options.workload]
    return [dataclasses.replace(work, rows=options.rows or work.rows) for work in works]


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a workload and thread count."""
    results = []
    for work in chosen(options):
        limits.measure()
        rivals = pool.rivals()
        rounds, words = pool.interleave("train", dataclasses.asdict(work), options.rounds, options.seconds, work.name)
        others = rivals.cores()
        for threads in options.threads:
            line = ratios.compare(rounds, threads)
            ours = line["entries"].get(ratios.OURS)
            results.append(
                {
                    "workload": work.name,
                    "threads": threads,
                    "batch": work.batch,
                    "rows": work.rows,
                    "step_flops": work.step_flops,
                    "target": work.target,
                    "others": others,
                    **line,
                    "gflops": ours and 1e-3 * work.step_flops / ours["median_us"],
                    "skipped": {who: word for (who, at), word in words.items() if at == threads},
                }
            )
        print(_progress(work, results[-len(options.threads) :]), flush=True)
    return results


def _progress(work: Workload, results: list[dict[str, Any]]) -> str:
    parts = []
    for line in results:
        ours, best = line["entries"].get(ratios.OURS), line["best_peer"] or {}
        told = f"{tables.number(ours and ours['median_us'])} µs"
        if best:
            told += f", {tables.times(best.get('ratio'))} {best['peer']}@{best['threads']}"
        parts.append(f"{line['threads']} threads: {told}")
    return f"{work.name:14} " + "; ".join(parts)


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A table for each thread count."""
    parts = []
    for threads in options.threads:
        lines = [line for line in results if line["threads"] == threads]
        peers = [name for name in PEERS if any(name in line["entries"] for line in lines)]
        head = [f"{threads} thread{'s' * (threads > 1)}, batch", *peers]
        head += ["best peer, its threads", "ours × best", "target", "GFLOP/s", "of peak", "others"]
        peak = limits.gflops(isa, threads)
        rows = []
        for line in lines:
            entries, best, rate = line["entries"], line["best_peer"], line["gflops"]
            ratio = best and best.get("ratio")
            hit = "" if ratio is None else " ✓" if ratio >= line["target"] else " ✗"
            rows.append(
                [
                    f"{line['workload']}, {line['batch']}",
                    *(tables.cell(entries.get(name)) for name in peers),
                    f"{best['peer']}, {best['threads']}" if best else "–",
                    tables.times(ratio) + hit,
                    f"≥ {line['target']:g}" if line["target"] else "–",
                    tables.number(rate),
                    tables.percent(rate / peak if rate and peak else None),
                    f"{line['others']:.1f}",
                ]
            )
        parts.append(tables.table(head, rows))
    parts.append(
        f"µs per step, median of {options.rounds} rounds; beside it the peer's time over fastdl's at as many "
        "threads,\npair by pair. Best peer: the fastest at any thread count of this run. Others: cores that other "
        "processes used meanwhile."
    )
    skipped = {f"{line['workload']}: {who}: {word}" for line in results for who, word in line["skipped"].items()}
    return "\n\n".join([*parts, *(["skipped: " + "; ".join(sorted(skipped))] if skipped else [])])


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """The ratios as bars."""
    from bench import plots

    return [plots.ratio_bars(results, folder / "train.png")]
