"""Stops when the loss is no number any more."""

from __future__ import annotations

import math

from fastdl.base.messages import say
from fastdl.models.callback import Callback, Logs


class TerminateOnNaN(Callback):
    """Ends training when the loss is NaN or infinite, or raises RuntimeError with raise_error=True (Keras).

    It looks after each slice, about 30 ms of training, so that it costs nothing; Keras's after each batch.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_train_slice_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        message = f"the loss became {loss} at or before batch {batch}"
        if self.raise_error:
            raise RuntimeError(message)
        say(f"{message}: training ends")
        self.model.stop_training = True
