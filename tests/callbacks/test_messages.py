"""What fit and callbacks say is printed, or logged where that is switched on; no bar is drawn then."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import fastdl
from fastdl.callbacks import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau

from .small import data, small

SAID = "LearningRateScheduler setting learning rate to 0.5", "early stopping", "best epoch: 1", "reducing learning rate"


@pytest.fixture
def logged() -> Iterator[None]:
    fastdl.config.disable_interactive_logging()
    yield
    fastdl.utils.enable_interactive_logging()
    logging.getLogger("fastdl").setLevel(logging.NOTSET)


def talk() -> None:
    """A fit that says all of it."""
    watching = {"monitor": "loss", "min_delta": 1e6, "patience": 1, "verbose": 1}
    stops = EarlyStopping(**watching, restore_best_weights=True)
    callbacks = [LearningRateScheduler(lambda epoch: 0.5, verbose=1), ReduceLROnPlateau(**watching), stops]
    small().fit(*data(), epochs=5, verbose=2, callbacks=callbacks)


def test_it_is_printed(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    assert fastdl.config.is_interactive_logging_enabled()
    with caplog.at_level(logging.DEBUG):
        talk()
    out = capsys.readouterr().out
    assert all(each in out for each in (*SAID, "Epoch 1/5 - "))
    assert caplog.text == ""


@pytest.mark.usefixtures("logged")
def test_it_is_logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    assert not fastdl.utils.is_interactive_logging_enabled()
    with caplog.at_level(logging.INFO):
        talk()
    assert all(each in caplog.text for each in (*SAID, "Epoch 1/5 - "))
    assert {record.name for record in caplog.records} == {"fastdl"}
    caplog.clear()
    fastdl.utils.set_logging_verbosity("WARNING")
    talk()
    assert caplog.text == capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="level must be one of DEBUG, INFO"):
        fastdl.utils.set_logging_verbosity("LOUD")


@pytest.mark.usefixtures("logged")
def test_a_checkpoint_is_logged(tmp_path: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        small().fit(*data(), verbose=0, callbacks=ModelCheckpoint(f"{tmp_path}/m.fastdl", verbose=1))
    assert "Epoch 1: saved to" in caplog.text
