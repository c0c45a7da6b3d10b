"""Embeddings and one-hot columns before a dense layer; and how far rounding may move a sum."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.rounding import moved

from .graphs import Sketch, check, operators, run
from .test_labels import ML, with_ml


def embedded(rows=50, size=8, units=16, shape=("N",), target=None, also=None, extra=False, table=True):
    g = Sketch()
    if table:
        g.weights("e", rows, size)
    value = g.node("Gather", ["e", "c"], "g", axis=0)
    if target:
        value = g.node("Flatten", [value], "f") if target == "Flatten" else g.node(
            "Reshape", [value, g.const("t", target, np.int64)], "f"
        )  # fmt: skip
    if extra:
        value = g.node("Concat", [value, "x"], "j", axis=1)
    g.dense(value, "y", size * (shape[1] if len(shape) > 1 else 1) + 3 * extra, units)
    inputs = {"c": list(shape), **({"x": ["N", 3]} if extra else {}), **({} if table else {"e": [rows, size]})}
    model = g.model(inputs, {"y": ["N", units], **({also: None} if also else {})})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("N",), None, ["Gather"]),
        (("N", 1), [-1, 8], ["Gather", "Reshape"]),
        (("N", 1), [0, 8], ["Gather", "Reshape"]),
        (("N", 1), "Flatten", ["Gather", "Flatten"]),
    ],
)
def test_an_embedding_times_a_weight_is_a_table(shape, target, expected):
    model = embedded(shape=shape, target=target)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == expected
    assert report.verified
    check(fused)
    codes = np.random.default_rng(0).integers(-50, 50, (30, *shape[1:]))
    np.testing.assert_allclose(run(fused, {"c": codes})[0], run(model, {"c": codes})[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        embedded(also="g"),
        embedded(shape=("N", 2), target=[-1, 16]),
        embedded(extra=True),
        embedded(rows=10_000, size=4, units=64),
        embedded(table=False),
    ],
    ids=["it is seen", "two a row", "numbers beside it", "a table that grows", "a table that is given"],
)
def test_an_embedding_is_left(model):
    _, folds, _ = fold_all(model)
    assert "embedding → dense" not in {fold.name for fold in folds}


def one_hot(encoders=2, categories=70, units=16, numbers=3, version=3, text=True, also=None, **more):
    """As skl2onnx writes it: an encoder a column, joined along the last axis, made rows, beside numbers."""
    g = Sketch(opset=more.pop("opset", 17))
    names = [f"v{i}" for i in range(categories)] if text else list(range(5, 5 + categories))
    cats = {"cats_strings" if text else "cats_int64s": more.pop("cats", names)}
    hot = [g.node("OneHotEncoder", [f"c{i}"], f"h{i}", domain=ML, **cats, **more) for i in range(encoders)]
    value = g.node("Concat", hot, "hh", axis=-1) if encoders > 1 else hot[0]
    width = encoders * categories
    value = g.node("Reshape", [value, g.const("t", [-1, width], np.int64)], "r")
    if numbers:
        value = g.node("Concat", ["x", value], "j", axis=1)
    g.dense(value, "y", width + numbers, units)
    inputs = {f"c{i}": ["N", 1] for i in range(encoders)} | ({"x": ["N", numbers]} if numbers else {})
    model = with_ml(g.model(inputs, {"y": ["N", units], **({also: None} if also else {})}), version)
    for info in model.graph.input:
        if info.name != "x":
            info.type.tensor_type.elem_type = TensorProto.STRING if text else TensorProto.INT64
    return model


def rows_of(encoders, numbers, text, count=40):
    """Categories that the encoders know, and some that they do not."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 90, (encoders, count, 1))
    columns = [np.array([[f"v{c}"] for c in each[:, 0]], object) if text else each for each in codes]
    feed = {f"c{i}": column for i, column in enumerate(columns)}
    return feed | ({"x": rng.normal(size=(count, numbers)).astype(np.float32)} if numbers else {})


@pytest.mark.parametrize(("text", "version", "opset"), [(True, 1, 11), (True, 3, 17), (False, 3, 17)])
@pytest.mark.parametrize("encoders", [1, 3])
@pytest.mark.parametrize("numbers", [0, 3])
def test_one_hot_columns_are_rows(encoders, numbers, text, version, opset):
    model = one_hot(encoders, numbers=numbers, version=version, text=text, opset=opset)
    feed = rows_of(encoders, numbers, text)
    fused, report = fuse(model, samples=feed, measure=False)
    assert "OneHotEncoder" not in operators(fused)
    assert operators(fused).count("LabelEncoder") == encoders
    assert report.verified
    check(fused)
    np.testing.assert_allclose(run(fused, feed)[0], run(model, feed)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (one_hot(categories=20), "rows are no faster"),
        (one_hot(units=8), "rows are no faster"),
        (one_hot(zeros=0), "fails for a category that it does not know"),
        (one_hot(text=False, version=1), "has no LabelEncoder of whole numbers"),
        (one_hot(cats=["v0"] * 70), "categories that are equal"),
        (one_hot(also="h0"), None),
        (one_hot(also="r"), None),
    ],
    ids=["few", "few units", "unknown ones fail", "an old version", "equal", "the encoded are seen", "rows are seen"],
)
def test_one_hot_columns_are_left(model, reason):
    fused, _, refusals = fold_all(model)
    assert operators(fused).count("OneHotEncoder") == 2
    assert reason is None or any(reason in refusal.reason for refusal in refusals)


@pytest.mark.parametrize("terms", [1, 10, 100, 1000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rounding_moves_a_sum_by_no_less_than_it_is_off(terms, dtype):
    """Of many sums: the largest share of the bound, in any order of adding, stays below what is moved at most."""
    rng = np.random.default_rng(terms)
    x, w = (rng.normal(size=shape).astype(dtype) for shape in ((50, terms), (terms, 20)))
    exact = x.astype(np.float64) @ w.astype(np.float64)
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    off = np.abs(moved(node, [x.astype(np.float64), w.astype(np.float64)], exact, np.dtype(dtype), rng) - exact)
    total = np.abs(x.astype(np.float64)) @ np.abs(w.astype(np.float64))
    unit = np.finfo(dtype).eps / 2
    assert (off <= np.sqrt(terms + 1) * unit * total).all()
    summed = np.zeros((50, 20), dtype)
    for k in range(terms):
        summed = summed + x[:, k, None] * w[k]
    assert np.abs(summed - exact).max() <= 1.5 * off.max()
    assert off.max() <= 1.5 * (terms + 1) * unit * total.max()


def test_what_is_no_sum_is_not_moved():
    x = np.ones((3, 4))
    rng = np.random.default_rng(0)
    assert moved(helper.make_node("Relu", ["x"], ["y"]), [x], x, np.dtype(np.float32), rng) is x
    assert moved(helper.make_node("Gemm", ["x", "w"], ["y"], alpha=-1.0), [x, x.T], x, np.dtype(np.float32), rng) is x
