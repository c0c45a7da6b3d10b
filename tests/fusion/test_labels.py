"""scikit-learn's label tail, its linear models, and the normalizer behind a softmax."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.errors import FusionError
from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, check, operators, run

ML = "ai.onnx.ml"
KINDS = {np.dtype(np.int64): TensorProto.INT64, np.dtype(np.int32): TensorProto.INT32}


def with_ml(model, version=3, **types):
    """The model with ai.onnx.ml, and outputs of the types named."""
    model.opset_import.append(helper.make_opsetid(ML, version))
    for output in model.graph.output:
        output.type.tensor_type.elem_type = types.get(output.name, TensorProto.FLOAT)
    return model


def classifier(classes, cast=True, probabilities=True, columns=3, keepdims=1, read=None, target=(-1,), axis=1):
    """Gemm → Softmax → ArgMax → ArrayFeatureExtractor → Reshape → Cast."""
    g = Sketch()
    g.dense("x", "z", 4, columns)
    g.node("Softmax", ["z"], "p", axis=1)
    g.node("ArgMax", ["p"], "i", axis=axis, **({} if keepdims else {"keepdims": 0}))
    kind = TensorProto.STRING
    if isinstance(classes[0], str):
        g.constants["classes"] = np.array(classes, object)
    else:
        g.const("classes", classes, np.int32)
        kind = TensorProto.INT64 if cast else TensorProto.INT32
    g.node("ArrayFeatureExtractor", ["classes", "i"], "row", domain=ML)
    last = "flat" if cast and kind == TensorProto.INT64 else "label"
    g.node("Reshape", ["row", g.const("t", list(target), np.int64)], last)
    if last == "flat":
        g.node("Cast", ["flat"], "label", to=TensorProto.INT64)
    if read:
        g.node("Identity" if read == "row" else "Abs", [read], "also")
    outputs = {
        "label": ["L"] if target == (-1,) else None,
        **({"p": ["N", columns]} if probabilities else {}),
        **({"also": None} if read else {}),
    }
    of_read = TensorProto.INT64 if read == "i" else TensorProto.INT32
    return with_ml(g.model({"x": ["N", 4]}, outputs), label=kind, also=of_read)


X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
BASE = ["Gemm", "Softmax", "ArgMax"]


@pytest.mark.parametrize(
    ("classes", "cast", "expected"),
    [
        ([0, 1, 2], True, BASE),
        ([0, 1, 2, 3], True, BASE),  # a class that no column stands for
        ([3, 5, 7], True, [*BASE, "Gather"]),
        ([1, 0, 2], True, [*BASE, "Gather"]),
        ([0, 1, 2], False, [*BASE, "Gather"]),  # int32, which ArgMax does not give
        (["ant", "bee", "cat"], False, [*BASE, "Gather"]),
    ],
)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_label_tail_is_an_argmax_and_at_most_one_lookup(classes, cast, expected, keepdims):
    model = classifier(classes, cast, keepdims=keepdims)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == expected
    assert report.verified
    check(fused)
    for got, want in zip(run(fused, {"x": X}), run(model, {"x": X}), strict=True):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert got.dtype.kind == "f" or (got == want).all()


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (classifier([0, 1, 2], read="row"), ["ArrayFeatureExtractor", "Reshape"]),
        (classifier([0, 1, 2], read="i"), ["ArrayFeatureExtractor", "Reshape"]),
        (classifier([0, 1, 2], target=(1, -1)), ["ArrayFeatureExtractor", "Reshape"]),
        (classifier([0, 1, 2], axis=0), ["ArrayFeatureExtractor", "Reshape"]),
    ],
    ids=["the row is read", "the column is read", "it stays a row", "rows are compared"],
)
def test_a_label_tail_is_left_where(model, left):
    fused, _, _ = fold_all(model)
    assert [op for op in operators(fused) if op in left] == left


def linear(op, scaled=True, intercepts=(0.5, -1.0, 2.0), columns=4, extra=None, normalizer=None, dense=False, **more):
    rng = np.random.default_rng(1)
    g, outputs = Sketch(), len(intercepts) or 1
    value = "x"
    if dense:
        value = g.dense("x", "d", 4, 4, "matmul")
    if scaled:
        offset, scale = rng.normal(size=4).tolist(), rng.uniform(0.5, 2, 4).tolist()
        value = g.node("Scaler", [value], "s", domain=ML, offset=offset, scale=scale)
    weights = {
        "coefficients": rng.normal(size=outputs * columns).tolist(),
        **({"intercepts": list(intercepts)} if intercepts else {}),
    }
    if op == "LinearRegressor":
        g.node(op, [value], "y", domain=ML, targets=outputs, **weights, **more)
        return with_ml(g.model({"x": ["N", 4]}, {"y": None, **({extra: None} if extra else {})}))
    labels = {"classlabels_ints": list(range(10, 10 + max(2, outputs)))}
    g.node(op, [value], ["label", "p"], domain=ML, **labels, **weights, **more)
    if normalizer:
        g.node("Normalizer", ["p"], "q", domain=ML, norm=normalizer)
    last = "q" if normalizer else "p"
    model = g.model({"x": ["N", 4]}, {"label": None, last: None, **({extra: None} if extra else {})})
    return with_ml(model, label=TensorProto.INT64)


@pytest.mark.parametrize("dense", [False, True], ids=["scaled", "projected and scaled"])
@pytest.mark.parametrize(
    ("op", "more", "expected"),
    [
        ("LinearRegressor", {}, "Gemm"),
        ("LinearRegressor", {"intercepts": (0.25,)}, "Gemm"),
        ("LinearClassifier", {"post_transform": "SOFTMAX"}, "LinearClassifier"),
        ("LinearClassifier", {"post_transform": "SOFTMAX", "normalizer": "L1"}, "LinearClassifier"),
        ("LinearClassifier", {"post_transform": "LOGISTIC", "intercepts": (1.0, -1.0)}, "LinearClassifier"),
        ("LinearClassifier", {"post_transform": "NONE"}, "LinearClassifier"),
    ],
)
def test_what_stands_before_a_linear_model_goes_into_it(op, more, expected, dense):
    model = linear(op, dense=dense, **more)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == [expected]
    assert report.verified
    assert not fused.graph.initializer or expected == "Gemm"
    for got, want in zip(run(fused, {"x": X}), run(model, {"x": X}), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_the_coefficients_are_the_float64_ones_rounded_once():
    model = linear("LinearClassifier", post_transform="SOFTMAX")
    before = {a.name: np.array(a.floats) for node in model.graph.node for a in node.attribute if a.floats}
    after = {a.name: np.array(a.floats) for a in fuse(model, measure=False)[0].graph.node[0].attribute if a.floats}
    weight = before["coefficients"].reshape(3, 4)
    assert np.array_equal(after["coefficients"], (weight * before["scale"]).astype(np.float32).reshape(-1))
    shift = before["intercepts"] - weight @ (before["offset"] * before["scale"])
    np.testing.assert_allclose(after["intercepts"], shift, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (linear("LinearRegressor", extra="s"), "'s' is a graph output"),
        (linear("LinearRegressor", post_transform="PROBIT"), "transforms what it predicts"),
        (linear("LinearRegressor", columns=3), "coefficients an output"),
        (linear("LinearClassifier", intercepts=(np.nan, 1.0)), "are not finite"),
        (linear("LinearClassifier", intercepts=()), "0 intercepts"),
    ],
    ids=["the scaled are seen", "transformed", "too few", "not finite", "no intercepts"],
)
def test_a_scaler_before_a_linear_model_is_left_where(model, reason):
    fused, _, refusals = fold_all(model)
    assert operators(fused) == operators(model)
    assert any(reason in refusal.reason for refusal in refusals)


@pytest.mark.parametrize(
    ("norm", "post_transform", "stays"),
    [("L1", "SOFTMAX", False), ("L2", "SOFTMAX", True), ("MAX", "SOFTMAX", True), ("L1", "LOGISTIC", True)],
)
def test_a_normalizer_goes_where_the_sum_is_1(norm, post_transform, stays):
    model = linear("LinearClassifier", normalizer=norm, post_transform=post_transform)
    assert ("Normalizer" in operators(fold_all(model)[0])) == stays


def test_behind_an_imputer_and_a_normalizer_the_rank_is_known():
    g = Sketch()
    imputed = {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": float("nan")}
    g.node("Imputer", ["x"], "i", domain=ML, **imputed)
    g.dense("i", "a", 4, 6, "matmul + vector")
    g.node("Normalizer", ["a"], "n", domain=ML, norm="L2")
    g.dense("n", "y", 6, 3, "matmul + row")
    model = with_ml(g.model({"x": ["N", 4]}, {"y": ["N", 3]}))
    fused, report = fuse(model, measure=False)
    assert operators(fused) == ["Imputer", "Gemm", "Normalizer", "Gemm"]
    assert report.verified
    x = np.where(X > 1, np.float32(np.nan), X)
    np.testing.assert_allclose(run(fused, {"x": x})[0], run(model, {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_constants_in_nodes_become_initializers_where_something_folds():
    g = Sketch()
    g.node("Constant", [], "axis", value=numpy_helper.from_array(np.array([1], np.int64)))
    g.dense("x", "a", 4, 3, "matmul + vector")
    g.node("Unsqueeze", ["a", "axis"], "y")
    model = g.model({"x": ["N", 4]}, {"y": None})
    assert operators(fold_all(model)[0]) == ["Gemm", "Unsqueeze"]


def test_the_logits_of_a_linear_classifier_are_its_scores():
    model = linear("LinearClassifier", post_transform="SOFTMAX")
    fused, _ = fuse(model, output="logits", measure=False)
    (logits,) = run(fused, {"x": X})
    scores = np.exp(logits.astype(np.float64))
    want = next(each for each in run(model, {"x": X}) if each.dtype == np.float32)
    np.testing.assert_allclose(scores / scores.sum(axis=1, keepdims=True), want, atol=1e-6)
    with pytest.raises(FusionError, match=r"the logits behind ai\.onnx\.ml:LinearClassifier .*LOGISTIC"):
        fuse(linear("LinearClassifier", post_transform="LOGISTIC"), output="logits", measure=False)
