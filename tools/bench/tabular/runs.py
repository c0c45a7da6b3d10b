"""The parent: which fits are wanted, which the file of results already holds, and the processes for the others."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from bench import machine
from bench.pool import SCRIPT, THREAD_VARIABLES, note
from bench.tabular.peers import EVERY, LIMIT
from bench.tabular.sets import Table

Line = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What makes two fits the same."""

    set: str
    split: int
    seed: int
    peer: str
    threads: int


def key(line: Line) -> Key:
    """Of a line of the file."""
    return Key(*(line[name] for name in Key.__dataclass_fields__))


def read(path: Path | None) -> dict[Key, Line]:
    """What a file of results holds: for each fit its last line. A line that was cut off is not there."""
    held = {}
    for text in path.read_text().splitlines() if path is not None and path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        held[key(line)] = line
    return held


def wanted(tables: Sequence[Table], splits: int, seeds: int, peers: Sequence[str], threads: int) -> Iterator[Key]:
    """One fit after the other; all peers on one split before the next."""
    for table in tables:
        for split in range(splits):
            for seed in range(seeds):
                for peer in peers:
                    yield Key(table.name, split, seed, peer, threads)


def run(keys: Iterable[Key], held: dict[Key, Line], path: Path | None, python: str, folder: Path) -> dict[str, str]:
    """Run what is not held; each result joins `held` and the file at once. Returns the peers that cannot, and why.

    A fit that fails is told, and tried again by the next run.
    """
    cannot: dict[str, str] = {}
    keys = list(keys)
    for number, one in enumerate(keys, 1):
        if one in held or one.peer in cannot:
            continue
        word = f"{one.set}, split {one.split}, seed {one.seed}, {one.peer}"
        note(f"{number} of {len(keys)}: {word}")
        job = {**asdict(one), "folder": str(folder)}
        if EVERY[one.peer].limit_of:
            limit = limit_of(one, held)
            if limit is None:
                cannot[one.peer] = f"needs the times of {EVERY[one.peer].limit_of} first"
                continue
            job["limit"] = limit
        answer = child(job, python)
        if "skip" in answer:
            cannot[one.peer] = answer["skip"]
            continue
        if "error" in answer:
            print(f"{word}: {answer['error']}", flush=True)
            continue
        line = {**asdict(one), **answer, "limit": job.get("limit"), "at": round(time.time()), "load": machine.load()}
        held[one] = line
        if path is not None:
            with open(path, "a") as file:
                file.write(json.dumps(line) + "\n")
    note("")
    return cannot


def limit_of(one: Key, held: dict[Key, Line]) -> float | None:
    """LIMIT times what another peer took for this set, on average; None if it has not run.

    CPU seconds, a thread's share: on a machine that others use the clock would give too long a time.
    """
    other = EVERY[one.peer].limit_of
    taken = [
        line["fit_cpu_seconds"] / one.threads
        for line in held.values()
        if (line["set"], line["peer"], line["threads"]) == (one.set, other, one.threads)
    ]
    return LIMIT * mean(taken) if taken else None


def child(job: dict[str, Any], python: str) -> dict[str, Any]:
    """The answer of a process for this fit."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(job["threads"]))}
    done = subprocess.run(
        [python, str(SCRIPT), "tabular-worker", json.dumps(job)], capture_output=True, text=True, env=environment
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return {"error": f"its process ended with {done.returncode}: {last[:200]}"}
    return answer
