"""TensorBoard: what is written, through a writer that only notes it, and through tensorboardX if it is there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdl.callbacks import TensorBoard

from .small import data, small

Written = dict[tuple[str, str], list[tuple[Any, int]]]  # (folder, name) → values and steps


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """What is written from now on, instead of files."""
    notes: Written = {}

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = Path(folder).name

        def add_scalar(self, name: str, value: Any, step: int) -> None:
            notes.setdefault((self.folder, name), []).append((value, step))

        add_histogram = add_scalar

        def flush(self) -> None: ...
        def close(self) -> None:
            notes.setdefault((self.folder, "closed"), [])

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    return notes


def test_epochs(written: Written) -> None:
    model, board = small(), TensorBoard(write_steps_per_second=True)
    assert not board.every_batch("train")
    history = model.fit(*data(50), batch_size=8, epochs=2, validation_split=0.2, callbacks=board, verbose=0).history
    for side, names in (("train", ("loss", "mae")), ("validation", ("loss", "mae"))):
        for name in names:
            values = history[name if side == "train" else f"val_{name}"]
            assert written[side, f"epoch_{name}"] == list(zip(values, (0, 1), strict=True))
    assert written["train", "epoch_learning_rate"] == [(0.05, 0), (0.05, 1)]
    assert all(value > 0 for value, _ in written["train", "epoch_steps_per_second"])
    assert written["validation", "evaluation_loss_vs_iterations"] == list(
        zip(history["val_loss"], (5, 10), strict=True)
    )
    assert ("train", "closed") in written
    assert ("validation", "closed") in written
    assert not any(name.startswith("batch") for _, name in written)


@pytest.mark.parametrize(("freq", "steps"), [("batch", range(1, 11)), (4, (4, 8))])
def test_batches(written: Written, freq: Any, steps: Any) -> None:
    board = TensorBoard(update_freq=freq)
    assert board.every_batch("train")
    small().fit(*data(50), batch_size=10, epochs=2, callbacks=board, verbose=0)
    assert [step for _, step in written["train", "batch_loss"]] == list(steps)


def test_histograms(written: Written) -> None:
    model = small()
    model.fit(*data(50), epochs=3, callbacks=TensorBoard(histogram_freq=2), verbose=0)
    kernel = written["train", f"{model.layers[0].name}/kernel/histogram"]
    assert [step for _, step in kernel] == [0, 2]
    assert np.array_equal(kernel[-1][0], model.get_weights()[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile_batch": 2}, "no images, profiles or embeddings"),
        ({"write_images": True}, "no images"),
        ({"embeddings_freq": 1}, "no images"),
        ({"update_freq": "step"}, "update_freq must be"),
        ({"update_freq": 0}, "update_freq must be"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, written: Written) -> None:
    with pytest.raises(ValueError, match=message):
        TensorBoard(**settings)


def test_without_tensorboardx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"^TensorBoard needs tensorboardX: pip install 'fastdl\[tensorboard\]'$"):
        TensorBoard()


def test_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    small().fit(*data(50), epochs=2, validation_split=0.2, callbacks=TensorBoard(tmp_path), verbose=0)
    for side in ("train", "validation"):
        (events,) = (tmp_path / side).iterdir()
        content = events.read_bytes()
        assert b"epoch_loss" in content
        assert b"epoch_mae" in content
