"""Layers on arrays beside Keras's: what they give in training and inference, and what their weights are afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdl import layers

from .table import Array

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
    pytest.mark.filterwarnings("ignore:You passed `rms_scaling:UserWarning"),
]
RNG = np.random.default_rng(3)
MATRIX, CUBE = RNG.standard_normal((20, 5)).astype(np.float32), RNG.standard_normal((20, 3, 5)).astype(np.float32)
PICTURES = RNG.standard_normal((20, 3, 2, 5)).astype(np.float32)
CLIPPING = {"rmax": 1.5, "rmin": 0.7, "dmax": 0.4}

# by name: of the module of layers, the layer; its input
LAYERS: dict[str, tuple[Callable[[Any], Any], Array]] = {
    "batch norm of rank 3": (lambda of: of.BatchNormalization(momentum=0.8), CUBE),
    "batch norm of rank 4": (lambda of: of.BatchNormalization(momentum=0.8, scale=False), PICTURES),
    "renorm": (lambda of: of.BatchNormalization(renorm=True, momentum=0.8, renorm_momentum=0.6), MATRIX),
    "renorm, clipped": (lambda of: of.BatchNormalization(renorm=True, renorm_clipping=CLIPPING), PICTURES),
    "renorm, no affine": (lambda of: of.BatchNormalization(renorm=True, center=False, scale=False), MATRIX),
    "spectral norm": (lambda of: of.SpectralNormalization(of.Dense(4)), MATRIX),
    "spectral norm of many steps": (lambda of: of.SpectralNormalization(of.Dense(4), power_iterations=9), CUBE),
    "prelu shared": (lambda of: of.PReLU(shared_axes=[1, 2]), PICTURES),
    "prelu of rank 3": (lambda of: of.PReLU(), CUBE),
    "layer norm scaled": (lambda of: of.LayerNormalization(rms_scaling=True), CUBE),
    "rescaling by arrays": (lambda of: of.Rescaling(np.arange(5.0), np.ones(5)), CUBE),
    "flatten, channels first": (lambda of: of.Flatten("channels_first"), PICTURES),
    "normalization of two axes": (
        lambda of: of.Normalization((1, 2), np.arange(15.0).reshape(3, 5), np.ones((3, 5))),
        CUBE,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_as_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    make, x = LAYERS[name]
    ours, theirs = make(layers), make(keras.layers)
    ours(x)
    theirs(x)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    weights = [RNG.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    for training in (False, True, True, False):
        given, expected = ours(x, training=training), keras.ops.convert_to_numpy(theirs(x, training=training))
        np.testing.assert_allclose(given, expected, rtol=2e-4, atol=2e-5)
        for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


SHAPED: dict[str, tuple[Callable[[Any], Any], tuple[int | None, ...]]] = {
    "dense": (lambda of: of.Dense(3), (2, None, 4)),
    "flatten": (lambda of: of.Flatten(), (5, 2, None)),
    "flatten of numbers": (lambda of: of.Flatten(), (5,)),
    "reshape": (lambda of: of.Reshape((-1, 3)), (4, 6, None, 3)),
    "reshape of known sizes": (lambda of: of.Reshape((-1, 8)), (None, 6, 4)),
    "repeat": (lambda of: of.RepeatVector(3), (2, None)),
    "permute": (lambda of: of.Permute((2, 1)), (2, 3, None)),
    "embedding": (lambda of: of.Embedding(5, 3), (2, None)),
    "relu": (lambda of: of.ReLU(), (None, None, 3)),
    "dropout": (lambda of: of.Dropout(0.5), (2, None)),
    "categories": (lambda of: of.CategoryEncoding(6, output_mode="one_hot"), (2, 1)),
    "bins": (lambda of: of.Discretization([0.0, 1.0], output_mode="count"), (None, 3, 4)),
}


@pytest.mark.parametrize("name", SHAPED)
def test_shapes_as_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    make, shape = SHAPED[name]
    assert make(layers).compute_output_shape(shape) == tuple(make(keras.layers).compute_output_shape(shape))
