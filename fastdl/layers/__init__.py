"""Keras-named layers: parameters, and a `call` that composes ops."""

from fastdl.layers.core import Activation, BatchNormalization, Dense, Dropout, Flatten, Input, ReLU, Softmax
from fastdl.layers.layer import Layer

__all__ = [
    "Activation",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "ReLU",
    "Softmax",
]
