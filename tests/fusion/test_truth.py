"""The float64 truth: right by ONNX's definitions for what its reference lacks, gets wrong or is slow at."""

import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.errors import FusionError
from fastdl.fusion import fuse
from fastdl.fusion.proof.feeds import Feeder
from fastdl.fusion.proof.truth import NoTruth, Truth
from fastdl.fusion.runtime.session import Session

from .graphs import Sketch, operators

ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"
R = np.random.default_rng(0)


def node_model(op, inputs, outputs=1, domain="", opset=17, **attributes):
    """A model of one node, its inputs called a, b, c …"""
    names = [name if value is not None else "" for name, value in zip("abcdefgh", inputs, strict=False)]
    node = helper.make_node(op, names, [f"y{k}" for k in range(outputs)], domain=domain, **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in zip(names, inputs, strict=True)
        if value is not None
    ]
    outs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 3), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(helper.make_graph([node], "g", infos, outs), opset_imports=opsets, ir_version=9)


def like_onnxruntime(model, inputs, tolerance=2e-6):
    feed = {
        info.name: value for info, value in zip(model.graph.input, (v for v in inputs if v is not None), strict=True)
    }
    got = Session(model.SerializeToString(), optimise=False).run(None, feed)
    truth = Truth(model)
    for want, y in zip(truth(feed), got, strict=True):
        assert want.shape == y.shape
        assert want.dtype == np.float64 or y.dtype.kind != "f"
        np.testing.assert_allclose(y.astype(np.float64), want, rtol=0, atol=tolerance * np.abs(want).max(initial=1))
    return truth


def a(*shape):
    return R.normal(size=shape).astype(np.float32)


