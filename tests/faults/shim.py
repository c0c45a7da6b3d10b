"""Runs a script in a child in which chosen calls of the C library fail; see shim.c."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ONCE, FOR_GOOD, SHORT, KILL, FULL = range(5)

# what every script begins with: arm(kind, nth, how, error, library, least), disarm() -> calls, spared(module, name)
PRELUDE = """
import ctypes, errno, os, sys
_shim = ctypes.CDLL(None)
_shim.fault_arm.argtypes = ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
_shim.fault_disarm.restype = ctypes.c_long
ONCE, FOR_GOOD, SHORT, KILL, FULL = range(5)
def arm(kind, nth, how=ONCE, error=errno.ENOMEM, library="", least=0):
    _shim.fault_arm(kind.encode(), nth, how, error, library.encode(), least)
disarm = _shim.fault_disarm
def spared(module, name):
    "No call within this function of somebody else's is to fail."
    function = getattr(module, name)
    def paused(*args, **options):
        _shim.fault_pause(1)
        try:
            return function(*args, **options)
        finally:
            _shim.fault_pause(0)
    setattr(module, name, paused)
"""


def build(folder: Path) -> Path:
    """The shim, compiled into the folder; the test is skipped where it cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("faults are injected on Linux with a C compiler")
    library = folder / "shim.so"
    subprocess.run([compiler, "-O1", "-w", "-shared", "-fPIC", HERE / "shim.c", "-o", library, "-ldl"], check=True)
    return library


def run(
    library: Path, script: str, folder: Path, *arguments: str, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """The script, after the prelude, in `folder`, with the shim."""
    # OpenBLAS takes memory for its threads, and ends the process where it gets none.
    environment = {**os.environ, "LD_PRELOAD": str(library), "FASTDL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", PRELUDE + script, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
