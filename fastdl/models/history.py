"""What fit returns."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from fastdl import plots
from fastdl.models.callback import Callback, Logs


class History(Callback):
    """`history`: metric name → one number an epoch; `epoch`: their numbers; `params`: how fit was called."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name} {values[-1]:.4g}" for name, values in self.history.items() if np.ndim(values[-1]) == 0
        )
        return f"<History of {len(self.epoch)} epochs{', the last: ' if last else ''}{last}>"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw all curves, those of validation beside those of training: to a file, in the format its name ends in, or
        as a matplotlib figure, which a notebook shows. ImportError: no matplotlib; ValueError: no epoch yet."""
        return plots.history(self.epoch, self.history, path)

    def _repr_html_(self) -> str:
        """A table of the numbers, and the curves where matplotlib is there."""
        table = "".join(
            f"<tr><td>{escape(name)}</td>"
            + "".join(f"<td>{each:.4g}</td>" for each in (values[0], min(values), max(values), values[-1]))
            + "</tr>"
            for name, values in self.history.items()
            if values and np.ndim(values[-1]) == 0
        )
        head = "<tr><th></th><th>first epoch</th><th>lowest</th><th>highest</th><th>last epoch</th></tr>"
        try:
            picture = plots.as_svg(self.plot()) if table else ""
        except ImportError:
            picture = ""
        return f"<p>{len(self.epoch)} epochs</p><table>{head}{table}</table>{picture}"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
