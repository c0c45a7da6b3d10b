"""`scaling`: what a training step costs per sample and FLOP as width, depth and batch grow; jumps are flagged."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool
from bench.workloads import Workload

PEERS = ("fastdl",)
WIDTHS = (16, 24, 32, 37, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
DEPTHS = (1, 2, 3, 5, 8, 12, 20, 35, 60, 100)
BATCHES = (1, 2, 3, 4, 8, 15, 16, 17, 24, 31, 32, 33, 48, 50, 63, 64, 65, 96, 100, 127, 128, 129, 192, 200,
           256, 300, 512, 1000, 1024, 2048, 4096)  # fmt: skip
JUMP = 1.5


def workloads() -> list[tuple[str, int, Workload]]:
    """What grows, its size, and the net: 2 hidden layers at batch 32, depth at width 100, batch on 3 × 128."""

    def net(name: str, widths: Sequence[int], batch: int) -> Workload:
        flops = 6 * batch * sum(a * b for a, b in pairwise(widths))
        steps = max(1, min(64, int(3e8 / flops), 65_536 // batch))
        return Workload(name, tuple(widths), batch, batch * steps)

    found = [("width", size, net(f"width {size}", (size, size, size, 10), 32)) for size in WIDTHS]
    found += [("depth", size, net(f"depth {size}", (100, *[100] * size, 10), 32)) for size in DEPTHS]
    return found + [("batch", size, net(f"batch {size}", (128, 128, 128, 10), size)) for size in BATCHES]


def jumps(costs: Sequence[float]) -> list[float | None]:
    """Each cost over the one before it; the first has none."""
    return [None, *(after / before for before, after in pairwise(costs))]


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a size and thread count, with its jump."""
    results: list[dict[str, Any]] = []
    for axis, size, work in workloads():
        rounds, _ = pool.interleave("train", dataclasses.asdict(work), options.rounds, options.seconds, work.name)
        for threads in options.threads:
            if (ratios.OURS, threads) in rounds:
                best = 1e6 * min(rounds[ratios.OURS, threads])
                results.append(
                    {
                        "axis": axis,
                        "size": size,
                        "threads": threads,
                        "step_flops": work.step_flops,
                        "batch": work.batch,
                        "best_us": best,
                        "ns_per_flop": 1e3 * best / work.step_flops,
                    }
                )
    results.sort(key=lambda line: (line["threads"], ("width", "depth", "batch").index(line["axis"]), line["size"]))
    for _, group in groupby(results, key=lambda line: (line["threads"], line["axis"])):
        lines = list(group)
        for line, jump in zip(lines, jumps([line["ns_per_flop"] for line in lines]), strict=True):
            line["jump"] = jump
    return results


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A table for each thread count and axis."""
    parts = []
    for (threads, axis), group in groupby(results, key=lambda line: (line["threads"], line["axis"])):
        rows = [
            [
                str(line["size"]),
                tables.number(line["best_us"]),
                tables.number(line["best_us"] / line["batch"]),
                tables.number(1e6 * line["ns_per_flop"] / 1e3),
                tables.times(line["jump"]),
                "jump" if line["jump"] and line["jump"] > JUMP else "",
            ]
            for line in group
        ]
        head = [f"{axis}, {threads} thread{'s' * (threads > 1)}", "µs/step", "µs/sample", "ps/FLOP", "to the last"]
        parts.append(tables.table([*head, ""], rows))
    flagged = [line for line in results if line["jump"] and line["jump"] > JUMP]
    parts.append(
        f"Best of {options.rounds} rounds. {len(flagged)} sizes cost more than {JUMP} × as much per FLOP as the "
        "size before them."
    )
    return "\n\n".join(parts)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Time per step beside FLOPs, an axes a kind of growth."""
    from bench import plots

    return [plots.growth(results, folder / "scaling.png")]
