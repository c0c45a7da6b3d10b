"""utils.Progbar: a line for loops of one's own, beside Keras's rules of what is averaged."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import fastdl
from fastdl.utils import Progbar


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "1.0000"),
        ({"stateful_metrics": ["loss"]}, "2.0000"),
        ({"stateful_metrics": ["other"]}, "1.0000"),
        ({"stateless_metrics": ["loss"]}, "1.0000"),
        ({"stateless_metrics": []}, "2.0000"),
    ],
)
def test_what_is_averaged(options: Any, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progbar(3, interval=0.0, **options)
    bar.update(1, [("loss", 0.0)])
    bar.update(2, [("loss", [1.0, 3.0])])
    assert f"2/3 {'━' * 13}" in (line := capsys.readouterr().out.split("\r")[-1])
    assert f"loss: {shown}" in line


def test_ends(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progbar(10, interval=60.0)
    bar.add(1, [("a", 4.0)])
    for _ in range(9):
        bar.add(1, [("a", 1.0)])
    assert capsys.readouterr().out.count("\r") == 2  # the first, and the last whatever the interval
    quiet = Progbar(2, verbose=0)
    quiet.update(2, [("a", 1.0)])
    assert capsys.readouterr().out == ""
    line = Progbar(2, verbose=2, unit_name="file")
    line.update(1, [("a", 1e-4)])
    assert capsys.readouterr().out == ""
    line.update(2, [("a", 1e-4)])
    assert "/file - a: 1.0000e-04\n" in capsys.readouterr().out
    Progbar(None).update(7, finalize=True)
    assert "7/Unknown" in capsys.readouterr().out
    Progbar(0).update(0, finalize=True)
    with pytest.raises(ValueError, match="Only one of"):
        Progbar(1, stateful_metrics=[], stateless_metrics=[])


def test_it_is_logged_where_nobody_looks(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    fastdl.config.disable_interactive_logging()
    try:
        with caplog.at_level(logging.INFO):
            Progbar(1).update(1, [("a", 2.0)])
    finally:
        fastdl.config.enable_interactive_logging()
    assert "a: 2.0000" in caplog.text
    assert capsys.readouterr().out == ""
