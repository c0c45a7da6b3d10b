"""Process-wide settings: the default dtype and the number of threads."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from fastdl import _ext

_floatx = "float32"
_threads: int | None = None
_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def floatx() -> str:
    """The dtype of models that do not name one: "float32" or "float64"."""
    return _floatx


def set_floatx(value: str) -> None:
    """Set the default dtype. ValueError unless "float32" or "float64". Keras: config.set_floatx."""
    if value not in ("float32", "float64"):
        raise ValueError(f"floatx must be 'float32' or 'float64', not {value!r}")
    global _floatx
    _floatx = value


def epsilon() -> float:
    """What keeps quotients and logarithms finite: 1e-7, which cannot be changed. Keras: config.epsilon."""
    return 1e-7


def _quota() -> float:
    """Cores' worth of time that the control group grants; infinite without one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf  # no control groups, or no quota ("max")


_QUOTA = _quota()


def available_cores() -> int:
    """Cores this process may use: by affinity now, and by the control group's quota when fastdl was imported."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if math.isinf(_QUOTA) else min(cores, max(1, math.ceil(_QUOTA)))


def get_num_threads() -> int:
    """Threads that fastdl uses at most: all available cores unless set, or limited where this is called."""
    threads, limit = _threads if _threads is not None else available_cores(), _limit.get()
    return threads if limit is None else min(threads, limit)


def uses_all_cores() -> bool:
    """Whether nobody has set the number of threads."""
    return _threads is None


def set_num_threads(number: int | None) -> None:
    """Use at most `number` threads (1 to 256); None for all available cores. Results do not depend on it."""
    if number is not None and (not isinstance(number, int) or not 1 <= number <= 256):
        raise ValueError(f"the number of threads must be an integer from 1 to 256, not {number!r}")
    global _threads
    _threads = number


@contextmanager
def thread_limit(number: int) -> Iterator[None]:
    """Use at most `number` threads within a `with`, in the calling thread alone: models that train side by side, each
    in a Python thread of its own, take one core each. ValueError unless it is positive.
    """
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"the number of threads must be a positive integer, not {number!r}")
    token = _limit.set(number)
    try:
        yield
    finally:
        _limit.reset(token)


def _choose_isa() -> None:
    available = _ext.supported_isas()
    _ext.select_isa(os.environ.get("FASTDL_ISA") or available[0])


_choose_isa()
