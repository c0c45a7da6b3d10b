"""Columns that are picked or joined beside dense layers, and dense layers that stand side by side."""

import numpy as np
import pytest
from onnx import TensorProto

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import AFFINES, Sketch, check, close, operators, run
from .test_labels import ML, with_ml

BACK, FORWARD = "dense → columns", "columns → dense"


def pick(g, x, y, places, how="gather"):
    if how == "extractor":
        return g.node("ArrayFeatureExtractor", [x, g.const(f"{y}_i", [places], np.int64)], y, domain=ML)
    if how == "slice":
        names = (("s", places[0]), ("e", places[-1] + 1), ("a", 1), ("t", places[1] - places[0]))
        return g.node("Slice", [x, *(g.const(f"{y}_{n}", [v], np.int64) for n, v in names)], y)
    return g.node("Gather", [x, g.const(f"{y}_i", places, np.int64)], y, axis=1 if how == "gather" else -1)


def assert_folds(g, inputs, outputs, expected):
    model = with_ml(g.model(inputs, outputs))
    fused, report = fuse(model, measure=False)
    assert operators(fused) == expected, [str(refusal) for refusal in report.refusals]
    assert report.verified
    check(fused)
    for rows in (1, 7):
        rng = np.random.default_rng(rows)
        feed = {name: rng.normal(size=(rows, *shape[1:])).astype(np.float32) for name, shape in inputs.items()}
        for got, want in zip(run(fused, feed), run(model, feed), strict=True):
            assert close(got, want, np.float32)
    return fused, report


@pytest.mark.parametrize("how", ["gather", "gather from the end", "extractor"])
@pytest.mark.parametrize("form", ["gemm", "matmul + row", "gemm transB"])
@pytest.mark.parametrize("places", [[2, 0, 3, 1], [3, 2, 1, 0, 0, 2]])
def test_an_order_of_all_columns_is_one_of_rows(how, form, places):
    g = Sketch()
    g.dense(pick(g, "x", "p", places, how), "y", len(places), 3, form)
    assert_folds(g, {"x": ["N", 4]}, {"y": ["N", 3]}, ["Gemm"])


@pytest.mark.parametrize("kind", AFFINES)
def test_a_table_that_is_split_scaled_and_joined(kind):
    """As ColumnTransformer is exported."""
    g = Sketch()
    a = g.affine(pick(g, "x", "p", [4, 0], "extractor"), "a", 2, kind)
    b = g.affine(pick(g, "x", "q", [1, 2], "slice"), "b", 2, "standardise")
    g.node("Concat", [a, b, pick(g, "x", "r", [3], "gather")], "c", axis=1)
    g.dense("c", "y", 5, 3)
    assert_folds(g, {"x": ["N", 5]}, {"y": ["N", 3]}, ["Gemm"])


def test_columns_that_nothing_reads_may_be_missing():
    """0 times NaN is NaN: what is not read stays unread, by one node in place of three."""
    g = Sketch()
    g.node("Concat", [pick(g, "x", "p", [3, 0]), pick(g, "x", "q", [5])], "c", axis=1)
    g.dense("c", "y", 3, 2)
    fused, _ = assert_folds(g, {"x": ["N", 6]}, {"y": ["N", 2]}, ["Gather", "Gemm"])
    x = np.ones((2, 6), np.float32)
    x[:, 1] = np.nan
    assert np.isfinite(run(fused, {"x": x})[0]).all()


@pytest.mark.parametrize("kind", ["standardise", "* vector", "batch norm", "- one"])
@pytest.mark.parametrize("how", ["gather", "extractor"])
def test_an_affine_map_goes_with_its_columns(kind, how):
    g = Sketch()
    g.dense(pick(g, g.affine("x", "a", 6, kind), "p", [5, 1, 2], how), "y", 3, 2)
    picks = "Gather" if how == "gather" else "ArrayFeatureExtractor"
    assert_folds(g, {"x": ["N", 6]}, {"y": ["N", 2]}, [picks, "Gemm"])


@pytest.mark.parametrize("how", ["gather", "slice", "extractor"])
def test_units_that_are_picked(how):
    g = Sketch()
    pick(g, g.dense("x", "d", 6, 8), "y", [1, 4], how)
    fused, _ = assert_folds(g, {"x": ["N", 6]}, {"y": ["N", 2]}, ["Gemm"])
    assert [list(t.dims) for t in fused.graph.initializer] == [[6, 2], [2]]


