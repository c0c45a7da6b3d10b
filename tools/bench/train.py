"""`train`: a training step of each workload, fastdl's through model.fit."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bench import ratios, tables
from bench.machine import Limits, last_cache
from bench.pool import Pool
from bench.workloads import TRAINING, Workload

PEERS = (
    "fastdl",
    "fastdl-own",
    "fastdl-bf16",
    "torch",
    "torch-compile",
    "torch-bf16",
    "jax-step",
    "jax-scan",
    "sklearn",
    "keras",
)
MIXED = "fastdl-bf16"
NOTE = """beside it the peer's time over fastdl's at as many threads,
pair by pair. Best peer: the fastest at any thread count of this run. The wall: the step's products at the peak, the
batch's rows, and what Adam keeps if no cache holds it, at the bandwidth, as measured in this run. Others: cores that
other processes used meanwhile."""
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
            ours, mixed = line["entries"].get(ratios.OURS), line["entries"].get(MIXED)
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
                    "wall_us": wall(work, limits, isa_of(pool), threads),
                    "mixed": mixed and mixed["median_us"],
                    "mixed_wall_us": wall(work, limits, "bfloat16", threads),
                    "mixed_ratio": mixed and ratios.to_best(rounds, (MIXED, threads)),
                    "skipped": {who: word for (who, at), word in words.items() if at == threads},
                }
            )
        print(_progress(work, results[-len(options.threads) :]), flush=True)
        for who, child in pool.children.items() if options.profile else ():
            if who[0] in (ratios.OURS, MIXED):
                print(
                    f"\n{work.name}, {who[0]}: " + child.ask("profile", case=dataclasses.asdict(work)) + "\n",
                    flush=True,
                )
    return results


def isa_of(pool: Pool) -> str:
    """The instruction set that fastdl runs on."""
    return str(pool.versions.get("isa", "portable"))


def wall(work: Workload, limits: Limits, isa: str, threads: int) -> float | None:
    """The least that a step can take, in microseconds, by what was measured in this run; None if nothing was."""
    gflops, gbytes = limits.gflops(isa, threads), limits.gbytes(threads)
    return work.wall_us(gflops, gbytes, last_cache()) if gflops and gbytes else None


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
        mixed = any(line["mixed"] for line in lines)
        head += ["best peer, its threads", "ours × best", *["bf16 × best"] * mixed, "target", "GFLOP/s", "of peak"]
        head += ["of the wall", *["bf16 of its wall"] * mixed, "others"]
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
                    *[tables.times(line["mixed_ratio"])] * mixed,
                    f"≥ {line['target']:g}" if line["target"] else "–",
                    tables.number(rate),
                    tables.percent(rate / peak if rate and peak else None),
                    tables.percent(_share(line["wall_us"], line["entries"].get(ratios.OURS))),
                    *[tables.percent(_share(line["mixed_wall_us"], line["entries"].get(MIXED)))] * mixed,
                    f"{line['others']:.1f}",
                ]
            )
        parts.append(tables.table(head, rows))
    parts.append(f"µs per step, median of {options.rounds} rounds; {NOTE}")
    skipped = {f"{line['workload']}: {who}: {word}" for line in results for who, word in line["skipped"].items()}
    return tables.parts(parts, skipped)


def _share(wall_us: float | None, entry: dict[str, Any] | None) -> float | None:
    return wall_us / entry["median_us"] if wall_us and entry else None


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """The ratios as bars."""
    from bench import plots

    return [plots.ratio_bars(results, folder / "train.png")]
