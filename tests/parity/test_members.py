"""Layers over the last axis of rank 3, and an ensemble in one net, beside Keras: the same training and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
Array = np.ndarray[Any, Any]
K, IN, UNITS, OUT = 4, 6, 20, 3


def ours(loss: str, ending: str | None) -> fastdl.Model:
    source = fastdl.Input((IN,))
    x = layers.Dense(UNITS, "tanh")(layers.RepeatVector(K)(layers.Dense(8, "tanh")(source)))
    model = fastdl.Model(source, layers.EnsembleDense(OUT, ending)(layers.Dense(UNITS)(x)))
    model.compile(fastdl.optimizers.Adam(0.01), loss, metrics=["accuracy"] if ending else None)
    return model


def theirs(keras: Any, loss: str, ending: str | None) -> Any:
    source = keras.Input((IN,))
    x = keras.layers.Dense(8, "tanh")(source)
    x = keras.layers.Dense(UNITS)(keras.layers.Dense(UNITS, "tanh")(keras.layers.RepeatVector(K)(x)))
    heads = keras.layers.EinsumDense("bki,kio->bko", output_shape=(K, OUT), bias_axes="ko", activation=ending)
    model = keras.Model(source, heads(x))
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"] if ending else None)
    return model


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "mean_squared_error"])
def test_training(loss: str, weighted: bool) -> None:
    keras = pytest.importorskip("keras")
    rng, ending = np.random.default_rng(0), None if loss == "mean_squared_error" else "softmax"
    x = rng.standard_normal((150, IN)).astype(np.float32)
    y: Array = rng.integers(OUT, size=(150, K))
    y = y if loss.startswith("sparse") else np.eye(OUT, dtype=np.float32)[y]
    weight = rng.random(150).astype(np.float32) if weighted else None
    model, other = ours(loss, ending), theirs(keras, loss, ending)
    flat = model.get_weights()
    other.set_weights([w.reshape(v.shape) for w, v in zip(flat, other.get_weights(), strict=True)])
    fit: dict[str, Any] = {"batch_size": 45, "epochs": 4, "shuffle": False, "verbose": 0}
    expanded = None if weight is None else weight[:, None]  # Keras broadcasts to the members, but adds no axis
    histories = [
        model.fit(x, y, sample_weight=weight, **fit).history,
        other.fit(x, y, sample_weight=expanded, **fit).history,
    ]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=2e-5, atol=1e-6)
    for w, v in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(w, v.reshape(w.shape), atol=2e-5)
    np.testing.assert_allclose(model.predict(x), other.predict(x, verbose=0), atol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(other.evaluate(x, y, verbose=0), rel=2e-5)


LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "dense": ("Dense", {"units": 5, "activation": "softmax", "bias_initializer": "random_normal"}, (4, 6)),
    "dense, rank 4": ("Dense", {"units": 5, "activation": "tanh", "use_bias": False}, (3, 4, 6)),
    "softmax": ("Softmax", {}, (4, 6)),
    "repeat": ("RepeatVector", {"n": 3}, (6,)),
    "mean": ("GlobalAveragePooling1D", {}, (4, 6)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case: str) -> None:
    keras = pytest.importorskip("keras")
    name, options, sample = LAYERS[case]
    x = np.random.default_rng(0).standard_normal((37, *sample)).astype(np.float32)
    layer, other = getattr(layers, name)(**options), getattr(keras.layers, name)(**options)
    expected = layer(x), np.asarray(other(x).detach())
    other.set_weights(layer.get_weights())
    np.testing.assert_allclose(expected[0], np.asarray(other(x).detach()), atol=1e-6)
    assert expected[0].shape == expected[1].shape
