"""Activations and random layers called on arrays beside Keras's."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from layers.test_on_arrays import RANDOM, X

import fastdl
from fastdl import activations

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]


@pytest.mark.parametrize("name", RANDOM)
def test_random_layers_act_where_keras_do(name: str) -> None:
    keras = pytest.importorskip("keras")
    default = inspect.signature(getattr(keras.layers, name).call).parameters["training"].default
    assert bool(default) == RANDOM[name][1]


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(name: str, dtype: str) -> None:
    keras = pytest.importorskip("keras")
    if not hasattr(keras.activations, name):
        pytest.skip("fastdl's own")
    x = X.astype(dtype)
    expected = np.asarray(getattr(keras.activations, name)(x))
    np.testing.assert_allclose(getattr(activations, name)(x), expected, rtol=1e-5, atol=1e-6)


def test_losses_of_layers() -> None:
    keras = pytest.importorskip("keras")
    x, kernel, told = X[:, 0], X[0, :5, :3] / 3, []
    for api in (fastdl, keras):
        layer = api.layers.Dense(3, use_bias=False, activity_regularizer="l2", kernel_regularizer="l1")
        model = api.Sequential([api.Input((5,)), layer])
        model.set_weights([kernel])
        model(x)
        told.append([float(loss) for loss in model.losses])
        layer(x[:3])
        told[-1] += [float(loss) for loss in layer.losses]
    np.testing.assert_allclose(*told, rtol=1e-5)
