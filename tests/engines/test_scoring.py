"""Scoring in bulk: each engine gives the numbers that one Runner gives for the whole table."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl

from . import guide

pytestmark = pytest.mark.engine
pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def expected(folder: Path) -> Any:
    """The table, and its answers by one Runner, in the table's order."""
    table = pd.read_csv(folder / "new.csv")
    churn = fastdl.Runner(folder / "churn/model.onnx").predict_probabilities(table)[:, 1]
    return table.assign(churn=churn)


def check(answers: Any, expected: Any) -> None:
    assert list(answers.columns) == list(expected.columns)
    np.testing.assert_array_equal(answers["visits"], expected["visits"])
    np.testing.assert_allclose(answers["churn"], expected["churn"], rtol=1e-6)
    assert answers["churn"].nunique() > 40


def test_dask(here: Path, scorer: Any, expected: Any) -> None:
    """In two processes, by parts of 500 bytes."""
    distributed = pytest.importorskip("distributed")
    block = guide.BLOCKS["dask scoring"].replace("64MB", "500B")
    assert block != guide.BLOCKS["dask scoring"]
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        exec(block, scorer)
    parts = sorted(here.glob("dask-*.csv"))
    assert len(parts) >= 2
    check(pd.concat(map(pd.read_csv, parts)), expected)


def test_ray_data(folder: Path, scorer: Any, expected: Any, ray: Any) -> None:
    ray.data.DataContext.get_current().enable_progress_bars = False
    with contextlib.chdir(folder):
        guide.run("ray scoring", **scorer)
    check(pd.concat(map(pd.read_csv, sorted(folder.glob("ray/*.csv")))), expected)


def test_polars(here: Path, scorer: Any, expected: Any) -> None:
    pytest.importorskip("polars")
    guide.run("polars scoring", **scorer)
    check(pd.read_csv("polars.csv"), expected)


def test_duckdb(here: Path, scorer: Any, expected: Any) -> None:
    pytest.importorskip("duckdb")
    batches = guide.run("duckdb scoring", **scorer)["churn"]
    np.testing.assert_allclose(np.concatenate(batches), expected["churn"], rtol=1e-6)
    check(guide.run("duckdb function", **scorer)["answers"], expected)


def test_spark(here: Path, scorer: Any, expected: Any, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a table, and a model of one matrix."""
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("there is no Java here")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    names = guide.run("spark scoring", **scorer, x=digits[0])
    try:
        check(names["answers"], expected)
        classes = np.stack(names["classes"]["classes"])
        np.testing.assert_allclose(classes, fastdl.Runner("m.onnx").predict(digits[0]), rtol=1e-5, atol=1e-7)
    finally:
        names["spark"].stop()
