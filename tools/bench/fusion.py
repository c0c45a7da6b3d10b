"""`fusion`: nets through fastdl and other tools that make ONNX files smaller; onnxruntime runs them, interleaved."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import machine, ratios, tables
from bench.machine import Limits
from bench.nets import NETS
from bench.pool import Pool, note
from bench.workloads import Skip

PEERS = ("fastdl",)  # for its versions; all is done here, with onnxruntime's sessions set up alike
BATCHES = (1, 1024)
NOISE = 0.95  # of fastdl's time, by which a tool may seem faster
TOLERANCE = 1e-4  # relative error from which a tool's file is called wrong


def _as_it_is(model: Any) -> Any:
    return model


def _fastdl(model: Any) -> Any:
    from fastdl import fusion

    return fusion.fuse(model, measure=False)[0]


def _onnxoptimizer(model: Any) -> Any:
    import onnxoptimizer

    return onnxoptimizer.optimize(model, onnxoptimizer.get_fuse_and_elimination_passes(), fixed_point=True)


def _onnxsim(model: Any) -> Any:
    import onnxsim

    return onnxsim.simplify(model)[0]


def _onnxslim(model: Any) -> Any:
    import onnxslim

    return onnxslim.slim(model)


def _onnxscript(model: Any) -> Any:
    from onnxscript import optimizer, rewriter

    return rewriter.rewrite(optimizer.optimize(model))


TOOLS: dict[str, Callable[[Any], Any]] = {
    "fastdl": _fastdl,
    "onnxruntime": _as_it_is,  # alone, with all of its own optimisations, which the others get too
    "onnxoptimizer": _onnxoptimizer,
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxscript": _onnxscript,
}


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a net, batch size and thread count."""
    results: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for name in options.net or NETS:
        make, by_hand = NETS[name]
        try:
            plain = make()
        except Skip as skip:
            pool.skipped[name] = str(skip)
            continue
        models: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for tool in TOOLS:
            note(f"{name}: {tool}")
            try:
                models[tool] = _apply(tool, plain)
                wrong |= _differs(tool, plain, models[tool])
            except Skip as skip:
                skipped[tool] = str(skip)
        models["ideal"] = by_hand()
        nodes = {tool: len(model.graph.node) for tool, model in models.items()}
        executed = {tool: _executed(model) for tool, model in models.items()}
        for threads in options.threads:
            for batch in BATCHES:
                rounds = _interleave(models, batch, threads, options.rounds, options.seconds, name)
                line = ratios.compare({(tool, threads): times for tool, times in rounds.items()}, threads)
                results.append(
                    {
                        "case": name,
                        "batch": batch,
                        "threads": threads,
                        "nodes": nodes,
                        "executed": executed,
                        "wrong": wrong,
                        "entries": line["entries"],
                    }
                )
    pool.skipped.update(skipped)
    for package in ("onnx", "onnxruntime", "onnxoptimizer", "onnxsim", "onnxslim", "onnxscript"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            pool.versions[package] = importlib.metadata.version(package)
    note("")
    return results


def _apply(tool: str, plain: Any) -> Any:
    """The tool's own model. Skip: not installed, or it fails on this net."""
    copy = type(plain).FromString(plain.SerializeToString())
    try:
        with _silent():
            return TOOLS[tool](copy)
    except ImportError as error:
        raise Skip(f"{error.name or tool} not installed") from None
    except Exception as error:
        raise Skip(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:60]}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What tools print, from C++ too, goes nowhere."""
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, handle in zip((1, 2), kept, strict=True):
            os.dup2(handle, number)
            os.close(handle)
        os.close(nowhere)


def _differs(tool: str, plain: Any, model: Any) -> dict[str, str]:
    from fastdl import fusion
    from fastdl.errors import FastdlError

    try:
        fusion.verify(plain, model, tolerance=TOLERANCE)
    except FastdlError as error:
        return {tool: str(error)}
    return {}


def _executed(model: Any) -> int:
    """Nodes that onnxruntime runs once it has optimised the graph itself."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return len(onnx.load(options.optimized_model_filepath).graph.node)


