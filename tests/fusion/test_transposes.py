"""Channels last: batch norm behind a transposed convolution's output, and transposes that meet."""

import numpy as np
import pytest

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, check, operators, run

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
X = np.random.default_rng(0).normal(size=(3, 3, 6, 6)).astype(np.float32)


def convolution(g, x, y, inputs, outputs, bias=True, op="Conv"):
    shape = (outputs, inputs, 3, 3) if op == "Conv" else (inputs, outputs, 3, 3)
    names = [g.const(f"{y}_w", g.rng.normal(size=shape) / 5)] + ([g.vector(f"{y}_b", outputs)] if bias else [])
    return g.node(op, [x, *names], y)


def normalised(shape, op="Conv", perm=LAST, bias=True, also=None, kind="Mul Add"):
    g = Sketch()
    convolution(g, "x", "c", 3, 4, bias, op)
    value = g.node("Transpose", ["c"], "t", perm=perm)
    if kind == "batch norm":
        g.batch_norm(value, "y", 4)
    else:
        for number, each in enumerate(kind.split()):
            out = "y" if number == len(kind.split()) - 1 else f"v{number}"
            value = g.node(each, [value, g.const(f"{out}_k", g.rng.uniform(0.5, 2, shape))], out)
    return g.model({"x": ["N", 3, 6, 6]}, {"y": ["N", "A", "B", "C"], **({also: None} if also else {})})


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 1, 4), ()])
def test_channels_last_go_into_the_convolution(shape, bias, op):
    model = normalised(shape, op, bias=bias)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == [op, "Transpose"]
    assert report.verified
    check(fused)
    got, want = run(fused, {"x": X})[0], run(model, {"x": X})[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        normalised((4, 1, 1)),
        normalised((4, 4)),
        normalised((4,), perm=[0, 2, 1, 3]),
        normalised((4,), also="c"),
        normalised((4,), also="t"),
        normalised((1,), kind="batch norm"),
    ],
    ids=[
        "along height",
        "along two",
        "channels elsewhere",
        "the convolution is seen",
        "the transposed is seen",
        "norm",
    ],
)
def test_they_are_left_where_constants_lie_otherwise(model):
    fused, folds, _ = fold_all(model)
    assert "convolution → affine" not in {fold.name for fold in folds}
    assert operators(fused)[:2] == ["Conv", "Transpose"]


def chain(*steps, shape=("N", 3, 6, 6), also=None):
    """x through Transposes (lists), operators, and "dense" of a flattened row."""
    g, value, size = Sketch(), "x", int(np.prod(shape[1:]))
    for number, step in enumerate(steps):
        out = "y" if number == len(steps) - 1 else f"v{number}"
        if isinstance(step, list):
            value = g.node("Transpose", [value], out, perm=step)
        elif step == "dense":
            value = g.dense(value, out, size, 5)
        elif step == "reshape":
            value = g.node("Reshape", [value, g.const("t", [0, size], np.int64)], out)
        else:
            value = g.node(step, [value], out)
    return g.model({"x": list(shape)}, {"y": None, **({also: None} if also else {})})


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((LAST, "Relu", FIRST, "Tanh"), ["Relu", "Tanh"]),
        ((LAST, "Relu", "Neg", FIRST, "Tanh"), ["Relu", "Neg", "Tanh"]),
        ((LAST, "Relu", LAST, "Tanh"), ["Relu", "Transpose", "Tanh"]),
        ((LAST, LAST, "Tanh"), ["Transpose", "Tanh"]),
        ((LAST, "Flatten", "dense"), ["Flatten", "Gemm"]),
        ((LAST, "Relu", "reshape", "dense"), ["Relu", "Reshape", "Gemm"]),
        ((LAST, "Relu", FIRST), ["Relu"]),
    ],
    ids=str,
)
def test_transposes_that_meet(steps, expected):
    model = chain(*steps)
    fused, report = fuse(model, measure=False)
    assert operators(fused) == expected
    assert report.verified
    np.testing.assert_allclose(run(fused, {"x": X})[0], run(model, {"x": X})[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        chain(LAST, "Relu", FIRST, "Tanh", also="v0"),
        chain(LAST, "Relu", FIRST, "Tanh", also="v1"),
        chain(LAST, "Softmax", FIRST, "Tanh"),
        chain(LAST, "Flatten", "Tanh"),
        chain([1, 0, 2, 3], "Flatten", "dense", shape=(4, 4, 1, 1)),
    ],
    ids=["it is seen", "what follows is seen", "along an axis", "no dense layer", "rows move"],
)
def test_transposes_are_left(model):
    fused, folds, _ = fold_all(model)
    assert "transpose" not in {fold.name for fold in folds}
    assert operators(fused).count("Transpose") == operators(model).count("Transpose")
