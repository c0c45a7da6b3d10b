"""Layers, models and activations called on arrays: at once, random where Keras's are, with penalties of activities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import activations, layers
from fastdl.errors import DataError

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((16, 6, 5)).astype(np.float32)

# by name: the layer, and whether it acts where nobody says whether it is training
RANDOM: dict[str, tuple[Callable[[], layers.Layer], bool]] = {
    "RandomFlip": (lambda: layers.RandomFlip(), True),
    "RandomTranslation": (lambda: layers.RandomTranslation(0.3, 0.3), True),
    "RandomRotation": (lambda: layers.RandomRotation(0.2), True),
    "RandomZoom": (lambda: layers.RandomZoom(0.3), True),
    "MixUp": (lambda: layers.MixUp(), True),
    "Dropout": (lambda: layers.Dropout(0.5), False),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5), False),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), False),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), False),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_layers(name: str) -> None:
    make, by_default = RANDOM[name]
    for training, acts in ((None, by_default), (True, True), (False, False)):
        assert np.array_equal(make()(X, training=training), X) != acts
        model = fastdl.Sequential([fastdl.Input((6, 5)), make()])
        assert np.array_equal(model(X, training=training), X) != acts
        source = fastdl.Input((6, 5))
        within = fastdl.Model(source, model(source))
        assert np.array_equal(within(X, training=training), X) != acts
    assert np.array_equal(model.predict(X), X)
    assert np.array_equal(make()(X), make()(X)) != by_default


def test_models_that_augment_still_train_and_predict_as_ever() -> None:
    model = fastdl.Sequential([fastdl.Input((6, 5)), layers.RandomFlip(), layers.Flatten(), layers.Dense(2)])
    before = model.predict(X)
    assert not np.array_equal(model(X), before)
    assert np.array_equal(model.predict(X), before)
    assert np.array_equal(model(X, training=False), before)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((16, 2)), verbose=0)


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_give_arrays(name: str, dtype: str) -> None:
    function, x = activations.NAMES[name], X.astype(dtype)
    expected = layers.Activation(name)(x.astype(np.float32))
    got = function(x)
    assert type(got) is np.ndarray
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(function(x[0, 0].tolist()), got[0, 0], rtol=1e-5)
    assert function(np.zeros((0, 3))).shape == (0, 3)
    assert np.shape(function(np.float32(0.5))) == ()
    assert isinstance(function(fastdl.Input((3,))), fastdl.compiler.graph.Tensor)


def test_arguments_of_activations() -> None:
    np.testing.assert_array_equal(activations.relu([-2, 1, 9], negative_slope=0.5, max_value=6), [-1, 1, 6])
    np.testing.assert_allclose(activations.elu(np.array([-1.0]), alpha=2), 2 * np.expm1(-1))
    with pytest.raises(ValueError, match="negative_slope must not be negative"):
        activations.relu([1.0], negative_slope=-1)
    with pytest.raises(DataError, match="relu takes real numbers, not <U1"):
        activations.relu(["a"])
    with pytest.raises(DataError, match="x is masked"):
        activations.relu(np.ma.masked_less([1.0, -1.0], 0))


def test_losses_of_activities() -> None:
    x = X[:, 0]
    layer = layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l1", use_bias=False)
    y = layer(x)
    of_weight, of_activity = 0.01 * np.abs(layer.get_weights()[0]).sum(), 0.01 * (y**2).sum() / len(x)
    np.testing.assert_allclose(layer.losses, [of_activity, of_weight], rtol=1e-5)
    layer(x[:4])
    np.testing.assert_allclose(layer.losses, [0.01 * (y[:4] ** 2).sum() / 4, of_weight], rtol=1e-5)
    model = fastdl.Sequential([fastdl.Input((5,)), layer, layers.ActivityRegularization(l1=0.1)])
    np.testing.assert_allclose(model.losses, [of_weight], rtol=1e-5)
    np.testing.assert_allclose(model(x), model.predict(x), rtol=1e-6)
    np.testing.assert_allclose(model.losses, [of_activity, 0.1 * np.abs(y).sum() / len(x), of_weight], rtol=1e-5)
