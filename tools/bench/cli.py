"""The command line: parses, runs one command, prints its tables, writes JSON and pictures."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import lookup, machine, many, train
from bench.nets import NETS
from bench.peers import PEERS
from bench.pool import Pool

COMMANDS = {  # module, rounds, seconds of a round, what it does
    "train": ("train", 5, 0.2, "a training step of seven nets"),
    "many": ("many", 5, 0.5, "16 nets trained at once"),
    "lookup": ("lookup", 5, 0.1, "a training step on an Embedding of 1,000 to 1,000,000 values"),
    "disk": ("disk", 3, 0.0, "an epoch on files of four times the memory"),
    "kernels": ("kernels", 5, 0.05, "the matrix product alone"),
    "predict": ("predict", 5, 0.05, "inference on 1 to 10,000 rows"),
    "start": ("start", 5, 0.0, "import, first fit, installed size"),
    "threads": ("threads", 3, 0.03, "whether the faster number of threads is found while others come and go"),
    "scaling": ("scaling", 3, 0.1, "cost of a step against width, depth and batch"),
    "fusion": ("fusion", 21, 0.01, "what fastdl and other tools leave of ONNX files, and how fast it runs"),
    "precision": ("precision", 1, 0.0, "what products of bfloat16 cost in accuracy"),
    "time-to-accuracy": ("accuracy", 1, 0.0, "training time to 88.5 % on Fashion-MNIST"),
}
SEEDS = {"precision": 9, "time-to-accuracy": 3}
QUIET = 0.1  # cores that others may use before the figures are called disturbed


def parser() -> argparse.ArgumentParser:
    """Options of all commands."""
    top = argparse.ArgumentParser(
        prog="benchmark.py",
        description="fastdl beside its peers, in one run.",
        epilog="Tables have a command of their own: benchmark.py tabular --help",
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, (_, rounds, seconds, told) in COMMANDS.items():
        one = commands.add_parser(name, help=told.replace("%", "%%"))
        one.add_argument("--peers", nargs="+", choices=sorted(PEERS), help="default: all that can; fastdl always")
        one.add_argument("--threads", nargs="+", type=int, default=None, help="default: 1, and 2 where it can")
        one.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
        one.add_argument("--seconds", type=float, default=seconds, help=f"of a round at least; {seconds:g}")
        one.add_argument("--json", type=Path, help="write everything there")
        one.add_argument("--plot", type=Path, help="draw pictures into this folder")
        if name == "train":
            one.add_argument("--workload", nargs="+", choices=train.NAMES, help="default: all")
            one.add_argument("--profile", action="store_true", help="where fastdl's time goes, kernel by kernel")
            one.add_argument("--rows", type=int, help="rows of an epoch, instead of each workload's own")
        if name == "many":
            one.add_argument("--workload", nargs="+", choices=list(many.TARGETS), help="default: all")
            one.add_argument("--rows", type=int, help="rows of an epoch, instead of each workload's own")
            one.add_argument("--models", type=int, default=16, help="nets at once; 16")
        if name == "lookup":
            one.add_argument("--values", nargs="+", type=int, default=lookup.VALUES, help="of a column")
        if name == "disk":
            one.add_argument("--megabytes", type=int, default=2048, help="of each file; 2048")
            one.add_argument("--folder", type=Path, help="where the files are made; the system's for temporary files")
        if name == "fusion":
            one.add_argument("--net", nargs="+", choices=list(NETS), help="default: all")
        if name == "start":
            one.add_argument("--wheel", type=Path, help="a wheel whose size is told")
        if name in SEEDS:
            one.add_argument("--seeds", type=int, default=SEEDS[name], help=f"default: {SEEDS[name]}")
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0, or 2 for wrong arguments."""
    options = parser().parse_args(arguments)
    available = len(machine.cores())
    options.threads = list(dict.fromkeys(options.threads or [1, min(2, available)]))
    if any(not 1 <= count <= available for count in options.threads):
        print(f"--threads must be from 1 to {available}, the cores of this process", file=sys.stderr)
        return 2
    command: Any = importlib.import_module(f"bench.{COMMANDS[options.command][0]}")
    names = [name for name in command.PEERS if not options.peers or name in ("fastdl", *options.peers)]
    began, load_before = time.time(), machine.load()
    with Pool(names, options.threads) as pool:
        isa = pool.versions.get("isa", "portable")
        isas = [isa, "v3"] if "fastdl-v3" in names and isa == "v4" else [isa]
        isas += ["bfloat16"] if ("fastdl-bf16", options.threads[0]) in pool.children else []
        limits = machine.Limits(isas, options.threads)
        rivals = pool.rivals()
        results = command.run(options, pool, limits)
        limits.measure()
        loads = load_before, machine.load()
        about = {**machine.about(), "isa": isa, "versions": pool.versions, "load": loads}
        about["others"] = rivals.cores()
        skipped = pool.skipped
    seconds = round(time.time() - began)
    print("\n" + command.report(results, options, limits, isa))
    print("\n" + _foot(about, limits, skipped, seconds, options.threads))
    if options.json:
        everything = {
            "command": options.command,
            "arguments": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
            "machine": about,
            "limits": limits.as_json(),
            "seconds": seconds,
            "skipped": skipped,
            "results": results,
        }
        options.json.write_text(json.dumps(everything, indent=1) + "\n")
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
        for path in command.plot(results, options.plot, limits, isa):
            print(f"drew {path}")
    return 0


def _foot(
    about: dict[str, Any], limits: machine.Limits, skipped: dict[str, str], seconds: int, threads: Sequence[int]
) -> str:
    told = {key: value for key, value in about["versions"].items() if key not in ("isa", "bits", "isas")}
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['system']}, fastdl's ISA {about['isa']}",
        ", ".join(f"{name} {version}" for name, version in told.items()) + f", Python {about['python']}",
    ]
    for (isa, count), best in limits.best.items():
        lines.append(f"measured at {count} threads, {isa}: {best['gflops']:,.0f} GFLOP/s, {best['gbytes']:.1f} GB/s")
    if limits.word:
        lines.append(f"peak and bandwidth not measured: {limits.word}")
    lines += [f"skipped {name}: {word}" for name, word in skipped.items()]
    lines.append(f"load {about['load'][0]} at the start, {about['load'][1]} at the end; {seconds} s")
    if about["others"] > QUIET:
        lines.append(
            f"other processes used {about['others']:.1f} of {about['cores']} cores: not a quiet machine. Peers that "
            "spin while they wait (OpenMP)\nlook far slower at 2 threads than they are. Do not quote these ratios."
        )
    return "\n".join(lines)
