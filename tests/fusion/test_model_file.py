"""Files on disk: one typed error with one line that names the file, or a sound model; and writing them."""

import os

import numpy as np
import onnx
import pytest

from fastdl.errors import ModelFileError
from fastdl.fusion import fuse, read_model, write_model
from fastdl.fusion.files import model_file
from fastdl.runner import Runner

from .graphs import Sketch, operators
from .hostile import good, with_node


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


def test_a_large_model_is_written_with_its_weights_beside_it(tmp_path, monkeypatch):
    """Large is made to mean a kilobyte; the weights are then read from the folder as anyone's would be."""
    monkeypatch.setattr(model_file, "SELF_CONTAINED", 1000)
    g = Sketch()
    g.dense("x", "d", 40, 30)
    g.dense("d", "y", 30, 20)
    model = g.model({"x": ["N", 40]}, {"y": ["N", 20]})
    write_model(model, tmp_path / "m.onnx")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert names[0] == "m.onnx"
    assert (tmp_path / names[1]).stat().st_size == 4 * (40 * 30 + 30 * 20)
    assert read_model(tmp_path / "m.onnx") == read_model(model)
    onnx.checker.check_model(str(tmp_path / "m.onnx"))
    x = np.ones((2, 40), np.float32)
    np.testing.assert_array_equal(Runner(tmp_path / "m.onnx").predict(x), Runner(model).predict(x))


def test_other_weights_never_take_the_place_of_those_that_a_model_beside_them_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "SELF_CONTAINED", 1000)
    models = []
    for seed in (0, 1):
        g = Sketch(seed=seed)
        g.dense("x", "y", 40, 30)
        models.append(g.model({"x": ["N", 40]}, {"y": ["N", 30]}))
    write_model(models[0], tmp_path / "m.onnx")
    old = (tmp_path / "m.onnx").read_bytes()
    write_model(models[1], tmp_path / "m.onnx")
    assert read_model(tmp_path / "m.onnx") == read_model(models[1])
    (tmp_path / "m.onnx").write_bytes(old)  # as if the second had been stopped between its two files
    assert read_model(tmp_path / "m.onnx") == read_model(models[0])
