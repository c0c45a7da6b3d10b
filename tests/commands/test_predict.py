"""`fastdl predict`: the answers of the estimator that was trained, whatever the rows come in; errors in one line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from fastdl.cli import main
from fastdl.tabular import load, read_table

from .training_tables import columns, numbers, text, train

NEW = columns(50, x=np.linspace(-4, 4, 50).round(3), c=["a", "b", "c", "", "unseen"] * 10)
del NEW["t"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `fastdl train` leaves, for each task; inputs that are named as outputs are among them."""
    made = {}
    for task, target in {"classes": columns()["t"], "numbers": numbers()}.items():
        folder = made[task] = tmp_path_factory.mktemp(task)
        (folder / "d.csv").write_text(text(columns(t=target, label=columns()["x"], prediction=columns()["c"])))
        assert train(folder / "d.csv", "--drop", "label") == 0
    return made


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def answered(folder: Path, data: Path) -> list[dict[str, str]]:
    answers = data.with_suffix(".answers")
    assert main(["predict", str(folder / "out/model.onnx"), str(data), "--output", str(answers)]) == 0
    return rows_of(answers.read_text())


def write(data: Path, table: dict[str, Any], kind: str) -> None:
    table = {name: list(cells) for name, cells in table.items()}
    if kind == "reordered":
        table = {name: table[name] for name in reversed(table)}
    if kind == "more columns":
        table = {"more": [0.5] * len(NEW["x"]), **table}
    if kind == "parquet":
        columns = {name: [None if cell == "" else cell for cell in cells] for name, cells in table.items()}
        pq.write_table(pa.table(columns), data)
    elif kind == "gz":
        data.write_bytes(gzip.compress(text(table).encode()))
    else:
        data.write_text(text(table, "\t" if kind == "tsv" else ","))


def given() -> dict[str, Any]:
    return {**NEW, "prediction": NEW["c"]}


@pytest.mark.parametrize("kind", ["csv", "tsv", "gz", "parquet", "reordered", "more columns"])
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_it_answers_as_the_estimator_does_row_by_row(
    folders: dict[str, Path], tmp_path: Path, task: str, kind: str
) -> None:
    write(tmp_path / "new", given(), kind)
    answers = answered(folders[task], tmp_path / "new")
    model: Any = load(folders[task] / "out/model.fastdl")
    table = read_table(tmp_path / "new").select(["x", "c", "prediction"])
    assert len(answers) == 50
    if task == "classes":
        assert list(answers[0]) == ["label", "probability of no", "probability of yes"]
        assert [row["label"] for row in answers] == model.predict(table).tolist()
        probabilities = [[float(row[f"probability of {name}"]) for name in ("no", "yes")] for row in answers]
        np.testing.assert_allclose(probabilities, model.predict_proba(table), atol=1e-5)
    else:
        assert list(answers[0]) == ["prediction"]
        np.testing.assert_allclose([float(row["prediction"]) for row in answers], model.predict(table), rtol=1e-4)


@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_plain_onnxruntime_answers_alike(folders: dict[str, Path], tmp_path: Path, task: str) -> None:
    write(tmp_path / "new.csv", given(), "csv")
    answers = answered(folders[task], tmp_path / "new.csv")
    session = ort.InferenceSession(folders[task] / "out/model.onnx")
    c = np.array(NEW["c"], object)[:, None]
    feed = {"x": NEW["x"].astype(np.float32)[:, None], "c": c, "prediction": c}
    results = session.run(None, {port.name: feed[port.name] for port in session.get_inputs()})
    told = [list(row.values()) for row in answers]
    if task == "classes":
        assert [row[0] for row in told] == np.ravel(results[0]).tolist()
        np.testing.assert_array_equal(np.array(told)[:, 1:].astype(np.float32), results[1])
    else:
        np.testing.assert_array_equal(np.array(told).astype(np.float32), np.reshape(results[0], (-1, 1)))


def test_without_an_output_answers_go_to_the_terminal(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "new.csv", given(), "csv")
    answers = answered(folders["classes"], tmp_path / "new.csv")
    capsys.readouterr()
    assert main(["predict", str(folders["classes"] / "out/model.onnx"), str(tmp_path / "new.csv")]) == 0
    assert rows_of(capsys.readouterr().out) == answers


def test_many_rows_are_answered_in_order(folders: dict[str, Path], tmp_path: Path) -> None:
    rows = 23_456  # more than are run at once
    table = {"x": np.linspace(-3, 3, rows).round(6), "c": ["a", "b"] * (rows // 2), "prediction": ["c"] * rows}
    (tmp_path / "new.csv").write_text(text(table))
    answers = answered(folders["numbers"], tmp_path / "new.csv")
    model: Any = load(folders["numbers"] / "out/model.fastdl")
    wanted = model.predict(read_table(tmp_path / "new.csv"))
    np.testing.assert_allclose([float(row["prediction"]) for row in answers], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["csv", "parquet", "reordered"])
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_no_rows_have_no_answers(
    folders: dict[str, Path], tmp_path: Path, task: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "new", {name: [] for name in given()}, kind)
    assert answered(folders[task], tmp_path / "new") == []
    names = {"classes": "label,probability of no,probability of yes\n", "numbers": "prediction\n"}
    assert (tmp_path / "new.answers").read_text() == names[task]
    told = capsys.readouterr().out.splitlines()
    assert told[-2] == f"{tmp_path / 'new'} has names of columns but no rows: no answer follows them."
    assert told[-1].startswith("Written: 0 answers")
    assert main(["predict", str(folders[task] / "out/model.onnx"), str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == names[task]


WRONG = {  # the rows, where answers go, the exit code and what is said
    "a column that is missing": ("x,prediction\n1,a\n", "a.csv", 1, "it is given no 'c'"),
    "an empty file": ("", "a.csv", 1, "new.csv is empty"),
    "no such file": (None, "a.csv", 1, "new.csv is no file: there is none"),
    "the rows themselves": ("x,c,prediction\n1,a,a\n", "new.csv", 2, "would be written over"),
    "the model": ("x,c,prediction\n1,a,a\n", "model.onnx", 2, "would be written over"),
    "no such folder": ("x,c,prediction\n1,a,a\n", "none/a.csv", 1, "no such folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    folders: dict[str, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, output, code, told = WRONG[name]
    model = tmp_path / "model.onnx"
    model.write_bytes((folders["classes"] / "out/model.onnx").read_bytes())
    if rows is not None:
        (tmp_path / "new.csv").write_text(rows)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["predict", str(model), str(tmp_path / "new.csv"), "--output", str(tmp_path / output)]) == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
