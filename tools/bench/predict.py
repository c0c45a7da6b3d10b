"""`predict`: inference on 1 to 10,000 rows."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool
from bench.workloads import TRAINING

PEERS = ("fastdl", "runner", "torch", "jax-step", "sklearn", "keras")
ROWS = (1, 32, 1024, 10_000)
NETS = ("tiny", "textbook-b32")


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a net, number of rows and thread count."""
    results = []
    for work in (work for work in TRAINING if work.name in NETS):
        for rows in ROWS:
            name = f"{work.name.partition('-')[0]}, {rows:,}"
            case = dataclasses.asdict(dataclasses.replace(work, rows=rows))
            limits.measure()
            rivals = pool.rivals()
            rounds, words = pool.interleave("predict", case, options.rounds, options.seconds, name)
            others = rivals.cores()
            for threads in options.threads:
                line = ratios.compare(rounds, threads)
                ours = line["entries"].get(ratios.OURS)
                flops = rows * work.forward_flops
                results.append(
                    {
                        "case": name,
                        "rows": rows,
                        "threads": threads,
                        "flops": flops,
                        "others": others,
                        **line,
                        "gflops": ours and 1e-3 * flops / ours["median_us"],
                        "skipped": {who: word for (who, at), word in words.items() if at == threads},
                    }
                )
    return results


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A table for each thread count."""
    parts = []
    for threads in options.threads:
        lines = [line for line in results if line["threads"] == threads]
        peers = [name for name in PEERS if any(name in line["entries"] for line in lines)]
        head = [f"{threads} thread{'s' * (threads > 1)}: net, rows", *peers, "ours × best", "GFLOP/s"]
        rows = []
        for line in lines:
            best = line["best_peer"] or {}
            row = [line["case"], *(tables.cell(line["entries"].get(name)) for name in peers)]
            rows.append([*row, tables.times(best.get("ratio")), tables.number(line["gflops"])])
        parts.append(tables.table(head, rows))
    parts.append(
        f"µs per call, median of {options.rounds} rounds; beside it the time over fastdl's predict. runner: "
        "onnxruntime\nthrough fastdl.Runner (not counted as a peer). jax-step: one jitted call."
    )
    skipped = {f"{line['case']}: {who}: {word}" for line in results for who, word in line["skipped"].items()}
    return tables.parts(parts, skipped)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """The ratios as bars."""
    from bench import plots

    named = [{**line, "workload": line["case"], "target": 0} for line in results]
    return [plots.ratio_bars(named, folder / "predict.png", "Inference")]
