"""`fastdl deploy`: the folder of each system, of files of all kinds; what a system cannot serve is one clear line.

Their own parsers and servers read these folders in tests/engines/test_deploy.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import fastdl
from fastdl.base import files
from fastdl.cli import main
from fastdl.deployment import TARGETS, answers, deploy

FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
INT64, BOOL, STRING = TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING


def model(*ports: tuple[str, int, list[Any], list[Any] | None]) -> ModelProto:
    """Each input comes out as <name>_out, with another shape where that is given."""
    nodes, inputs, outputs = [], [], []
    for name, kind, shape, out in ports:
        nodes.append(helper.make_node("Identity" if out is None else "Flatten", [name], [f"{name}_out"]))
        inputs.append(helper.make_tensor_value_info(name, kind, shape))
        outputs.append(helper.make_tensor_value_info(f"{name}_out", kind, shape if out is None else out))
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


TABLE = model(("plan", STRING, ["N", 1], None), ("visits", FLOAT, ["N", 1], None), ("day", DOUBLE, ["N"], None))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "churn.onnx"
    path.write_bytes(TABLE.SerializeToString())
    return path


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


FILES = {
    "triton": {"churn/config.pbtxt", "churn/1/model.onnx"},
    "kserve": {"inferenceservice.yaml", "models/churn/config.pbtxt", "models/churn/1/model.onnx"},
    "mlflow": {
        *("MLmodel", "model.onnx", "requirements.txt", "conda.yaml", "python_env.yaml"),
        *("model-settings.json", "settings.json"),
    },
    "bentoml": {"service.py", "bentofile.yaml", "requirements.txt", "model.onnx"},
    "http": {"service.py", "requirements.txt", "model.onnx"},
}


@pytest.mark.parametrize("to", FILES)
def test_the_files_of_a_folder(to: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model in them is the file, to the byte; nothing lies beside the folder."""
    folder = tmp_path / "in" / "out"
    assert main(["deploy", str(source), "--to", to, str(folder)]) == 0
    assert written(folder) == FILES[to]
    (copy,) = folder.rglob("model.onnx")
    assert copy.read_bytes() == source.read_bytes()
    assert os.listdir(folder.parent) == ["out"]
    assert sorted(os.listdir(tmp_path)) == ["churn.onnx", "in"]
    told = capsys.readouterr().out
    assert f"Written: {folder}" in told
    assert "Next: " in told


def test_all_systems_are_tested() -> None:
    assert [*TARGETS] == [*FILES]


CONFIG = """\
name: "churn"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: 1024
input [
  {
    name: "plan"
    data_type: TYPE_STRING
    dims: [1]
  }
]
input [
  {
    name: "visits"
    data_type: TYPE_FP32
    dims: [1]
  }
]
input [
  {
    name: "day"
    data_type: TYPE_FP64
    dims: [1]
    reshape: { shape: [ ] }
  }
]
"""


def test_what_triton_is_told(source: Path, tmp_path: Path) -> None:
    deploy(source, "triton", tmp_path / "models")
    config = (tmp_path / "models/churn/config.pbtxt").read_text()
    assert config.startswith(CONFIG)
    assert config.count("output [") == 3
    assert "instance_group [ { kind: KIND_CPU count: 1 } ]" in config


PORTS = {
    "a matrix": (("x", FLOAT, ["N", 4], None), 1024, "TYPE_FP32", "[4]"),
    "pictures": (("x", DOUBLE, ["N", 8, 8], None), 1024, "TYPE_FP64", "[8, 8]"),
    "any width": (("x", INT64, ["N", "W"], None), 1024, "TYPE_INT64", "[-1]"),
    "a batch of one size": (("x", BOOL, [5, 4], None), 0, "TYPE_BOOL", "[5, 4]"),
    "half": (("x", HALF, [None, 3], None), 1024, "TYPE_FP16", "[3]"),
    "a number": (("x", FLOAT, [], None), 0, "TYPE_FP32", "[1]\n    reshape: { shape: [ ] }"),
    "an output of one size": (("x", FLOAT, [2, "W"], [2, "W"]), 0, "TYPE_FP32", "[2, -1]"),
}


@pytest.mark.parametrize("case", PORTS)
def test_shapes_and_types_for_triton(case: str, tmp_path: Path) -> None:
    port, batch, kind, dims = PORTS[case]
    (tmp_path / "m.onnx").write_bytes(model(port).SerializeToString())  # type: ignore[arg-type]
    deploy(tmp_path / "m.onnx", "triton", tmp_path / "models")
    config = (tmp_path / "models/m/config.pbtxt").read_text()
    assert f"max_batch_size: {batch}\n" in config
    assert config.count(f"data_type: {kind}\n    dims: {dims}\n") == 2
    assert ("dynamic_batching" in config) == (batch > 0)


