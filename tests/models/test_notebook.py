"""In a notebook: a history shows its numbers and curves, and an epoch's line is written over."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import fastdl
from fastdl import layers

X, Y = np.random.default_rng(0).normal(size=(2, 200, 3)).astype("float32")


class Cell(io.StringIO):
    """What stands for stdout in a notebook."""


Cell.__module__ = "ipykernel.iostream"


def fitted(**options):
    model = fastdl.Sequential([layers.Input((3,)), layers.Dense(3)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model.fit(X, Y, batch_size=20, **{"verbose": 0, "epochs": 3, "validation_split": 0.2, **options})


def test_a_history_shows_its_numbers_and_curves(tmp_path: Path) -> None:
    history = fitted()
    page = history._repr_html_()
    for word in ("val_mae", f"{history.history['loss'][-1]:.4g}", "<svg", "3 epochs"):
        assert word in page
    history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(history.plot().axes) == 2
    with pytest.raises(ValueError, match="call fit first"):
        fitted(epochs=1, initial_epoch=1).plot()


def test_the_line_of_an_epoch_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(sys, "stdout", cell)
    monkeypatch.setattr("fastdl.models.progress.EACH", 0.0)
    fitted(
        verbose=1, epochs=2, callbacks=[fastdl.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]
    )
    monkeypatch.undo()
    lines = cell.getvalue().split("\n")
    assert len(lines) == 3, "a line an epoch"
    drawn = lines[0].split("\r")[1:]
    assert len(drawn) == 9
    assert drawn[0].startswith("Epoch 1/2 - 1/8")
    assert "samples/s" in drawn[-1]
