"""The proof must catch a wrong graph, let a right one pass, and measure what it says."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.errors import DataError, FusionError
from fastdl.fusion import fuse, pipeline
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.feeds import Feeder
from fastdl.fusion.proof.prover import label_flips, prove
from fastdl.fusion.proof.truth import Truth

from .graphs import Sketch, operators, run


def plain_model(dtype=np.float32, opset=17, classes=3, head=None):
    g = Sketch(dtype, opset)
    g.batch_norm("x", "n", 6)
    g.dense("n", "d", 6, 16)
    g.batch_norm("d", "m", 16)
    g.node("Relu", ["m"], "r")
    g.dense("r", "y" if head is None else "h", 16, classes)
    if head is not None:
        g.node(head, ["h"], "y")
    return g.model({"x": ["N", 6]}, {"y": ["N", classes]})


def edited(model, change):
    """A copy in which `change(array)` has been applied to the last layer's weight."""
    copy = type(model).FromString(model.SerializeToString())
    name = copy.graph.node[-1].input[1]
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return copy


def off_by(share):
    def change(w):
        w[:, 0] *= 1 + share
        return w

    return change


@pytest.mark.parametrize(("dtype", "share"), [(np.float32, 1e-4), (np.float64, 1e-10)])
def test_a_weight_that_is_a_little_off_fails(dtype, share):
    plain = plain_model(dtype)
    fused, *_ = fold_all(plain)
    assert prove(plain, fused).max_rel_error < share / 10
    with pytest.raises(FusionError, match="off by"):
        prove(plain, edited(fused, off_by(share)))
    assert prove(plain, edited(fused, off_by(share)), tolerance=1e-2).max_rel_error > 0


@pytest.mark.parametrize(
    "change", [lambda w: w[:, ::-1], lambda w: w * np.nan, lambda w: -w], ids=["swapped", "nan", "negated"]
)
def test_a_wrong_weight_fails_even_a_loose_tolerance(change):
    plain = plain_model()
    with pytest.raises(FusionError, match=r"off by|gives NaN where the unfused graph does not"):
        prove(plain, edited(plain, change), tolerance=0.05)


def test_fuse_gives_nothing_back_when_a_fold_is_wrong(monkeypatch):
    def wrong(index, node):
        if node.op != "BatchNormalization":
            return None
        index.bypass(node)
        return "nothing"

    monkeypatch.setattr(pipeline, "RULES", (Rule("wrong", wrong, order=1),))
    with pytest.raises(FusionError, match="off by"):
        fuse(plain_model(), measure=False)
    fused, report = fuse(plain_model(), measure=False, verify=False)
    assert operators(fused) == ["Gemm", "Relu", "Gemm"]
    assert not report.verified


def test_the_error_is_the_one_that_numpy_finds():
    plain = plain_model()
    shifted = edited(plain, off_by(0.01))
    x = np.random.default_rng(5).normal(size=(300, 6)).astype(np.float32)
    proof = prove(plain, shifted, samples=x, tolerance=1)
    want = Truth(plain)({"x": x})[0]
    assert proof.max_abs_error >= np.abs(run(shifted, {"x": x})[0] - want).max() * 0.999
    assert proof.samples == 1 + 2 + 7 + 64 + 300


def test_label_flips_are_counted():
    plain = plain_model()
    swapped = edited(plain, lambda w: w[:, [1, 0, 2]])
    x = np.random.default_rng(5).normal(size=(300, 6)).astype(np.float32)
    a, b = (run(m, {"x": x})[0].argmax(axis=1) for m in (plain, swapped))
    on_samples = int((a != b).sum())
    flips = prove(plain, swapped, samples=x, tolerance=100).label_flips
    assert 0 < on_samples <= flips <= on_samples + 74
    assert prove(plain, fold_all(plain)[0], samples=x).label_flips == 0


