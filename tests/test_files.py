"""write_atomically: wherever it is interrupted, the file is the old one or the new one, and nothing lies beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fastdl.base import files


def interrupted(at: int, path: Path) -> bool:
    """Write, and raise KeyboardInterrupt before the instruction of that number; whether it was reached."""
    left = at

    def within(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return within

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code not in (files.write_atomically.__code__, files._write.__code__):
            return None
        frame.f_trace_opcodes = True
        return within

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        files.write_atomically(path, b"new", memoryview(b"er"))
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupt_at_any_instruction_leaves_no_temporary(old: bytes | None, tmp_path: Path) -> None:
    path, seen, at = tmp_path / "file", set(), 0
    while True:
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)
        reached = interrupted(at, path)
        assert set(os.listdir(tmp_path)) <= {"file"}
        seen.add(path.read_bytes() if path.exists() else None)
        if not reached:
            break
        at += 1
    assert at > 50
    assert seen == {old, b"newer"}


def test_it_has_the_mode_of_a_file_that_open_makes(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    files.write_atomically(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"old")]