def read_elsewhere():
    g = Sketch()
    g.dense(pick(g, "x", "p", [1, 0]), "y", 2, 3)
    g.node("Relu", ["p"], "z")
    return g.model({"x": ["N", 2]}, {"y": None, "z": None})


def given_out():
    g = Sketch()
    g.dense(pick(g, "x", "p", [1, 0]), "y", 2, 3)
    return g.model({"x": ["N", 2]}, {"y": None, "p": None})


def of_rank_3():
    g = Sketch()
    g.dense(pick(g, "x", "p", [1, 0]), "y", 2, 3, "matmul")
    return g.model({"x": ["N", 2, 2]}, {"y": None})


def by_a_value():
    g = Sketch()
    g.node("Gather", ["x", "i"], "p", axis=1)
    g.dense("p", "y", 2, 3)
    model = g.model({"x": ["N", 2], "i": [2]}, {"y": None})
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    return model


def out_of_range():
    g = Sketch()
    g.dense(pick(g, "x", "p", [1, 2]), "y", 2, 3)
    return g.model({"x": ["N", 2]}, {"y": None})


def of_rows():
    g = Sketch()
    g.node("Gather", ["x", g.const("i", [1, 0], np.int64)], "p", axis=0)
    g.dense("p", "y", 2, 3)
    return g.model({"x": [2, 2]}, {"y": None})


def units_read_twice():
    g = Sketch()
    g.dense("x", "d", 2, 4)
    pick(g, "d", "y", [1, 0])
    g.node("Relu", ["d"], "z")
    return g.model({"x": ["N", 2]}, {"y": None, "z": None})


def units_repeated():
    g = Sketch()
    pick(g, g.dense("x", "d", 2, 2), "y", [1, 0, 1])
    return g.model({"x": ["N", 2]}, {"y": None})


@pytest.mark.parametrize(
    "build",
    [read_elsewhere, given_out, of_rank_3, by_a_value, out_of_range, of_rows, units_read_twice, units_repeated],
    ids=lambda build: build.__name__,
)
def test_columns_are_left(build):
    model = build()
    fused, folds, _ = fold_all(model)
    assert "Gather" in operators(fused)
    assert not {BACK, FORWARD} & {fold.name for fold in folds}


@pytest.mark.parametrize(
    ("op", "units", "expected"),
    [
        ("Add", (3, 3), ["Gemm"]),
        ("Sub", (3, 3), ["Gemm"]),
        ("Sum", (3, 3, 3), ["Gemm"]),
        ("Concat", (3, 1, 2), ["Gemm"]),
    ],
)
@pytest.mark.parametrize("after", [None, "batch norm"])
def test_parallel_layers_are_one(op, units, expected, after):
    g = Sketch()
    forms = ["gemm", "matmul + vector", "gemm transB alpha beta row"]
    parts = [g.dense("x", f"d{i}", 4, size, forms[i]) for i, size in enumerate(units)]
    size = sum(units) if op == "Concat" else units[0]
    value = g.node(op, parts, "s" if after else "y", **({"axis": 1} if op == "Concat" else {}))
    if after:
        g.affine(value, "y", size, after)
    fused, _ = assert_folds(g, {"x": ["N", 4]}, {"y": ["N", size]}, expected)
    assert [list(t.dims) for t in fused.graph.initializer] == [[4, size], [size]]


def beside(op="Concat", second="x", also=None, units=(3, 2), **more):
    g = Sketch()
    g.dense("x", "a", 4, units[0])
    g.dense(second, "b", 4, units[1])
    g.node(op, ["a", "b"], "y", **more)
    outputs = {"y": None, **({also: None} if also else {})}
    return g.model({name: ["N", 4] for name in ("x", second)}, outputs)


@pytest.mark.parametrize(
    "model",
    [
        beside(second="z", axis=1),
        beside(also="a", axis=1),
        beside(also="b", axis=1),
        beside(units=(2, 2), axis=0),
        beside(op="Add", units=(3, 1)),
    ],
    ids=["two inputs", "the first is seen", "the second is seen", "rows", "one unit that is spread"],
)
def test_parallel_layers_are_left(model):
    fused, folds, _ = fold_all(model)
    assert operators(fused) == operators(model)
    assert folds == []


def test_joins_of_joins_are_one():
    g = Sketch()
    g.node("Concat", ["x", "z"], "a", axis=1)
    g.node("Concat", ["a", "w"], "b", axis=-1)
    g.dense("b", "y", 6, 3)
    assert_folds(g, {name: ["N", 2] for name in "xzw"}, {"y": ["N", 3]}, ["Concat", "Gemm"])
