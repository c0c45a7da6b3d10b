"""Large weights lie beside the model: the same bytes in the end, less memory and time on the way."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.errors import ModelFileError
from fastdl.fusion import fuse, pipeline, read_model, write_model
from fastdl.fusion.evaluator.blas import _openblas, one_thread, product
from fastdl.fusion.graph import weights as weights_module
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.weights import Lean
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.truth import Truth

from .graphs import Sketch

R = np.random.default_rng(0)


def net(layers=3, width=24):
    g, value = Sketch(), "x"
    for k in range(layers):
        g.dense(value, f"d{k}", width, width)
        g.batch_norm(f"d{k}", f"n{k}", width)
        value = g.node("Relu", [f"n{k}"], f"r{k}")
    return g.model({"x": ["N", width]}, {value: ["N", width]})


@pytest.fixture
def small(monkeypatch):
    """Of which even small models count as large."""
    monkeypatch.setattr(weights_module, "APART", 1)
    monkeypatch.setattr(weights_module, "LARGE", 24 * 24)


def strange():
    """All that may stand around a weight in the bytes of a file."""
    model = net()
    first, second = model.graph.initializer[0], model.graph.initializer[6]
    first.doc_string = "of the first layer"
    second.doc_string = ""
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((30, 30), np.float16), "half"))
    listed = helper.make_tensor("listed", TensorProto.FLOAT, [30, 30], np.zeros(900))
    model.graph.initializer.append(listed)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((30, 30)), "double"))
    model.graph.doc_string, model.doc_string = "a graph", "a model"
    model.metadata_props.add(key="k", value="v")
    return model


def test_the_parts_are_what_the_model_serialises_to(small):
    for model in (net(), strange()):
        lean = Lean.apart(model)
        assert len(lean.weights) >= 3
        assert b"".join(lean.parts()) == model.SerializeToString()
        assert lean.byte_size() == model.ByteSize()
        assert lean.joined().SerializeToString() == model.SerializeToString()


def test_fields_that_this_onnx_does_not_know_are_not_lost(small):
    model = net()
    content = model.SerializeToString() + b"\xfa\x3f\x03new"  # field 1023
    model = onnx.load_from_string(content)
    lean = Lean.apart(model)
    assert not lean.weights
    assert b"".join(lean.parts()) == content


def test_a_model_in_which_nothing_folds_comes_back_to_the_byte(small):
    g = Sketch()
    g.dense("x", "d", 24, 24)
    model = g.model({"x": ["N", 24]}, {"d": ["N", 24]})
    assert Lean.apart(model).weights
    assert fuse(model, measure=False)[0].SerializeToString() == model.SerializeToString()


def test_what_is_written_is_what_would_be_serialised(small, tmp_path):
    write_model(strange(), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == strange().SerializeToString()


def test_weights_are_read_anew_where_they_are_needed_again():
    arrays = {"w": R.normal(size=(4, 4))}
    lean = Lean(net(), dict(arrays), again=lambda: dict(arrays))
    lean.release()
    assert np.array_equal(lean.weights["w"], arrays["w"])
    lean.release()
    arrays["w"] = arrays["w"] + 1
    with pytest.raises(ModelFileError, match="was changed"):
        assert lean.weights
    kept = Lean(net(), dict(arrays))  # nothing to read them from
    kept.release()
    assert kept.weights.keys() == arrays.keys()


def test_folds_that_fail_the_proof_are_taken_back_with_the_weights_read_anew(small, monkeypatch, tmp_path):
    """Inputs 30,000 deviations from zero: the dense layer would sum them uncentred."""
    g = Sketch(seed=3)
    g.batch_norm("x", "n", 400)
    g.const("n_mean", np.full(400, 30_000.0))
    g.dense("n", "d", 400, 16)
    g.batch_norm("d", "y", 16)
    onnx.save(g.model({"x": ["N", 400]}, {"y": ["N", 16]}), tmp_path / "m.onnx")
    real, counted = pipeline.read_model, []
    monkeypatch.setattr(
        pipeline, "read_model", lambda source, **options: counted.append(source) or real(source, **options)
    )
    fused, report = fuse(tmp_path / "m.onnx", measure=False)
    assert [node.op_type for node in fused.graph.node] == ["BatchNormalization", "Gemm"]
    assert report.verified
    assert len(counted) == 2


@pytest.mark.parametrize("name", ["transposed", "scaled", "by a Constant"])
def test_large_constants_are_computed_again_to_the_same_result(name, monkeypatch):
    """Whether they are kept in float64 or not, and however their sources were dropped since."""
    g = Sketch()
    weight = g.const("w", R.normal(size=(24, 24)))
    if name == "by a Constant":
        weight = g.node("Constant", [], "c", value=numpy_helper.from_array(R.normal(size=(24, 24)).astype(np.float32)))
    if name == "scaled":
        g.node("Gemm", ["x", weight], "d", transB=1, alpha=0.5)
    else:
        g.node("MatMul", ["x", g.node("Transpose", [weight], "t") if name == "transposed" else weight], "d")
    g.batch_norm("d", "n", 24)
    g.node("Mul", ["n", g.const("two", np.full(24, 2.0))], "m")
    g.dense("m", "y", 24, 24)
    model = g.model({"x": ["N", 24]}, {"y": ["N", 24]})
    want = fold_all(model)[0]
    monkeypatch.setattr("fastdl.fusion.graph.index.KEPT", 1)
    monkeypatch.setattr("fastdl.fusion.graph.index.ROOM", 1)
    assert fold_all(model)[0].SerializeToString() == want.SerializeToString()


def test_a_long_chain_of_large_constants_is_no_recursion(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.graph.index.KEPT", 1)
    g = Sketch()
    value = g.dense("x", "d", 4, 4)
    for k in range(1200):
        value = g.node("Mul", [value, g.const(f"c{k}", np.full(4, 1.01 if k % 2 else 1 / 1.01))], f"m{k}")
    assert [node.op_type for node in fold_all(g.model({"x": ["N", 4]}, {value: ["N", 4]}))[0].graph.node] == ["Gemm"]


def test_a_weight_is_not_computed_to_know_its_shape():
    model = net()
    index = GraphIndex(model)
    name = model.graph.node[0].input[1]
    assert index.constant_shape(name) == (24, 24)
    index.constant = None
    assert index.constant_shape(name) == (24, 24)


@pytest.mark.slow
def test_a_product_with_narrow_weights_is_that_with_wide_ones():
    a, b = R.normal(size=(3, 2, 700)), R.normal(size=(700, 600)).astype(np.float32)
    for weight in (b, b[:600].T, np.ones((700, 2**19), np.float32)[:, :3]):
        left = a[..., : len(weight)]
        assert np.allclose(product(left, weight), left @ weight.astype(np.float64), rtol=1e-13, atol=1e-11)


def test_a_product_of_integers_stays_one():
    b = R.integers(-5, 5, (700, 600))
    assert np.array_equal(product(b[:2, :600], b[:600]), b[:2, :600] @ b[:600])
    assert product(b[:2, :600], b[:600]).dtype.kind == "i"


def test_a_large_weight_that_several_kinds_of_nodes_read_is_as_exact_for_all(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.proof.truth.SMALL", 1)
    g = Sketch()
    weight = g.const("w", R.normal(size=(4, 4)))
    g.node("MatMul", ["x", weight], "m")
    g.node("Mul", ["m", weight], "s")
    g.node("MatMul", ["s", weight], "y")
    model = g.model({"x": [4, 4]}, {"y": [4, 4]})
    g = Sketch()
    g.node("MatMul", ["w", g.const("w", R.normal(size=(4, 4)))], "s")
    g.node("Mul", ["x", "s"], "y")
    square = g.model({"x": [4, 4]}, {"y": [4, 4]})
    w = numpy_helper.to_array(square.graph.initializer[0]).astype(np.float64)
    assert np.allclose(Truth(square)({"x": np.ones((4, 4))})[0], w @ w, rtol=1e-14)
    x, w = R.normal(size=(4, 4)), numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    assert np.allclose(Truth(model)({"x": x})[0], x @ w * w @ w, rtol=1e-14)


def test_blas_has_its_threads_back_after_the_last_truth():
    functions = _openblas()
    if functions is None:
        pytest.skip("numpy's BLAS is no OpenBLAS here")
    get, set_ = functions
    before = get()
    set_(2)
    try:
        entered, leave = threading.Event(), threading.Event()

        def other():
            with one_thread():
                entered.set()
                leave.wait(10)

        thread = threading.Thread(target=other)
        with one_thread():
            assert get() == 1
            thread.start()
            assert entered.wait(10)
        assert get() == 1  # the other is within still
        leave.set()
        thread.join()
        assert get() == 2
    finally:
        set_(before)


PEAK = """
import sys, time
import numpy, onnx, onnxruntime, onnx.reference
from fastdl.fusion import fuse, pipeline, write_model
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
before = peak()
model, report = fuse(sys.argv[1], measure=False)
write_model(model, sys.argv[1] + ".fused")
assert report.verified and len(model.graph.node) == 8
print(peak() - before)
"""


@pytest.mark.slow
def test_fusing_a_large_file_takes_about_three_times_its_size(tmp_path):
    """Written out, too; the bar leaves room for what any first session takes, whatever the file's size."""
    path = tmp_path / "m.onnx"
    path.write_bytes(net(4, 2048).SerializeToString())
    done = subprocess.run([sys.executable, "-P", "-c", PEAK, str(path)], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3.2 * path.stat().st_size + 2**25
    assert read_model(tmp_path / "m.onnx.fused").graph.node
