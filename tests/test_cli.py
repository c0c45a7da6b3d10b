"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import fastdl
from fastdl import _ext, datasets
from fastdl.cli import main


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    command = [sys.executable, "-P", "-m", "fastdl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.parametrize("isa", _ext.supported_isas())
def test_info_names_version_isa_threads_and_cores(isa: str) -> None:
    done = run("info", FASTDL_ISA=isa)
    assert done.returncode == 0
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert lines["fastdl"] == fastdl.__version__
    assert lines["ISA"].startswith(f"{isa} (")
    assert int(lines["threads"]) == int(lines["cores"]) == len(os.sched_getaffinity(0))


def test_unknown_isa_is_one_clear_line() -> None:
    done = run("info", FASTDL_ISA="avx9000")
    assert done.returncode != 0
    assert "FASTDL_ISA='avx9000' is not available here: choose one of" in done.stderr.splitlines()[-1]


def test_import_loads_numpy_and_the_extension_only() -> None:
    code = "import sys, fastdl; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "fastdl" in loaded
    assert not {"onnx", "onnxruntime", "rich", "matplotlib", "sklearn"} & set(loaded)


def test_demo_on_the_shipped_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets, "find_fashion_mnist", lambda: None)
    assert main(["demo", "--folder", str(tmp_path / "out"), "--epochs", "6"]) == 0
    printed = capsys.readouterr().out
    assert "Epoch 6/6" in printed
    assert "Written to" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["data"] == "UCI digits"
    assert report["test_accuracy"] > 0.93
    assert report["fusion"]["operators_after"] == ["Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert len(model.graph.node) == 7
    (_, _), (x, y) = datasets.digits()
    labels = fastdl.Runner(tmp_path / "out" / "model.onnx").predict((x / np.float32(16)).astype("f4")).argmax(1)
    assert (labels == y).mean() == pytest.approx(report["test_accuracy"])
    ElementTree.parse(tmp_path / "out" / "curves.svg")


def test_demo_that_cannot_write_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "find_fashion_mnist", lambda: None)
    (tmp_path / "file").write_text("")
    assert main(["demo", "--folder", str(tmp_path / "file"), "--epochs", "1"]) == 1
    assert capsys.readouterr().err.startswith("fastdl demo: ")
