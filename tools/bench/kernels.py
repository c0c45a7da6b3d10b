"""`kernels`: the matrix product alone, in the three transpositions of training, into an array that is there."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from bench import ratios, tables
from bench.machine import Limits
from bench.pool import Pool

PEERS = ("fastdl", "fastdl-v3", "torch", "numpy")
LAYERS = [(32, 784, 300), (32, 300, 100), (32, 100, 10), (256, 1024, 1024), (512, 4096, 4096)]


def cases() -> list[tuple[str, dict[str, Any], int]]:
    """Name, case and FLOPs: y = x W, dx = dy Wᵀ, dW = xᵀ dy of each layer (batch, inputs, outputs)."""
    found = []
    for batch, inputs, outputs in LAYERS:
        x, w, y = (batch, inputs), (inputs, outputs), (batch, outputs)
        for name, a, b, transpose_a, transpose_b in (
            ("x W", x, w, False, False),
            ("dy Wᵀ", y, w, False, True),
            ("xᵀ dy", x, y, True, False),
        ):
            case = {"a": a, "b": b, "transpose_a": transpose_a, "transpose_b": transpose_b}
            found.append((f"{batch}×{inputs}×{outputs} {name}", case, 2 * batch * inputs * outputs))
    return found


def target(name: str) -> str:
    """What performance.md asks of a shape."""
    if name.startswith("32×"):
        return "≥ 1.2× torch"
    return "≥ 0.95× torch" if name.startswith("512×") else "≥ 85 % of peak"


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a shape and thread count."""
    results = []
    for name, case, flops in cases():
        limits.measure()
        rivals = pool.rivals()
        rounds, words = pool.interleave("matmul", case, options.rounds, options.seconds, name)
        others = rivals.cores()
        for threads in options.threads:
            line = ratios.compare(rounds, threads)
            for who, entry in line["entries"].items():
                entry["gflops"] = 1e-3 * flops / entry["median_us"]
                isa = "v3" if who.endswith("-v3") else str(pool.versions.get("isa"))
                entry["isa"] = isa
            results.append(
                {
                    "shape": name,
                    "threads": threads,
                    "flops": flops,
                    "bytes": 4 * sum(rows * columns for rows, columns in _matrices(case)),
                    "target": target(name),
                    "others": others,
                    **line,
                    "skipped": {who: word for (who, at), word in words.items() if at == threads},
                }
            )
    for line in results:  # the peak is known only now
        for entry in line["entries"].values():
            peak = limits.gflops(entry["isa"], line["threads"])
            entry["of_peak"] = entry["gflops"] / peak if peak else None
    return results


def _matrices(case: dict[str, Any]) -> list[tuple[int, int]]:
    a, b = case["a"], case["b"]
    return [a, b, (a[int(case["transpose_a"])], b[1 - int(case["transpose_b"])])]


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A table for each thread count."""
    parts = []
    for threads in options.threads:
        lines = [line for line in results if line["threads"] == threads]
        peers = [name for name in PEERS if any(name in line["entries"] for line in lines)]
        head = [f"{threads} thread{'s' * (threads > 1)}: GFLOP/s"]
        for name in peers:
            head += [name, "of peak" if name.startswith("fastdl") else "ours ×"]
        rows = []
        for line in lines:
            row = [line["shape"]]
            for name in peers:
                entry = line["entries"].get(name)
                row.append(tables.number(entry and entry["gflops"]))
                if name.startswith("fastdl"):
                    row.append(tables.percent(entry and entry["of_peak"]))
                else:
                    row.append(tables.times(entry and entry.get("ratio")))
            ratio = (line["best_peer"] or {}).get("ratio")
            rows.append([*row, tables.times(ratio), line["target"], f"{line['others']:.1f}"])
        parts.append(tables.table([*head, "ours × best", "target", "others"], rows))
    parts.append(
        f"Median of {options.rounds} rounds. “ours ×”: the peer's time over fastdl's, pair by pair. fastdl-v3: the "
        "AVX2\nbuild on this machine, against the peak of AVX2. torch: MKL, or what its build has; numpy: its BLAS. "
        "Best:\nof the peers at any thread count. Others: cores that other processes used meanwhile."
    )
    best = [line["entries"]["torch"]["ratio"] for line in results if "ratio" in line["entries"].get("torch", {})]
    if best:
        parts.append(f"median over all shapes: {tables.times(median(best))} torch")
    return "\n\n".join(parts)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """A roofline for each thread count."""
    from bench import plots

    counts = dict.fromkeys(line["threads"] for line in results)
    return [
        plots.roofline(
            [line for line in results if line["threads"] == threads],
            folder / f"kernels-{threads}.png",
            limits.gflops(isa, threads),
            limits.gbytes(threads),
            threads,
        )
        for threads in counts
    ]
