"""Models of ONNX files."""

from __future__ import annotations

from fastdl.errors import warn
from fastdl.fusion.files.model_file import ModelSource
from fastdl.models.functional import Functional
from fastdl.models.sequential import Sequential
from fastdl.onnx.importing import read_dense_net


def from_onnx(source: ModelSource, *, limited: bool = True) -> Sequential | Functional:
    """The dense net in an ONNX file, as layers that can be trained, exported and saved; not compiled.

    source: path, bytes or onnx.ModelProto, written by PyTorch, Keras, scikit-learn (skl2onnx), fastdl or others. Its
    float type is the model's: a Sequential, or a Model(inputs, outputs) where there are branches. Scalings by feature
    become batch norms with trainable=False. What a classifier does with the probabilities (labels, a dict by class)
    is left out, with a warning. limited: False for a file that you trust, however many nodes it has. ModelFileError
    for a file that cannot be trusted, and, with node, operator and reason, for a net that is not made of such layers.
    """
    net = read_dense_net(source, limited)
    model: Sequential | Functional
    if net.in_a_row:
        model = Sequential([*net.inputs, *net.layers], dtype=net.inputs[0].dtype)  # type: ignore[list-item]
    else:
        model = Functional(net.inputs, net.outputs)
    for note in net.notes:
        warn(note, UserWarning)
    return model
