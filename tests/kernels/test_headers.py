"""Each C header compiles on its own, and twice in one file, for both element types: it has its includes and a guard.

No header is meant to be included more than once. What is expanded several times are the lists in variants.h and
table.h, which are macros.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

EXT = Path(__file__).parents[2] / "ext"
HEADERS = sorted(path.relative_to(EXT).as_posix() for path in EXT.rglob("*.h"))
COMPILER = shlex.split(os.environ.get("CC", "gcc"))
FLAGS = ["-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(COMPILER[0]), reason=f"no C compiler: {COMPILER[0]} is not installed"),
    pytest.mark.skipif(not HEADERS, reason="the C sources are not here"),
]


@pytest.mark.parametrize("is_f32", [1, 0], ids=["f32", "f64"])
@pytest.mark.parametrize("header", HEADERS)
def test_compiles_on_its_own(header: str, is_f32: int) -> None:
    source = f'#include "{header}"\n' * 2
    command = [*COMPILER, *FLAGS, f"-DFDL_IS_F32={is_f32}", f"-I{EXT}", "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
