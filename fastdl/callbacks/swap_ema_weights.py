"""Looks at the moving averages of the weights in place of the weights themselves."""

from __future__ import annotations

from fastdl.models.callback import Callback, Logs, Watched


class SwapEMAWeights(Callback):
    """Tests and predictions are by the moving averages that an optimizer with use_ema=True keeps (Keras).

    swap_on_epoch: they also stand in the model at the end of each epoch, until the next begins, so that callbacks after
    this one see them: ModelCheckpoint(…) saves them. ValueError for an optimizer without use_ema.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = bool(swap_on_epoch)
        self._swapped = False

    def set_model(self, model: Watched) -> None:
        super().set_model(model)
        if model.optimizer is not None and not model.optimizer.use_ema:
            raise ValueError("SwapEMAWeights needs an optimizer that keeps averages: make it with use_ema=True")

    def _swap_in(self) -> None:
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.state.trained:  # else the averages are there already
            optimizer.finalize_variable_values(self.model.trainable_weights)
            self._swapped = True

    def _swap_out(self) -> None:
        if self._swapped and self.model.optimizer is not None:
            self.model.optimizer.resume()
        self._swapped = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap_out()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap_in()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap_in()

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap_out()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap_in()

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap_out()
