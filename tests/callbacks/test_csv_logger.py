"""CSVLogger: the file, line by line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fastdl.callbacks import CSVLogger, LambdaCallback

from .small import Epochs, data, small


def test_the_file_is_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = small().fit(*data(50), epochs=3, validation_split=0.2, callbacks=CSVLogger(path), verbose=0).history
    lines = list(csv.reader(path.open(newline="")))
    assert lines[0] == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    for epoch, line in enumerate(lines[1:]):
        assert line[0] == str(epoch)
        assert [float(value) for value in line[1:]] == [history[name][epoch] for name in lines[0][1:]]
    assert len(lines) == 4


def test_separator_and_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    late = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.pop("mae") if epoch else None)
    small().fit(*data(50), epochs=2, callbacks=[late, CSVLogger(str(path), ";")], verbose=0)
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch;loss;mae;val_loss;val_mae"
    assert lines[1].endswith(";NA;NA")
    assert lines[2].endswith(";NA;NA;NA")


@pytest.mark.parametrize(("append", "lines"), [(False, 2), (True, 4)])
def test_a_file_that_is_there(tmp_path: Path, append: bool, lines: int) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,mae,val_loss,val_mae\r\n0,1,2,NA,NA\r\n")
    logger, model = CSVLogger(path, append=append), small()
    model.fit(*data(50), callbacks=logger, verbose=0)
    if append:
        model.fit(*data(50), callbacks=logger, verbose=0)
    written = path.read_text().splitlines()
    assert len(written) == lines
    assert [line.startswith("epoch") for line in written] == [True] + [False] * (lines - 1)


def test_columns_are_those_of_the_fit(tmp_path: Path) -> None:
    logger, model = CSVLogger(tmp_path / "log.csv"), small()
    for extra in ("first", "second"):
        adds = LambdaCallback(on_epoch_end=lambda epoch, logs, extra=extra: logs.update({extra: 1.0}))
        model.fit(*data(50), callbacks=[adds, logger], verbose=0)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,loss,mae,second,val_loss")


def test_append_begins_a_file_that_is_not_there(tmp_path: Path) -> None:
    small().fit(*data(50), callbacks=CSVLogger(tmp_path / "log.csv", append=True), verbose=0)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,loss")


def test_what_is_done_is_written_when_training_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    stops = Epochs("epoch_begin", at=2, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        small().fit(*data(50), epochs=9, callbacks=[CSVLogger(path), stops], verbose=0)
    assert len(path.read_text().splitlines()) == 3
