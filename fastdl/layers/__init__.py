"""Keras-named layers: parameters, and a `call` that composes ops."""

from typing import TYPE_CHECKING, Any

from fastdl.base.naming import no_such
from fastdl.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, RReLU, Softmax
from fastdl.layers.augmentation import MixUp, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from fastdl.layers.core import (
    ActivityRegularization,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Input,
    LayerNormalization,
    Rescaling,
    Reshape,
)
from fastdl.layers.layer import CLASSES, Layer, deserialize, serialize
from fastdl.layers.merging import Add, Average, Concatenate, Multiply, Subtract, add, concatenate
from fastdl.layers.noise import AlphaDropout, GaussianDropout, GaussianNoise
from fastdl.layers.own import NumpyLayer
from fastdl.layers.preprocessing import MinMaxScaling, Normalization, Whitening
from fastdl.layers.tied import DenseTranspose

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "DenseTranspose",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MinMaxScaling",
    "MixUp",
    "Multiply",
    "Normalization",
    "NumpyLayer",
    "PReLU",
    "RReLU",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "Subtract",
    "Whitening",
    "add",
    "concatenate",
    "deserialize",
    "serialize",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise no_such(__name__, name, __all__, "fastdl has layers for dense nets only")


CLASSES |= {
    kind.__name__: kind
    for kind in (
        *(Input, Dense, BatchNormalization, LayerNormalization, Flatten, Reshape, Identity, Rescaling, Dropout),
        *(Normalization, MinMaxScaling, Whitening, ActivityRegularization),
        *(RandomFlip, RandomRotation, RandomTranslation, RandomZoom, MixUp),
        *(Activation, ReLU, LeakyReLU, PReLU, RReLU, ELU, Softmax),
        *(AlphaDropout, GaussianDropout, GaussianNoise),
        *(Add, Subtract, Average, Multiply, Concatenate, DenseTranspose),
    )
}
