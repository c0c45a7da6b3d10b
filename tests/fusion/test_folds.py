"""What folds, into what: each fold by each form of a dense layer, both dtypes, old and new opsets."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.fusion import fuse

from .graphs import AFFINES, FORMS, Sketch, check, close, operators, run

DTYPES = [np.float32, np.float64]
OPSETS = [7, 9, 11, 13, 15, 21]


def chain(*steps, dtype=np.float32, opset=17, width=5):
    """x (N, 4) through the named steps, each on `width` units after the first dense layer."""
    g, value, size = Sketch(dtype, opset), "x", 4
    for i, step in enumerate(steps):
        out = "y" if i == len(steps) - 1 else f"v{i}"
        if step == "bn":
            value = g.batch_norm(value, out, size)
        elif step in AFFINES:
            value = g.affine(value, out, size, step)
        elif step in FORMS:
            value, size = g.dense(value, out, size, width, step), width
        elif step == "flatten":
            value = g.node("Flatten", [value], out)
        elif step == "reshape":
            value = g.node("Reshape", [value, g.const(f"{out}_shape", [-1, size], np.int64)], out)
        else:
            value = g.node(step, [value], out)
    return g.model({"x": ["N", 4]}, {"y": ["N", size]})


def assert_fuses(model, expected, dtype=np.float32):
    before = model.SerializeToString()
    fused, report = fuse(model, measure=False)
    assert operators(fused) == expected
    assert model.SerializeToString() == before, "the input model was changed"
    check(fused)
    for batch in (1, 3, 50):
        x = np.random.default_rng(batch).normal(size=(batch, 4)).astype(dtype)
        for got, want in zip(run(fused, {"x": x}), run(model, {"x": x}), strict=True):
            assert got.dtype == want.dtype
            assert close(got, want, dtype)
    return fused, report


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
class TestEveryForm:
    def test_dense_then_batch_norm(self, form, dtype):
        assert_fuses(chain(form, "bn", dtype=dtype), ["Gemm"], dtype)

    def test_batch_norm_then_dense(self, form, dtype):
        assert_fuses(chain("bn", form, dtype=dtype), ["Gemm"], dtype)

    def test_both_sides_of_an_activation(self, form, dtype):
        model = chain("bn", form, "bn", "Relu", "Dropout", "bn", form, dtype=dtype)
        assert_fuses(model, ["Gemm", "Relu", "Gemm"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", AFFINES)
class TestEveryAffineMap:
    def test_dense_then_affine(self, kind, dtype):
        assert_fuses(chain("gemm transB", kind, "Relu", dtype=dtype), ["Gemm", "Relu"], dtype)

    def test_affine_then_dense(self, kind, dtype):
        assert_fuses(chain(kind, "gemm", dtype=dtype), ["Gemm"], dtype)

    def test_on_all_sides(self, kind, dtype):
        steps = [kind, "matmul", kind, "Tanh", "Dropout", kind, "gemm no bias", kind, "batch norm", "Softmax"]
        assert_fuses(chain(*steps, dtype=dtype), ["Gemm", "Tanh", "Gemm", "Softmax"], dtype)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", ["gemm", "gemm transB alpha beta row", "matmul + vector"])
def test_every_opset(form, opset):
    model = chain("bn", form, "bn", "Relu", "Dropout", "Identity", "bn", form, opset=opset)
    fused, _ = assert_fuses(model, ["Gemm", "Relu", "Gemm"])
    assert fused.opset_import[0].version == opset


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["matmul + vector"], ["Gemm"]),
        (["scalar + matmul", "Relu"], ["Gemm", "Relu"]),
        (["matmul", "Relu"], ["Gemm", "Relu"]),  # the one form that onnxruntime's own MatMul fusions leave alone
        (["gemm", "Dropout", "bn", "Tanh"], ["Gemm", "Tanh"]),
        (["gemm", "Identity", "flatten", "reshape", "bn"], ["Gemm"]),
        (["bn", "flatten", "gemm"], ["Gemm"]),
        (["bn", "reshape", "Dropout", "matmul"], ["Gemm"]),
        (["bn", "bn", "gemm", "bn", "bn"], ["Gemm"]),
        (["gemm", "Relu", "bn"], ["Gemm", "Relu", "BatchNormalization"]),
        (["gemm", "bn", "Softmax"], ["Gemm", "Softmax"]),
        (["Identity", "gemm", "Dropout"], ["Gemm"]),
    ],
)
def test_chains(steps, expected):
    assert_fuses(chain(*steps), expected)


def test_folded_parameters_are_the_float64_ones_rounded_once():
    model = chain("bn", "gemm", "bn")
    c = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    s1 = c["v0_gamma"] / np.sqrt(c["v0_var"] + float(np.float32(1e-5)))
    s2 = c["y_gamma"] / np.sqrt(c["y_var"] + float(np.float32(1e-5)))
    weight = s1[:, None] * c["v1_w"] * s2
    bias = (c["v1_b"] + (c["v0_beta"] - c["v0_mean"] * s1) @ c["v1_w"] - c["y_mean"]) * s2 + c["y_beta"]
    fused, _ = fuse(model, measure=False)
    got = {t.name: numpy_helper.to_array(t) for t in fused.graph.initializer}
    w, b = (got[name] for name in fused.graph.node[0].input[1:])
    # Rounded once: the nearest float32, but for the odd one where the order of the float64 sums decides.
    assert np.mean(w == weight.astype(np.float32)) > 0.9
    assert np.abs(w - weight).max() <= 0.5001 * np.spacing(np.abs(weight).astype(np.float32)).max()
    assert np.abs(b - bias).max() <= 0.5001 * np.spacing(np.abs(bias).astype(np.float32)).max()
    assert len(got) == 2, "unused parameters are dropped"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1.0, 2, 3, 4), (0.5, -1, 2, 1)),
        ((1.0, 0, 3, 4), (0.5, 1, 2, 1)),
        ((3.0, 1, 2, 1), (0.0, 1, 2, 1)),
        (2.0, 0.25),
    ],
)
@pytest.mark.parametrize("tail", [("gemm",), ("matmul + vector", "gemm transB")])
def test_of_two_summands_times_constants_one_keeps_its_factor(first, second, tail, dtype):
    g = Sketch(dtype)
    g.node("Tanh", ["x"], "t")
    g.node("Mul", ["x", g.const("c", first)], "a")
    g.node("Mul", ["t", g.const("d", second)], "b")
    g.node("Add", ["a", "b"], "s")
    for i, form in enumerate(tail):
        g.dense("s", f"y{i}", 4, 3, form)
    model = g.model({"x": ["N", 4]}, {f"y{i}": ["N", 3] for i in range(len(tail))})
    _, report = assert_fuses(model, ["Tanh", "Mul", "Add", *["Gemm"] * len(tail)], dtype)
    assert [fold.name for fold in report.folds if fold.node == "Add_s"] == ["factor of a summand → dense"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("high", "low"),
    [((1.0, 2, 3, 4), (0.5, -1, 2, 1)), (2.0, -1.0), ([[1.0, 2, 3, 4]], 0.0), ((3.0, 1, 2, 1), [[-1.0]])],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_choice_between_constants_is_taken_over(high, low, beside, dtype):
    g = Sketch(dtype)
    g.node("Greater", ["x", g.const("limit", 0.0)], "q")
    g.node("Where", ["q", g.const("a", high), g.const("b", low)], "w")
    if beside:
        g.node("Concat", ["x", "w"], "j", axis=1)
    g.dense("j" if beside else "w", "y", 8 if beside else 4, 3, "gemm")
    model = g.model({"x": ["N", 4]}, {"y": ["N", 3]})
    _, report = assert_fuses(model, ["Greater", "Cast", *["Concat"] * beside, "Gemm"], dtype)
    assert [fold.name for fold in report.folds if fold.node == "Where_w"] == ["choice → dense"]


def test_every_head_takes_the_batch_norm_before_them():
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.dense("n", "a", 4, 3, "gemm")
    g.dense("n", "b", 4, 2, "matmul + vector")
    model = g.model({"x": ["N", 4]}, {"a": ["N", 3], "b": ["N", 2]})
    _, report = assert_fuses(model, ["Gemm", "Gemm"])
    assert [f.into for f in report.folds if f.node == "BatchNormalization_n"] == ["Gemm_a, MatMul_b_product"]


@pytest.mark.parametrize("how", ["Flatten", "Reshape -1", "Reshape 0 -1"])
def test_batch_norm_of_channels_goes_through_flatten(how):
    g = Sketch()
    g.batch_norm("x", "n", 2)
    if how == "Flatten":
        g.node("Flatten", ["n"], "f", axis=1)
    else:
        target = [-1, 24] if how == "Reshape -1" else [0, -1]
        g.node("Reshape", ["n", g.const("shape", target, np.int64)], "f")
    g.dense("f", "y", 24, 3)
    model = g.model({"x": ["N", 2, 3, 4]}, {"y": ["N", 3]})
    fused, _ = fuse(model, measure=False)
    assert operators(fused) == [how.split()[0], "Gemm"]
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    assert close(run(fused, {"x": x})[0], run(model, {"x": x})[0], np.float32)


def test_a_shared_parameter_is_copied():
    g = Sketch()
    w = g.weights("w", 4, 4)
    b = g.vector("b", 4)
    g.node("Gemm", ["x", w, b], "d")
    g.batch_norm("d", "n", 4)
    g.node("Relu", ["n"], "r")
    g.node("Gemm", ["r", w, b], "y")
    model = g.model({"x": ["N", 4]}, {"y": ["N", 4]})
    fused, _ = assert_fuses(model, ["Gemm", "Relu", "Gemm"])
    kept = {t.name: numpy_helper.to_array(t) for t in fused.graph.initializer}
    assert np.array_equal(kept["w"], g.constants["w"])
    assert list(fused.graph.node[2].input[1:]) == ["w", "b"]


def test_a_name_that_is_taken_is_not_overwritten():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "n", 4)
    g.node("Add", ["n", g.vector("d_w_fused", 4)], "m")
    g.node("Max", ["m", g.vector("d_b_fused", 4)], "y")
    model = g.model({"x": ["N", 4]}, {"y": ["N", 4]})
    fused, _ = assert_fuses(model, ["Gemm", "Max"])
    assert np.array_equal(
        next(numpy_helper.to_array(t) for t in fused.graph.initializer if t.name == "d_b_fused"),
        g.constants["d_b_fused"],
    )


def test_a_transposed_constant_is_a_constant():
    g = Sketch()
    g.weights("w", 3, 4)
    g.node("Transpose", ["w"], "wt", perm=[1, 0])
    g.node("MatMul", ["x", "wt"], "d")
    g.batch_norm("d", "y", 3)
    assert_fuses(g.model({"x": ["N", 4]}, {"y": ["N", 3]}), ["Gemm"])


def test_parameters_in_constant_nodes():
    model = chain("gemm", "bn", "Relu")
    graph = model.graph
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in graph.initializer]
    del graph.initializer[:]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    assert_fuses(model, ["Gemm", "Relu"])


def test_identity_on_a_graph_output_keeps_the_outputs_name_and_other_readers():
    g = Sketch()
    g.dense("x", "d", 4, 3)
    g.node("Identity", ["d"], "y")
    g.node("Relu", ["d"], "z")
    model = g.model({"x": ["N", 4]}, {"y": ["N", 3], "z": ["N", 3]})
    fused, _ = assert_fuses(model, ["Gemm", "Relu"])
    assert [o.name for o in fused.graph.output] == ["y", "z"]


def test_all_that_is_around_the_graph_is_kept():
    model = chain("gemm", "bn")
    model.doc_string, model.model_version, model.producer_name = "doc", 7, "someone"
    model.graph.doc_string, model.domain = "graph doc", "org.example"
    helper.set_model_props(model, {"author": "a", "fastdl.class_names": '["u", "v"]'})
    model.graph.node[0].doc_string = "first"
    fused, report = fuse(model, measure=False)
    for what in ("doc_string", "model_version", "producer_name", "domain", "ir_version"):
        assert getattr(fused, what) == getattr(model, what)
    assert fused.graph.doc_string == "graph doc"
    assert fused.graph.node[0].doc_string == "first"
    assert fused.graph.input == model.graph.input
    assert fused.graph.output == model.graph.output
    properties = {p.key: p.value for p in fused.metadata_props}
    assert properties.pop("fastdl.fusion") == report.digest()
    assert properties == {p.key: p.value for p in model.metadata_props}


def test_old_files_that_list_initializers_as_inputs():
    model = chain("gemm", "bn", opset=8)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims) for t in model.graph.initializer
    )
    fused, _ = assert_fuses(model, ["Gemm"])
    stored = {t.name for t in fused.graph.initializer}
    assert {i.name for i in fused.graph.input} == {"x"} | stored


def test_fusing_twice_changes_nothing_more():
    once, _ = fuse(chain("bn", "gemm transB", "bn", "Relu", "gemm"), measure=False)
    twice, report = fuse(once, measure=False)
    assert twice.SerializeToString() == once.SerializeToString()
    assert report.folds == []


def test_a_graph_with_nothing_to_fold_comes_back_as_it_was():
    model = chain("gemm", "Relu", "gemm")
    fused, report = fuse(model)
    assert fused.SerializeToString() == model.SerializeToString()
    assert report.nodes_before == report.nodes_after == 3
