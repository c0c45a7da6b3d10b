"""`disk`: an epoch of fit on files of four times what the process may use, beside the same rows in memory."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench import tables
from bench.machine import Limits
from bench.pool import Child, Pool, note
from bench.workloads import Skip, Workload

PEERS = (
    "fastdl-memory",
    "fastdl-mapped",
    "fastdl-memory-in-order",
    "fastdl-mapped-in-order",
    "fastdl-batches",
    "fastdl-parquet",
    "fastdl-parquet-ahead",
)
BASES = {  # beside what each is held
    "fastdl-mapped": "fastdl-memory",
    "fastdl-mapped-in-order": "fastdl-memory-in-order",
    "fastdl-parquet": "fastdl-batches",
    "fastdl-parquet-ahead": "fastdl-batches",
}
WIDTHS, BATCH = (784, 300, 100, 10), 128
TARGET = 1.1  # × the time in memory
NOTE = """Each file is out of the system's cache when an epoch begins; “from the disk”: what the kernel counted as read
from it. A file has four times the bytes that its process may have of its own (RLIMIT_DATA; what is mapped from files
does not count), but the system may keep in its cache what it has read. Ratio: median over rounds. mapped:
np.load(mmap_mode="r"); shuffled unless in order; batches: slices of arrays, in order; parquet: lists of float32, plain;
ahead: through utils.read_ahead."""


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a kind of rows and thread count."""
    from bench.peers import with_files

    row_bytes = 4 * WIDTHS[0]
    work = Workload("disk", WIDTHS, BATCH, (options.megabytes << 20) // row_bytes, norm=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="fastdl-bench-", dir=options.folder) as folder:
        note("writing files")
        with_files.write(Path(folder), work, importlib.util.find_spec("pyarrow") is not None)
        for threads in options.threads:
            children = {name: child for (name, count), child in pool.children.items() if count == threads}
            rivals = pool.rivals()
            lines = {name: _opened(child, work, folder) for name, child in children.items()}
            for number in range(options.rounds):
                for name, child in children.items():
                    if "skip" not in lines[name]:
                        note(f"{name}, {threads}: epoch {number + 1} of {options.rounds}")
                        _epoch(child, lines[name])
            others = rivals.cores()
            for name, line in lines.items():
                base = lines.get(BASES.get(name, ""), {}).get("rounds_s") or []
                found = [mine / theirs for mine, theirs in zip(line["rounds_s"], base, strict=False)]
                told = {"peer": name, "threads": threads, "others": others, "bytes": work.rows * row_bytes}
                results.append({**told, **line, "ratio": median(found) if found else None})
    note("")
    return results


def _opened(child: Child, work: Workload, folder: str) -> dict[str, Any]:
    line: dict[str, Any] = {"rounds_s": [], "rounds_bytes": []}
    try:
        child.ask("open_files", case=dataclasses.asdict(work), folder=folder)
    except Skip as skip:
        line["skip"] = str(skip)
    return line


def _epoch(child: Child, line: dict[str, Any]) -> None:
    try:
        seconds, read = child.ask("epoch")
    except Skip as skip:
        line["skip"] = str(skip)
        return
    line["rounds_s"].append(seconds)
    line["rounds_bytes"].append(read)


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A line a kind of rows and thread count."""
    rows = []
    for line in results:
        seconds, read, ratio = line["rounds_s"], line["rounds_bytes"], line["ratio"]
        taken = median(seconds) if seconds else None
        rows.append(
            [
                f"{line['peer']}, {line['threads']}",
                tables.number(taken),
                tables.number(line["bytes"] / taken / 1e6 if taken else None),
                tables.number(median(read) / 1e6 if read else None),
                tables.times(ratio) + ("" if ratio is None else " ✓" if ratio <= TARGET else " ✗"),
                BASES.get(line["peer"], "–").removeprefix("fastdl-"),
                f"{line['others']:.1f}",
            ]
        )
    head = ["rows, threads", "s an epoch", "MB/s", "MB from the disk", f"× memory, ≤ {TARGET:g}", "beside", "others"]
    skipped = {f"{line['peer']}: {line['skip']}" for line in results if "skip" in line}
    told = f"{'-'.join(map(str, WIDTHS))}, BN, Adam, batch {BATCH}. {NOTE}"
    return tables.parts([tables.table(head, rows), told], skipped)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Nothing is drawn."""
    return []
