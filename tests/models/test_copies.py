"""Copies of models: deepcopy and pickle are the model itself, to the bit; a clone has its layers and new weights."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.callbacks import LambdaCallback
from fastdl.models import clone_model

from .test_saving import LAYERS, OPTIMIZERS, X, Y, fit, goes_on_as, net, same

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {n}": lambda model, n=n: pickle.loads(pickle.dumps(model, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_copy_goes_on_as_the_model(how: str, optimizer: str) -> None:
    model = net(layers.Dense(5, "tanh"), layers.BatchNormalization(), optimizer=OPTIMIZERS[optimizer]())
    fit(model, epochs=2)
    made = COPIES[how](model)
    assert {weight.storage.ctypes.data % 64 for weight in made.weights} == {0}, "kernels rely on it"
    assert not set(made.weights) & set(model.weights)
    assert goes_on_as(model, made)


class Doubling(layers.Layer):
    """A layer of one's own, which no file holds."""

    def call(self, x: Any) -> Any:
        return layers.Rescaling(2.0)(x)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", [*LAYERS.values(), Doubling], ids=[*LAYERS, "own"])
def test_every_layer_is_copied(how: str, make: Callable[[], layers.Layer]) -> None:
    model = net(make())
    fit(model)
    assert goes_on_as(model, COPIES[how](model))


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_models_in_any_state(how: str) -> None:
    assert not COPIES[how](fastdl.Sequential([layers.Dense(3)])).built
    built = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(3)])
    assert np.array_equal(COPIES[how](built).predict(X), built.predict(X))
    made: list[fastdl.Sequential] = []

    def keep(epoch: int, logs: Any) -> None:
        if epoch == 0:
            made.append(COPIES[how](model))

    model = net(layers.Dense(5))
    if how == "deepcopy":
        fit(model, epochs=3, callbacks=[LambdaCallback(on_epoch_end=keep)])
        assert not same(model, made[0])
        fit(made[0], epochs=3, initial_epoch=1)
        assert same(model, made[0])


def test_layers_of_a_copy_are_used_by_other_threads() -> None:
    model = net(layers.Dense(5))
    made = copy.deepcopy(model)
    with model.session.lock:
        thread = threading.Thread(target=lambda: made.fit(X, Y, verbose=0))
        thread.start()
        thread.join(20)
    assert not thread.is_alive(), "the copy has a lock of its own"


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_clones_have_the_layers_and_new_weights(make: Callable[[], layers.Layer]) -> None:
    model = net(make(), layers.Dense(7))
    fit(model)
    fastdl.utils.set_random_seed(8)
    made = clone_model(model)
    assert made.get_config() == model.get_config()
    assert made.optimizer is not model.optimizer  # it is compiled alike, as in Keras
    assert made.optimizer.get_config() == model.optimizer.get_config()
    assert made.optimizer.iterations == 0
    assert not np.array_equal(made.layers[1].get_weights()[0], model.layers[1].get_weights()[0])
    assert not set(map(id, made.layers)) & set(map(id, model.layers))


def test_clones_are_compiled_alike() -> None:
    model = net(layers.Dense(5))
    model.compile("adam", "mse", metrics=["mae"], steps_per_execution=4)
    made = clone_model(model)
    assert (type(made.optimizer), made.steps_per_execution) == (fastdl.optimizers.Adam, 4)


def test_clone_function() -> None:
    model = net(layers.Dense(5, name="first"))

    def wider(layer: layers.Layer) -> layers.Layer:
        return layers.Dense(9) if layer.name == "first" else type(layer).from_config(layer.get_config())

    assert clone_model(model, clone_function=wider).layers[0].output_shape == (None, 9)
    own = fastdl.Sequential([fastdl.Input((6,)), Doubling()])
    assert isinstance(clone_model(own).layers[0], Doubling)


def test_a_layer_that_does_not_keep_its_arguments() -> None:
    class Forgetful(Doubling):
        def __init__(self, factor: float) -> None:
            super().__init__()

    model = fastdl.Sequential([fastdl.Input((6,)), Forgetful(3.0)])
    assert clone_model(model).layers[0].get_config()["factor"] == 3.0  # as it was given, which Keras remembers too


def test_an_argument_that_was_neither_kept_nor_given_has_its_default() -> None:
    class Forgetful(Doubling):
        def __init__(self, factor: float = 2.0) -> None:
            super().__init__()

    assert "factor" not in Forgetful().get_config()


def test_layers_are_shared_between_models() -> None:
    model = net(layers.Dense(5))
    head = layers.Dense(2)
    other = fastdl.Sequential([fastdl.Input((6,)), *model.layers[:-1], head])
    assert other.layers[0] is model.layers[0]
    other.compile("sgd", "mse")
    before = model.get_weights()
    other.fit(X, np.ones((70, 2)), verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [True, True, False, False]
