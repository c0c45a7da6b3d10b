"""README.md and docs/*.md: each block of Python runs, each fastdl command in a console block ends with 0."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Where each block of the language stands, and its text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            if found[1] == language:
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[2]


PYTHON = dict(blocks("python"))
COMMANDS = [
    line
    for _, text in blocks("console")
    for line in text.splitlines()
    if line.startswith("fastdl ") and not line.startswith("fastdl demo")  # which has tests of its own
]


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    (x, y), _ = fastdl.datasets.digits()
    return (x / np.float32(16)).astype(np.float32)[:400], y[:400]


@pytest.fixture(scope="module")
def exported(data: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A trained net with batch norm, as a plain file."""
    fastdl.utils.set_random_seed(0)
    model = fastdl.Sequential([fastdl.Input((8, 8)), layers.Flatten(), layers.Dense(32, "relu")])
    model.add(layers.BatchNormalization())
    model.add(layers.Dense(10, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data, epochs=20, verbose=0)
    path = tmp_path_factory.mktemp("docs") / "in.onnx"
    model.export(path, fuse=False)
    return path.read_bytes()


ROWS = 60  # of the table that docs/tables.md speaks of


def customers() -> str:
    """Their table as CSV: a date, a category, numbers and gaps, and who left."""
    rng = np.random.default_rng(0)
    lines = ["since,plan,visits,spent,churn"]
    for day, plan, visits in zip(
        rng.integers(0, 900, ROWS), rng.integers(0, 3, ROWS), rng.poisson(4, ROWS), strict=True
    ):
        spent = f"{rng.gamma(2, 20):.2f}" if visits else ""
        left = "yes" if visits + 2 * plan + rng.normal() < 5 else "no"
        since = np.datetime64("2022-01-01") + np.timedelta64(int(day), "D")
        lines.append(f"{since},{('free', 'silver', 'gold')[plan]},{visits},{spent},{left}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A net for that table, as `fastdl train` writes it."""
    pytest.importorskip("sklearn", minversion="1.6")
    folder = tmp_path_factory.mktemp("tables")
    (folder / "churn.csv").write_text(customers(), encoding="utf-8")
    arguments = ["--target", "churn", "--epochs", "2", "--folds", "1", "--output", str(folder / "out")]
    assert main(["train", str(folder / "churn.csv"), *arguments]) == 0
    return (folder / "out" / "model.onnx").read_bytes()


@pytest.fixture
def folder(
    data: tuple[Any, Any], exported: bytes, table_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    for name in ("in", "m", "a", "b"):
        Path(f"{name}.onnx").write_bytes(exported)
    for name in ("churn", "new"):
        Path(f"{name}.csv").write_text(customers(), encoding="utf-8")
    Path("churn").mkdir()
    Path("churn/model.onnx").write_bytes(table_file)
    np.save("x.npy", data[0])
    np.save("y.npy", data[1])
    return tmp_path


@pytest.mark.parametrize("place", PYTHON)
def test_python_runs(place: str, folder: Path, data: tuple[Any, Any]) -> None:
    if ".keras" in PYTHON[place]:
        pytest.importorskip("h5py")
    exec(compile(PYTHON[place], place, "exec"), {"x": data[0], "y": data[1]})


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_end_well(line: str, folder: Path) -> None:
    assert main(shlex.split(line, comments=True)[1:]) == 0


def test_there_is_something_to_run() -> None:
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 8


def test_layers_that_are_named_are_there() -> None:
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(("| layers", "| augmentation"))]
    named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)}
    assert len(named) >= 30
    assert [name for name in sorted(named) if not hasattr(layers, name)] == []


def test_pictures_and_files_that_are_named_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
