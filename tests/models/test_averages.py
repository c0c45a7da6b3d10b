"""With moving averages in the weights' place when fit ends, training goes on as if it had not been interrupted."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import callbacks, layers, models, optimizers
from fastdl.errors import ModelFileError
from fastdl.models import tensor_file

X = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
Y = X.sum(1)


def net(kind: Any = optimizers.Adam, momentum: float = 0.9, frequency: int | None = None) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(8, "relu"), layers.Dropout(0.2), layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((5,)), *hidden, layers.Dense(1)])
    model.compile(kind(0.01, use_ema=True, ema_momentum=momentum, ema_overwrite_frequency=frequency), "mse")
    return model


def fit(model: Any, begin: int, end: int, **options: Any) -> Any:
    model.fit(X, Y, epochs=end, initial_epoch=begin, verbose=0, **options)
    return model


def saved(model: keras.Sequential, folder: Path) -> Any:
    model.save(folder / "model.safetensors")
    return models.load_model(folder / "model.safetensors")


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "the same": lambda model, folder: model,
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "save and load": saved,
    "twice": lambda model, folder: saved(pickle.loads(pickle.dumps(saved(model, folder))), folder),
    "after a fit of no epochs": lambda model, folder: fit(model, 2, 2),
    "finalised again": lambda model, folder: (
        model.optimizer.finalize_variable_values(model.trainable_weights),
        model,
    )[1],
}


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("frequency", [None, 1, 4])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_training_goes_on_to_the_bit(kind: Any, momentum: float, frequency: Any, how: str, tmp_path: Path) -> None:
    whole = fit(net(kind, momentum, frequency), 0, 4)
    part = fit(net(kind, momentum, frequency), 0, 2)
    averages = part.get_weights()
    part = COPIES[how](part, tmp_path)
    assert all(map(np.array_equal, part.get_weights(), averages))
    assert same(fit(part, 2, 4), whole)


def test_one_batch_goes_on_as_well() -> None:
    whole = fit(net(), 0, 3, batch_size=70)
    part = fit(net(), 0, 2, batch_size=70)
    part.train_on_batch(X, Y)
    assert not same(part, whole)  # one batch at a time puts no averages in place
    part.optimizer.finalize_variable_values(part.trainable_weights)
    assert same(part, whole)


def test_weights_that_were_set_since_are_where_it_goes_on() -> None:
    model = fit(net(), 0, 2)
    weights = [weight + 0.5 for weight in model.get_weights()]
    model.set_weights(weights)
    model.optimizer.resume()
    assert all(map(np.array_equal, model.get_weights(), weights))


def test_a_file_that_replaces_what_has_no_average_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fit(net(), 0, 1).save(path)
    content = tensor_file.read(path)
    kept = content.notes["optimizer"]
    for wrong in (
        {**kept["trained"], "dense/other": "x"},
        [],
        {**kept["trained"], next(iter(kept["trained"])): "none"},
    ):
        notes = {**content.notes, "optimizer": {**kept, "trained": wrong}}
        tensor_file.write(path, content.tensors, notes)
        with pytest.raises(ModelFileError):
            models.load_model(path)


def test_a_backup_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = fit(net(), 0, 4)
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    fit(net(), 0, 2, callbacks=backup)
    assert same(fit(net(), 0, 4, callbacks=callbacks.BackupAndRestore(tmp_path)), whole)
