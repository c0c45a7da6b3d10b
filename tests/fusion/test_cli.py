"""`fastdl fuse`, `verify`, `inspect` and `quantize`, run as scripts run them: what they write, and their exit codes."""

import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fastdl import fusion
from fastdl.base import files
from fastdl.cli import main
from fastdl.fusion import read_model
from fastdl.fusion.files import limits
from fastdl.fusion.runtime import bounds
from fastdl.fusion.runtime.confined import Exceeded

from .graphs import Sketch, operators, run

DONE, FAILED, USAGE, NOT_PROVEN = 0, 1, 2, 3


def net(scale=1.0):
    g = Sketch()
    g.dense("x", "d", 6, 16)
    g.batch_norm("d", "n", 16)
    g.node("Relu", ["n"], "r")
    g.dense("r", "h", 16, 3)
    g.constants["h_w"] *= np.float32(scale)
    g.node("Softmax", ["h"], "y")
    return g.model({"x": ["N", 6]}, {"y": ["N", 3]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(net(), "in.onnx")
    onnx.save(net(1.01), "other.onnx")
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(size=(200, 6)).astype(np.float32))
    np.savez("x.npz", x=rng.normal(size=(50, 6)).astype(np.float32))
    np.save("wrong.npy", np.zeros((5, 9)))
    onnx.save(fusion.fuse(net(), measure=False)[0], "folded.onnx")
    np.save("nan.npy", np.full((40, 6), np.nan))
    np.save("half.npy", np.full(200, 0.5))
    np.save("huge.npy", np.full((40, 6), 1e300))
    Path("empty.onnx").touch()
    Path("truncated.onnx").write_bytes(Path("in.onnx").read_bytes()[:200])
    Path("dir").mkdir()
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    return tmp_path


def call(line):
    try:
        return main(shlex.split(line))
    except SystemExit as stopped:  # argparse's way to say wrong usage
        return stopped.code


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("samples", ["", " --samples x.npy", " --samples x.npz"])
def test_fuse_writes_the_file_and_its_report(folder, samples, capsys):
    before = names(folder)
    assert call("fuse in.onnx out.onnx" + samples) == DONE
    assert names(folder) == before | {"out.onnx", "out.onnx.json"}
    fused = onnx.load("out.onnx")
    assert operators(fused) == ["Gemm", "Relu", "Gemm", "Softmax"]
    x = np.load("x.npy")
    np.testing.assert_allclose(run(fused, {"x": x})[0], run(onnx.load("in.onnx"), {"x": x})[0], atol=1e-6)
    report = json.loads(Path("out.onnx.json").read_text())
    assert report["verified"]
    assert report["samples"] == 74 + {"": 0, " --samples x.npy": 200, " --samples x.npz": 50}[samples]
    assert "Verified on" in capsys.readouterr().out


def test_fuse_writes_where_it_is_told(folder):
    assert call("fuse in.onnx out.onnx --json r.json --html r.html") == DONE
    assert operators(onnx.load("out.onnx")) == ["Gemm", "Relu", "Gemm", "Softmax"]
    assert json.loads(Path("r.json").read_text())["nodes_after"] == 4
    assert Path("r.html").read_text().startswith("<!DOCTYPE html>")
    assert not Path("out.onnx.json").exists()


@pytest.mark.parametrize("target", ["out.onnx ", ""])
def test_a_dry_run_writes_nothing(folder, target, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert call(f"fuse in.onnx {target}--dry-run --json r.json --html r.html") == DONE
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    printed = capsys.readouterr().out
    assert "BatchNormalization_n" in printed
    assert "nothing is written" in printed


def test_every_refusal_names_its_node_and_its_reason(folder, capsys):
    g = Sketch()
    g.dense("x", "d", 6, 6)
    g.batch_norm("d", "y", 6, training_mode=1, extra_outputs=["m", "v"], name="trains")
    onnx.save(g.model({"x": ["N", 6]}, {"y": ["N", 6]}), "training.onnx")
    assert call("inspect training.onnx") == DONE
    printed = capsys.readouterr().out
    assert "trains" in printed
    assert "it is in training mode" in printed


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ("fuse none.onnx out.onnx", FAILED, "no such file"),
        ("fuse x.npy out.onnx", FAILED, "not an ONNX"),
        ("fuse in.onnx out.onnx --samples none.npy", FAILED, "none.npy: no such file"),
        ("fuse in.onnx out.onnx --samples objects.npy", FAILED, "objects.npy: not an .npy"),
        ("fuse in.onnx out.onnx --samples in.onnx", FAILED, "in.onnx: not an .npy"),
        ("fuse in.onnx out.onnx --samples wrong.npy", FAILED, "have shape (5, 9), the model takes (N, 6)"),
        ("fuse folded.onnx out.onnx --samples wrong.npy", FAILED, "have shape (5, 9), the model takes (N, 6)"),
        ("verify in.onnx other.onnx --samples wrong.npy", FAILED, "have shape (5, 9), the model takes (N, 6)"),
        ("verify in.onnx other.onnx --samples dir", FAILED, "dir: not a plain file"),
        ("quantize in.onnx out.onnx --samples wrong.npy", FAILED, "have shape (5, 9), the model takes (N, 6)"),
        ("quantize in.onnx out.onnx --samples x.npy --labels half.npy", FAILED, "labels must be whole numbers"),
        ("quantize in.onnx out.onnx --samples nan.npy", FAILED, "NaN"),
        ("fuse in.onnx out.onnx --samples huge.npy", FAILED, "float32 cannot hold"),
        ("inspect dir", FAILED, "dir: not a plain file"),
        ("inspect empty.onnx", FAILED, "empty.onnx: empty"),
        ("verify in.onnx truncated.onnx", FAILED, "truncated.onnx: truncated, or not an ONNX file"),
        ("fuse in.onnx out.onnx --tolerance 1e-12", NOT_PROVEN, "off by"),
        ("fuse in.onnx missing/out.onnx", FAILED, "missing"),
        ("fuse in.onnx", USAGE, "out.onnx is needed"),
        ("fuse in.onnx out.onnx --tolerance -1", USAGE, "above zero"),
        ("fuse in.onnx out.onnx --tolerance nan", USAGE, "above zero"),
        ("fuse in.onnx out.onnx --output colours", USAGE, "colours"),
        ("fuse in.onnx out.onnx --json in.onnx", USAGE, "must be different files"),
        ("fuse in.onnx out.onnx --json out.onnx", USAGE, "must be different files"),
        ("fuse in.onnx out.onnx --html ./out.onnx", USAGE, "must be different files"),
        ("fuse in.onnx out.onnx --json r --html r", USAGE, "must be different files"),
        ("fuse in.onnx out.onnx --html out.onnx.json", USAGE, "must be different files"),
        ("quantize in.onnx out.onnx --samples x.npy --json out.onnx", USAGE, "must be different files"),
        ("fuse", USAGE, "required"),
        ("fuse in.onnx ''", USAGE, "the name of a file is empty"),
        ("fuse in.onnx out.onnx --json ''", USAGE, "the name of a file is empty"),
        ("fuse in.onnx ..", FAILED, "..: a folder"),
        ("fuse in.onnx out.onnx --tolerance x", USAGE, "above zero"),
        ("verify in.onnx other.onnx", NOT_PROVEN, "off by"),
        ("verify in.onnx none.onnx", FAILED, "no such file"),
        ("verify in.onnx", USAGE, "required"),
        ("inspect x.npy", FAILED, "not an ONNX"),
        ("quantize in.onnx out.onnx", USAGE, "--samples"),
        ("quantize in.onnx out.onnx --samples x.npy --type int3", USAGE, "int3"),
        ("quantize in.onnx out.onnx --samples x.npy --labels x.npz", FAILED, "an .npy file with one"),
        ("quantize in.onnx out.onnx --samples x.npy --tolerance 1e-9", NOT_PROVEN, "loses too much"),
        ("frobnicate", USAGE, "frobnicate"),
    ],
)
def test_what_goes_wrong_has_one_line_a_code_and_leaves_nothing(folder, line, code, word, capsys):
    before = names(folder)
    if line.endswith("1e-9"):  # labels do not flip here: 1e-9 is of the error
        onnx.save(_regressor(), "in.onnx")
    assert call(line) == code
    told = capsys.readouterr().err.strip()
    assert word in told
    assert names(folder) == before
    if code != USAGE:
        assert len(told.splitlines()) == 1
        assert told.startswith(f"fastdl {line.split()[0]}: ")


