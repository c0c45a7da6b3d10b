"""How many threads the surroundings grant: by environment variables, affinity and control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

OWN, SHARED = "FASTDL_NUM_THREADS", "OMP_NUM_THREADS"
MOST = 256  # threads that the kernels take


def granted_threads() -> int:
    """Of FASTDL_NUM_THREADS, else OMP_NUM_THREADS, else all available cores; as they are now.

    OMP_NUM_THREADS may be a list, one number a level of nesting: the first counts, up to 256. An empty variable counts
    as none. ValueError for one that holds no such number.
    """
    if own := os.environ.get(OWN):
        return _number(OWN, own, MOST)
    if shared := os.environ.get(SHARED):
        return min(_number(SHARED, shared.partition(",")[0]), MOST)
    return available_cores()


def available_cores() -> int:
    """Cores this process may use: by affinity now, and by its control groups' quota when that was first asked."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _own_quota()
    return cores if math.isinf(share) else min(cores, max(1, math.ceil(share)))


def quota(root: Path) -> float:
    """Cores' worth of time that this process's control groups grant: the least of its own and all above it, of version
    1 and 2, in the file system that begins at root. Infinite without one.
    """
    return min(_quotas(root), default=math.inf)


@cache
def _own_quota() -> float:
    return quota(Path("/"))


def _number(name: str, text: str, most: int | None = None) -> int:
    text = text.strip()
    if text.isascii() and text.isdigit() and int(text) > 0 and (most is None or int(text) <= most):
        return int(text)
    end = f" to {most}" if most else " up"
    raise ValueError(f"the environment variable {name} must be a whole number from 1{end}, not {os.environ[name]!r}")


def _quotas(root: Path) -> Iterator[float]:
    mounts = root / "sys/fs/cgroup"
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # no control groups here
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Within a container the path may be the host's, and its files stand at the mount itself: the last of the
        # folders that are looked into.
        own = PurePosixPath(path.lstrip("/"))
        for mount in [controllers, "cpu"] if controllers else [".", "unified"]:
            for folder in (mounts / mount / group for group in (own, *own.parents)):
                yield from _of_version_1(folder) if controllers else _of_version_2(folder)


def _of_version_1(folder: Path) -> Iterator[float]:
    try:
        microseconds, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    if microseconds > 0 and period > 0:  # -1: none
        yield microseconds / period


def _of_version_2(folder: Path) -> Iterator[float]:
    try:
        microseconds, period = map(int, (folder / "cpu.max").read_text().split())
    except (OSError, ValueError):  # no file, or "max"
        return
    if period > 0:
        yield microseconds / period
