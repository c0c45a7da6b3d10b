"""Infinity, NaN and what may overflow: there algebra ends, as 0·∞ and ∞ − ∞ are no numbers, and nothing is folded."""

import numpy as np
import pytest
from onnx import helper

from fastdl.fusion.graph.node import LARGEST
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, operators, run

ODD = [np.inf, -np.inf, np.nan, 1e30, -3e38]


def two_layers(g, x="x"):
    g.dense(x, "d", 3, 4)
    g.dense("d", "y", 4, 2)


def dead_unit(g, x="x"):
    """A unit that nothing reads, a constant one, and twins."""
    w = g.rng.normal(size=(3, 4))
    w[:, 1], w[:, 3] = 0, w[:, 2]
    v = g.rng.normal(size=(4, 2))
    v[0] = 0
    g.node("Gemm", [x, g.const("w", w), g.const("b", [1.0, 1.0, 1.0, 1.0])], "d")
    g.node("Relu", ["d"], "h")
    g.node("Gemm", ["h", g.const("v", v)], "y")


def dense_affine(g, x="x"):
    g.dense(x, "d", 3, 2)
    g.node("Mul", ["d", g.const("c", [0.0, 2.0])], "y")


def affine_dense(g, x="x"):
    g.node("Mul", [x, g.const("c", [0.0, 2.0, 1.0])], "d")
    g.dense("d", "y", 3, 2)


def two_classes(g, x="x"):
    g.dense(x, "z", 3, 1)
    g.node("Sigmoid", ["z"], "p")
    g.node("Sub", [g.const("one", 1.0), "p"], "q")
    g.node("Concat", ["q", "p"], "y", axis=1)


def softmax_argmax(g, x="x"):
    g.node("Softmax", [x], "s")
    g.node("ArgMax", ["s"], "a", axis=1, keepdims=0)
    g.node("Cast", ["a"], "y", to=1)


GRAPHS = [two_layers, dead_unit, dense_affine, affine_dense, two_classes, softmax_argmax]


def model_of(build, before):
    g = Sketch()
    value = before(g)
    build(g, value)
    model = g.model({"x": ["N", 3]}, {"y": None})
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


def alike(model, fused):
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    one, other = run(model, {"x": x})[0], run(fused, {"x": x})[0]
    return np.array_equal(one[~np.isfinite(one)], other[~np.isfinite(one)], equal_nan=True) and np.allclose(
        one[np.isfinite(one)], other[np.isfinite(one)], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("build", GRAPHS)
@pytest.mark.parametrize(
    "before",
    [
        lambda g: g.node("Add", ["x", g.const("odd", [0.0, g.odd, 1.0])], "before"),
        lambda g: g.node("Mul", ["x", g.const("odd", g.odd)], "before"),
        lambda g: g.node("Gemm", ["x", g.const("odd", np.where(np.eye(3), g.odd, 1.0))], "before"),
        lambda g: g.node("Relu", [g.node("Max", ["x", g.const("odd", [g.odd] * 3)], "u")], "before"),
        lambda g: g.node("Div", ["x", g.const("zero", [0.0, 1.0, 1.0])], "before"),
        lambda g: g.node("Scaler", ["x"], "before", domain="ai.onnx.ml", offset=[g.odd], scale=[1.0]),
    ],
    ids=["add", "mul", "gemm", "max", "div", "scaler"],
)
def test_what_follows_from_an_odd_constant(build, before, monkeypatch):
    for odd in ODD:
        monkeypatch.setattr(Sketch, "odd", odd, raising=False)
        model = model_of(build, before)
        fused, _, _ = fold_all(model)
        assert alike(model, fused), odd


@pytest.mark.parametrize("build", GRAPHS)
def test_each_of_these_folds_where_all_is_finite(build):
    model = model_of(build, lambda g: "x")
    fused, _, _ = fold_all(model)
    assert len(fused.graph.node) < len(model.graph.node) or build is dead_unit
    assert fused.ByteSize() != model.ByteSize()
    assert alike(model, fused)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("build", [two_layers, dead_unit, dense_affine, affine_dense, two_classes])
def test_an_odd_parameter_stays_where_it_is(build, odd):
    g = Sketch()
    build(g)
    for name in list(g.constants):
        if g.constants[name].ndim != 2:
            continue
        g = Sketch()
        build(g)
        g.constants[name].reshape(-1)[0] = odd
        model = g.model({"x": ["N", 3]}, {"y": None})
        fused, _, refusals = fold_all(model)
        assert alike(model, fused), name
        assert build is dead_unit or any("finite" in r.reason or "overflow" in r.reason for r in refusals), name


def test_the_largest_that_folds():
    for factor, left in ((1.0, ["Gemm"]), (1.1, ["Gemm", "Mul"])):
        g = Sketch()
        g.node("Gemm", ["x", g.const("w", np.eye(3)), g.const("b", np.zeros(3))], "d")
        g.node("Mul", ["d", g.const("c", [factor * LARGEST[np.dtype(np.float32)], 1.0, 1.0])], "y")
        fused, _, _ = fold_all(g.model({"x": ["N", 3]}, {"y": ["N", 3]}))
        assert operators(fused) == left


def test_factors_whose_product_is_too_small_stay_apart():
    g = Sketch()
    g.node("Gemm", ["x", g.const("w", 1e-30 * np.eye(3)), g.const("b", np.zeros(3))], "d")
    g.node("Mul", ["d", g.const("c", [1e-15, 1e-15, 1e-15])], "y")
    model = g.model({"x": ["N", 3]}, {"y": ["N", 3]})
    fused, _, refusals = fold_all(model)
    assert operators(fused) == ["Gemm", "Mul"]
    assert any("too small for float32" in r.reason for r in refusals)


def test_a_unit_that_nothing_reads_stays_where_it_may_be_infinite():
    """0·∞ is NaN: exp(100·x) is more than float32 holds."""
    g = Sketch()
    w = np.array([[100.0, 0.01]])
    g.node("Gemm", ["x", g.const("w", w), g.const("b", np.zeros(2))], "d")
    g.node("Exp", ["d"], "h")
    g.node("Gemm", ["h", g.const("v", [[0.0], [1.0]])], "y")
    model = g.model({"x": ["N", 1]}, {"y": ["N", 1]})
    fused, _, _ = fold_all(model)
    x = np.array([[0.5], [10.0]], np.float32)
    np.testing.assert_array_equal(np.isnan(run(fused, {"x": x})[0]), np.isnan(run(model, {"x": x})[0]))


@pytest.mark.parametrize("build", [softmax_argmax, two_classes])
@pytest.mark.parametrize("op", ["Log", "Exp", "Reciprocal", "Sqrt", "Div"])
def test_classes_by_scores_that_may_not_be_finite_are_left(op, build):
    """The sigmoid of infinity is 1, and its label the largest; Softmax makes NaN of it."""
    g = Sketch()
    g.node(op, ["x", "x"] if op == "Div" else ["x"], "before")
    build(g, "before")
    model = g.model({"x": ["N", 3]}, {"y": None})
    fused, _, refusals = fold_all(model)
    assert operators(fused) == operators(model)
    assert any("may give what is not finite" in r.reason for r in refusals)


def test_a_mask_of_infinity_before_a_softmax_is_no_obstacle():
    g = Sketch()
    g.node("Add", ["x", g.const("mask", [[0.0, 0.0, -np.inf]])], "m")
    g.node("Softmax", ["m"], "p")
    two_layers(g, "p")
    fused, _, _ = fold_all(g.model({"x": ["N", 3]}, {"y": ["N", 2]}))
    assert operators(fused) == ["Add", "Softmax", "Gemm"]
