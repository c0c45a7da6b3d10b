"""`lookup`: a training step of a net on an Embedding, as the number of values grows, beside torch.nn.Embedding."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool
from bench.workloads import Lookup

PEERS = ("fastdl", "torch")
VALUES = (1_000, 100_000, 1_000_000)
RULES = ("SparseAdam", "SGD", "Adam")
TARGET = 5.0  # × torch, where only the rows that a batch reads are stepped
NOTE = """µs a step of fit; beside it the peer's time over fastdl's at as many threads, pair by pair. To the fewest:
fastdl's time over that with the fewest values, of the same rule. SparseAdam: fastdl's Embedding(sparse=True) and
Adam, torch's Embedding(sparse=True) and SparseAdam, with fused Adam for the dense layers; SGD: fastdl's default,
torch's sparse=True; Adam: every row is stepped in each step, on both sides."""


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a rule, number of values and thread count."""
    results: list[dict[str, Any]] = []
    for rule in RULES:
        for values in options.values:
            work = Lookup(values, rule)
            rivals = pool.rivals()
            case, label = dataclasses.asdict(work), f"{rule}, {values:,} values"
            rounds, words = pool.interleave("train_lookup", case, options.rounds, options.seconds, label)
            others = rivals.cores()
            for threads in options.threads:
                results.append(
                    {
                        "rule": rule,
                        "values": values,
                        "threads": threads,
                        "target": None if rule == "Adam" else TARGET,
                        "others": others,
                        **ratios.compare(rounds, threads),
                        "skipped": {who: word for (who, at), word in words.items() if at == threads},
                    }
                )
    for line in results:
        line["growth"] = growth(line, results)
    return results


def growth(line: dict[str, Any], results: list[dict[str, Any]]) -> float | None:
    """fastdl's time over that with the fewest values, of the same rule and threads; None where it did not run."""
    alike = [one for one in results if (one["rule"], one["threads"]) == (line["rule"], line["threads"])]
    fewest = min(alike, key=lambda one: int(one["values"]))["entries"].get(ratios.OURS)
    ours = line["entries"].get(ratios.OURS)
    return float(ours["median_us"] / fewest["median_us"]) if ours and fewest else None


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A table for each thread count."""
    parts = []
    for threads in options.threads:
        lines = [line for line in results if line["threads"] == threads]
        peers = [name for name in PEERS if any(name in line["entries"] for line in lines)]
        head = [
            f"{threads} thread{'s' * (threads > 1)}: rule, values",
            *peers,
            "to the fewest",
            "ours × best",
            "target",
        ]
        rows = [
            [
                f"{line['rule']}, {line['values']:,}",
                *(tables.cell(line["entries"].get(name)) for name in peers),
                tables.times(line["growth"]),
                tables.times((line["best_peer"] or {}).get("ratio")),
                f"≥ {line['target']:g}" if line["target"] else "–",
                f"{line['others']:.1f}",
            ]
            for line in lines
        ]
        parts.append(tables.table([*head, "others"], rows))
    work = Lookup(0, "")
    parts.append(
        f"{work.columns} columns of codes into one Embedding of size {work.size}, flattened, Dense {work.hidden} and "
        f"2, batch {work.batch}.\n{NOTE}"
    )
    skipped = {f"{line['rule']}: {who}: {word}" for line in results for who, word in line["skipped"].items()}
    return tables.parts(parts, skipped)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Nothing is drawn."""
    return []