# Each names a file that is read, or another that is written, by whichever name.
OVERWRITES = [
    "fuse in.onnx in.onnx",
    "fuse in.onnx ./in.onnx",
    "fuse in.onnx dir/../in.onnx",
    "fuse dir/../in.onnx in.onnx",
    "fuse in.onnx soft.onnx",
    "fuse soft.onnx in.onnx",
    "fuse in.onnx hard.onnx",
    "fuse in.onnx out.onnx --json in.onnx",
    "fuse in.onnx out.onnx --json soft.onnx",
    "fuse in.onnx out.onnx --html hard.onnx",
    "fuse in.onnx x.npy --samples x.npy",
    "fuse in.onnx out.onnx --samples x.npy --json ./x.npy",
    "fuse in.onnx out.onnx --json dir/../out.onnx",
    "fuse in.onnx --dry-run --json in.onnx",
    "fuse large.onnx weights.bin",
    "fuse large.onnx out.onnx --json weights.bin",
    "quantize in.onnx in.onnx --samples x.npy",
    "quantize in.onnx soft.onnx --samples x.npy",
    "quantize in.onnx out.onnx --samples x.npy --json in.onnx",
    "quantize in.onnx x.npy --samples x.npy",
    "quantize in.onnx y.npy --samples x.npy --labels y.npy",
    "quantize large.onnx weights.bin --samples x.npy",
    "inspect in.onnx --json in.onnx",
    "inspect in.onnx --json soft.onnx",
    "inspect large.onnx --json weights.bin",
    "verify in.onnx other.onnx --json in.onnx",
    "verify in.onnx other.onnx --json other.onnx",
    "verify in.onnx other.onnx --json x.npy --samples x.npy",
]


