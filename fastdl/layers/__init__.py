"""Keras-named layers: parameters, and a `call` that composes ops."""

from typing import TYPE_CHECKING, Any

from fastdl.base.naming import no_such
from fastdl.layers.activation import *
from fastdl.layers.augmentation import *
from fastdl.layers.batch_normalization import *
from fastdl.layers.categories import *
from fastdl.layers.composed import *
from fastdl.layers.core import *
from fastdl.layers.data_layer import DataLayer as DataLayer
from fastdl.layers.embedding import *
from fastdl.layers.encoding import *
from fastdl.layers.hashing import *
from fastdl.layers.layer import CLASSES as CLASSES
from fastdl.layers.layer import Layer as Layer
from fastdl.layers.layer import deserialize as deserialize
from fastdl.layers.layer import serialize as serialize
from fastdl.layers.lookup import *
from fastdl.layers.members import *
from fastdl.layers.merging import *
from fastdl.layers.noise import *
from fastdl.layers.operation import *
from fastdl.layers.own import *
from fastdl.layers.preprocessing import *
from fastdl.layers.tied import *
from fastdl.layers.wrapping import *

if not TYPE_CHECKING:
    __all__ = [
        *(
            "Layer",
            "NumpyLayer",
            "Wrapper",
            "add",
            "average",
            "concatenate",
            "deserialize",
            "dot",
            "maximum",
            "minimum",
        ),
        *("multiply", "serialize", "subtract", *CLASSES),
    ]

    def __getattr__(name: str) -> Any:
        raise no_such(__name__, name, __all__, "fastdl has layers for dense nets only")