WINDOWS = {
    "one axis": (a(2, 3, 11), a(4, 3, 3), {"pads": [1, 2], "strides": [2]}),
    "two axes": (a(2, 3, 9, 8), a(4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}),
    "three axes": (a(1, 2, 5, 6, 7), a(3, 2, 2, 3, 2), {"pads": [0, 1, 0, 1, 0, 1], "strides": [1, 2, 2]}),
    "groups": (a(2, 6, 7, 7), a(4, 3, 3, 3), {"group": 2}),
    "depthwise": (a(2, 4, 7, 7), a(8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "pointwise": (a(2, 4, 5, 5), a(3, 4, 1, 1), {"strides": [2, 2]}),
    "same upper": (a(1, 2, 8, 7), a(3, 2, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "same lower": (a(1, 2, 8, 7), a(3, 2, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    "valid": (a(1, 2, 8, 7), a(3, 2, 3, 2), {"auto_pad": "VALID"}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_convolutions(name, bias):
    x, w, given = WINDOWS[name]
    inputs = [x, w, a(len(w))] if bias else [x, w]
    like_onnxruntime(node_model("Conv", inputs, **given), inputs)


def test_a_convolution_whose_columns_come_in_parts(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.evaluator.windows.CHUNK", 50)
    for x, w, given in WINDOWS.values():
        like_onnxruntime(node_model("Conv", [x, w], **given), [x, w])


@pytest.mark.parametrize(
    ("x", "w", "given"),
    [
        (a(2, 3, 6), a(3, 4, 3), {"strides": [2], "pads": [1, 0]}),
        (a(2, 3, 5, 4), a(3, 2, 3, 2), {"strides": [2, 3], "output_padding": [1, 0], "dilations": [2, 1]}),
        (a(2, 4, 5, 5), a(4, 3, 3, 3), {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        (a(1, 4, 5, 5), a(4, 1, 3, 3), {"group": 4, "pads": [1, 0, 0, 1]}),
        (a(1, 2, 3, 4), a(2, 3, 3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
        (a(1, 2, 3, 4), a(2, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (a(1, 2, 3, 3, 3), a(2, 2, 2, 2, 2), {"strides": [2, 1, 2]}),
    ],
)
def test_transposed_convolutions(x, w, given):
    inputs = [x, w, a(w.shape[1] * given.get("group", 1))]
    like_onnxruntime(node_model("ConvTranspose", inputs, **given), inputs)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((2, 3, 11), {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
        ((2, 3, 8, 7), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 1, 1, 0]}),
        ((2, 3, 8, 7), {"kernel_shape": [2, 2], "strides": [3, 3]}),
        ((1, 2, 6, 5, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 2, 3]}),
        ((1, 2, 9, 9), {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 2, 9, 9), {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    ],
)
def test_pools(op, ceil, shape, given):
    x, opset = a(*shape), 19
    if op == "LpPool":
        opset = 18
    if ceil and "auto_pad" not in given:
        given = {**given, "ceil_mode": 1}
    like_onnxruntime(node_model(op, [x], opset=opset, **given), [x])


@pytest.mark.parametrize("ceil", [0, 1])
def test_a_pool_that_counts_its_pads(ceil):
    x = a(1, 2, 8, 7)
    given = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1, "ceil_mode": ceil}
    like_onnxruntime(node_model("AveragePool", [x], opset=19, **given), [x])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("way", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("scales", [[1, 1, 2.0, 2.0], [1, 1, 0.5, 0.75], [1, 1, 1.5, 3.0]])
def test_resizes(mode, way, scales):
    x, s = a(1, 2, 6, 8), np.array(scales, np.float32)
    model = node_model("Resize", [x, None, s], mode=mode, coordinate_transformation_mode=way)
    like_onnxruntime(model, [x, None, s])


@pytest.mark.parametrize(
    ("op", "inputs", "given"),
    [
        ("LRN", [a(2, 7, 3, 3)], {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
        ("GlobalAveragePool", [a(2, 3, 4, 5)], {}),
        ("GlobalMaxPool", [a(2, 3, 4)], {}),
        ("GlobalLpPool", [a(2, 3, 4, 5)], {"p": 3}),
        ("InstanceNormalization", [a(2, 3, 4, 5), a(3), a(3)], {"epsilon": 0.1}),
        ("LayerNormalization", [a(2, 3, 8), a(8), a(8)], {"stash_type": 1}),
        ("LayerNormalization", [a(2, 3, 8), a(3, 8), a(3, 8)], {"axis": 1, "epsilon": 0.01}),
        ("MeanVarianceNormalization", [a(2, 3, 4, 5)], {}),
        ("Gemm", [a(4, 3), a(5, 4), a(5)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("Erf", [a(40, 50) * 3], {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_operators(op, inputs, given):
    like_onnxruntime(node_model(op, inputs, **given), inputs)


@pytest.mark.parametrize(
    ("op", "inputs", "given"),
    [
        ("FusedMatMul", [a(2, 4, 3), a(2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.3}),
        ("Gelu", [a(4, 5)], {}),
        ("QuickGelu", [a(4, 5)], {"alpha": 1.2}),
        ("FastGelu", [a(4, 5), a(5)], {}),
        ("BiasGelu", [a(4, 5), a(5)], {}),
        ("SkipLayerNormalization", [a(2, 3, 8), a(2, 3, 8), a(8), a(8), a(8)], {}),
        ("FusedConv", [a(1, 2, 5, 5), a(3, 2, 3, 3), a(3)], {"activation": "Relu"}),
        ("FusedGemm", [a(4, 5), a(5, 3), a(3)], {"activation": "LeakyRelu", "activation_alpha": 0.2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_of_microsoft(op, inputs, given):
    assert not like_onnxruntime(node_model(op, inputs, domain=MICROSOFT, **given), inputs).narrow


CLASSES = {"classlabels_ints": [0, 1, 2], "coefficients": a(12).tolist(), "intercepts": a(3).tolist()}


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "given"),
    [
        ("Scaler", [a(5, 4)], 1, {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 2.0, 3.0, 0.1]}),
        ("Scaler", [np.arange(20).reshape(5, 4)], 1, {"offset": [1.0], "scale": [0.5]}),
        ("LinearRegressor", [a(5, 4)], 1,
         {"targets": 3, "coefficients": a(12).tolist(), "intercepts": [1.0, 2.0, 3.0]}),
        ("LinearClassifier", [a(5, 4)], 2, {**CLASSES, "post_transform": "SOFTMAX"}),
        ("LinearClassifier", [a(5, 4)], 2, {**CLASSES, "post_transform": "LOGISTIC"}),
        ("Normalizer", [a(5, 4)], 1, {"norm": "L1"}),
        ("Normalizer", [a(5, 4)], 1, {"norm": "L2"}),
        ("Imputer", [np.array([[1, np.nan], [np.nan, 2]], np.float32)], 1,
         {"imputed_value_floats": [7.0, 8.0], "replaced_value_float": float("nan")}),
        ("OneHotEncoder", [np.array([[1], [2], [9]])], 1, {"cats_int64s": [1, 2, 3], "zeros": 1}),
        ("LabelEncoder", [np.array([1, 2, 9])], 1,
         {"keys_int64s": [1, 2], "values_floats": [0.5, 0.25], "default_float": -1.0}),
        ("ArrayFeatureExtractor", [a(5, 4), np.array([[2, 0]])], 1, {}),
        ("Binarizer", [a(5, 4)], 1, {"threshold": 0.1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_operators_of_scikit_learn(op, inputs, outputs, given):
    like_onnxruntime(node_model(op, inputs, outputs, domain=ML, **given), inputs)


def test_a_tree_ensemble_and_support_vectors():
    tree = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.1, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0], "nodes_missing_value_tracks_true": [0, 0, 0],
        "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0], "target_weights": [0.3, -1.7],
        "n_targets": 1,
    }  # fmt: skip
    x = a(30, 3)
    like_onnxruntime(node_model("TreeEnsembleRegressor", [x], domain=ML, **tree), [x])
    vectors = {
        "kernel_type": "RBF", "kernel_params": [0.3, 0.0, 3.0], "n_supports": 4, "rho": [0.2],
        "coefficients": [1.0, -2.0, 0.5, 1.0], "support_vectors": a(12).tolist(),
    }  # fmt: skip
    like_onnxruntime(node_model("SVMRegressor", [x], domain=ML, **vectors), [x], tolerance=1e-5)


def test_what_nothing_evaluates_in_float64_is_run_in_float32_and_named():
    x, w, b, mask = a(1, 4, 8), a(8, 24), a(24), np.ones((1, 4), np.int32)
    inputs = [x, w, b, mask]
    truth = like_onnxruntime(node_model("Attention", inputs, domain=MICROSOFT, num_heads=2), inputs)
    assert truth.narrow == {"Attention"}


def test_a_graph_that_draws_random_numbers_has_no_truth():
    x = a(2, 3)
    with pytest.raises(NoTruth, match="random"):
        Truth(node_model("RandomNormalLike", [x]))({"a": x})


def test_branches_and_loops_are_walked_in_float64():
    def port(name, kind=TensorProto.FLOAT, shape=(2,)):
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Mul", ["v", "third"], ["next"]),
            helper.make_node("Add", ["next", "x"], ["seen"]),
        ],
        "body",
        [port("i", TensorProto.INT64, ()), port("go", TensorProto.BOOL, ()), port("v")],
        [port("again", TensorProto.BOOL, ()), port("next"), port("seen")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "x"], ["y", "all"], body=body)],
        "g",
        [port("x")],
        [port("y"), port("all", shape=(5, 2))],
        [numpy_helper.from_array(np.array(5), "n"), numpy_helper.from_array(np.float32([1 / 3, 3]), "third")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = np.array([0.7, -1.3], np.float32)
    y, seen = Truth(model)({"x": x})
    third = np.float32([1 / 3, 3]).astype(np.float64)
    np.testing.assert_allclose(y, x * third**5, rtol=1e-15)
    np.testing.assert_allclose(seen, [x + x * third**k for k in range(1, 6)], rtol=1e-14)


def test_values_that_nothing_reads_any_more_are_let_go():
    g = Sketch()
    value = "x"
    for k in range(60):
        value = g.node("Tanh", [value], f"v{k}")
    model = g.model({"x": ["N", 4]}, {value: ["N", 4]})
    import tracemalloc

    x = np.zeros((50_000, 4), np.float32)
    truth = Truth(model)
    tracemalloc.start()
    try:
        truth({"x": x})
        assert tracemalloc.get_traced_memory()[1] < 10 * 8 * x.size
    finally:
        tracemalloc.stop()


def conv_net(size=32, channels=48, layers=6):
    g = Sketch()
    value, last = "x", 3
    for k in range(layers):
        g.const(f"w{k}", R.normal(size=(channels, last, 3, 3)) / np.sqrt(9 * last))
        g.node("Conv", [value, f"w{k}"], f"c{k}", pads=[1, 1, 1, 1])
        g.batch_norm(f"c{k}", f"n{k}", channels)
        value, last = g.node("Relu", [f"n{k}"], f"r{k}"), channels
    g.node("MaxPool", [value], "p", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    return g.model({"x": ["N", 3, size, size]}, {"p": ["N", channels, size // 2, size // 2]})


def test_a_convolutional_net_is_proven_in_seconds():
    start = time.process_time()
    fused, report = fuse(conv_net(), measure=False)
    assert "BatchNormalization" not in operators(fused)
    assert report.verified
    assert not report.float32_operators
    assert time.process_time() - start < 20  # by ONNX's own reference: minutes


@pytest.mark.slow
def test_the_proof_of_a_convolutional_net_takes_a_few_times_what_onnxruntime_does():
    model = conv_net(size=64, channels=64)
    start = time.process_time()
    fused, report = fuse(model, measure=False, limited=False)  # in this process, whose time is measured
    took = time.process_time() - start
    assert not report.proof.cut
    feeder, start = Feeder(model), time.process_time()
    for graph in (model, fused):
        for optimise in (True, False):
            session = Session(graph.SerializeToString(), optimise=optimise)
            for feed in feeder.random():
                session.run(None, feed)
    assert took < 4 * (time.process_time() - start)


def test_what_moves_values_is_evaluated_without_the_reference(monkeypatch):
    monkeypatch.setattr(Truth, "_by_reference", None)
    g = Sketch()
    g.node("Transpose", ["x"], "t", perm=[0, 2, 1])
    g.node("Unsqueeze", ["t", g.const("one", [1], np.int64)], "u")
    g.node("Squeeze", ["u", "one"], "s")
    g.node("Reshape", ["s", g.const("target", [0, -1, 2], np.int64)], "r")
    g.node("Concat", ["r", "r"], "c", axis=-1)
    g.node("Flatten", ["c"], "f", axis=2)
    model = g.model({"x": ["N", 3, 4]}, {"f": ["M", 4]})
    x = R.normal(size=(5, 3, 4))
    moved = x.transpose(0, 2, 1).reshape(5, -1, 2)
    assert np.array_equal(Truth(model)({"x": x})[0], np.concatenate([moved, moved], axis=-1).reshape(-1, 4))


def test_what_the_truth_refused_before_is_proven():
    """Layer normalisation as PyTorch exports it, ceil_mode, ConvTranspose of groups: beside a fold each."""
    g = Sketch()
    g.dense("x", "d", 6, 8)
    g.batch_norm("d", "n", 8)
    g.node("LayerNormalization", ["n", g.const("s", np.ones(8)), g.const("b", np.zeros(8))], "y", stash_type=1)
    assert "BatchNormalization" not in operators(fuse(g.model({"x": ["N", 6]}, {"y": ["N", 8]}), measure=False)[0])
    g = Sketch()
    g.node("ConvTranspose", ["x", g.const("w", R.normal(size=(4, 3, 3, 3)))], "c", group=2, strides=[2, 2])
    g.batch_norm("c", "y", 6)
    model = g.model({"x": ["N", 4, 5, 5]}, {"y": ["N", 6, 11, 11]})
    assert operators(fuse(model, measure=False)[0]) == ["ConvTranspose"]


def test_without_any_truth_the_report_says_that_onnxruntime_was_it():
    g = Sketch()
    g.dense("x", "d", 6, 4)
    g.batch_norm("d", "b", 4)
    g.node("SequenceConstruct", ["b"], "s")
    g.node("SequenceMap", ["s"], "t", body=helper.make_graph(
        [helper.make_node("Relu", ["v"], ["w"])], "body",
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, None)]))  # fmt: skip
    g.node("ConcatFromSequence", ["t"], "y", axis=0)
    model = g.model({"x": ["N", 6]}, {"y": ["N", 4]})
    _, report = fuse(model, measure=False)
    assert report.verified


def test_a_graph_of_random_numbers_is_refused():
    g = Sketch()
    g.dense("x", "d", 6, 4)
    g.batch_norm("d", "b", 4)
    g.node("RandomNormalLike", ["b"], "r")
    g.node("Add", ["b", "r"], "y")
    with pytest.raises(FusionError, match="off"):
        fuse(g.model({"x": ["N", 6]}, {"y": ["N", 4]}), measure=False)
