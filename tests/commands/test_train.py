"""`fastdl train` as people misuse it: one line that says what is wrong and no file, or all files."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("pyarrow")

import fastdl
from fastdl.commands import train as command
from fastdl.tabular import load, progress
from fastdl.tabular.estimator import Tabular

from .training_tables import FILES, ROWS, columns, numbers, text, train

EACH = range(ROWS)
PLAIN = text(columns())
NUMERIC = text(columns(t=numbers()))
WEIGHTED = text(columns(w=[1] * ROWS))

# The table, further arguments, the exit code, and what the one line says.
WRONG: dict[str, tuple[str | bytes | None, list[str], int, str]] = {
    "no such file": (None, [], 1, "d.csv is no file: there is none"),
    "an empty file": ("", [], 1, "d.csv is empty"),
    "blank lines alone": ("  \n\n", [], 1, "d.csv is empty"),
    "names alone": ("x,c,t\n", [], 1, "has names of columns but no rows"),
    "no Parquet": (b"PAR1and then nothing", [], 1, "cannot be read as Parquet"),
    "half a .gz": (gzip.compress(PLAIN.encode())[:40], [], 1, "cannot be unpacked"),
    "a name twice": ("x,x,t\n1,2,a\n2,3,b\n", [], 1, "two columns have the name 'x'"),
    "a ragged row": ("x,t\n1,a\n2,b,c\n", [], 1, "line 3 has 3 cells"),
    "another target": (PLAIN, ["--target", "T"], 1, "there is no column 'T': did you mean 't'?"),
    "no target near": (PLAIN, ["--target", "price"], 1, "there is no column 'price': there are x, c, t"),
    "one class": (text(columns(t=["a"] * ROWS)), [], 1, "'t' holds one value only, 'a'"),
    "a number that does not vary": (text(columns(t=[3.5] * ROWS)), ["--task", "numbers"], 1, "one value only, 3.5"),
    "no targets": (text(columns(t=[""] * ROWS)), [], 1, "'t' is missing in all 120 rows"),
    "as many classes as rows": (text(columns(t=[f"k{i}" for i in EACH])), [], 1, "120 distinct values in 120 rows"),
    "numbers as classes": (NUMERIC, ["--task", "classes"], 1, "too many for classes"),
    "text as numbers": (PLAIN, ["--task", "numbers"], 1, "in row 0, which is no number"),
    "an infinite target": (text(columns(t=["inf", 2.5, 1.5] * 40)), [], 1, "'t' holds inf in row 0"),
    "a target beyond float32": (text(columns(t=["1e300", 2.5, 1.5] * 40)), [], 1, "1e+300 in row 0"),
    "dates as target": (text(columns(t=[f"2020-01-{1 + i % 9:02}" for i in EACH])), [], 1, "'t' holds dates"),
    "a target alone": ("t\n" + "a\nb\n" * 30, [], 1, "no column beside the target 't'"),
    "columns that tell nothing": ("x,t\n" + "1,a\n1,b\n" * 30, [], 1, "no column tells anything"),
    "one row": ("x,t\n1,a\n", [], 1, "one value only, 'a'"),
    "no such weight": (PLAIN, ["--weight", "w"], 1, "there is no column 'w'"),
    "the target as weight": (PLAIN, ["--weight", "t"], 1, "both the target and the weight"),
    "a negative weight": (text(columns(w=[1] * 119 + [-1])), ["--weight", "w"], 1, "row 119 has -1"),
    "a missing weight": (text(columns(w=[1, ""] * 60)), ["--weight", "w"], 1, "row 1 has nan"),
    "weights of zero": (text(columns(w=[0] * ROWS)), ["--weight", "w"], 1, "all are zero"),
    "weights of text": (text(columns(w=["q"] * ROWS)), ["--weight", "w"], 1, "'w' holds 'q' in row 0"),
    "to drop what is not there": (PLAIN, ["--drop", "cc"], 1, "no column 'cc': did you mean 'c'?"),
    "categories that are not there": (PLAIN, ["--categorical", "cc"], 1, "no column 'cc'"),
    "numbers that are not there": (PLAIN, ["--numeric", "cc"], 1, "no column 'cc'"),
    "dates that are not there": (PLAIN, ["--date", "cc"], 1, "no column 'cc'"),
    "two kinds": (PLAIN, ["--numeric", "x", "--categorical", "x"], 1, "'x' cannot be both category and number"),
    "to drop the target": (PLAIN, ["--drop", "t"], 2, "--drop names 't', which is the target"),
    "to drop the weight": (WEIGHTED, ["--weight", "w", "--drop", "w"], 2, "--drop names 'w', which is the weight"),
    "the target as category": (PLAIN, ["--categorical", "t"], 2, "which is the target"),
    "to drop all": (PLAIN, ["--drop", "x,c"], 1, "all are dropped"),
    "no time": (PLAIN, ["--time-limit", "0"], 2, "must be a number above zero, not 0"),
    "hardly any time": (PLAIN, ["--time-limit", "0.001"], 1, "a time_limit of more than 0.001 s"),
    "a metric of numbers": (PLAIN, ["--metric", "rmse"], 1, "choose one of accuracy, log_loss, roc_auc"),
    "a metric of classes": (NUMERIC, ["--metric", "accuracy"], 1, "choose one of rmse, mae"),
    "a slip in the metric": (PLAIN, ["--metric", "acuracy"], 1, "did you mean 'accuracy'?"),
    "a slip in the net": (PLAIN, ["--net", "relmlp"], 1, "did you mean 'realmlp'?"),
    "a seed below zero": (PLAIN, ["--seed", "-1"], 2, "whole number from 0 to"),
    "no folds": (PLAIN, ["--folds", "0"], 2, "whole number above zero"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, arguments, code, told = WRONG[name]
    data = tmp_path / "d.csv"
    if content is not None:
        data.write_bytes(content.encode() if isinstance(content, str) else content)
    assert train(data, *arguments) == code
    lines = capsys.readouterr().err.splitlines()
    assert told in lines[-1]
    assert lines[-1].startswith("fastdl train: ")
    assert len(lines) == 1 or lines[0].startswith("usage: ")
    assert sorted(tmp_path.iterdir()) == ([] if content is None else [data])


TESTS = {  # rows to judge by, and what is wrong with them
    "no target": (PLAIN, "x,c\n1,a\n", "e.csv: there is no column 't'"),
    "no column": (PLAIN, "x,t\n1,yes\n2,no\n", "e.csv: there is no column 'c', which training reads"),
    "a class that is new": (
        PLAIN,
        "x,c,t\n1,a,yes\n2,b,maybe\n",
        "holds 'maybe', which is none of the classes: no, yes",
    ),
    "targets missing": (PLAIN, "x,c,t\n1,a,\n2,b,\n", "e.csv: the target 't' is missing in all 2 rows"),
    "no numbers": (NUMERIC, "x,c,t\n1,a,1.5\n2,b,q\n", "e.csv: the column 't' holds 'q' in row 1"),
    "an infinite number": (NUMERIC, "x,c,t\n1,a,1.5\n2,b,inf\n", "e.csv: 't' holds inf in row 1"),
    "no rows": (PLAIN, "x,c,t\n", "e.csv has names of columns but no rows"),
}


@pytest.mark.parametrize("name", TESTS)
def test_rows_to_judge_by_are_checked_before_training(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, judged, told = TESTS[name]
    (tmp_path / "d.csv").write_text(learned)
    (tmp_path / "e.csv").write_text(judged)
    monkeypatch.setattr(Tabular, "fit", lambda *_, **__: pytest.fail("it was trained"))
    assert train(tmp_path / "d.csv", "--test", str(tmp_path / "e.csv")) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_to_judge_by_may_lack_what_is_not_read_and_spell_classes_otherwise(tmp_path: Path) -> None:
    truths = ["true", "false", ""] * 40  # with gaps they are text
    (tmp_path / "d.csv").write_text(text(columns(t=truths, same=[1] * ROWS)))
    (tmp_path / "e.csv").write_text(text(columns(t=["True", "False"] * 60)))  # without, booleans
    assert train(tmp_path / "d.csv", "--test", str(tmp_path / "e.csv")) == 0
    told = json.loads((tmp_path / "out/metrics.json").read_text())
    assert told["rows"] == ROWS
    assert told["where"] == "120 test rows, of which nothing was learned"


PLACES: dict[str, tuple[Callable[[Path], object], str, int, str]] = {
    "a file": (lambda f: (f / "o").write_text("mine"), "o", 2, "o is a file: name a folder"),
    "below a file": (lambda f: (f / "o").write_text("mine"), "o/p/q", 1, "o: a file, in which no folder can be made"),
    "a folder of a file's name": (lambda f: (f / "o/model.onnx").mkdir(parents=True), "o", 1, "model.onnx: a folder"),
    "the data": (lambda f: (f / "report.html").symlink_to(f / "d.csv"), ".", 2, "would be written over"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, place, code, told = PLACES[name]
    (tmp_path / "d.csv").write_text(PLAIN)
    prepare(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert train(tmp_path / "d.csv", "--output", str(tmp_path / place)) == code
    printed = capsys.readouterr()
    assert told in printed.err
    assert not printed.out  # the data were not even read
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.csv").write_text(PLAIN)
    (tmp_path / "closed").mkdir(0o500)
    for place in ("closed", "closed/out"):
        assert train(tmp_path / "d.csv", "--output", str(tmp_path / place)) == 1
        assert "no file can be made in this folder" in capsys.readouterr().err


def test_other_files_of_the_folder_stay_and_its_own_are_written_anew(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(PLAIN)
    (tmp_path / "out").mkdir()
    for name in ("mine.txt", "model.onnx"):
        (tmp_path / "out" / name).write_text("old")
    assert train(tmp_path / "d.csv") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"mine.txt"}
    assert (tmp_path / "out/mine.txt").read_text() == "old"
    assert (tmp_path / "out/model.onnx").read_bytes() != b"old"


def test_files_that_cannot_be_written_leave_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.csv").write_text(PLAIN)
    (tmp_path / "out").mkdir()
    for name in FILES:
        (tmp_path / "out" / name).write_text("old")
    full = OSError(28, "No space left on device")

    def write(*files: Any) -> None:
        assert {Path(name).name for name, _ in files} == FILES  # all of them at once
        raise full

    monkeypatch.setattr(command, "write_together", write)
    assert train(tmp_path / "d.csv") == 1
    assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"old"}


NOISE = np.random.default_rng(2).normal(size=ROWS)
ODD = ["label", "probabilities", "prediction", "a b", "ключ", "", "<script>alert(1)</script>", "x/y:z"]
# The table, further arguments, and what is printed. All files are written.
RIGHT: dict[str, tuple[str | bytes, list[str], list[str]]] = {
    "gaps in the target": (
        text(columns(t=["a", "b", "", "b", "a"] * 24)),
        [],
        ["24 rows without a target are left out", "2 classes (a, b)"],
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + text({"t": columns()["t"], **columns()}).encode(), [], ["x: number"]),
    "semicolons and decimal commas": (
        text(columns(t=numbers()), ";").replace(".", ","),
        [],
        ["separated by semicolons", "decimal commas", "numbers from -"],
    ),
    "tabs": (text(columns(), "\t"), [], ["separated by tabs"]),
    ".gz": (gzip.compress(PLAIN.encode()), [], ["120 rows, 3 columns"]),
    "another encoding": (text(columns(town=["Köln", "Ärz"] * 60)).encode("cp1252"), [], ["read as cp1252"]),
    "quotes and newlines": (
        'x,"na""me\n2",t\n' + "".join(f'{i * 7 % 11},"c,\n""{i % 3}",{"ab"[i % 2]}\n' for i in EACH),
        [],
        ['na"me'],
    ),
    "a comma in a name": (text(columns(**{'"a,b"': NOISE})), ["--drop", '"a,b"'], ["x: number"]),
    "cells of two kinds": (text(columns(m=["1", "q", "2"] * 40)), [], ["m: category"]),
    "odd names": (
        text(columns(**dict.fromkeys(ODD, NOISE))),
        [],
        ["label: number", "no name: it is called 'column_9'"],
    ),
    "odd names of numbers": (text(columns(t=numbers(), **dict.fromkeys(ODD[:4], NOISE))), [], ["prediction: number"]),
    "three rows": ("x,t\n1,a\n2,b\n3,a\n", [], ["the 3 rows that were learned", "far too good"]),
    "three rows of numbers": ("x,t\n1,1.5\n2,2.5\n3,3.5\n", [], ["far too good"]),
    "a class of one row": ("x,t\n" + "".join(f"{i * 7 % 10},k{i % 3}\n" for i in EACH) + "3,rare\n", [], ["4 classes"]),
    "a hundred classes": ("x,t\n" + "".join(f"{i % 100},k{i % 100}\n" for i in range(300)), [], ["100 classes"]),
    "columns of no use": (
        text(columns(none=[""] * ROWS, same=[7] * ROWS, id=range(1000, 1120), s=[f"s{i}" for i in EACH])),
        [],
        ["none: constant", "same: constant", "id: identifier", "s: identifier", "left out"],
    ),
    "booleans and dates": (
        text(columns(b=["true", "false"] * 60, d=[f"2020-01-{1 + i % 28:02}" for i in EACH])),
        [],
        ["b: boolean", "d: date"],
    ),
    "huge numbers": (text(columns(h=["1e30", "-1e30", "inf", "-inf", "1e-30", "nan", "1e308", "1e400"] * 15)), [], []),
    "a huge target": (text(columns(t=["1e30", "-1e30", "2.5"] * 40)), ["--task", "numbers"], ["1e+30"]),
    "a tiny target": (text(columns(t=[f"{i + 0.5}e-40" for i in EACH])), [], ["numbers from 5e-41"]),
    "booleans as target": (text(columns(t=["true", "false"] * 60)), [], ["2 classes (False, True)"]),
    "whole numbers as target": (text(columns(t=[0, 1, 2] * 40)), [], ["3 classes (0, 1, 2)", "--task numbers else"]),
    "weights": (text(columns(w=[0, 1, 2.5] * 40)), ["--weight", "w"], ["x: number"]),
    "a matrix of inputs": (PLAIN, ["--layout", "matrices"], ["Proof: "]),
    "many columns": (text(columns(**{f"n{i}": NOISE.round(2) + i for i in range(45)})), [], ["and 7 more"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_what_can_be_learned_from_is_learned_from_and_said(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, arguments, told = RIGHT[name]
    (tmp_path / "d.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    code = train(tmp_path / "d.csv", *arguments)
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    for each in (*told, "Proof: "):
        assert each in printed.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_the_report_escapes_names_and_cells(tmp_path: Path) -> None:
    hostile = "<img src=q onerror=alert(1)>"
    table = columns(**{hostile: ["<b>u</b>", "&amp;", "<i>"] * 40, "<t>": ["<u>yes</u>", "no"] * 60})
    (tmp_path / "d.csv").write_text(text(table))
    assert train(tmp_path / "d.csv", target="<t>") == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "&lt;img src=q onerror=alert(1)&gt;" in page
    assert not any(each in page for each in (hostile, "<b>u</b>", "<u>yes</u>", "<t>"))


@pytest.mark.slow
def test_a_column_of_as_many_texts_as_rows_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i * 7 % 17},s{i},{'ab'[i % 2]}\n" for i in range(100_000))
    (tmp_path / "d.csv").write_text("x,s,t\n" + rows)
    assert train(tmp_path / "d.csv", "--epochs", "1", "--folds", "1", "--net", "realmlp-small") == 0
    assert "'s' has another value in each row and was left out" in capsys.readouterr().out


SHARES = {  # seconds of a limit, and of those the ones for training
    "none": (None, None),
    "too few to share": (4.9, 4.9),
    "the fewest that are shared": (5.0, 3.5),
    "a share for what comes after": (20.0, 14.0),
    "up to which it grows": (40.0, 28.0),
    "a minute, of which the most is kept": (60.0, 48.0),
    "an hour": (3600.0, 3588.0),
}


@pytest.mark.parametrize("name", SHARES)
def test_training_leaves_time_for_what_comes_after(name: str) -> None:
    limit, wanted = SHARES[name]
    assert command.for_training(limit) == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.slow
def test_a_limit_of_time_holds_from_start_to_the_files(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(text(columns(2000)))
    limit, began = 20.0, time.monotonic()
    assert train(tmp_path / "d.csv", "--time-limit", str(limit)) == 0
    assert time.monotonic() - began < 1.25 * limit + 3
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def _begun(folder: Path) -> subprocess.Popen[str]:
    """`fastdl train` of many epochs, which is training by now."""
    (folder / "d.csv").write_text(text(columns(600)))
    command = [
        sys.executable,
        "-P",
        "-u",
        "-m",
        "fastdl",
        "train",
        "d.csv",
        "--target",
        "t",
        "--epochs",
        "100000",
        "--folds",
        "2",
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(fastdl.__file__).parent.parent)}
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [*command, "--output", "out"], cwd=folder, env=env, text=True, stdout=pipe, stderr=pipe, bufsize=1
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("Training: "):
            return child
    pytest.fail(f"it ended before: {child.communicate()[1]}")


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_stopped_once_it_keeps_the_best_so_far(tmp_path: Path, number: signal.Signals, code: int) -> None:
    child = _begun(tmp_path)
    child.send_signal(number)
    out, _ = child.communicate(timeout=120)
    assert child.returncode == code
    assert "Stopped: what follows is of the best nets until then" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert load(tmp_path / "out/model.fastdl").n_iter_ < 100_000


def test_stopped_twice_it_ends_and_writes_nothing(tmp_path: Path) -> None:
    child = _begun(tmp_path)
    child.send_signal(signal.SIGINT)
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (130, "fastdl train: stopped\n")
    assert time.monotonic() - began < 10
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['sklearn'] = None; from fastdl.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "train", "d.csv", "--target", "t"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = "fastdl train: TabularClassifier needs scikit-learn: pip install 'fastdl[tabular]'\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_the_card_takes_cells_that_are_none_for_missing_as_the_net_does(tmp_path: Path) -> None:
    """The one that is no number is its column's most frequent text, which the charts must not try."""
    cells = [
        ("unknown" if i % 50 == 0 else f"{i}.5", f"2024-01-{i % 28 + 1:02}", i % 5 or "", i % 2) for i in range(200)
    ]
    cells[7] = ("3.5", "soon", 1, 1)
    (tmp_path / "d.csv").write_text("\n".join(["odd,since,gaps,t", *(",".join(map(str, row)) for row in cells)]))
    assert train(tmp_path / "d.csv") == 0
    page = (tmp_path / "out/report.html").read_text()
    rows = [re.search(rf"<td[^>]*>{name}</td>.*?</tr>", page, re.DOTALL) for name in ("odd", "since", "gaps")]
    assert [re.findall(r"[\d.]+ %", row[0]) for row in rows if row] == [["2.0 %"], ["0.5 %"], ["20.0 %"]]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_one_line_on_a_terminal_and_few_elsewhere(
    tmp_path: Path, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.csv").write_text(PLAIN)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(progress, "ON_A_TERMINAL", 0.0)
    assert train(tmp_path / "d.csv") == 0
    out = capsys.readouterr().out
    lines = [line for line in out.split("\n") if "Training: " in line]
    assert "2 nets trained" in lines[-1]
    if terminal:
        assert len(lines) == 1
        assert lines[0].count("\r") == 5  # two epochs of two nets, and the end
    else:
        assert len(lines) == 2  # the first epoch, and the end: ten seconds are not over between
        assert "\r" not in out
