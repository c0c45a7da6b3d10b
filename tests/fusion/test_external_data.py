"""External tensor data is read from plain files inside the model's own folder; nothing else is opened."""

import os
import socket
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from fastdl.errors import ModelFileError
from fastdl.fusion import fuse, read_model
from fastdl.fusion.files import limits
from fastdl.runner import Runner

from .graphs import operators, run
from .hostile import branch, good

SECRET = b"S" * 64
opened = []
watching = []


@sys.addaudithook
def _hook(event, arguments):
    if watching and event == "open":
        opened.append(arguments[0])


@pytest.fixture
def place(tmp_path):
    """A model's folder with its weights, and secrets of the same size out of its reach."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(SECRET)
    (tmp_path / "twin.bin").write_bytes(SECRET)
    folder = tmp_path / "in"
    (folder / "w.bin").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    (folder / "sub" / "w.bin").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "inner.bin").symlink_to("w.bin")
    (folder / "loop.bin").symlink_to("loop.bin")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "here").symlink_to(".")
    os.link(tmp_path / "twin.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe")
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(1 << 42)
    return tmp_path


def external(*entries, at="initializer"):
    """The good model, one tensor of which is stored elsewhere as the (key, value) entries say."""
    model = good()
    target = PLACES[at](model)
    target.ClearField("raw_data")
    target.data_location = TensorProto.EXTERNAL
    for key, value in entries:
        target.external_data.add(key=key, value=str(value))
    return model


def _value():
    return numpy_helper.from_array(np.zeros((4, 4), np.float32), "inner")


def _in_subgraph(model):
    body = branch(helper.make_node("Constant", [], ["c"], value=_value()), output="c")
    model.graph.node.insert(0, helper.make_node("If", ["d_b"], ["z"], then_branch=body, else_branch=body))
    return model.graph.node[0].attribute[0].g.node[0].attribute[0].t


def _in_a_list(model):
    model.graph.node.insert(0, helper.make_node("Odd", [], ["z"], domain="org.example", values=[_value()]))
    return model.graph.node[0].attribute[0].tensors[0]


def _in_a_function(model):
    node = helper.make_node("Constant", [], ["c"], value=_value())
    model.functions.append(helper.make_function("f", "F", [], ["c"], [node], [helper.make_opsetid("", 17)]))
    return model.functions[0].node[0].attribute[0].t


def _sparse(model):
    indices = numpy_helper.from_array(np.arange(16), "i")
    one = SparseTensorProto(dims=[16], indices=indices, values=numpy_helper.from_array(np.zeros(16, "f4"), "s"))
    model.graph.sparse_initializer.append(one)
    return model.graph.sparse_initializer[0].values


def _in_training(model):
    graph = model.training_info.add().algorithm
    graph.initializer.append(_value())
    return graph.initializer[0]


PLACES = {
    "initializer": lambda model: model.graph.initializer[0],
    "subgraph": _in_subgraph,
    "list attribute": _in_a_list,
    "function": _in_a_function,
    "sparse values": _sparse,
    "training": _in_training,
}

LOCATIONS = {
    "parent": "../secret.bin",
    "parent from below": "sub/../../secret.bin",
    "parent after a dot": "./../secret.bin",
    "parent within": "sub/../w.bin",
    "absolute": "{root}/secret.bin",
    "absolute with two slashes": "//{root}/secret.bin",
    "device": "/dev/zero",
    "symlink": "link.bin",
    "symlink that stays inside": "inner.bin",
    "symlink to itself": "loop.bin",
    "symlink to a device": "zero",
    "symlinked folder": "linked/secret.bin",
    "symlink to the folder itself": "here/w.bin",
    "hardlink": "hard.bin",
    "FIFO": "pipe",
    "socket": "socket",
    "folder": "sub",
    "the folder itself": ".",
    "through a file": "w.bin/w.bin",
    "none": "",
    "missing": "nothing.bin",
    "backslash": "..\\secret.bin",
    "drive": "C:secret.bin",
    "URL": "file://{root}/secret.bin",
    "NUL": "w.bin\0x",
    "NUL after a parent": "../secret.bin\0w.bin",
    "home": "~/secret.bin",
    "a name of 100,000 letters": "a" * 100_000,
    "four thousand folders": "sub/" * 4_000 + "w.bin",
}

EXTENTS = {
    "one byte too many": (("offset", 0), ("length", 65)),
    "past the end": (("offset", 1), ("length", 64)),
    "offset below zero": (("offset", -8), ("length", 64)),
    "length below zero": (("offset", 0), ("length", -9)),
    "less than the dims need": (("offset", 0), ("length", 32)),
    "offset that is no number": (("offset", "x"), ("length", 64)),
    "length that is no number": (("length", "0x40"),),
    "offset of 2^63": (("offset", 2**63), ("length", 64)),
    "length of 2^64": (("length", 2**64),),
    "a number of 10,000 digits": (("length", "9" * 10_000),),
}


def assert_refused(place, model):
    folder = place / "in"
    onnx.save(model, folder / "m.onnx")
    opened.clear()
    watching.append(True)
    began = time.perf_counter()
    try:
        with pytest.raises(ModelFileError, match="tensor") as caught:
            read_model(folder / "m.onnx")
    finally:
        watching.clear()
    assert time.perf_counter() - began < 10
    assert "SSS" not in str(caught.value)
    inside = {str(path) for path in (folder, folder / "m.onnx")} | {"sub", "w.bin", "hard.bin", "pipe", "huge.bin", "."}
    reached = {os.fspath(path) for path in opened if isinstance(path, str | os.PathLike)}
    assert not reached & {str(place / "secret.bin"), "/dev/zero", str(place)}
    through = {"link.bin", "linked", "loop.bin", "zero", "here", "inner.bin"}  # opened with O_NOFOLLOW, so not opened
    assert all(not path.startswith(str(place)) or path in inside | through for path in reached)


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("how", LOCATIONS)
def test_a_location_elsewhere_is_refused(place, how, at):
    if how == "socket":
        sock = socket.socket(socket.AF_UNIX)
        os.chdir(place / "in")  # a socket's path must be short
        sock.bind("socket")
    location = LOCATIONS[how].format(root=place)
    assert_refused(place, external(("location", location), ("offset", 0), ("length", 64), at=at))


@pytest.mark.parametrize("how", EXTENTS)
def test_an_extent_that_does_not_fit_is_refused(place, how):
    assert_refused(place, external(("location", "w.bin"), *EXTENTS[how]))


@pytest.mark.parametrize("extent", [(), (("length", 1 << 42),), (("offset", 1 << 20),)])
def test_a_sparse_file_of_four_terabytes_is_not_read(place, extent):
    assert_refused(place, external(("location", "huge.bin"), *extent))


def test_a_second_location_does_not_slip_by(place):
    assert_refused(place, external(("location", "w.bin"), ("location", "../secret.bin"), ("length", 64)))


def test_a_file_read_again_and_again_counts_each_time(place, monkeypatch):
    """A thousand tensors that name one small file make a large model."""
    monkeypatch.setattr("fastdl.fusion.files.external.LIMIT", 3000)
    monkeypatch.setattr(limits, "LIMIT", 3000)
    model = good()
    for number in range(40):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=TensorProto.FLOAT, dims=[16])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
    assert_refused(place, model)


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin", "sub//w.bin"])
def test_data_in_the_folder_is_read(place, location):
    onnx.save(external(("location", location), ("length", 64)), place / "in" / "m.onnx")
    model = read_model(place / "in" / "m.onnx")
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]).ravel(), np.arange(16, dtype=np.float32))
    assert not model.graph.initializer[0].HasField("data_location")
    assert operators(fuse(place / "in" / "m.onnx", measure=False)[0]) == ["Gemm"]


def test_the_folder_itself_may_be_reached_by_a_link(place):
    onnx.save(external(("location", "w.bin"), ("length", 64)), place / "in" / "m.onnx")
    (place / "elsewhere").symlink_to(place / "in")
    assert read_model(place / "elsewhere" / "m.onnx") == read_model(place / "in" / "m.onnx")


def test_a_model_that_onnx_saved_with_external_data(tmp_path):
    model = good()
    convert_model_to_external_data(model, location="all.bin", size_threshold=0)
    onnx.save(model, tmp_path / "m.onnx")
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(Runner(tmp_path / "m.onnx").predict(x), run(good(), {"x": x})[0])
