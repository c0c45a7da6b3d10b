"""tools/fuzz.py --replay: each file is read again, in a child of its own, and what came of it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastdl

TOOLS = Path(__file__).resolve().parents[1] / "tools"

# What reads a file, in place of the tool's own reader; what is told of the file; the exit code
READERS = {
    "an answer": ("lambda path: 'read'", "read", 0),
    "a refusal": ("lambda path: fuzz.expect_refusal(fastdl.models.load_model, path)", "ModelFileError", 0),
    "an odd error": ("lambda path: {}[path.name]", "finding: KeyError: 'one'", 1),
    "a crash": ("lambda path: os.abort()", "finding: ended by SIGABRT", 1),
    "no end": ("lambda path: (signal.alarm(1), time.sleep(60))", "finding: ended by SIGALRM", 1),
}


@pytest.mark.parametrize("name", READERS)
def test_what_a_reader_does_is_told_file_by_file(name: str, tmp_path: Path) -> None:
    reader, told, code = READERS[name]
    for each in ("one", "two"):
        (tmp_path / each).write_bytes(b"no model")
    script = f"""
import os, signal, sys, time, fastdl
sys.path.insert(0, {str(TOOLS)!r})
import fuzz
fuzz.TARGETS["model"] = None, None, {reader}
sys.exit(fuzz.main(["model", "--replay", "one", "two"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == [f"one: {told}", f"two: {told}".replace("'one'", "'two'")]


@pytest.mark.parametrize("kind", ["model", "onnx"])
def test_the_tools_own_readers(kind: str, tmp_path: Path) -> None:
    model, path = fastdl.Sequential([fastdl.Input((3,)), fastdl.layers.Dense(2)]), tmp_path / "sound.fastdl"
    model.save(path) if kind == "model" else model.export(path)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-9])
    command = [sys.executable, str(TOOLS / "fuzz.py"), kind, "--replay", "sound.fastdl", "cut"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, [line.split(":")[0] for line in done.stdout.splitlines()]) == (0, ["sound.fastdl", "cut"])
    assert "finding" not in done.stdout