@pytest.mark.parametrize(
    ("plain", "fused", "flips"),
    [
        ([[0.1, 0.9], [0.6, 0.4]], [[0.2, 0.8], [0.4, 0.6]], 1),
        ([[0.4], [0.6], [0.7]], [[0.6], [0.4], [0.9]], 2),
        (np.array([1, 2, 3]), np.array([1, 5, 3]), 1),
        (np.zeros((2, 3, 4)), np.ones((2, 3, 4)), 0),
    ],
)
def test_label_flips(plain, fused, flips):
    assert label_flips(np.asarray(plain), np.asarray(fused)) == flips


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 17])
def test_the_truth_is_inference_at_every_opset(opset):
    """onnx's own reference takes a BN before opset 14 for training."""
    g = Sketch(opset=opset)
    g.batch_norm("x", "y", 6)
    c = {name: a.astype(np.float64) for name, a in g.constants.items()}
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    eps = float(np.float32(1e-5))
    want = (x - c["y_mean"]) / np.sqrt(c["y_var"] + eps) * c["y_gamma"] + c["y_beta"]
    got = Truth(g.model({"x": ["N", 6]}, {"y": ["N", 6]}))({"x": x})[0]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_the_truth_widens_constants_and_casts():
    g = Sketch(opset=13)
    third = numpy_helper.from_array(np.array(1 / 3, np.float32))
    g.node("Constant", [], "c", value=third)
    g.node("Constant", [], "e", value_float=0.1)
    g.node("Cast", ["x"], "k", to=TensorProto.FLOAT)
    g.node("Mul", ["k", "c"], "m")
    g.node("Add", ["m", "e"], "y")
    x = np.array([[0.3]], np.float32)
    got = Truth(g.model({"x": ["N", 1]}, {"y": ["N", 1]}))({"x": x})[0]
    want = np.float64(x) * np.float64(np.float32(1 / 3)) + np.float64(np.float32(0.1))
    assert got.tolist() == want.tolist()


def test_a_batch_norm_that_loses_digits_when_folded_is_left():
    """Inputs 30,000 deviations from zero: the dense layer would sum them uncentred."""
    g = Sketch(seed=3)
    g.batch_norm("x", "n", 400)
    g.const("n_mean", np.full(400, 30_000.0))
    g.dense("n", "d", 400, 16)
    g.batch_norm("d", "y", 16)
    model = g.model({"x": ["N", 400]}, {"y": ["N", 16]})
    fused, report = fuse(model, measure=False)
    assert operators(fused) == ["BatchNormalization", "Gemm"]
    assert report.verified
    told = {(r.node, r.fold): r.reason for r in report.refusals}
    assert "failed the proof" in told["BatchNormalization_n", "batch norm → dense"]
    forced, _ = fuse(model, measure=False, tolerance=0.1)
    assert operators(forced) == ["Gemm"]


def test_a_fixed_batch_is_proven_at_that_batch():
    g = Sketch()
    g.dense("x", "d", 6, 4)
    g.batch_norm("d", "y", 4)
    model = g.model({"x": [5, 6]}, {"y": [5, 4]})
    samples = np.random.default_rng(0).normal(size=(12, 6))
    fused, report = fuse(model, samples=samples)
    assert operators(fused) == ["Gemm"]
    assert report.samples == 4 * 5 + 3 * 5
    assert list(report.latency) == ["batch_5"]


def test_integer_inputs_and_label_outputs():
    g = Sketch()
    g.node("Cast", ["x"], "f", to=TensorProto.FLOAT)
    g.dense("f", "d", 6, 4)
    g.batch_norm("d", "b", 4)
    g.node("ArgMax", ["b"], "y", axis=1, keepdims=0)
    model = g.model({"x": ["N", 6]}, {"y": ["N"]})
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.elem_type = TensorProto.INT64
    fused, report = fuse(model, samples=np.arange(60).reshape(10, 6), measure=False)
    assert operators(fused) == ["Cast", "Gemm", "ArgMax"]
    assert (report.samples, report.label_flips, report.max_abs_error) == (84, 0, 0)


def test_several_inputs():
    g = Sketch()
    g.node("Concat", ["a", "b"], "x", axis=1)
    g.dense("x", "d", 6, 4)
    g.batch_norm("d", "y", 4)
    model = g.model({"a": ["N", 2], "b": ["N", 4]}, {"y": ["N", 4]})
    samples = {"a": np.ones((9, 2)), "b": np.ones((9, 4))}
    _, report = fuse(model, samples=samples, measure=False)
    assert report.samples == 83
    for wrong in (np.ones((9, 6)), {"a": np.ones((9, 2))}, {"a": np.ones((9, 2)), "b": np.ones((8, 4))}):
        with pytest.raises(DataError):
            fuse(model, samples=wrong, measure=False)


