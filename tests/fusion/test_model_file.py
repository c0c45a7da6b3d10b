"""Files that nobody vouches for: one typed error with one line, or a sound model."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from fastdl.errors import ModelFileError
from fastdl.fusion import fuse, read_model
from fastdl.runner import Runner

from .graphs import Sketch, operators, run


def good():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "y", 4)
    return g.model({"x": ["N", 4]}, {"y": ["N", 4]})


def with_node(*args, at=0, **attributes):
    model = good()
    nodes = list(model.graph.node)
    nodes.insert(at, helper.make_node(*args, **attributes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def cycle():
    model = with_node("Relu", ["y"], ["loop"])
    model.graph.node[1].input[0] = "loop"
    return model


def nested(value):
    body = helper.make_graph(
        [helper.make_node("Relu", [value], ["in"])],
        "b",
        [],
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, None)],
    )
    return with_node("If", ["d_b"], ["z"], then_branch=body, else_branch=body)


def tensor(change):
    model = good()
    change(model.graph.initializer[0])
    return model


def raw(value):
    return lambda t: setattr(t, "raw_data", value)


def dims(*values):
    def change(t):
        del t.dims[:]
        t.dims.extend(values)

    return change


def graph(change):
    model = good()
    change(model)
    return model


BROKEN_GRAPHS = {
    "cycle": (cycle(), "cycle"),
    "out of order": (with_node("Relu", ["y"], ["z"]), "before it is made"),
    "duplicate output": (with_node("Relu", ["x"], ["d"]), "made twice"),
    "output overwrites an input": (with_node("Relu", ["d_w"], ["x"]), "made twice"),
    "output overwrites an initializer": (with_node("Relu", ["x"], ["d_w"]), "made twice"),
    "missing input": (with_node("Relu", ["ghost"], ["z"]), "'ghost', which nothing makes"),
    "missing input in a subgraph": (nested("ghost"), "'ghost', which nothing makes"),
    "missing initializer": (graph(lambda m: m.graph.initializer.pop(0)), "which nothing makes"),
    "graph output not made": (graph(lambda m: setattr(m.graph.output[0], "name", "q")), "made by no node"),
    "duplicate input": (graph(lambda m: m.graph.input.append(m.graph.input[0])), "listed twice"),
    "duplicate initializer": (
        graph(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        "stored twice",
    ),
    "no graph": (graph(lambda m: m.ClearField("graph")), "no graph"),
    "no opset": (graph(lambda m: m.ClearField("opset_import")), "no opset"),
    "no IR version": (graph(lambda m: m.ClearField("ir_version")), "not an ONNX model"),
    "short data": (tensor(raw(b"1234")), "does not hold the data"),
    "long data": (tensor(raw(b"1" * 400)), "does not hold the data"),
    "no data": (tensor(lambda t: t.ClearField("raw_data")), "does not hold the data"),
    "negative dims": (tensor(dims(-4, -4)), "impossible dims"),
    "dims that overflow": (tensor(dims(2**62, 2**62, 4)), "impossible dims"),
    "unknown data type": (tensor(lambda t: setattr(t, "data_type", 99)), "unknown data type"),
    "external, in memory": (
        tensor(lambda t: setattr(t, "data_location", TensorProto.EXTERNAL)),
        "stored outside",
    ),
}


@pytest.mark.parametrize("reader", [fuse, Runner], ids=["fuse", "Runner"])
@pytest.mark.parametrize("name", BROKEN_GRAPHS)
def test_broken_graphs(name, reader):
    model, reason = BROKEN_GRAPHS[name]
    with pytest.raises(ModelFileError, match=reason) as caught:
        reader(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", [fuse, Runner], ids=["fuse", "Runner"])
class TestFiles:
    def expect(self, reader, path, reason):
        with pytest.raises(ModelFileError, match=reason) as caught:
            reader(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def test_missing(self, reader, tmp_path):
        self.expect(reader, tmp_path / "none.onnx", "no such file")

    def test_folder(self, reader, tmp_path):
        self.expect(reader, tmp_path, "not a plain file")

    def test_fifo(self, reader, tmp_path):
        os.mkfifo(tmp_path / "m.onnx")
        self.expect(reader, tmp_path / "m.onnx", "not a plain file")

    @pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x00" * 64, b"PK\x03\x04" + b"z" * 100])
    def test_not_onnx(self, reader, tmp_path, content):
        (tmp_path / "m.onnx").write_bytes(content)
        self.expect(reader, tmp_path / "m.onnx", "empty|not an ONNX")

    def test_truncated_anywhere(self, reader, tmp_path):
        content = good().SerializeToString()
        for length in range(1, len(content), 37):
            (tmp_path / "m.onnx").write_bytes(content[:length])
            self.expect(reader, tmp_path / "m.onnx", "truncated|not an ONNX")


def test_flipped_bytes_give_a_typed_error_or_a_model():
    content, rng = good().SerializeToString(), np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        try:
            fuse(bytes(damaged), verify=False, measure=False)
        except ModelFileError:
            failed += 1
    assert 30 < failed < 270


def test_an_unknown_operator_is_passed_through():
    model = with_node("Frobnicate", ["x"], ["z"])
    fused, report = fuse(model, verify=False, measure=False)
    assert operators(fused) == ["Frobnicate", "Gemm"]
    assert len(report.folds) == 1


def test_a_path_bytes_and_a_model_read_the_same(tmp_path):
    onnx.save(good(), tmp_path / "m.onnx")
    by_path = read_model(tmp_path / "m.onnx")
    assert by_path == read_model(str(tmp_path / "m.onnx")) == read_model(good().SerializeToString())
    assert by_path == read_model(good())


# --- external data ---------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path):
    """A model folder with its weights beside it, and a secret of the same size out of reach."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(b"S" * 64)
    (tmp_path / "in" / "w.bin").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    return tmp_path


