"""Writing: wherever it is interrupted, each file is the old one or the new one, and nothing lies beside them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fastdl.base import files

WRITING = {
    function.__code__ for function in (files.write_atomically, files.write_together, files._write, files._beside)
}


def interrupted(at: int, *paths: Path) -> bool:
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
        if frame.f_code not in WRITING:
            return None
        frame.f_trace_opcodes = True
        return within

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        if len(paths) == 1:
            files.write_atomically(paths[0], b"new", memoryview(b"er"))
        else:
            files.write_together(*((path, [b"new", memoryview(b"er")]) for path in paths))
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("names", [("file",), ("file", "other")])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupt_at_any_instruction_leaves_no_temporary(
    old: bytes | None, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_waiting", None)  # and so it is afterwards, wherever the last interrupt came
    paths, seen, at = [tmp_path / name for name in names], set(), 0
    while True:
        for path in paths:
            path.unlink(missing_ok=True)
            if old is not None:
                path.write_bytes(old)
        reached = interrupted(at, *paths)
        assert set(os.listdir(tmp_path)) <= set(names)
        seen.update(path.read_bytes() if path.exists() else None for path in paths)
        if not reached:
            break
        at += 1
    assert at > 50
    assert seen == {old, b"newer"}


def test_of_several_files_none_is_renamed_before_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def full_at_the_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(OSError, match=r"No space.*two"):
        files.write_together(*((path, [b"new"]) for path in paths))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(paths, b"old")


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
