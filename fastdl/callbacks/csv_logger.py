"""The history as a CSV file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from fastdl.base.files import append_whole
from fastdl.models.callback import Callback, Logs


class CSVLogger(Callback):
    """Writes a line an epoch: the epoch's number, then the logs by name; NA for what is missing (Keras).

    The columns are the first epoch's, and val_ ones beside them where it has none. The file is closed between
    epochs, so that what is done can be read, and stays, whatever happens: a line is there whole or not at all.
    append: add to a file that is there.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append
        self._columns: list[str] | None = None

    def _write(self, row: list[Any]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=self.separator).writerow(row)
        append_whole(self.filename, line.getvalue().encode())

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._columns = None
        if not self.append:
            self.filename.write_bytes(b"")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        if self._columns is None:
            names = sorted(logs)
            tested = any(name.startswith("val_") for name in names)
            self._columns = names if tested else [*names, *(f"val_{name}" for name in names)]
            if not self.filename.exists() or not self.filename.stat().st_size:
                self._write(["epoch", *self._columns])
        self._write([epoch, *(logs.get(name, "NA") for name in self._columns)])
