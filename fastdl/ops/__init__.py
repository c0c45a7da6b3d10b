"""The ops that every model is made of: one file each, holding shape rule, kernels and ONNX form."""

from fastdl.ops.activation import Activation, LogSoftmax, Softmax
from fastdl.ops.affine import Affine
from fastdl.ops.batch_norm import BatchNorm
from fastdl.ops.dense import Dense
from fastdl.ops.dropout import Dropout
from fastdl.ops.layer_norm import LayerNorm
from fastdl.ops.merge import Add, Concatenate, Multiply
from fastdl.ops.mix import MixUp
from fastdl.ops.motion import Motion
from fastdl.ops.noise import Noise, RReLU
from fastdl.ops.own import Own
from fastdl.ops.penalty import Penalty
from fastdl.ops.prelu import PReLU
from fastdl.ops.reshape import Reshape
from fastdl.ops.tied_dense import TiedDense

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "BatchNorm",
    "Concatenate",
    "Dense",
    "Dropout",
    "LayerNorm",
    "LogSoftmax",
    "MixUp",
    "Motion",
    "Multiply",
    "Noise",
    "Own",
    "PReLU",
    "Penalty",
    "RReLU",
    "Reshape",
    "Softmax",
    "TiedDense",
]
