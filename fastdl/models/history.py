"""What fit returns."""

from __future__ import annotations

from typing import Any


class History:
    """`history`: metric name → one number an epoch; `epoch`: their numbers; `params`: how fit was called."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = params

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
