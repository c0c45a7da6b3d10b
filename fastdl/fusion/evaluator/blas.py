"""Matrix products in float64 as the truth needs them: on one thread, and of large float32 weights block by block."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from fastdl.base.arrays import Array
from fastdl.fusion.graph.node import Floats

BLOCK = 2**18  # numbers of a matrix that are widened at a time: what a core's cache holds
# OpenBLAS's functions, by the names of its builds: numpy's own wheels, and what distributions install
NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_",
         "openblas_{}_num_threads")  # fmt: skip

_lock = threading.Lock()
_inside = 0  # how many threads are within `one_thread`
_before = 0  # how many threads BLAS had before the first of them


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread meanwhile, where numpy's is OpenBLAS; elsewhere nothing changes.

    Its threads wait for each other by spinning. For the short products of a proof that is most of the processor time
    that they take, and the more, the busier the machine is.
    """
    global _inside, _before
    functions = _openblas()
    if functions is None:
        yield
        return
    get, set_ = functions
    with _lock:
        if not _inside:
            _before = get()
            set_(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                set_(_before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """How to read and set the number of threads of the OpenBLAS that numpy has loaded."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            paths = {line.split(maxsplit=5)[-1].strip() for line in file if "openblas" in line}
        for library in map(ctypes.CDLL, sorted(paths)):
            for name in NAMES:
                with contextlib.suppress(AttributeError):
                    return getattr(library, name.format("get")), getattr(library, name.format("set"))
    except OSError:
        pass
    return None


def product(a: Floats, b: Array) -> Floats:
    """a @ b, in float64 where b is a matrix of float32, which is never widened as a whole if it is large."""
    if b.dtype != np.float32 or b.ndim != 2:
        return np.asarray(a @ b)
    a = np.asarray(a, np.float64)
    depth, columns = b.shape
    y = np.zeros((*a.shape[:-1], columns))
    step = max(1, BLOCK // columns)
    for start in range(0, depth, step):
        y += a[..., start : start + step] @ b[start : start + step].astype(np.float64)
    return y
