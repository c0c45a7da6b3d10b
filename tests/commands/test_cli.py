"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

import fastdl
from fastdl import _ext, datasets, errors
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """m.onnx, which folds, and x.npy, its samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(fastdl.__file__).parent.parent))
    model = fastdl.Sequential(
        [fastdl.Input((4,)), fastdl.layers.Dense(8), fastdl.layers.BatchNormalization(), fastdl.layers.Dense(3)]
    )
    model.export(tmp_path / "m.onnx", fuse=False)
    np.save("x.npy", np.random.default_rng(0).normal(size=(40, 4)))
    return tmp_path


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "exit codes" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"fastdl {fastdl.__version__}\n"


# What a shell does with the streams: its line after the command, the exit code, and lines on standard error.
FUSE = "fuse m.onnx o.onnx --no-verify --no-measure"
STREAMS: dict[str, tuple[str, dict[str, str], int, int]] = {
    "a reader that leaves": (f"{FUSE} | true", {}, 0, 0),
    "no output": (f"{FUSE} >&-", {}, 0, 0),
    "no streams": (f"{FUSE} <&- >&- 2>&-", {}, 0, 0),
    "a full disk": (f"{FUSE} >/dev/full", {}, 1, 1),
    "nobody to tell": ("fuse none.onnx o.onnx 2>/dev/full", {}, 1, 0),
    "help to a full disk": (">/dev/full", {}, 1, 1),
    "ASCII": (FUSE, {"PYTHONIOENCODING": "ascii"}, 0, 0),
    "colours asked for": (FUSE, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}, 0, 0),
    "a narrow terminal": ("fuse -h", {"COLUMNS": "20"}, 0, 0),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_are_closed_full_or_plain_cost_nothing_else(folder: Path, name: str) -> None:
    line, environment, code, lines = STREAMS[name]
    script = f"set -o pipefail; {sys.executable} -P -m fastdl {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env={**os.environ, **environment}, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr
    assert b"\x1b" not in done.stdout
    if "PYTHONIOENCODING" in environment:
        assert done.stdout.isascii()
        assert b"\\u" not in done.stdout  # tables are drawn in plain letters
    if "m.onnx" in line:
        assert onnx.load("o.onnx").graph.node
        assert json.loads(Path("o.onnx.json").read_text())["folds"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [0.3, 0.8])
def test_a_signal_ends_it_in_one_line_with_nothing_left(folder: Path, number: signal.Signals, after: float) -> None:
    before = {path.name for path in folder.iterdir()}
    arguments = ["quantize", "m.onnx", "o.onnx", "--samples", "x.npy"]
    code = f"""if True:
        import signal
        import fastdl.cli as c

        def heard(number, handler, real=signal.signal, told=[]):
            before = real(number, handler)
            if not told:
                told.append(print("begins", flush=True))  # the others are heard in a moment
            return before

        signal.signal = heard
        raise SystemExit(c.main({arguments}))
    """
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "begins\n"
    time.sleep(after)
    run.send_signal(number)
    _, told = run.communicate(timeout=60)
    new = {path.name for path in folder.iterdir()} - before
    if run.returncode in (0, -number):  # it was done before: Python may be ended while it clears up
        assert new == {"o.onnx", "o.onnx.json"}
    else:
        assert (run.returncode, told) == (128 + number, "fastdl quantize: stopped\n")
        assert new in (set(), {"o.onnx", "o.onnx.json"})  # both where it came after they were written
    if new:
        require_whole()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_files_are_renamed_waits_until_all_are(folder: Path, number: signal.Signals) -> None:
    arguments = [*FUSE.split(), "--html", "o.html"]
    code = f"""
import os, signal, sys, fastdl.cli
rename = os.replace
def replace(*names):
    rename(*names)
    signal.raise_signal({int(number)})
os.replace = replace
sys.exit(fastdl.cli.main({arguments}))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, "fastdl fuse: stopped\n")
    assert {path.name for path in folder.iterdir()} == {"m.onnx", "x.npy", "o.onnx", "o.onnx.json", "o.html"}
    require_whole()


def require_whole() -> None:
    onnx.checker.check_model(onnx.load("o.onnx"))
    assert json.loads(Path("o.onnx.json").read_text())


def test_two_at_once_on_one_target_leave_one_whole_file(folder: Path) -> None:
    runs = [subprocess.Popen([sys.executable, "-P", "-m", "fastdl", *FUSE.split()], stdout=-3) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert {path.name for path in folder.iterdir()} == {"m.onnx", "x.npy", "o.onnx", "o.onnx.json"}
    onnx.checker.check_model(onnx.load("o.onnx"))


def test_numbers_beyond_float32_or_none_print_no_warnings_of_libraries(folder: Path) -> None:
    x = np.load("x.npy")
    np.save("nan.npy", np.where(x > 1, np.nan, x))
    np.save("huge.npy", x * 1e30)
    for line in ("verify m.onnx m.onnx", "fuse m.onnx o.onnx", "quantize m.onnx o.onnx"):
        for name in ("nan", "huge"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                main([*line.split(), "--samples", f"{name}.npy"])
            assert not caught


def test_fastdls_own_warnings_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def demo(*_: object) -> None:
        warnings.warn_explicit("look\nhere", UserWarning, "demo.py", 1, "fastdl.demo")
        errors.warn("lower the rate", errors.DivergenceWarning)
        warnings.warn_explicit("nobody asked", UserWarning, "x.py", 1, "somewhere.else")

    monkeypatch.setattr("fastdl.commands._demonstration.demo", demo)
    assert main(["demo"]) == 0
    assert capsys.readouterr().err == ("fastdl demo: warning: look here\nfastdl demo: warning: lower the rate\n")


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
    losses = report["history"]["val_loss"]
    assert report["best_epoch"] == 1 + losses.index(min(losses))  # the epoch that is kept
    assert report["validation_rows"] == 216  # of the training rows
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


def test_the_demo_draws_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_fashion_mnist", lambda: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["demo", "--folder", str(tmp_path), "--epochs", "1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "report.json", "curves.svg"}
    assert main(["demo", "--folder", str(tmp_path), "--epochs", "1"]) == 0  # its own files are written again


FOREIGN = {
    "a model": (("model.onnx",), "holds model.onnx, which no demo wrote"),
    "a report": (("report.json",), "holds report.json, which no demo wrote"),
    "all of them": (("model.onnx", "report.json", "curves.svg"), "holds model.onnx, report.json, curves.svg"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_demo_writes_over_nothing_that_is_not_its_own(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names, told = FOREIGN[name]
    for each in names:
        (tmp_path / each).write_text('{"mine": 1}')
    assert main(["demo", "--folder", str(tmp_path)]) == 1
    assert told in capsys.readouterr().err
    assert all((tmp_path / each).read_text() == '{"mine": 1}' for each in names)


@pytest.mark.parametrize("epochs", ["0", "-1", "1.5", "x", "nan", ""])
def test_epochs_are_a_whole_number(epochs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--epochs", epochs])
    assert "whole number above zero" in capsys.readouterr().err
