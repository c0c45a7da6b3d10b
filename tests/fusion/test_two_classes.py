"""A sigmoid and what it lacks to 1 become a softmax, and are left where anything else sees them."""

import numpy as np
import pytest

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, check, operators, run


def net(form="gemm", swap=False, units=1, axis=1, one=1.0, outputs=("y",), opset=17, dtype=np.float32, bare=False):
    g = Sketch(dtype, opset=opset)
    g.dense("x", "a", 5, 6)
    g.node("Relu", ["a"], "b")
    if bare:
        g.node("Tanh", ["b"], "z")
    else:
        g.dense("b", "z", 6, units, form)
    g.node("Sigmoid", ["z"], "p")
    g.node("Sub", [g.const("one", np.full((1, 1), one)), "p"], "q")
    g.node("Concat", ["p", "q"] if swap else ["q", "p"], "y", axis=axis)
    if "w" in outputs:
        g.node("Tanh", ["p"], "w")
    return g.model(
        {"x": ["N", 5]}, {name: ["N", 2] if name == "y" and units == axis == 1 else None for name in outputs}
    )


@pytest.mark.parametrize("opset", [9, 13, 21])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("form", ["gemm", "matmul", "matmul + vector", "gemm transB alpha beta row"])
def test_it_is_a_softmax_of_two_columns(form, swap, dtype, opset):
    model = net(form, swap, dtype=dtype, opset=opset)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == ["Gemm", "Relu", "Gemm", "Softmax"]
    assert report.verified
    check(fused)
    x = (np.random.default_rng(0).normal(size=(200, 5)) * 5).astype(dtype)
    np.testing.assert_allclose(run(fused, {"x": x})[0], run(model, {"x": x})[0], atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (net(outputs=("y", "z")), "'z' is a graph output"),
        (net(outputs=("y", "p")), "'p' is a graph output"),
        (net(outputs=("y", "q")), "'q' is a graph output"),
        (net(outputs=("y", "w")), "'p' has another use"),
        (net(units=3), "has 3 units"),
        (net(axis=0), "does not join two columns"),
        (net(bare=True), "comes from Tanh"),
        (net(one=2.0), None),
        (net(one=np.nan), None),
    ],
    ids=["z is seen", "p is seen", "q is seen", "p is read", "three units", "axis 0", "no dense layer", "2 - p", "nan"],
)
def test_it_is_left_where(model, reason):
    fused, folds, refusals = fold_all(model)
    assert operators(fused)[-4:].count("Concat") == operators(fused).count("Concat") == 1
    assert "two classes" not in [fold.name for fold in folds]
    told = [refusal.reason for refusal in refusals if refusal.fold == "two classes"]
    assert told == [] if reason is None else reason in told[0]
