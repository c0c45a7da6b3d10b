"""Whatever dense chain, wherever its batch norms stand: the fused graph is as exact as the plain one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from fastdl.fusion import fuse

from .graphs import FORMS, Sketch, check, run

ACTIVATIONS = {
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Dropout": lambda x: x,
    "Identity": lambda x: x,
}
STEPS = st.one_of(
    st.just(("bn", 0)),
    st.tuples(st.sampled_from(sorted(ACTIVATIONS)), st.just(0)),
    st.tuples(st.sampled_from(sorted(FORMS)), st.integers(1, 17)),
)


def build(steps, taps, dtype, seed):
    """A chain of steps from x (N, 6); values at `taps` are graph outputs too."""
    g, value, size, sizes = Sketch(dtype, opset=15, seed=seed), "x", 6, {}
    for i, (step, width) in enumerate(steps):
        out = f"v{i}"
        if step == "bn":
            g.batch_norm(value, out, size)
        elif step in FORMS:
            g.dense(value, out, size, width, step)
            size = width
        else:
            g.node(step, [value], out)
        value, sizes[out] = out, size
    names = [out for i, out in enumerate(sizes) if i in taps or out == value]
    return g.model({"x": ["N", 6]}, {name: ["N", sizes[name]] for name in names})


def truth(model, x):
    """The graph in float64 numpy, written apart from fastdl and from onnx's reference."""
    values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    values["x"] = x.astype(np.float64)
    for node in model.graph.node:
        a = [values[name] for name in node.input]
        f = {at.name: at.f if at.type == 1 else at.i for at in node.attribute}
        if node.op_type == "Gemm":
            y = f.get("alpha", 1) * (a[0] @ (a[1].T if f.get("transB") else a[1]))
            y = y + (f.get("beta", 1) * a[2] if len(a) > 2 else 0)
        elif node.op_type == "MatMul":
            y = a[0] @ a[1]
        elif node.op_type == "Add":
            y = a[0] + a[1]
        elif node.op_type == "BatchNormalization":
            y = (a[0] - a[3]) / np.sqrt(a[4] + float(np.float32(1e-5))) * a[1] + a[2]
        else:
            y = ACTIVATIONS[node.op_type](a[0])
        values[node.output[0]] = y
    return [values[o.name] for o in model.graph.output]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    steps=st.lists(STEPS, min_size=1, max_size=9),
    taps=st.sets(st.integers(0, 8), max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_chain(dtype, steps, taps, seed):
    model = build(steps, taps, dtype, seed)
    x = np.random.default_rng(seed).normal(size=(200, 6)).astype(dtype)
    fused, report = fuse(model, samples=x, measure=False)
    check(fused)
    assert [o.name for o in fused.graph.output] == [o.name for o in model.graph.output]
    floor = 1e-6 if dtype == np.float32 else 1e-12
    for got, plain, want in zip(run(fused, {"x": x}), run(model, {"x": x}), truth(model, x), strict=True):
        scale = np.abs(want).max() or 1.0
        own = np.abs(plain - want).max() / scale
        # A little over the proof's own bar, which may have seen a larger own error with the optimiser on.
        assert np.abs(got - want).max() / scale <= max(6 * own, floor)
    if not any("failed the proof" in r.reason for r in report.refusals):
        assert_nothing_foldable_is_left(fused)


def assert_nothing_foldable_is_left(model):
    """No Dropout, and no BN beside a dense layer, but where a graph output stands between the two."""
    outputs = {o.name for o in model.graph.output}
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        source = makers.get(node.input[0])
        hidden = source is not None and source.output[0] not in outputs
        if node.op_type in ("Dropout", "Identity"):
            # only one that joins names which must both stay
            assert node.output[0] in outputs
            assert not hidden
        kinds = (source.op_type if source is not None else "", node.op_type)
        if hidden:
            assert kinds not in [(a, b) for a in ("Gemm", "MatMul") for b in ("BatchNormalization", "Add")], kinds
            assert kinds not in [("BatchNormalization", b) for b in ("Gemm", "MatMul")], kinds
