"""What engines score and serve: a file for the table of docs/tables.md, one for pictures of digits; and Ray, once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.cli import main

from . import guide

ROWS = 60
Digits = tuple[Any, Any]


def customers() -> str:
    """A date, a category, numbers, gaps in all of them, and who left."""
    rng = np.random.default_rng(0)
    lines = ["since,plan,visits,spent,churn"]
    for row in range(ROWS):
        visits, plan = int(rng.poisson(4)), rng.choice(["free", "silver", "gold"])
        since = np.datetime64("2022-01-01") + np.timedelta64(int(rng.integers(900)), "D")
        left = "yes" if visits + 2 * (plan == "gold") + rng.normal() < 4 else "no"
        cells = [str(since), plan, str(visits), f"{rng.gamma(2, 20):.2f}"]
        if row % 5 == 4:
            cells[row % 4] = ""
        lines.append(",".join([*cells, left]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def digits() -> Digits:
    (x, y), _ = fastdl.datasets.digits()
    return (x / np.float32(16)).astype(np.float32)[:400], y[:400]


@pytest.fixture(scope="session")
def folder(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m.onnx, of digits; churn/model.onnx, as `fastdl train` writes it, and new.csv, its rows without the answer."""
    folder = tmp_path_factory.mktemp("engines")
    fastdl.utils.set_random_seed(0)
    model = fastdl.Sequential([fastdl.Input((8, 8)), layers.Flatten(), layers.Dense(32, "relu")])
    model.add(layers.Dense(10, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*digits, epochs=5, verbose=0)
    model.export(folder / "m.onnx")
    table = customers()
    (folder / "churn.csv").write_text(table, encoding="utf-8")
    (folder / "new.csv").write_text("\n".join(line.rpartition(",")[0] for line in table.splitlines()), encoding="utf-8")
    told = ["--target", "churn", "--epochs", "2", "--folds", "1", "--output", str(folder / "churn")]
    assert main(["train", str(folder / "churn.csv"), *told]) == 0
    return folder


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own with those files, in which it runs."""
    for name in ("m.onnx", "new.csv", "churn"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def ray(folder: Path) -> Iterator[Any]:
    """Started once, with two slots, in the folder of those files: there its workers look for them, and write."""
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with contextlib.chdir(folder):
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture
def scorer(here: Path) -> dict[str, Any]:
    """The page's scorer of a table."""
    return guide.run("scorer")
