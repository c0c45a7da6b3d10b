"""numpy's matmul: OpenBLAS, where numpy came as a wheel."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workloads import Unit


def setup(threads: int, which: str) -> None:
    """Called once, before anything else; its BLAS reads the threads from the environment."""


def versions() -> dict[str, Any]:
    """Version and BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"numpy": np.__version__, "numpy BLAS": f"{blas['name']} {blas['version']}"}


def matmul(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Unit:
    """op(a) @ op(b) into an array that is there."""
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    return Unit(lambda: np.matmul(left, right, out=out))
