"""The head that is asked for: probabilities, logits or labels, under the output's own name."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.errors import FusionError
from fastdl.fusion import fuse, verify
from fastdl.fusion.pipeline import fold_all
from fastdl.runner import Runner

from .graphs import Sketch, check, operators, run
from .test_runner import sklearn_like


def net(*tail, classes=3, dtype=np.float32, opset=17, seed=0):
    """x (N, 6) → dense → BN → ReLU → dense → the operators of `tail`."""
    g = Sketch(dtype, opset, seed=seed)
    g.dense("x", "d", 6, 16, "matmul + vector")
    g.batch_norm("d", "n", 16)
    g.node("Relu", ["n"], "r")
    value = g.dense("r", "z", 16, classes)
    weight = g.constants["z_w"]
    g.const("z_b", -(g.constants["n_beta"].clip(0) + 0.4) @ weight)  # about as often one class as another
    for i, op in enumerate(tail):
        value = g.node(op, [value], f"y{i}")
    return g.model({"x": ["N", 6]}, {value: ["N", classes]})


def rows(n=500, dtype=np.float32):
    return np.random.default_rng(1).normal(size=(n, 6)).astype(dtype)


DENSE = ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("opset", [9, 13, 17, 21])
@pytest.mark.parametrize(
    "tail",
    [[], ["Softmax"], ["LogSoftmax"], ["Sigmoid"], ["Tanh"], ["Identity", "Softmax", "Identity"], ["Tanh", "Exp"]],
    ids=str,
)
def test_labels_of_several_classes(tail, opset, dtype):
    model = net(*tail, opset=opset, dtype=dtype)
    fused, report = fuse(model, output="labels", samples=rows(), measure=False)
    assert operators(fused) == [*DENSE, "ArgMax"]
    check(fused)
    (info,) = fused.graph.output
    assert info.name == model.graph.output[0].name
    assert info.type.tensor_type.elem_type == TensorProto.INT64
    x = rows(dtype=dtype)
    got, scores = run(fused, {"x": x})[0], run(model, {"x": x})[0]
    assert got.shape == (500,)
    assert (got == scores.argmax(axis=1)).mean() > (0.99 if dtype == np.float16 else 0.999)
    assert len(set(got.tolist())) == 3, "the test must see every class"
    assert report.verified


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("opset", [9, 13, 17])
def test_labels_of_one_sigmoid_are_a_threshold_at_zero(opset, dtype):
    model = net("Sigmoid", classes=1, opset=opset, dtype=dtype)
    fused, _ = fuse(model, output="labels", samples=rows(), measure=False)
    assert operators(fused) == [*DENSE, "Greater", "Cast", "Reshape"]
    check(fused)
    x = rows(dtype=dtype)
    got, scores = run(fused, {"x": x})[0], run(model, {"x": x})[0]
    assert got.dtype == np.int64
    assert got.tolist() == (scores[:, 0] > 0.5).astype(int).tolist()
    assert 0 < got.mean() < 1


def test_labels_that_softmax_rounds_to_a_tie_are_told_by_the_scores():
    """Both probabilities are 1.0 in float32, of which ArgMax takes the first; the larger score is the second."""
    g = Sketch()
    g.node("Gemm", ["x", g.const("w", [[100.0, 100.00001, 0.0]])], "z")
    g.node("Sigmoid", ["z"], "p")
    model = g.model({"x": ["N", 1]}, {"p": ["N", 3]})
    fused, _ = fuse(model, output="labels", measure=False, verify=False)
    x = np.ones((1, 1), np.float32)
    assert run(model, {"x": x})[0].argmax(axis=1).tolist() == [0]
    assert run(fused, {"x": x})[0].tolist() == [1]


@pytest.mark.parametrize("tail", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_logits(tail):
    model = net(tail)
    fused, report = fuse(model, output="logits", measure=False)
    assert operators(fused) == DENSE
    assert fused.graph.output == model.graph.output
    z, y = run(fused, {"x": rows()})[0], run(model, {"x": rows()})[0].astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True), dtype=np.float64)
    want = {"Softmax": e / e.sum(axis=1, keepdims=True), "Sigmoid": 1 / (1 + np.exp(-z.astype(np.float64)))}
    want["LogSoftmax"] = np.log(want["Softmax"])
    np.testing.assert_allclose(y, want[tail], rtol=1e-5, atol=1e-6)
    assert report.verified


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_logits_of_an_output_that_another_is_computed_from(order):
    """What Softmax takes is the sigmoid still, though the output of that name now gives what the sigmoid takes."""
    g = Sketch()
    g.dense("x", "z", 6, 4)
    g.node("Sigmoid", ["z"], "a")
    g.node("Softmax", ["a"], "b")
    model = g.model({"x": ["N", 6]}, {name: ["N", 4] for name in order})
    fused, report = fuse(model, output="logits", measure=False)
    assert report.verified
    assert operators(fused) == ["Gemm", "Sigmoid"]
    sigmoid = run(model, {"x": rows()})[order.index("a")]
    got = dict(zip(order, run(fused, {"x": rows()}), strict=True))
    np.testing.assert_allclose(got["b"], sigmoid, rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-got["a"])), sigmoid, rtol=1e-5)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_labels_of_an_output_that_another_is_computed_from(order):
    """The scores behind the sigmoid are those, though the output of that name now gives labels."""
    g = Sketch()
    g.dense("x", "z", 6, 4)
    g.node("Tanh", ["z"], "a")
    g.node("Sigmoid", ["a"], "b")
    model = g.model({"x": ["N", 6]}, {name: ["N", 4] for name in order})
    fused, report = fuse(model, output="labels", measure=False)
    assert report.verified
    want = run(model, {"x": rows()})
    for scores, got in zip(want, run(fused, {"x": rows()}), strict=True):
        assert (got == scores.argmax(axis=1)).mean() > 0.99


def test_probabilities_and_what_has_no_head_to_choose_stay():
    for tail in ("Softmax", "Sigmoid"):
        fused, _ = fuse(net(tail), output="probabilities", measure=False)
        assert operators(fused) == [*DENSE, tail]
    fused, _ = fuse(net(), output="logits", measure=False)
    assert operators(fused) == DENSE


def two_outputs():
    """What scikit-learn's converters write: labels, and probabilities."""
    g = Sketch()
    g.dense("x", "z", 6, 3)
    g.node("Softmax", ["z"], "p")
    g.node("ArgMax", ["p"], "label", axis=1, keepdims=0)
    model = g.model({"x": ["N", 6]}, {"label": ["N"], "p": ["N", 3]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


@pytest.mark.parametrize(
    ("head", "left", "names"),
    [
        (None, ["Gemm", "Softmax", "ArgMax"], ["label", "p"]),
        ("labels", ["Gemm", "ArgMax"], ["label"]),
        ("probabilities", ["Gemm", "Softmax"], ["p"]),
        ("logits", ["Gemm"], ["p"]),
    ],
)
def test_of_labels_and_scores_one_kind_stays(head, left, names):
    fused, _ = fuse(two_outputs(), output=head, measure=False)
    assert operators(fused) == left
    assert [o.name for o in fused.graph.output] == names
    check(fused)


def test_a_head_is_measured_against_the_whole_of_the_model():
    model = net("Softmax")
    _, report = fuse(model, output="labels")
    assert report.operators_before == [n.op_type for n in model.graph.node]
    assert report.latency["batch_1"]["before_us"] > 0


@pytest.mark.parametrize(
    ("model", "head", "reason"),
    [
        (net(), "probabilities", "comes from Gemm 'Gemm_z', so it is no probability"),
        (net(classes=1), "labels", "one column from Gemm 'Gemm_z', not Sigmoid"),
        (net("Tanh", classes=1), "labels", "one column from Tanh"),
        (net(), "classes", "output must be one of"),
    ],
)
def test_what_a_model_cannot_give(model, head, reason):
    with pytest.raises(FusionError, match=reason):
        fuse(model, output=head)


def test_rows_that_are_not_known_to_be_scores():
    g = Sketch()
    g.node("Softmax", ["x"], "y")
    for shape in (None, ["N", "C"], ["N", 3, 4]):
        with pytest.raises(FusionError, match="not known to be rows"):
            fuse(g.model({"x": shape}, {"y": None}), output="labels")


def test_a_head_read_in_a_subgraph_cannot_change():
    model = net("Softmax")
    inner = helper.make_graph(
        [helper.make_node("Relu", ["y0"], ["i"])], "b", [], [helper.make_tensor_value_info("i", 1, None)]
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [1]))
    model.graph.node.append(helper.make_node("If", ["yes"], ["u"], then_branch=inner, else_branch=inner))
    with pytest.raises(FusionError, match="read inside a subgraph"):
        fuse(model, output="labels")


def with_argmax(*tails, opset=17, classes=3, axis=1, rank3=False):
    g = Sketch(opset=opset)
    value = "x"
    for i, tail in enumerate(tails):
        op, attributes = tail if isinstance(tail, tuple) else (tail, {})
        constant = attributes.pop("by", None) if isinstance(attributes, dict) else None
        inputs = [value] + ([g.const(f"c{i}", constant)] if constant is not None else [])
        value = g.node(op, inputs, f"v{i}", **attributes)
    g.node("ArgMax", [value], "y", axis=axis, keepdims=0)
    model = g.model({"x": ["N", 4, classes] if rank3 else ["N", classes]}, {"y": None})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


@pytest.mark.parametrize(
    ("tails", "more", "left"),
    [
        (["Softmax"], {}, ["ArgMax"]),
        ([("Softmax", {"axis": -1})], {"axis": -1}, ["ArgMax"]),
        ([("Softmax", {"axis": 0})], {}, ["Softmax", "ArgMax"]),
        ([("Softmax", {"axis": 1})], {"rank3": True, "axis": 1}, ["ArgMax"]),
        ([("Softmax", {"axis": 1})], {"rank3": True, "axis": 1, "opset": 11}, ["Softmax", "ArgMax"]),
        ([("Softmax", {"axis": 2})], {"rank3": True, "axis": 2, "opset": 11}, ["ArgMax"]),
        ([("Softmax", {"axis": 2})], {"rank3": True, "axis": 1}, ["Softmax", "ArgMax"]),
        (["Relu"], {}, ["Relu", "ArgMax"]),
        (["Neg"], {}, ["Neg", "ArgMax"]),
        (["Abs"], {}, ["Abs", "ArgMax"]),
        (["HardSigmoid"], {}, ["HardSigmoid", "ArgMax"]),
        *([([op], {}, [op, "ArgMax"]) for op in ("Sigmoid", "Tanh", "Elu", "Selu", "Exp", "Softplus", "Softsign")]),
        ([("Selu", {"gamma": -1.0})], {}, ["Selu", "ArgMax"]),
        ([("Selu", {"gamma": 0.0})], {}, ["Selu", "ArgMax"]),
        ([("Selu", {"alpha": -1.0})], {}, ["Selu", "ArgMax"]),
        ([("LeakyRelu", {"alpha": 0.1})], {}, ["ArgMax"]),
        ([("LeakyRelu", {"alpha": -0.1})], {}, ["LeakyRelu", "ArgMax"]),
        ([("LeakyRelu", {"alpha": 0.0})], {}, ["LeakyRelu", "ArgMax"]),
        ([("Mul", {"by": 3.0})], {}, ["ArgMax"]),
        ([("Mul", {"by": -3.0})], {}, ["Mul", "ArgMax"]),
        ([("Mul", {"by": [1.0, 2.0, 3.0]})], {}, ["Mul", "ArgMax"]),
        ([("Add", {"by": [1.0, 2.0, 3.0]})], {}, ["Add", "ArgMax"]),
        ([("Add", {"by": np.ones((1, 1, 1))})], {}, ["Add", "ArgMax"]),  # it adds an axis
        ([("Sub", {"by": 3.0}), ("Div", {"by": [2.0]}), "Softmax"], {}, ["ArgMax"]),
    ],
    ids=str,
)
def test_what_cannot_change_a_label(tails, more, left):
    model = with_argmax(*tails, **more)
    fused, _, _ = fold_all(model)
    assert operators(fused) == left
    x = np.random.default_rng(0).normal(size=(200, 4, 3) if more.get("rank3") else (200, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(fused, {"x": x})[0], run(model, {"x": x})[0])


@pytest.mark.parametrize("op", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
@pytest.mark.parametrize(
    ("bar", "first", "left"),
    [
        (0.5, False, 1),
        (0.3, False, 1),
        ([[0.2, 0.5, 0.9]], True, 1),
        (0.0, False, 2),
        (0.999, False, 2),
        (1.5, False, 2),
    ],
)
def test_thresholds(op, bar, first, left):
    g = Sketch()
    g.node("Sigmoid", ["x"], "p")
    pair = ["p", g.const("bar", bar)]
    g.node(op, pair[::-1] if first else pair, "y")
    model = g.model({"x": ["N", 3]}, {"y": ["N", 3]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    fused, _, refusals = fold_all(model)
    assert operators(fused) == ["Sigmoid", op][2 - left :]
    assert left == 1 or "not between 0.01 and 0.99" in refusals[0].reason
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(fused, {"x": x})[0], run(model, {"x": x})[0])


def test_a_tail_that_stays_for_others_is_read_as_before():
    g = Sketch()
    g.node("Softmax", ["x"], "p")
    g.node("ArgMax", ["p"], "y", axis=1, keepdims=0)
    model = g.model({"x": ["N", 3]}, {"y": ["N"], "p": ["N", 3]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    fused, folds, refusals = fold_all(model)
    assert fused.SerializeToString() == model.SerializeToString()
    assert folds == []
    assert [(r.node, r.fold, r.reason) for r in refusals] == [("ArgMax_y", "tail of labels", "'p' is a graph output")]


CLASSES = [(["ant", "bee", "cat"], ["ant", "bee", "cat"]), ([7, -1, 30], ["7", "-1", "30"])]


@pytest.mark.parametrize(("keys", "names"), CLASSES)
@pytest.mark.parametrize("head", ["probabilities", "logits"])
def test_the_maps_of_scikit_learn_become_an_array_and_class_names(head, keys, names):
    model = sklearn_like(keys)
    fused, report = fuse(model, output=head, measure=False)
    assert operators(fused) == ["Gemm", "Softmax"][: 2 if head == "probabilities" else 1]
    assert report.verified
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    _, maps = run(model, {"x": x})
    (got,) = run(fused, {"x": x})
    want = np.array([[row[key] for key in keys] for row in maps])
    if head == "logits":
        got = np.exp(got) / np.exp(got).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert Runner(fused).class_names == names
    assert Runner(fused).predict_labels(x).tolist() == [names[i] for i in want.argmax(axis=1)]


@pytest.mark.parametrize("keys", [keys for keys, _ in CLASSES] + [[1, 2, 3]])
def test_the_labels_of_scikit_learn_are_no_column_numbers(keys):
    model = sklearn_like(keys)
    fused, _ = fuse(model, output="labels", measure=False)
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    want = run(model, {"x": x})[0].tolist()
    assert len(set(want)) > 1
    assert Runner(fused).predict_labels(x).tolist() == want


def test_scores_joined_from_several_values_have_no_known_logits():
    g = Sketch()
    g.dense("x", "z", 4, 1)
    g.node("Sigmoid", ["z"], "p")
    g.node("Sub", [g.const("one", 1.0), "p"], "q")
    g.node("Concat", ["q", "p"], "y", axis=1)
    with pytest.raises(FusionError, match="which of its inputs are logits"):
        fuse(g.model({"x": ["N", 4]}, {"y": ["N", 2]}), output="logits", measure=False)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("size", [1e-8, 1.0])
def test_where_probabilities_tie_the_label_is_that_of_the_larger_score(op, last, size):
    g = Sketch()
    g.node(op, ["x"], "p")
    g.node("ArgMax", ["p"], "y", axis=1, keepdims=0, select_last_index=last)
    model = g.model({"x": ["N", 3]}, {"y": ["N"]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    probabilities = g.model({"x": ["N", 3]}, {"p": ["N", 3]})
    x = np.random.default_rng(0).normal(size=(300, 1)) + size * np.random.default_rng(1).normal(size=(300, 3))
    x = x.astype(np.float32)
    fused, report = fuse(model, samples=x, measure=False)
    assert (operators(fused), report.verified) == (["ArgMax"], True)
    p, before, after = run(probabilities, {"x": x})[0], run(model, {"x": x})[0], run(fused, {"x": x})[0]
    rows = np.flatnonzero(before != after)
    assert (len(rows) > 20) == (size < 1)
    np.testing.assert_array_equal(p[rows, before[rows]], p[rows, after[rows]])
    assert (x[rows, after[rows]] > x[rows, before[rows]]).all()


@pytest.mark.parametrize(("op", "left"), [("Greater", False), ("LessOrEqual", False), ("Less", True)])
def test_where_a_probability_equals_the_threshold_the_score_tells(op, left):
    g = Sketch()
    g.node("Sigmoid", ["x"], "p")
    pair = ["p", g.const("bar", 0.5)]
    g.node(op, pair[::-1] if left else pair, "b")
    g.node("Cast", ["b"], "y", to=TensorProto.INT64)
    model = g.model({"x": ["N", 1]}, {"y": ["N", 1]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    probabilities = g.model({"x": ["N", 1]}, {"p": ["N", 1]})
    x = np.concatenate([np.linspace(-1e-7, 1e-7, 201), np.linspace(-9, 9, 100)]).astype(np.float32)[:, None]
    fused, report = fuse(model, samples=x, measure=False)
    assert (operators(fused), report.verified) == ([op, "Cast"], True)
    differ = run(model, {"x": x})[0] != run(fused, {"x": x})[0]
    assert differ.sum() > 20
    assert (run(probabilities, {"x": x})[0][differ] == 0.5).all()


def test_the_proof_takes_no_other_rows_for_ties():
    """Two columns in one place of each graph, changed by 1e-4 of the largest score: that is no rounding."""
    g = Sketch()
    g.node("Softmax", ["x"], "p")
    g.node("ArgMax", ["p"], "y", axis=1, keepdims=0)
    model = g.model({"x": ["N", 3]}, {"y": ["N"]})
    h = Sketch()
    h.node("Add", ["x", h.const("c", [0.0, 1e-4, 0.0])], "z")
    h.node("ArgMax", ["z"], "y", axis=1, keepdims=0)
    other = h.model({"x": ["N", 3]}, {"y": ["N"]})
    for m in (model, other):
        m.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    x = np.random.default_rng(0).normal(size=(300, 1)) + 1e-4 * np.random.default_rng(1).normal(size=(300, 3))
    assert verify(model, fold_all(model)[0], samples=x).max_rel_error == 0
    with pytest.raises(FusionError, match="off by"):
        verify(model, other, samples=x)
