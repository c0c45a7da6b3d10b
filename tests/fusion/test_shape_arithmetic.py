"""Shapes that a graph computes: they become numbers, or targets of 0 and -1, and stay where they are not known."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, check, close, operators, run

SHAPES = {"x": ["N", 2, 3, 4]}


def ints(g, name, values):
    return g.const(name, values, np.int64)


def by_keras(g, x):
    """Shape, Gather, Unsqueeze, Concat."""
    g.node("Gather", [g.node("Shape", [x], "s"), ints(g, "zero", 0)], "n", axis=0)
    g.node("Unsqueeze", ["n", ints(g, "axes", [0])], "nn")
    return g.node("Concat", ["nn", ints(g, "rest", [-1])], "target", axis=0)


def by_dynamo(g, x):
    """Shape with start and end, Squeeze, Reshape, Concat."""
    g.node("Squeeze", [g.node("Shape", [x], "s", start=0, end=1)], "n")
    g.node("Reshape", ["n", ints(g, "one", [-1])], "nn")
    return g.node("Concat", ["nn", ints(g, "rest", [24])], "target", axis=0)


def by_product(g, x):
    """The rest of the row as a product of dims."""
    g.node("Slice", [g.node("Shape", [x], "s"), ints(g, "from", [1]), ints(g, "to", [9])], "tail")
    g.node("ReduceProd", ["tail"], "row", keepdims=1)
    g.node("Slice", ["s", ints(g, "first", [0]), ints(g, "end", [1])], "nn")
    return g.node("Concat", ["nn", "row"], "target", axis=0)


def by_division(g, x):
    g.node("Gather", [g.node("Shape", [x], "s"), ints(g, "two", [2])], "d")
    g.node("Mul", ["d", ints(g, "sixteen", [16])], "e")
    g.node("Div", ["e", g.node("Add", [ints(g, "o", [1]), ints(g, "p", [1])], "q")], "row")
    g.node("Slice", ["s", ints(g, "first", [0]), ints(g, "end", [1])], "nn")
    return g.node("Concat", ["nn", "row"], "target", axis=0)


def flattened(by, opset=17, **attributes):
    g = Sketch(opset=opset)
    g.batch_norm("x", "v", 2)
    g.node("Reshape", ["v", by(g, "v")], "f", **attributes)
    g.dense("f", "y", 24, 3)
    return g.model(SHAPES, {"y": ["N", 3]})


@pytest.mark.parametrize("allowzero", [0, 1])
@pytest.mark.parametrize("by", [by_keras, by_dynamo, by_product, by_division])
def test_a_flatten_by_shapes_lets_batch_norm_through(by, allowzero):
    model = flattened(by, allowzero=allowzero)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == ["Reshape", "Gemm"]
    assert report.verified
    check(fused)
    for rows in (1, 5) if by is by_keras else (0, 1, 5):  # of no rows -1 is open, in Keras's own file too
        x = np.random.default_rng(0).normal(size=(rows, 2, 3, 4)).astype(np.float32)
        got, want = run(fused, {"x": x})[0], run(model, {"x": x})[0]
        assert got.shape == want.shape == (rows, 3)
        assert not rows or close(got, want, np.float32)


@pytest.mark.parametrize("target", [[-1, 24], [0, 24], [0, -1]])
def test_allowzero_without_a_zero_says_nothing(target):
    g = Sketch()
    g.batch_norm("x", "v", 2)
    g.node("Reshape", ["v", ints(g, "t", target)], "f", allowzero=1)
    g.dense("f", "y", 24, 3)
    model = g.model(SHAPES, {"y": None})
    folded = operators(fold_all(model)[0])
    assert folded == (["BatchNormalization", "Reshape", "Gemm"] if 0 in target else ["Reshape", "Gemm"])


def of_another_input():
    """Rows by the number of rows of another input, that only bears the same name."""
    g = Sketch()
    g.node("Shape", ["z"], "s", start=0, end=1)
    g.node("Concat", ["s", ints(g, "a", [2]), g.node("Shape", ["z"], "t", start=1, end=2)], "target", axis=0)
    g.node("Reshape", ["x", "target"], "y")
    return g.model({"x": ["N", 6], "z": ["N", "M"]}, {"y": None})


def two_unknown():
    g = Sketch()
    g.node("Shape", ["x"], "s")
    g.node("Gather", ["s", ints(g, "order", [1, 0])], "target")
    g.node("Reshape", ["x", "target"], "y")
    return g.model({"x": ["N", "M"]}, {"y": None})


def a_zero_that_is_a_size():
    g = Sketch()
    g.node("Shape", ["x"], "s", start=0, end=1)
    g.node("Concat", ["s", ints(g, "z", [0])], "target", axis=0)
    g.node("Reshape", ["x", "target"], "y", allowzero=1)
    return g.model({"x": ["N", 0]}, {"y": None})


def overridable():
    g = Sketch()
    g.node("Concat", [g.node("Shape", ["x"], "s", start=0, end=1), ints(g, "k", [6])], "target", axis=0)
    g.node("Reshape", ["x", "target"], "y")
    model = g.model({"x": ["N", 6]}, {"y": None})
    model.graph.input.append(helper.make_tensor_value_info("k", TensorProto.INT64, [1]))
    return model


def minus_one_beside_a_zero():
    """[N, rows of z]: −1 for the second would be open where N is 0."""
    g = Sketch()
    g.node(
        "Concat", [g.node("Shape", ["x"], "s", start=0, end=1), g.node("Shape", ["z"], "t", end=1)], "target", axis=0
    )
    g.node("Reshape", ["x", "target"], "y")
    return g.model({"x": ["N", "K"], "z": ["M"]}, {"y": None})


def quotient_by_zero():
    g = Sketch()
    g.node("Div", [g.node("Shape", ["x"], "s", start=1), ints(g, "none", [0])], "target")
    g.node("Reshape", ["x", "target"], "y")
    return g.model({"x": ["N", 6]}, {"y": None})


@pytest.mark.parametrize(
    "build",
    [of_another_input, two_unknown, a_zero_that_is_a_size, overridable, minus_one_beside_a_zero, quotient_by_zero],
    ids=lambda build: build.__name__,
)
def test_a_target_that_is_not_known_is_left(build):
    model = build()
    fused, _, _ = fold_all(model)
    assert [op for op in operators(fused) if op in ("Reshape", "Concat", "Gather", "Div")] == [
        op for op in operators(model) if op in ("Reshape", "Concat", "Gather", "Div")
    ]


def test_a_shape_that_is_given_out_is_left():
    g = Sketch()
    g.node("Shape", ["x"], "s", start=1)
    g.node("Reshape", ["x", g.node("Concat", [ints(g, "m", [-1]), "s"], "target", axis=0)], "y")
    model = g.model({"x": ["N", 6]}, {"y": None, "s": [1]})
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    fused, _, refusals = fold_all(model)
    assert operators(fused)[0] == "Shape"
    assert any("'s' is a graph output" in refusal.reason for refusal in refusals)
    assert np.array_equal(run(fused, {"x": np.zeros((2, 6), np.float32)})[1], [6])


def expanded(target, c=(4,), shape=("N", 4)):
    """y = x + Expand(c, target)."""
    g = Sketch()
    g.node("Expand", [g.const("c", np.ones(c)), target(g)], "e")
    g.node("Add", ["x", "e"], "y")
    return g.model({"x": list(shape)}, {"y": None})


def whole_shape(g):
    return g.node("Shape", ["x"], "s")


def test_an_expand_to_what_it_is_added_to_goes():
    model = expanded(whole_shape)
    fused, _, _ = fold_all(model)
    assert operators(fused) == ["Add"]
    x = np.ones((3, 4), np.float32)
    assert np.array_equal(run(fused, {"x": x})[0], run(model, {"x": x})[0])


def test_an_expand_to_more_is_left():
    model = expanded(lambda g: ints(g, "t", [5, 4]), shape=(1, 4))
    assert operators(fold_all(model)[0]) == ["Expand", "Add"]


def test_constants_through_cast_like_and_constant_of_shape():
    g = Sketch()
    g.node("CastLike", [g.const("k", 2.0, np.float64), "x"], "two")
    g.node("ConstantOfShape", [ints(g, "t", [4])], "none", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [3.0]))
    g.node("Mul", ["x", "two"], "a")
    g.node("Add", ["a", "none"], "b")
    g.dense("b", "y", 4, 3)
    model = g.model({"x": ["N", 4]}, {"y": ["N", 3]})
    fused, report = fuse(model, measure=False)
    assert operators(fused) == ["Gemm"]
    assert report.verified


def test_what_decides_a_branch_is_left():
    """Where it is stored, onnxruntime takes in the branch, and may refuse shapes that it otherwise runs."""
    g = Sketch()
    g.node("Equal", [g.node("Size", ["x"], "s"), ints(g, "four", 4)], "q")
    branches = {
        name: helper.make_graph(
            [helper.make_node(op, ["x"], [f"{op}_z"])], name, [], [helper.make_tensor_value_info(f"{op}_z", 1, [2, 2])]
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Abs"))
    }
    g.node("If", ["q"], "y", **branches)
    g.node("Reshape", ["x", g.node("Shape", ["x"], "t")], "z")
    model = g.model({"x": [2, 2]}, {"y": [2, 2], "z": [2, 2]})
    fused, folds, refusals = fold_all(model)
    assert operators(fused)[:3] == ["Size", "Equal", "If"]
    assert any("which branch of an If" in refusal.reason for refusal in refusals if refusal.node == "Size_s")
    assert [fold.node for fold in folds if fold.name == "shape arithmetic"] != []
    check(fused)
    feed = {"x": np.ones((2, 2), np.float32)}
    assert all(close(a, b, np.float32) for a, b in zip(run(fused, feed), run(model, feed), strict=True))
