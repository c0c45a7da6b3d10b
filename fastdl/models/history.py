"""What fit returns."""

from __future__ import annotations

import numpy as np

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

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
