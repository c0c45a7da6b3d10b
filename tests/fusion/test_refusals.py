"""Where folding must not happen: the graph stays as it is, and the report says why."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, operators

BACK, FORWARD = "dense → batch norm", "batch norm → dense"


def dense_bn(g=None, **attributes):
    g = g or Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "y", 4, **attributes)
    return g


def done(g, inputs=None, outputs=None):
    return g.model(inputs or {"x": ["N", 4]}, dict.fromkeys(outputs or ["y"]))


def training_mode():
    return done(dense_bn(training_mode=1, extra_outputs=["m", "v"]))


def statistics_given_out():
    return done(dense_bn(Sketch(opset=9), extra_outputs=["m", "v", "sm", "sv"]))


def spatial_0():
    return done(dense_bn(Sketch(opset=8), spatial=0))


def input_is_a_graph_output():
    return done(dense_bn(), outputs=["y", "d"])


def input_has_another_use():
    g = dense_bn()
    g.node("Relu", ["d"], "z")
    return done(g, outputs=["y", "z"])


def reads_inside(g, value, depth=1):
    """Add z: an If, in `depth` - 1 others, whose branches read `value` of the outer graph."""
    g.const("yes", True, np.bool_)
    node = helper.make_node("Relu", [value], ["inner"])
    for level in range(depth):
        outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)]
        branch = helper.make_graph([node], f"branch{level}", [], outputs)
        out = "z" if level == depth - 1 else f"z{level}"
        node = helper.make_node("If", ["yes"], [out], then_branch=branch, else_branch=branch)
    g.nodes.append(node)
    return done(g, outputs=["y", "z"])


def captured_by_a_subgraph():
    return reads_inside(dense_bn(), "d")


def captured_two_subgraphs_deep():
    return reads_inside(dense_bn(), "d", depth=2)


def parameter(name, values):
    def build():
        g = dense_bn()
        g.const(name, values)
        return done(g)

    return build


def overridable(name):
    def build():
        model = done(dense_bn())
        dims = next(t.dims for t in model.graph.initializer if t.name == name)
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return model

    return build


def parameter_is_computed():
    g = dense_bn()
    g.nodes[-1].input[1] = "computed"
    g.node("Sign", ["y_gamma"], "computed")
    g.nodes.insert(0, g.nodes.pop())
    return done(g)


def weight_is_an_input():
    g = Sketch()
    g.node("Gemm", ["x", "w"], "d")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": ["N", 4], "w": [4, 4]})


def trans_a():
    g = Sketch()
    g.node("Gemm", ["x", g.weights("w", 4, 4)], "d", transA=1)
    g.batch_norm("d", "y", 4)
    return done(g, {"x": [4, "N"]})


def full_matrix_bias():
    g = Sketch()
    g.node("Gemm", ["x", g.weights("w", 4, 4), g.weights("c", 4, 4)], "d")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": [4, 4]})


def column_bias():
    g = Sketch()
    g.node("Gemm", ["x", g.weights("w", 4, 4), g.weights("c", 4, 1)], "d")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": [4, 4]})


def transpose_between():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Transpose", ["d"], "t")
    g.batch_norm("t", "y", 4)
    return done(g, {"x": [4, 4]})


def reshape_between_with_equal_sizes():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Reshape", ["d", g.const("shape", [4, -1], np.int64)], "t")
    g.batch_norm("t", "y", 4)
    return done(g, {"x": ["N", 4]})


def rank_3():
    g = Sketch()
    g.dense("x", "d", 4, 4, "matmul")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": ["N", 4, 4]})


def rank_unknown():
    g = Sketch()
    g.dense("x", "d", 4, 4, "matmul")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": None})


def claimed_rank_is_not_believed():
    """The file says that d is rank 2; it is rank 3."""
    g = Sketch()
    g.node("Reshape", ["x", g.const("shape", [-1, 4, 4], np.int64)], "d3")
    g.dense("d3", "d", 4, 4, "matmul")
    g.batch_norm("d", "y", 4)
    model = done(g)
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("d3", "d")
    )
    return model


def unknown_domain():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Gemm", ["d", g.weights("w2", 4, 4)], "e", domain="org.example", name="odd")
    g.batch_norm("e", "y", 4)
    model = done(g)
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    return model


def overflow():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "y", 4)
    g.const("y_gamma", np.full(4, 1e38))
    g.const("y_var", np.full(4, 1e-12))
    g.const("d_w", np.full((4, 4), 1e30))
    return done(g)


WITH_NAN, NEGATIVE = [1, np.nan, 1, 1], [1, -0.5, 1, 1]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (training_mode, "training mode"),
        (statistics_given_out, "training mode"),
        (spatial_0, "spatial=0"),
        (input_is_a_graph_output, "'d' is a graph output"),
        (input_has_another_use, "'d' has another use"),
        (captured_by_a_subgraph, "'d' is read inside a subgraph"),
        (captured_two_subgraphs_deep, "'d' is read inside a subgraph"),
        (parameter("y_gamma", WITH_NAN), "'y_gamma' is not finite"),
        (parameter("y_mean", [1, np.inf, 1, 1]), "'y_mean' is not finite"),
        (parameter("d_w", np.full((4, 4), np.nan)), "'d_w', which is not finite"),
        (parameter("y_var", NEGATIVE), "variance is negative"),
        (parameter("y_var", [1, -1e-7, 1, 1]), "variance is negative"),  # though + epsilon is positive
        (overridable("y_gamma"), "'y_gamma' is also a graph input"),
        (overridable("d_w"), "'d_w' is also a graph input"),
        (overridable("d_b"), "'d_b' is also a graph input"),
        (parameter_is_computed, "'computed' is not a constant"),
        (weight_is_an_input, "'w' is not a constant"),
        (trans_a, "transposes its input"),
        (full_matrix_bias, "not one row of 4"),
        (column_bias, "not one row of 4"),
        (transpose_between, "comes from Transpose"),
        (reshape_between_with_equal_sizes, "comes from Reshape"),
        (rank_3, "works on rank 3"),
        (rank_unknown, "rank of 'x'"),
        (claimed_rank_is_not_believed, "works on rank 3"),
        (unknown_domain, "comes from org.example:Gemm"),
        (overflow, "by which float32 may overflow"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_dense_then_batch_norm_is_left(build, reason):
    model = build()
    fused, folds, refusals = fold_all(model)
    assert fused.SerializeToString() == model.SerializeToString()
    assert folds == []
    told = [r for r in refusals if r.fold == BACK]
    assert [r.node for r in told] == ["BatchNormalization_y"]
    assert reason in told[0].reason


def bn_dense(g=None, **attributes):
    g = g or Sketch()
    g.batch_norm("x", "n", 4, **attributes)
    g.dense("n", "y", 4, 4)
    return g


def its_output_is_a_graph_output():
    return done(bn_dense(), outputs=["y", "n"])


def one_head_is_no_dense_layer():
    g = bn_dense()
    g.node("Relu", ["n"], "z")
    return done(g, outputs=["y", "z"])


def a_head_with_a_weight_that_is_no_constant():
    g = bn_dense()
    g.node("Gemm", ["n", "w"], "z")
    return done(g, {"x": ["N", 4], "w": [4, 4]}, ["y", "z"])


def read_as_a_bias():
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.node("Gemm", ["n", g.weights("w", 4, 4), "n"], "y")
    return done(g, {"x": [1, 4]})


def bn_training():
    return done(bn_dense(training_mode=1, extra_outputs=["m", "v"]))


def matmul_of_rank_3():
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.dense("n", "y", 4, 4, "matmul")
    return done(g, {"x": ["N", 4, 4]})


def flattened(shape, axis=1, rows=12, channels=4, **more):
    def build():
        g = Sketch()
        g.batch_norm("x", "n", channels)
        g.node("Flatten", ["n"], "f", axis=axis)
        g.dense("f", "y", rows, 3)
        return done(g, {"x": shape})

    return build


def reshaped_across_rows():
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.node("Reshape", ["n", g.const("shape", [-1, 6], np.int64)], "f")
    g.dense("f", "y", 6, 3)
    return done(g, {"x": ["N", 4, 3]})


def training_dropout_between():
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.node("Dropout", ["n", "", g.const("train", True, np.bool_)], "d")
    g.dense("d", "y", 4, 4)
    return done(g)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (its_output_is_a_graph_output, "'n' is a graph output"),
        (one_head_is_no_dense_layer, "read by Relu"),
        (a_head_with_a_weight_that_is_no_constant, "'w' is not a constant"),
        (read_as_a_bias, "which is not a dense layer"),
        (bn_training, "training mode"),
        (matmul_of_rank_3, "works on rank 3"),
        (flattened(["N", 4, "L"]), "shape of 'x'"),
        (flattened(None), "rank of 'x'"),
        (flattened(["N", 4, 3], axis=2, rows=3), "does not keep rows and channels apart"),
        (reshaped_across_rows, "does not keep rows and channels apart"),
        (training_dropout_between, "read by Dropout"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_batch_norm_then_dense_is_left(build, reason):
    model = build()
    fused, folds, refusals = fold_all(model)
    assert operators(fused) == operators(model)
    assert folds == []
    told = [r for r in refusals if r.fold == FORWARD]
    assert [r.node for r in told] == ["BatchNormalization_n"]
    assert reason in told[0].reason


def dropout(inputs=("d",), outputs=("y",), **constants):
    def build():
        g = Sketch(opset=13)
        g.dense("x", "d", 4, 4)
        for name, value in constants.items():
            g.const(name, value, np.bool_ if name == "train" else None)
        g.node("Dropout", list(inputs), list(outputs))
        return g

    return build


@pytest.mark.parametrize(
    ("build", "inputs", "outputs", "reason"),
    [
        (dropout(["d", "r", "train"], r=0.5, train=True), ["x"], ["y"], "training mode"),
        (dropout(["d", "", "flag"]), ["x", "flag"], ["y"], "'flag' is not a constant"),
        (dropout(outputs=["y", "mask"]), ["x"], ["y", "mask"], "'mask' is a graph output"),
    ],
    ids=["training", "training_mode is an input", "mask is an output"],
)
def test_dropout_is_left(build, inputs, outputs, reason):
    model = done(build(), {name: [4, 4] if name == "x" else [] for name in inputs}, outputs)
    fused, folds, refusals = fold_all(model)
    assert operators(fused) == ["Gemm", "Dropout"]
    assert folds == []
    assert any(reason in r.reason and r.node == "Dropout_y" for r in refusals)


def test_dropout_whose_mask_is_read_is_left():
    g = dropout(outputs=["y", "mask"])()
    g.node("Not", ["mask"], "z")
    fused, folds, refusals = fold_all(done(g, outputs=["y", "z"]))
    assert operators(fused) == ["Gemm", "Dropout", "Not"]
    assert folds == []
    assert any("its mask 'mask' is read" in r.reason for r in refusals)


def test_an_identity_that_a_subgraph_reads_is_left():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Identity", ["d"], "i")
    g.node("Relu", ["i"], "y")
    fused, folds, refusals = fold_all(reads_inside(g, "i"))
    assert operators(fused) == ["Gemm", "Identity", "Relu", "If"]
    assert folds == []
    assert "'i' is read inside a subgraph" in refusals[0].reason


@pytest.mark.parametrize(
    ("op", "target", "attributes"),
    [
        ("Flatten", None, {"axis": 0}),
        ("Flatten", None, {"axis": 2}),
        ("Reshape", [4, -1], {}),
        ("Reshape", [-1, 2], {}),
        ("Reshape", [-1], {}),
        ("Reshape", [0, 2, 2], {}),
        ("Reshape", [0, 4], {"allowzero": 1}),
    ],
)
def test_a_change_of_shape_is_left(op, target, attributes):
    g = Sketch()
    g.dense("x", "d", 4, 4)
    inputs = ["d"] if target is None else ["d", g.const("shape", target, np.int64)]
    g.node(op, inputs, "y", **attributes)
    fused, folds, _ = fold_all(done(g))
    assert operators(fused) == ["Gemm", op]
    assert folds == []


def test_an_identity_from_input_to_output_is_left():
    g = Sketch()
    g.node("Identity", ["x"], "y")
    fused, folds, refusals = fold_all(done(g))
    assert operators(fused) == ["Identity"]
    assert folds == []
    assert "whose names are kept" in refusals[0].reason


@pytest.mark.parametrize("shape", [(4, 4), (4, 1), (1, 1, 4)])
def test_an_added_matrix_is_no_bias(shape):
    g = Sketch()
    g.node("MatMul", ["x", g.weights("w", 4, 4)], "d")
    g.node("Add", ["d", g.const("c", np.ones(shape))], "y")
    fused, _, refusals = fold_all(done(g, {"x": [4, 4]}))
    assert operators(fused) == ["Gemm", "Add"]
    assert ("Add_y", "dense → affine", True) in [(r.node, r.fold, "not one row of 4" in r.reason) for r in refusals]


def test_a_sum_of_two_branches_is_not_a_bias_and_no_refusal():
    g = Sketch()
    g.dense("x", "a", 4, 4, "matmul")
    g.dense("z", "b", 4, 4, "matmul")
    g.node("Add", ["a", "b"], "y")
    fused, _, refusals = fold_all(done(g, {"x": ["N", 4], "z": ["N", 4]}))
    assert operators(fused) == ["Gemm", "Gemm", "Add"]
    assert refusals == []


def test_a_subgraph_is_left_as_it_is():
    g = Sketch()
    inner = dense_bn(Sketch(seed=1))
    branch = done(inner).graph
    branch.name = "branch"
    del branch.input[:]
    g.node("If", [g.const("yes", True, np.bool_)], "z", then_branch=branch, else_branch=branch)
    model = done(g, outputs=["z"])
    fused, folds, _ = fold_all(model)
    assert fused.SerializeToString() == model.SerializeToString()
    assert folds == []


@pytest.mark.parametrize("opset", [6, 999])
def test_an_opset_out_of_reach_is_passed_through(opset):
    model = done(dense_bn(Sketch(opset=opset)))
    fused, report = fuse(model, measure=False)
    assert fused.SerializeToString() == model.SerializeToString()
    assert f"opset {opset}" in report.refusals[0].reason


def test_a_function_named_like_an_operator_is_not_that_operator():
    model = done(dense_bn())
    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["a"], ["out"])]
    model.functions.append(helper.make_function("", "Gemm", ["a", "b", "c"], ["out"], body, imports))
    _, folds, _ = fold_all(model)
    assert folds == []


def test_integer_arithmetic_is_left():
    g = Sketch(np.int32)
    g.const("w", np.ones((4, 4)))
    g.node("MatMul", ["x", "w"], "d")
    g.node("Add", ["d", g.const("b", np.ones(4))], "y")
    fused, folds, refusals = fold_all(done(g))
    assert operators(fused) == ["MatMul", "Add"]
    assert folds == []
    assert "'w' is int32, not floating point" in refusals[0].reason