def test_an_operator_without_a_float64_truth_is_taken_in_float32_and_told():
    g = Sketch()
    g.dense("x", "d", 6, 8)
    g.batch_norm("d", "b", 8)
    g.node("Reshape", ["b", g.const("one", [-1, 1, 8], np.int64)], "s")
    w, c = g.const("w", g.rng.normal(size=(8, 24))), g.const("c", np.zeros(24))
    g.node("Attention", ["s", w, c], "y", domain="com.microsoft", num_heads=2)
    model = g.model({"x": ["N", 6]}, {"y": ["N", 1, 8]})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    fused, report = fuse(model, measure=False)
    assert "BatchNormalization" not in operators(fused)
    assert report.float32_operators == ["Attention"]
    assert "float64 but for Attention, in float32" in str(report)
    wrong = edited_named(
        fused, next(t.name for t in fused.graph.initializer if t.name.startswith("d_")), lambda w: w * 1.001
    )
    with pytest.raises(FusionError, match="off by"):
        prove(model, wrong)


def edited_named(model, name, change):
    copy = type(model).FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return copy


def test_a_graph_that_random_inputs_do_not_suit_needs_samples():
    g = Sketch()
    g.node("Reshape", ["x", g.const("shape", [-1, 6], np.int64)], "f")
    g.dense("f", "d", 6, 4)
    g.batch_norm("d", "y", 4)
    model = g.model({"x": ["N", "L"]}, {"y": ["M", 4]})
    with pytest.raises(FusionError, match="give samples"):
        fuse(model, measure=False)
    _, report = fuse(model, samples=np.ones((5, 12)), measure=False)
    assert report.samples == 5
    with pytest.raises(FusionError, match="does not run on the given samples"):
        fuse(model, samples=np.ones((5, 7)), measure=False)


@pytest.mark.parametrize("kind", ["standardise", "batch norm", "batch norm in primitives", "batch norm by TensorFlow"])
def test_random_inputs_are_drawn_as_the_graphs_own_standardisation_expects_them(kind):
    g = Sketch()
    g.affine("x", "n", 6, kind)
    for name in ("n_mean", "n_beta"):
        if name in g.constants:
            g.const(name, 1000 + 10 * np.arange(6.0))
    g.dense("n", "y", 6, 3)
    model = g.model({"x": ["N", 6]}, {"y": ["N", 3]})
    feed = Feeder(model).draw(np.random.default_rng(0), 20_000)["x"].astype(np.float64)
    values = g.model({"x": ["N", 6]}, {"n": ["N", 6]})
    standard = Truth(values)({"x": feed})[0]
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=0.03)


def test_random_images_are_drawn_by_pixel_and_by_channel():
    g = Sketch()
    g.node("Div", ["x", g.const("most", 255.0)], "a")
    g.node("Sub", ["a", g.const("mean", [[[0.5]], [[0.2]]])], "b")
    g.node("Mul", ["b", g.const("pixels", np.arange(1.0, 13).reshape(3, 4))], "y")
    model = g.model({"x": ["N", 2, 3, 4]}, {"y": ["N", 2, 3, 4]})
    feed = Feeder(model).draw(np.random.default_rng(0), 20_000)["x"]
    got = Truth(model)({"x": feed})[0]
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(got.std(axis=0), 1, atol=0.04)


def test_digits_lost_far_from_zero_are_found_without_samples():
    g = Sketch(seed=3)
    g.node("Sub", ["x", g.const("mean", np.full(400, 30_000.0))], "a")
    g.node("Div", ["a", g.const("deviation", g.rng.uniform(0.5, 2, 400))], "b")
    g.dense("b", "y", 400, 16)
    fused, report = fuse(g.model({"x": ["N", 400]}, {"y": ["N", 16]}), measure=False)
    assert operators(fused) == ["Sub", "Gemm"]
    assert report.verified


