"""SwapEMAWeights: what is tested, predicted and saved are the moving averages; what is trained are the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import models
from fastdl.callbacks import Callback, ModelCheckpoint, SwapEMAWeights
from fastdl.optimizers import SGD

from .small import data, small


def averaging(**options: Any) -> Any:
    return small_with(SGD(0.05, use_ema=True, ema_momentum=0.8, **options))


def small_with(optimizer: Any) -> Any:
    model = small()
    model.compile(optimizer, "mse")
    return model


class Losses(Callback):
    """The loss of the averages, by a model of its own, at the end of each epoch."""

    def __init__(self) -> None:
        self.other, self.losses = small_with("sgd"), []  # type: ignore[var-annotated]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        averages = [average.numpy() for average in self.model.optimizer.state.averages.values()]  # type: ignore[union-attr]
        self.other.set_weights(averages)
        self.losses.append(self.other.evaluate(*data(), verbose=0))


@pytest.mark.parametrize("on_epoch", [False, True])
def test_validation_is_by_the_averages_and_training_is_not(on_epoch: bool) -> None:
    expected, plain, swapped = Losses(), averaging(), averaging()
    options: Any = {"epochs": 4, "batch_size": 10, "validation_data": data(), "shuffle": False, "verbose": 0}
    history = plain.fit(*data(), **options, callbacks=expected).history
    found = swapped.fit(*data(), **options, callbacks=[SwapEMAWeights(on_epoch)]).history
    np.testing.assert_allclose(found["val_loss"], expected.losses, rtol=1e-6)
    assert found["loss"] == history["loss"]
    assert not np.allclose(found["val_loss"], history["val_loss"])
    for model in (plain, swapped):  # at the end the averages stand in both
        assert model.evaluate(*data(), verbose=0) == pytest.approx(expected.losses[-1], rel=1e-6)
    again = [model.fit(*data(), epochs=2, shuffle=False, verbose=0).history["loss"] for model in (plain, swapped)]
    assert again[0] == again[1]


def test_other_callbacks_see_the_averages_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    expected, saved = Losses(), str(tmp_path / "{epoch}.fastdl")
    model = averaging()
    model.fit(
        *data(), epochs=3, batch_size=10, verbose=0,
        callbacks=[expected, SwapEMAWeights(swap_on_epoch=True), ModelCheckpoint(saved)],
    )  # fmt: skip
    losses = [models.load_model(saved.format(epoch=epoch)).evaluate(*data(), verbose=0) for epoch in (1, 2, 3)]
    np.testing.assert_allclose(losses, expected.losses, rtol=1e-6)


def test_evaluate_and_predict_leave_the_model_as_it_was() -> None:
    model = averaging()
    for _ in range(3):
        model.train_on_batch(*data())
    before, plain = model.get_weights(), model.evaluate(*data(), verbose=0)
    averages = [average.numpy() for average in model.optimizer.state.averages.values()]
    loss = model.evaluate(*data(), verbose=0, callbacks=[SwapEMAWeights()])
    predicted = model.predict(data()[0], verbose=0, callbacks=[SwapEMAWeights()])
    assert all(map(np.array_equal, before, model.get_weights()))
    model.set_weights(averages)
    assert loss == model.evaluate(*data(), verbose=0) != plain
    np.testing.assert_array_equal(predicted, model.predict(data()[0], verbose=0))


def test_an_optimizer_without_averages_is_refused() -> None:
    with pytest.raises(ValueError, match="make it with use_ema=True"):
        small().fit(*data(), callbacks=SwapEMAWeights(), verbose=0)