def external(location, offset=None, length=64, nested=False):
    model = good()
    target = model.graph.initializer[0]
    if nested:
        value = numpy_helper.from_array(np.zeros((4, 4), np.float32), "inner")
        body = helper.make_graph(
            [helper.make_node("Constant", [], ["c"], value=value)],
            "b",
            [],
            [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
        )
        model = with_node("If", ["d_b"], ["z"], then_branch=body, else_branch=body)
        target = model.graph.node[0].attribute[0].g.node[0].attribute[0].t
    target.ClearField("raw_data")
    target.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            target.external_data.add(key=key, value=str(value))
    return model


def test_external_data_in_the_folder_is_read(outside):
    onnx.save(external("w.bin"), outside / "in" / "m.onnx")
    model = read_model(outside / "in" / "m.onnx")
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]).ravel(), np.arange(16, dtype=np.float32))
    assert operators(fuse(outside / "in" / "m.onnx", measure=False)[0]) == ["Gemm"]


def test_a_model_that_onnx_saved_with_external_data(tmp_path):
    model = good()
    convert_model_to_external_data(model, location="all.bin", size_threshold=0)
    onnx.save(model, tmp_path / "m.onnx")
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(Runner(tmp_path / "m.onnx").predict(x), run(good(), {"x": x})[0])


LEAVES = {
    "parent": "../secret.bin",
    "parent from below": "sub/../../secret.bin",
    "absolute": "{root}/secret.bin",
    "symlink": "link.bin",
    "symlinked folder": "linked/secret.bin",
    "hardlink": "hard.bin",
    "fifo": "pipe",
    "folder": "sub",
    "none": "",
    "missing": "nothing.bin",
    "backslash": "..\\secret.bin",
    "nul": "w.bin\0x",
}


@pytest.mark.parametrize("nest", [False, True], ids=["initializer", "in a subgraph"])
@pytest.mark.parametrize("how", LEAVES)
def test_external_data_elsewhere_is_refused(outside, how, nest):
    folder = outside / "in"
    (folder / "link.bin").symlink_to(outside / "secret.bin")
    (folder / "linked").symlink_to(outside)
    (outside / "twin.bin").write_bytes(b"S" * 64)
    os.link(outside / "twin.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe")
    onnx.save(external(LEAVES[how].format(root=outside), nested=nest), folder / "m.onnx")
    with pytest.raises(ModelFileError, match="external data of tensor") as caught:
        read_model(folder / "m.onnx")
    assert "SSS" not in str(caught.value)


@pytest.mark.parametrize(("offset", "length"), [(0, 65), (1, 64), (-8, 64), (0, -9), (0, 32), ("x", 64), (2**63, 64)])
def test_external_data_of_a_wrong_extent_is_refused(outside, offset, length):
    onnx.save(external("w.bin", offset, length), outside / "in" / "m.onnx")
    with pytest.raises(ModelFileError):
        read_model(outside / "in" / "m.onnx")
