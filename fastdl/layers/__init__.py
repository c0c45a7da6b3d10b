"""Keras-named layers: parameters, and a `call` that composes ops."""

from fastdl.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, RReLU, Softmax
from fastdl.layers.core import (
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Input,
    LayerNormalization,
    Rescaling,
)
from fastdl.layers.layer import CLASSES, Layer, deserialize, serialize
from fastdl.layers.noise import AlphaDropout, GaussianDropout, GaussianNoise

__all__ = [
    "ELU",
    "Activation",
    "AlphaDropout",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
    "deserialize",
    "serialize",
]

CLASSES |= {
    kind.__name__: kind
    for kind in (
        *(Input, Dense, BatchNormalization, LayerNormalization, Flatten, Identity, Rescaling, Dropout),
        *(Activation, ReLU, LeakyReLU, PReLU, RReLU, ELU, Softmax),
        *(AlphaDropout, GaussianDropout, GaussianNoise),
    )
}