def test_a_small_column_is_not_hidden_by_a_large_one():
    """Targets put back to their own scales: one in millions, one in units."""
    g = Sketch()
    g.dense("x", "d", 6, 2)
    g.node("Mul", ["d", g.const("spread", [[1e6, 1.0]])], "y")
    model = g.model({"x": ["N", 6]}, {"y": ["N", 2]})
    fused, _ = fuse(model, measure=False)

    def small_column(w):
        w[:, 1] *= 1.01
        return w

    with pytest.raises(FusionError, match="column 1 of the fused graph is off by"):
        prove(model, edited(fused, small_column))


def test_the_rounding_of_the_inputs_lifts_the_bar_a_little(monkeypatch):
    """Inputs 10 deviations from zero: the fold is as exact as float32 inputs let it be, if not as 1e-6 asks."""

    def folded():
        count = 0
        for seed in range(10):
            g = Sketch(seed=seed)
            g.node("Sub", ["x", g.const("mean", np.full(40, 10.0))], "a")
            g.node("Mul", ["a", g.const("scale", g.rng.uniform(0.5, 2, 40))], "b")
            g.dense("b", "y", 40, 1)
            fused, report = fuse(g.model({"x": ["N", 40]}, {"y": ["N", 1]}), measure=False)
            assert report.max_rel_error < 4e-6
            count += operators(fused) == ["Gemm"]
        return count

    lifted = folded()
    monkeypatch.setattr("fastdl.fusion.proof.prover.INPUTS", 1.0)
    assert lifted >= folded() + 3


def test_a_truth_that_the_graph_itself_is_far_from_is_not_trusted(monkeypatch):
    plain = plain_model()
    wrong = edited(plain, off_by(0.01))
    truth = Truth(plain)
    monkeypatch.setattr(Truth, "__call__", lambda self, feed: [truth._run(truth._walk, dict(feed))[0] * 2])
    prove(plain, fold_all(plain)[0])
    with pytest.raises(FusionError, match="truth of this graph is not one"):
        prove(plain, wrong)


def a_clock(monkeypatch):
    """Of which every look takes a second."""
    looks = itertools.count()
    monkeypatch.setattr("fastdl.fusion.proof.prover.process_time", lambda: float(next(looks)))


def test_a_budget_that_ends_leaves_rows_out_and_says_so(monkeypatch):
    plain = plain_model()
    x = np.random.default_rng(5).normal(size=(5000, 6)).astype(np.float32)
    assert fuse(plain, samples=x, measure=False)[1].samples == 5074
    a_clock(monkeypatch)
    fused, report = fuse(plain, samples=x, measure=False, budget=60)
    assert operators(fused) == ["Gemm", "Relu", "Gemm"]
    assert 1 + 2 + 1024 <= report.samples < 5074
    assert report.cut == f"{5074 - report.samples} rows were left out: they would take the budget of 60 s"
    assert report.cut in " ".join(str(report).split())
    assert report.to_dict()["cut"] == report.cut
    _, report = fuse(plain, measure=False, budget=5)
    assert report.samples == 1 + 2


def test_a_budget_that_two_batches_exceed_is_refused_by_name(monkeypatch):
    a_clock(monkeypatch)
    with pytest.raises(FusionError, match="for the two batches that it needs: a larger budget lifts that"):
        fuse(plain_model(), measure=False, budget=1)


def test_folds_that_fail_are_left_out_in_few_proofs(monkeypatch):
    """Thirty batch norms far from zero, none of which can go forward: not thirty proofs."""
    g = Sketch(seed=3)
    parts = []
    for k in range(30):
        g.batch_norm("x", f"n{k}", 50)
        g.const(f"n{k}_mean", np.full(50, 30_000.0))
        parts.append(g.dense(f"n{k}", f"d{k}", 50, 2))
    g.node("Concat", [f"d{k}" for k in range(30)], "y", axis=1)
    made = []
    real = pipeline.Prover.prove
    monkeypatch.setattr(pipeline.Prover, "prove", lambda self, *fused: made.append(1) or real(self, *fused))
    fused, _ = fuse(g.model({"x": ["N", 50]}, {"y": ["N", 60]}), measure=False)
    assert operators(fused).count("BatchNormalization") == 30
    assert len(made) <= 6
