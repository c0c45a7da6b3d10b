"""The ops that every model is made of: one file each, holding shape rule, kernels and ONNX form."""

from fastdl.ops.activation import Activation, LogSoftmax, Softmax
from fastdl.ops.batch_norm import BatchNorm
from fastdl.ops.dense import Dense
from fastdl.ops.dropout import Dropout
from fastdl.ops.layer_norm import LayerNorm
from fastdl.ops.noise import Noise, RReLU
from fastdl.ops.prelu import PReLU
from fastdl.ops.reshape import Reshape

__all__ = [
    "Activation",
    "BatchNorm",
    "Dense",
    "Dropout",
    "LayerNorm",
    "LogSoftmax",
    "Noise",
    "PReLU",
    "RReLU",
    "Reshape",
    "Softmax",
]
