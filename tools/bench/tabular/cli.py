"""`tabular`: its options, and one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.tabular import debian, report, runs
from bench.tabular.peers import EVERY, PEERS, WHOLE, WITHOUT
from bench.tabular.sets import LISTS, TABLES, chosen
from bench.tabular.splits import PARTS


def parser() -> argparse.ArgumentParser:
    """Options."""
    top = argparse.ArgumentParser(prog="benchmark.py tabular", description="fastdl on tables beside its rivals.")
    names = [*LISTS, *TABLES]
    told = f"default: {', '.join(PEERS)}; fastdl otherwise made: {', '.join(list(EVERY)[len(PEERS) :])}"
    top.add_argument("--sets", nargs="+", choices=names, metavar="NAME", help=f"default: published; {', '.join(names)}")
    top.add_argument("--peers", nargs="+", choices=list(EVERY), metavar="PEER", help=told)
    worth = f"what each ingredient is worth: by default the sets of that name, and {', '.join(WITHOUT)}"
    top.add_argument("--ablation", action="store_true", help=worth)
    top.add_argument("--splits", type=int, default=3, choices=range(1, PARTS + 1), help="default: 3")
    top.add_argument("--seeds", type=int, default=1, help="of each peer on each split; default: 1")
    top.add_argument("--threads", type=int, default=1, help="default: 1")
    top.add_argument("--json", type=Path, help="a file of JSON lines: what it holds is not run again")
    top.add_argument("--table", action="store_true", help="run nothing, print what the file holds")
    top.add_argument("--again", nargs="+", choices=list(EVERY), default=[], help="run these though the file holds them")
    top.add_argument(
        "--against",
        choices=list(EVERY),
        help=f"who is compared with all others; default: fastdl, or {WHOLE} for --ablation",
    )
    top.add_argument("--python", default=sys.executable, help="the interpreter of the peers; default: this one")
    top.add_argument("--folder", type=Path, default=debian.cache_folder(), help="where the data are kept")
    return top


def main(arguments: Sequence[str]) -> int:
    """`tabular …`: run what is missing, print the tables; 0, or 2 for wrong arguments."""
    options = parser().parse_args(arguments[1:])
    available = len(machine.cores())
    if not 1 <= options.threads <= available:
        print(f"--threads must be from 1 to {available}, the cores of this process", file=sys.stderr)
        return 2
    if options.table and not (options.json and options.json.exists()):
        print("--table prints a file of results: name it by --json", file=sys.stderr)
        return 2
    options.sets = options.sets or ["ablation" if options.ablation else "published"]
    options.against = options.against or (WHOLE if options.ablation else "fastdl")
    options.peers = options.peers or list(WITHOUT if options.ablation else PEERS)
    tables, held = chosen(options.sets), runs.read(options.json)
    if not options.table:
        keys = list(runs.wanted(tables, options.splits, options.seeds, options.peers, options.threads))
        for key in keys:
            if key.peer in options.again:
                held.pop(key, None)
        cannot = runs.run(keys, held, options.json, options.python, options.folder)
        for peer, word in cannot.items():
            print(f"skipped {peer}: {word}")
    results = report.Results(held, tables, options.peers, options.threads)
    print((report.worth_table if options.ablation else report.report)(results, options.against))
    return 0
