"""Steps an epoch: Keras's trainer takes as many, and tells callbacks as much."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from models.test_steps import COUNTS, X, Y

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
]


@pytest.mark.parametrize("name", [name for name, (_, _, each, _) in COUNTS.items() if each == 1])
def test_steps_of_epochs_as_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    steps, epochs, _, expected = COUNTS[name]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    taken = [0]
    hooks = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: taken.append(int(model.optimizer.iterations.numpy()))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y, 4, epochs=epochs, steps_per_epoch=steps, callbacks=[hooks], verbose=0)
    assert np.diff(taken).tolist() == expected


@pytest.mark.parametrize("name", COUNTS)
def test_executions_as_keras(name: str) -> None:
    """What Keras's trainers go through, for its PyTorch backend refuses steps_per_execution."""
    pytest.importorskip("keras")
    from keras.src.trainers.epoch_iterator import EpochIterator

    steps, epochs, each, expected = COUNTS[name]
    source: Any = EpochIterator(X, Y, batch_size=4, steps_per_epoch=steps, steps_per_execution=each)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [sum(len(batches) for *_, batches in source) for _ in range(epochs)] == expected
