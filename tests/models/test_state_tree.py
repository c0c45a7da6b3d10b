"""Model.get_state_tree and set_state_tree: all variables by their paths, there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import layers, tree

X = np.random.default_rng(2).standard_normal((20, 3)).astype("float32")


def net() -> keras.Model:
    inputs = keras.Input((3,))
    h = layers.BatchNormalization(name="norm")(layers.Dense(4, name="first")(inputs))
    model = keras.Model(inputs, layers.Dense(1, name="last")(h))
    model.compile(keras.optimizers.Adam(name="adam"), "mse", metrics=["mae"])
    model.fit(X, X[:, :1], verbose=0)
    return model


def test_there_and_back() -> None:
    model, other = net(), net()
    state = model.get_state_tree()
    assert set(state["trainable_variables"]) == {"first", "norm", "last"}
    np.testing.assert_array_equal(state["trainable_variables"]["first"]["kernel"], model.get_weights()[0])
    assert set(state["non_trainable_variables"]["norm"]) == {"moving_mean", "moving_variance"}
    assert state["optimizer_variables"]["adam"]["iteration"] == 1
    assert state["metrics_variables"]["loss"]["count"] > 0
    assert "mae" in state["metrics_variables"]
    assert all(isinstance(leaf, np.ndarray) for leaf in tree.flatten(model.get_state_tree("numpy_array")))
    state = tree.map_structure(lambda leaf: leaf + 1, state)
    other.set_state_tree(state)
    found = other.get_state_tree()
    tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, state)
    assert other.optimizer is not None
    assert other.optimizer.iterations == 2


WRONG: dict[str, tuple[Any, str]] = {
    "a kind": ({"weights": {}}, "unknown kind of variables 'weights'"),
    "a path": ({"trainable_variables": {"first": {"kernels": X}}}, "did you mean 'first/kernel'"),
    "a shape": ({"trainable_variables": {"first": {"bias": [0.0], "kernel": X}}}, "has shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_changes_nothing(name: str) -> None:
    state, said = WRONG[name]
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError, match=said):
        model.set_state_tree(state)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_paths_that_stand_twice() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1, name="a")(layers.Dense(2, name="a")(inputs)))
    with pytest.raises(ValueError, match="found twice in the model: 'a/kernel'"):
        model.get_state_tree()
    with pytest.raises(ValueError, match="unknown value_format 'torch'"):
        model.get_state_tree("torch")
