"""Looks into each layer after each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastdl.base.messages import say
from fastdl.diagnosis.layer_statistics import Probe, Snapshot
from fastdl.models.callback import Callback, Logs
from fastdl.models.feeding import Feeds
from fastdl.plots import layer_statistics


class LayerStatistics(Callback):
    """Records activations, gradients, updates and dead units of each layer before training and after each epoch.

    x, y: the sample to look at, or else fit's validation data; of both at most the first `rows` rows, as one batch in
    training mode. `snapshots` holds what was seen (see inspection.LayerRecord), `plot` draws it. verbose: print in
    words what is wrong, when it is first seen. The training is, to the bit, what it is without this callback.
    ValueError if there is no sample. fastdl's own.
    """

    def __init__(self, x: Any = None, y: Any = None, rows: int = 1024, verbose: int = 1) -> None:
        if (x is None) != (y is None):
            raise ValueError("LayerStatistics needs both x and y, or neither")
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows}")
        self.x, self.y, self.rows, self.verbose = x, y, rows, verbose
        self.snapshots: list[Snapshot] = []
        self._validation: Feeds | None = None
        self._probe: Probe | None = None

    def set_validation_data(self, feeds: Feeds | None) -> None:
        self._validation = feeds

    def on_train_begin(self, logs: Logs | None = None) -> None:
        session = self.model.session
        if self.x is not None:
            feeds = session.feeds(session.feeding.inputs(self.x), self.y)
        elif self._validation is not None:
            feeds = self._validation
        else:
            raise ValueError("LayerStatistics has no sample: give it x and y, or fit validation data")
        self.snapshots = []
        self._probe = Probe(self.model, {feed: array[: self.rows] for feed, array in feeds.items()})
        self._look(self.model.initial_epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._look(epoch + 1)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._probe = self._validation = None

    def _look(self, epoch: int) -> None:
        assert self._probe is not None
        known = {kind for snapshot in self.snapshots for kind in snapshot.findings}
        self.snapshots.append(snapshot := Snapshot(epoch, self._probe.records()))
        if self.verbose:
            when = f"after epoch {epoch}" if epoch else "before training"
            for kind, text in snapshot.findings.items():
                if kind not in known:
                    say(f"{kind}, {when}: {text}")

    @property
    def findings(self) -> dict[str, str]:
        """What was wrong at the last look, in words by name: vanishing, exploding, dying, saturating."""
        return self.snapshots[-1].findings if self.snapshots else {}

    def plot(self, path: str | Path) -> None:
        """Draw all snapshots to a PNG. ImportError: no matplotlib."""
        layer_statistics(self.snapshots, path)