@pytest.mark.parametrize("line", OVERWRITES)
def test_nothing_that_is_read_is_written_over(folder, line, capsys):
    np.save("y.npy", np.zeros(200))
    onnx.save(net(), "large.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    Path("soft.onnx").symlink_to("in.onnx")
    Path("hard.onnx").hardlink_to("in.onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert call(line) == USAGE
    told = capsys.readouterr().err
    assert "must be different files" in told
    assert len(told.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


TARGETS = {
    "dir": "a folder, where a file is to be written",
    "none/out": "none: no such folder",
    "in.onnx/out": "no such folder",
    "pipe": "not a plain file",
    "/dev/null": "not a plain file",
}
WRITERS = [
    "fuse in.onnx {}",
    "fuse in.onnx out.onnx --json {}",
    "fuse in.onnx out.onnx --html {}",
    "quantize in.onnx {} --samples x.npy",
    "quantize in.onnx out.onnx --samples x.npy --json {}",
    "inspect in.onnx --json {}",
    "verify in.onnx other.onnx --json {}",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("line", WRITERS)
def test_what_cannot_be_written_is_said_before_any_work(folder, monkeypatch, line, target, capsys):
    for work in ("fuse", "quantize", "inspect", "verify"):
        monkeypatch.setattr(fusion, work, None)  # calling it would be a TypeError
    os.mkfifo("pipe")
    before = names(folder)
    assert call(line.format(target)) == FAILED
    told = capsys.readouterr().err
    assert TARGETS[target] in told
    assert len(told.splitlines()) == 1
    assert names(folder) == before


def test_a_disk_that_is_full_names_the_file_that_was_asked_for(folder, monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = names(folder)
    monkeypatch.setattr(files.os, "fsync", full)
    assert call("fuse in.onnx out.onnx") == FAILED
    assert capsys.readouterr().err == "fastdl fuse: out.onnx: No space left on device\n"
    assert names(folder) == before


def _regressor():
    model = net()
    model.graph.node.pop()
    model.graph.node[-1].output[0] = "y"
    return model


def test_only_no_verify_writes_what_cannot_be_proven(folder):
    model = net()
    model.graph.node.add(op_type="Frobnicate", domain="org.example", input=["y"], output=["z"])
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    onnx.save(model, "in.onnx")
    assert call("fuse in.onnx out.onnx") == NOT_PROVEN
    assert not Path("out.onnx").exists()
    assert call("fuse in.onnx out.onnx --no-verify --no-measure") == DONE
    assert operators(onnx.load("out.onnx")) == ["Gemm", "Relu", "Gemm", "Softmax", "Frobnicate"]
    assert not json.loads(Path("out.onnx.json").read_text())["verified"]


def test_verify_accepts_what_fuse_made_and_nothing_else(folder, capsys):
    assert call("fuse in.onnx out.onnx") == DONE
    assert call("verify in.onnx out.onnx --samples x.npy --json v.json") == DONE
    assert "They compute the same" in capsys.readouterr().out
    figures = json.loads(Path("v.json").read_text())
    assert figures["samples"] == 274
    assert figures["label_flips"] == 0
    assert call("verify in.onnx other.onnx --tolerance 0.1") == DONE
    assert call("verify in.onnx other.onnx --tolerance 1e-5") == NOT_PROVEN


def test_inspect_tells_what_the_file_holds_and_leaves_it(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert call("inspect in.onnx") == DONE
    printed = capsys.readouterr().out
    for part in ("BatchNormalization", "Would fold", "once folded", "(N, 6)", "float", "ai.onnx 17"):
        assert part in printed
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert call("inspect in.onnx --json i.json") == DONE
    told = json.loads(Path("i.json").read_text())
    assert told["inputs"] == [{"name": "x", "type": "float", "shape": "(N, 6)"}]
    gemm = next(cost for cost in told["operators"] if cost["operator"] == "Gemm")
    assert gemm == {"operator": "Gemm", "nodes": 2, "parameters": 6 * 16 + 16 + 16 * 3 + 3, "flops": 2 * 144 + 19}
    assert told["fusion"]["nodes_after"] == 4


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_quantize_writes_the_file_and_what_it_cost(folder, kind):
    x = np.load("x.npy")
    np.save("y.npy", run(onnx.load("in.onnx"), {"x": x})[0].argmax(1))
    assert call(f"quantize in.onnx out.onnx --samples x.npy --labels y.npy --type {kind} --tolerance 0.05") == DONE
    report = json.loads(Path("out.onnx.json").read_text())
    assert (report["type"], report["gate"], report["accuracy_before"]) == (kind, "accuracy", 1.0)
    got = run(read_model("out.onnx"), {"x": x})[0]
    assert (got.argmax(1) == np.load("y.npy")).mean() == report["accuracy_after"] >= 0.95


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_stopped_while_it_writes_leaves_the_old_file_and_no_half(folder, monkeypatch, number, code):
    Path("out.onnx").write_bytes(b"old")
    before = names(folder)
    monkeypatch.setattr(files.os, "fsync", lambda _: os.kill(os.getpid(), number))
    assert call("fuse in.onnx out.onnx") == code
    assert Path("out.onnx").read_bytes() == b"old"
    assert names(folder) == before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_write_every_letter_still_gets_the_file(folder, monkeypatch, encoding):
    model = net()
    model.graph.node[1].name = "нормировка"
    onnx.save(model, "in.onnx")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding, write_through=True))
    assert call("fuse in.onnx out.onnx") == DONE
    assert operators(onnx.load("out.onnx")) == ["Gemm", "Relu", "Gemm", "Softmax"]
    assert rb"\u043d\u043e" in printed.getvalue()


def test_names_cannot_steer_the_terminal(folder, capsys):
    model = net()
    model.graph.node[1].name = "\x1b[2J\x1b]0;owned\x07\u202e"
    onnx.save(model, "in.onnx")
    assert call("fuse in.onnx out.onnx --dry-run") == DONE
    assert call("inspect in.onnx") == DONE
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)
    assert "\\x1b[2J" in printed


def test_it_runs_from_a_checkout(folder):
    script = Path(__file__).resolve().parents[2] / "tools" / "fuse.py"
    done = subprocess.run([sys.executable, str(script), "in.onnx", "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Dry run" in done.stdout


COMMANDS = {
    "fuse": "fuse in.onnx out.onnx --no-measure",
    "verify": "verify in.onnx folded.onnx",
    "inspect": "inspect in.onnx",
    "quantize": "quantize in.onnx out.onnx --samples x.npy",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_limits_takes_any_number_of_nodes(folder, name, monkeypatch, capsys):
    monkeypatch.setattr(limits, "NODE_LIMIT", 3)
    assert call(COMMANDS[name]) == FAILED
    assert "more than 3 nodes; limited=False (--no-limits) lifts that" in capsys.readouterr().err
    assert call(f"{COMMANDS[name]} --no-limits") == DONE


@pytest.mark.parametrize("name", ["fuse", "verify", "quantize"])  # which runs nothing
def test_no_limits_runs_what_takes_too_much(folder, name, monkeypatch, capsys):
    def too_much(*args, **options):
        raise Exceeded("it takes more than it may")

    monkeypatch.setattr(bounds, "proof_fits", lambda *args: False)
    monkeypatch.setattr(bounds, "confined", too_much)
    assert call(COMMANDS[name]) == NOT_PROVEN
    assert "it takes more than it may; limited=False (--no-limits) lifts that" in capsys.readouterr().err
    assert call(f"{COMMANDS[name]} --no-limits") == DONE