def test_a_repository_of_triton_holds_several_models(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        deploy(source, "triton", tmp_path / "models", name=name)
    assert sorted(os.listdir(tmp_path / "models")) == ["a", "b"]
    with pytest.raises(FileExistsError):
        deploy(source, "triton", tmp_path / "models", name="a")


def test_large_weights_go_to_a_file_beside(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastdl.fusion.files import model_file

    net = fastdl.Sequential([fastdl.Input((4,)), fastdl.layers.Dense(64, "relu"), fastdl.layers.Dense(3)])
    net.export(tmp_path / "net.onnx")
    monkeypatch.setattr(model_file, "SELF_CONTAINED", 1000)
    for to in FILES:
        deploy(tmp_path / "net.onnx", to, tmp_path / to)
        (copy,) = (tmp_path / to).rglob("model.onnx")
        assert len(list(copy.parent.glob("model.onnx.*.data"))) == 1
        x = np.ones((2, 4), np.float32)
        np.testing.assert_array_equal(fastdl.Runner(copy).predict(x), fastdl.Runner(tmp_path / "net.onnx").predict(x))


NAMES = {
    "churn.onnx": ("churn", "churn"),
    "model.onnx": ("folder", "folder"),
    "My Model_2.onnx": ("My-Model_2", "my-model-2"),
    "7.onnx": ("model-7", "model-7"),
    "ö.onnx": ("model", "model"),
}


@pytest.mark.parametrize("file", NAMES)
def test_the_name_is_the_files_or_its_folders(file: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / file).write_bytes(TABLE.SerializeToString())
    deploy(tmp_path / "folder" / file, "triton", tmp_path / "triton")
    deploy(tmp_path / "folder" / file, "kserve", tmp_path / "kserve")
    assert (os.listdir(tmp_path / "triton")[0], os.listdir(tmp_path / "kserve/models")[0]) == NAMES[file]


# -- what cannot be -----------------------------------------------------------------------------------


def zip_map() -> ModelProto:
    """What scikit-learn's exporters write by default: a map a row."""
    nodes = [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])]
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, [])))
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["N", 2])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_value_info("y", kind)])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


BAD: dict[str, tuple[list[str], int, str]] = {
    "no file": (["nowhere.onnx", "--to", "http", "out"], 1, "nowhere.onnx: no such file"),
    "no model": (["text.onnx", "--to", "http", "out"], 1, "text.onnx: "),
    "maps": (["maps.onnx", "--to", "triton", "out"], 1, "output 'y' is no tensor of numbers or strings but seq(map"),
    "what is there": (["churn.onnx", "--to", "http", "full"], 1, "full: there already; name a folder that is not"),
    "a file": (["churn.onnx", "--to", "mlflow", "churn.onnx"], 1, "churn.onnx: there already"),
    "within a file": (["churn.onnx", "--to", "http", "churn.onnx/out"], 1, "a file, in which no folder can be made"),
    "a name for KServe": (
        ["churn.onnx", "--to", "kserve", "out", "--name", "My_Model"],
        1,
        "the model's name must be lower-case letters, digits and - alone, 63 at most, not 'My_Model': give another by",
    ),
    "a way out": (["churn.onnx", "--to", "triton", "out", "--name", "../x"], 1, "the model's name must be letters"),
    "code": (["churn.onnx", "--to", "http", "out", "--name", 'x"""'], 1, "the model's name must be letters"),
    "a system": (["churn.onnx", "--to", "sagemaker", "out"], 2, "invalid choice: 'sagemaker'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    case: str, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source.parent)
    Path("text.onnx").write_text("no model")
    Path("maps.onnx").write_bytes(zip_map().SerializeToString())
    Path("full").mkdir()
    Path("full/file").touch()
    before = sorted(source.parent.rglob("*"))
    words, code, told = BAD[case]
    if code == 2:
        with pytest.raises(SystemExit, match="2"):
            main(["deploy", *words])
    else:
        assert main(["deploy", *words]) == code
    line = capsys.readouterr().err
    assert told in line
    assert code == 2 or line.count("\n") == 1
    assert sorted(source.parent.rglob("*")) == before


def test_a_system_that_is_none(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="to must be one of triton, kserve, mlflow, bentoml, http, not 'x'"):
        deploy(source, "x", tmp_path / "out")


@pytest.mark.parametrize("at", range(1, 20))
def test_a_disk_that_fails_leaves_nothing(
    at: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each sync and the rename: either the whole folder is there, or nothing of it."""
    left = [at]

    def failing(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(files.os, "fsync", failing(os.fsync))
    monkeypatch.setattr(files.os, "rename", failing(os.rename))
    out = tmp_path / "new" / "out"
    told: list[str] = []
    try:
        deploy(source, "kserve", out)
    except OSError as error:
        told.append(error.filename)
    assert told == ([str(out)] if left[0] <= 0 else [])
    assert not out.exists() or written(out) == FILES["kserve"]
    assert out.exists() or told
    assert {*os.listdir(tmp_path)} <= {"churn.onnx", "new"}
    assert not (tmp_path / "new").exists() or {*os.listdir(tmp_path / "new")} <= {"out"}


# -- what is written by --------------------------------------------------------------------------------


def test_answers_are_what_json_holds() -> None:
    runner = fastdl.Runner(TABLE)
    rows = [{"plan": "a", "visits": None, "day": 1.5}, {"plan": None, "visits": 2, "day": float("inf")}]
    expected = {"plan_out": [["a"], [""]], "visits_out": [[None], [2.0]], "day_out": [1.5, None]}
    assert answers(runner, rows) == expected
    assert json.loads(json.dumps(answers(runner, rows), allow_nan=False)) == expected
    assert answers(fastdl.Runner(model(("x", FLOAT, ["N", 2], None))), [[1, 2]]) == {"x_out": [[1.0, 2.0]]}


@pytest.mark.parametrize("inputs", ["x", 3, None, True, [], {}, [{"plan": "a"}], [[1]], {"plan": ["a"]}])
def test_what_json_may_bring_is_answered_by_an_error_of_fastdls(inputs: Any) -> None:
    with pytest.raises(fastdl.errors.FastdlError):
        answers(fastdl.Runner(TABLE), inputs)
