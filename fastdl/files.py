"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

AT_ONCE = 2**24  # bytes; between two writes Python hears Ctrl-C


def write_atomically(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Write beside `path`, sync, rename over it, sync the folder. OSError: the old file stays, nothing is left."""
    target = Path(path)
    temporary = (
        target.parent / f".{target.name}.{secrets.token_hex(8)}"
    )  # known before it is made: it is always removed
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                for start in range(0, len(part), AT_ONCE):
                    file.write(memoryview(part)[start : start + AT_ONCE])
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # mostly it has become the target
            os.unlink(temporary)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