def _interleave(
    models: dict[str, Any], batch: int, threads: int, rounds: int, seconds: float, name: str
) -> dict[str, list[float]]:
    """Seconds a call of each round; all run one round after the other, on as many cores as threads."""
    from fastdl.fusion.runtime.session import Binding, Session

    cores = machine.cores()
    machine.pin(threads)
    try:
        calls: dict[str, Callable[[], object]] = {}
        rng = np.random.default_rng(0)
        for tool, model in models.items():
            session = Session(model.SerializeToString(), threads=threads)
            (info,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
            x = rng.standard_normal((batch, *info.shape[1:]), np.float32)
            outputs = dict(zip(names, session.run(None, {info.name: x}), strict=True))
            calls[tool] = _bound(Binding(session, {info.name: x}, outputs), x)
        count = max(1, round(seconds / min(_seconds(call, 3) for call in calls.values())))
        times: dict[str, list[float]] = {tool: [] for tool in calls}
        for number in range(rounds):
            note(f"{name}, batch {batch}, {threads} threads: round {number + 1} of {rounds}")
            order = list(calls) if number % 2 else list(calls)[::-1]
            for tool in order:
                times[tool].append(_seconds(calls[tool], count))
        return times
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)


def _bound(binding: Any, x: Any) -> Callable[[], object]:
    return lambda: binding.run([x])


def _seconds(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """Operators left, then a table for each batch size and thread count, then where fastdl is not the best."""
    tools = [tool for tool in (*TOOLS, "ideal") if any(tool in line["entries"] for line in results)]
    parts = [_operators(results, tools)]
    for threads in options.threads:
        for batch in BATCHES:
            lines = [line for line in results if (line["threads"], line["batch"]) == (threads, batch)]
            head = [f"batch {batch:,}, {threads} thread{'s' * (threads > 1)}", *tools]
            rows = [[line["case"], *(tables.cell(line["entries"].get(tool)) for tool in tools)] for line in lines]
            means = ["median", *(tables.times(_median(lines, tool)) for tool in tools)]
            parts.append(tables.table(head, [*rows, means]))
    parts.append(
        f"µs per call of onnxruntime, median of {options.rounds} rounds; beside it the time over fastdl's. ideal:\n"
        "dense layers and activations by hand. onnxruntime: the file as exported. All get onnxruntime's own folds."
    )
    return "\n\n".join([*parts, _verdict(results, tools)])


def _operators(results: list[dict[str, Any]], tools: list[str]) -> str:
    first = {line["case"]: line for line in results}
    rows = []
    for name, line in first.items():
        cells = []
        for tool in tools:
            left = f"{line['nodes'][tool]} / {line['executed'][tool]}" if tool in line["nodes"] else "–"
            cells.append(left + (" wrong" if tool in line["wrong"] else ""))
        rows.append([name, *cells])
    return tables.table(["operators in the file / run", *tools], rows)


def _median(lines: list[dict[str, Any]], tool: str) -> float | None:
    found = [line["entries"][tool]["ratio"] for line in lines if tool in line["entries"]]
    return median(found) if found else None


def _verdict(results: list[dict[str, Any]], tools: list[str]) -> str:
    """Where another leaves fewer operators, or is faster than noise explains, in its median and in its best round."""
    others = [tool for tool in tools if tool != "fastdl"]
    fewer, faster = [], []
    for line in {line["case"]: line for line in results}.values():
        ours = line["nodes"].get("fastdl", 0)
        fewer += [f"{line['case']}: {tool}" for tool in others if line["nodes"].get(tool, ours) < ours]
    for line in results:
        ours = line["entries"].get("fastdl")
        for tool in others:
            theirs = line["entries"].get(tool)
            if ours is None or theirs is None:
                continue
            ratio = max(theirs["ratio"], theirs["best_us"] / ours["best_us"])
            if ratio < NOISE:
                faster.append(
                    f"{line['case']}, batch {line['batch']:,}, threads {line['threads']}: {tool} {ratio:.2f}×"
                )
    return "\n".join(
        [
            "Fewer operators than fastdl: " + ("nobody, on any net." if not fewer else "; ".join(fewer)),
            f"Faster than fastdl by more than {1 - NOISE:.0%}: " + ("nobody, on any net." if not faster else ""),
            *faster,
        ]
    )


def plot(results: list[dict[str, Any]], folder: Path, limits: Limits, isa: str) -> list[Path]:
    """The ratios as bars, a picture for each batch size."""
    from bench import plots

    drawn = []
    for batch in BATCHES:
        lines = [{**line, "workload": line["case"], "target": 0} for line in results if line["batch"] == batch]
        title = f"onnxruntime, batch {batch:,}"
        drawn.append(plots.ratio_bars(lines, folder / f"fusion-{batch}.png", title))
    return drawn
