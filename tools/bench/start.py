"""`start`: what it costs before the first step. Imports in fresh interpreters, a new model's first fit, sizes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import peers, tables
from bench.machine import Limits
from bench.pool import Child, Pool, note
from bench.workloads import TRAINING, Skip

PEERS = ("fastdl", "torch", "jax-step", "keras", "sklearn")
IMPORTS = {  # statements, and distributions whose files count; "in use": with what a package loads late
    "fastdl": ("import fastdl", ("fastdl",)),
    "fastdl, in use": ("import fastdl; fastdl.Sequential, fastdl.layers, fastdl.optimizers, fastdl.losses", ()),
    "numpy": ("import numpy", ("numpy",)),
    "torch": ("import torch", ("torch",)),
    "jax": ("import jax", ("jax", "jaxlib")),
    "keras": ("import keras", ("keras",)),
    "sklearn": ("import sklearn", ("scikit-learn",)),
    "sklearn, in use": ("import sklearn.neural_network", ()),
}
TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
NETS = ("tiny", "textbook-b32", "deep")
MODELS = 5  # new models in one process


def import_seconds(statement: str, environment: dict[str, str]) -> float:
    """Of an import in a fresh interpreter. Skip if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise Skip("import fails")
    return float(done.stdout.split()[-1])


def installed_bytes(names: Sequence[str]) -> int | None:
    """Of all files of the distributions; of the package's folder where there is no distribution."""
    if not names:
        return None
    total = 0
    for name in names:
        try:
            files = importlib.metadata.files(name) or []
            paths = [Path(str(file.locate())) for file in files]
        except importlib.metadata.PackageNotFoundError:
            paths = []
        if not any(path.suffix == ".so" or path.name == "__init__.py" for path in paths):  # a checkout
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                return None
            paths = [p for p in Path(spec.origin).parent.rglob("*") if "__pycache__" not in p.parts]
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total


def _imports(rounds: int) -> list[dict[str, Any]]:
    environment = {**os.environ, **peers.PEERS["keras"].environment}
    found: dict[str, list[float]] = {name: [] for name in IMPORTS if importlib.util.find_spec(name.partition(",")[0])}
    for number in range(rounds):
        for name in list(found):
            note(f"import {name}, {number + 1} of {rounds}")
            try:
                found[name].append(import_seconds(IMPORTS[name][0], environment))
            except Skip:
                del found[name]
    note("")
    return [
        {
            "what": "import",
            "module": name,
            "rounds_ms": [1e3 * value for value in values],
            "median_ms": 1e3 * median(values),
            "over_numpy_ms": 1e3 * (median(values) - median(found["numpy"])),
            "bytes": installed_bytes(IMPORTS[name][1]),
        }
        for name, values in found.items()
        if values
    ]


def _first(name: str, child: Child) -> list[dict[str, Any]]:
    found = []
    for work in (work for work in TRAINING if work.name in NETS):
        note(f"first fit: {name}, {work.name}")
        one = dataclasses.asdict(dataclasses.replace(work, rows=work.batch))
        try:
            seconds = [child.ask("first", case=one) for _ in range(MODELS)]
        except Skip:
            continue
        milliseconds = [1e3 * value for value in seconds]
        found.append(
            {
                "what": "first fit",
                "peer": name,
                "workload": work.name,
                "in_process_first_ms": milliseconds[0],
                "median_ms": median(milliseconds[1:]),
            }
        )
    note("")
    return found


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """Imports and sizes, then first fits at the smallest thread count."""
    results = _imports(options.rounds)
    for (name, threads), child in pool.children.items():
        if threads == min(options.threads):
            results += _first(name, child)
    if options.wheel:
        results.append({"what": "wheel", "file": options.wheel.name, "bytes": options.wheel.stat().st_size})
    return results


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """Imports and sizes; first fits; the wheel."""
    imports = [
        [
            line["module"],
            f"{line['median_ms']:,.0f}",
            f"{line['over_numpy_ms']:+,.0f}",
            "–" if line["bytes"] is None else f"{line['bytes'] / 1e6:,.1f}",
        ]
        for line in results
        if line["what"] == "import"
    ]
    parts = [
        tables.table(["import", "ms", "over numpy's", "installed, MB"], imports),
        f"Median of {options.rounds} fresh interpreters; MB of its own files (jax: with jaxlib), not of what it "
        "needs.\n“In use”: with the parts that it loads when first used. Target: fastdl at most 20 ms over numpy's.",
    ]
    fits = [
        [line["peer"], line["workload"], tables.number(line["in_process_first_ms"]), tables.number(line["median_ms"])]
        for line in results
        if line["what"] == "first fit"
    ]
    if fits:
        parts += [
            tables.table(["first fit", "net", "first model, ms", "next models, ms"], fits),
            "From making the model to the end of a fit of one step, less a warm step. “First model”: of its kind in "
            "the\nprocess, so tiny's pays what is loaded late. Target: fastdl at most 10 ms.",
        ]
    for line in results:
        if line["what"] == "wheel":
            parts.append(f"wheel {line['file']}: {line['bytes'] / 1e6:.2f} MB (target: at most 2)")
    return "\n\n".join(parts)


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """Import times as bars."""
    from bench import plots

    values = {line["module"]: line["median_ms"] for line in results if line["what"] == "import"}
    return [plots.bars(values, folder / "start.png", "Import in a fresh interpreter", "milliseconds")]
