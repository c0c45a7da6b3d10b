"""What libraries raise when memory runs out is told from all else that they raise; see also tests/faults."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError, EncodeError
from onnx import numpy_helper

from fastdl.errors import FusionError, ModelFileError
from fastdl.fusion import read_model
from fastdl.fusion.graph.memory import copied, memory_errors, tensor_of

from .graphs import Sketch


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def while_handling(error: Exception, before: Exception, hidden: bool) -> Exception:
    error.__context__, error.__suppress_context__ = before, hidden
    return error


OUT_OF_MEMORY = {
    "onnxruntime": RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    "protobuf writes": EncodeError("Failed to serialize proto"),
    "protobuf reads": DecodeError("Error parsing message with type 'onnx.ModelProto': Arena alloc failed"),
    "wrapped": because(FusionError("it does not run"), RuntimeError("std::bad_alloc")),
    "on the way": while_handling(ValueError("x"), MemoryError(), hidden=False),
}
OTHER = {
    "a name in a file": ModelFileError("node 'bad_alloc' reads 'x', which nothing makes"),
    "hidden": while_handling(ModelFileError("truncated"), DecodeError("Wrong wire type in tag"), hidden=True),
    "its own cause": because(error := RuntimeError("no"), error),
}


def throw(error: Exception) -> None:
    """Raise it as it was: Python would make its context what it is handling now."""
    if error.__context__ is None:
        raise error
    try:
        raise error.__context__
    except BaseException:
        raise error  # noqa: B904


@pytest.mark.parametrize("name", OUT_OF_MEMORY)
def test_it_becomes_a_memory_error(name):
    with pytest.raises(MemoryError, match="no memory is left"), memory_errors():
        throw(OUT_OF_MEMORY[name])


@pytest.mark.parametrize("name", OTHER)
def test_all_else_stays_what_it_is(name):
    with pytest.raises(type(OTHER[name])) as caught, memory_errors():
        throw(OTHER[name])
    assert caught.value is OTHER[name]


def test_a_file_may_use_any_words():
    g = Sketch()
    g.node("Relu", ["bad_alloc"], "y")
    with pytest.raises(ModelFileError, match="'bad_alloc'"):
        read_model(g.model({"x": ["N", 4]}, {"y": ["N", 4]}))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (127, 129), (5, 200, 301)])
def test_a_tensor_is_byte_for_byte_what_onnx_makes(dtype, shape):
    array = (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)
    for given in (array, np.asarray(array, order="F")):
        made, wanted = tensor_of(given, "w"), numpy_helper.from_array(given, "w")
        assert made.SerializeToString() == wanted.SerializeToString()
        assert copied(made) == made
