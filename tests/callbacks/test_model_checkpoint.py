"""ModelCheckpoint: what is saved, when, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl.callbacks import ModelCheckpoint
from fastdl.models import load_model

from .small import Stub, data, run, small

# what: (settings, watched values, the paths that are saved to)
SAVES: dict[str, tuple[dict[str, Any], list[float], list[str]]] = {
    "each epoch": ({}, [3, 4], ["model m-01-3.00.fastdl", "model m-02-4.00.fastdl"]),
    "weights": ({"save_weights_only": True}, [3, 4], ["weights m-01-3.00.fastdl", "weights m-02-4.00.fastdl"]),
    "best": ({"save_best_only": True}, [3, 4, 2, 2], ["model m-01-3.00.fastdl", "model m-03-2.00.fastdl"]),
    "highest": (
        {"save_best_only": True, "mode": "max"},
        [3, 4, 2],
        ["model m-01-3.00.fastdl", "model m-02-4.00.fastdl"],
    ),
    "best from": ({"save_best_only": True, "initial_value_threshold": 2.5}, [3, 2], ["model m-02-2.00.fastdl"]),
    "nan": ({"save_best_only": True}, [float("nan"), 2], ["model m-02-2.00.fastdl"]),
}


@pytest.mark.parametrize("name", SAVES)
def test_what_is_saved(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, values, expected = SAVES[name]
    stub, _ = run(ModelCheckpoint("m-{epoch:02d}-{val_loss:.2f}.fastdl", **settings), values)
    assert stub.saved == expected


def test_the_best_is_remembered_from_fit_to_fit() -> None:
    """As in Keras: a file that is better is not written over."""
    checkpoint = ModelCheckpoint("m.fastdl", save_best_only=True)
    assert run(checkpoint, [2])[0].saved == ["model m.fastdl"]
    assert run(checkpoint, [3])[0].saved == []


def test_accuracy_is_better_when_higher() -> None:
    checkpoint = ModelCheckpoint("m{accuracy}.fastdl", monitor="accuracy", save_best_only=True)
    assert run(checkpoint, [0.5, 0.4, 0.6], "accuracy")[0].saved == ["model m0.5.fastdl", "model m0.6.fastdl"]


def test_every_few_batches_across_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    model = small()
    monkeypatch.setattr(type(model), "save", lambda self, path: saved.append(str(path)), raising=False)
    monkeypatch.chdir(tmp_path)
    checkpoint = ModelCheckpoint("new/{epoch}-{batch}-{loss:.0f}.fastdl", save_freq=4)
    model.fit(*data(50), batch_size=10, epochs=3, callbacks=checkpoint, verbose=0)
    assert [path.rsplit("-", 1)[0] for path in saved] == ["new/1-4", "new/2-3", "new/3-2"]
    assert (tmp_path / "new").is_dir()


def test_what_it_saves_can_be_loaded_and_trained_on(tmp_path: Path) -> None:
    model = small()
    checkpoints = [
        ModelCheckpoint(tmp_path / "whole-{epoch}.fastdl"),
        ModelCheckpoint(tmp_path / "{epoch}.fastdl", save_weights_only=True),
    ]
    model.fit(*data(50), epochs=3, callbacks=checkpoints, verbose=0)
    early = load_model(tmp_path / "whole-1.fastdl")
    assert not np.array_equal(early.get_weights()[0], model.get_weights()[0])
    early.fit(*data(50), initial_epoch=1, epochs=3, verbose=0)
    late = small()
    late.load_weights(tmp_path / "3.fastdl")
    for found in (early, late):
        assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), model.get_weights(), strict=True))


def test_monitors_that_are_missing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="waits for 'val_loss', but there is only loss"):
        stub, _ = run(ModelCheckpoint("m.fastdl", save_best_only=True), [3.0], "loss")
    assert stub.saved == ["model m.fastdl"], "better one too many than none"
    with pytest.raises(KeyError, match=r"names 'val_loss', but there is only epoch, loss"):
        run(ModelCheckpoint("m-{val_loss}.fastdl"), [3.0], "loss")
    ModelCheckpoint("m.fastdl", monitor="profit")
    with pytest.raises(ValueError, match="pass mode"):
        ModelCheckpoint("m.fastdl", monitor="profit", save_best_only=True)


def test_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    run(ModelCheckpoint(Path("m{epoch}.fastdl"), verbose=1, save_best_only=True), [3.0, 4.0])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: saved to m1.fastdl",
        "Epoch 2: val_loss did not improve from 3.0",
    ]


@pytest.mark.parametrize("freq", ["batch", 0, 1.5])
def test_wrong_frequencies(freq: Any) -> None:
    with pytest.raises(ValueError, match="save_freq must be 'epoch' or a positive number of batches"):
        ModelCheckpoint("m.fastdl", save_freq=freq)


def test_a_save_that_fails_ends_training_and_leaves_the_model() -> None:
    class Full(Stub):
        def save(self, path: Any) -> None:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(ModelCheckpoint("m.fastdl"), [1.0], stub=Full())
