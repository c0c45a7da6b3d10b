"""What a graph costs is told before it runs: never less than it takes, and nothing where that cannot be told."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl.fusion.runtime import bounds
from fastdl.fusion.runtime.estimate import Estimator

from . import bombs
from .bombs import chain, floats, function, ints, model, node, single
from .graphs import Sketch
from .test_runner import net, sklearn_like


def told(built, rows=64):
    return Estimator(built).at_batch(rows)


def image():
    return model(
        node("Conv", "x w", "a", pads=[1] * 4), node("Relu", "a", "b"), node("MaxPool", "b", "c", kernel_shape=[2, 2]),
        node("Flatten", "c", "z"), w=floats(8, 3, 3, 3), x=("N", 3, 16, 16), foldable=False,
    )  # fmt: skip


def by_shape():
    """As Keras flattens: the target computed from the shape."""
    return model(
        node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Concat", "n k", "t", axis=0),
        node("Reshape", "x t", "f"), node("MatMul", "f w", "z"), i=ints(0), k=ints(12), w=floats(12, 5), x=("N", 3, 4),
        foldable=False,
    )  # fmt: skip


ORDINARY = {
    "dense": net,
    "of scikit-learn": lambda: sklearn_like(["a", "b"]),
    "trees": bombs.tree,
    "image": image,
    "shape arithmetic": by_shape,
    "an LSTM": lambda: model(
        node("LSTM", "x w r", "z", hidden_size=3), w=floats(1, 12, 4), r=floats(1, 12, 3), x=("N", 1, 4), foldable=False
    ),
    "a function of the file's own": lambda: model(
        node("F", "x", "z", domain="org.example"), functions=[function("F", [node("Relu", "a", "b")])]
    ),
    "a slice to the end": lambda: model(node("Slice", "x a b", "z"), a=ints(0, 1), b=ints(2**63 - 1, 2**63 - 1)),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_graphs_are_told_and_run_here(name):
    built = ORDINARY[name]()
    assert bounds.proof_fits(told(built, 1), built.ByteSize())
    assert bounds.fits(told(built, 1024), built.ByteSize(), rows=1024)


def test_the_figures_of_one_net():
    """The input and each value; at a time those that are needed, and as much again while one is computed."""
    bound = told(net(), 10)
    values = 4 * 10 * (4 + 16 + 16 + 3 + 3)
    assert bound.total == values
    assert values / 2 < bound.live <= 2 * values
    assert bound.work >= 10 * 2 * (4 * 16 + 16 * 3)


def test_weights_are_not_copied():
    big = model(node("MatMul", "x w", "z"), w=floats(4, 10_000), foldable=False)
    estimator = Estimator(big)
    assert estimator._lean.ByteSize() < 1000
    assert estimator.at_batch(1).live >= 4 * 10_000


UNKNOWN = [
    "Loop of 2^60 rounds",
    "an If within an If, 15 deep",
    "a shape computed from the values",
    "integers doubling, then a shape",
    "Range by a step of 0",
    "Pad by 2^63 - 1",
    "Tile of repeats that overflow",
    "RegexFullMatch (a+)+$",
    "sparse of 2^27",
    "SequenceInsert in a loop",
    "Conv of padding that wide steps leave out",
    "tree of 2^40 targets",
    "StringConcat doubling",
    "a function that calls itself",
    "strange: unknown operator",
    "strange: Gemm of one input",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_of_what_cannot_be_told_nothing_is_told(name):
    assert told(bombs.BOMBS[name]()) is None


GREAT = {
    "ConstantOfShape of 2^28": 2**30, "Tile to 2^32": 2**34, "Expand of a constant to 2^28": 2**30,
    "4 MB concatenated 200 times": 2**29, "outer product of 2^15": 2**32, "RandomUniform of 2^27": 2**29,
    "Einsum of ten axes": 2**40, "OneHot of depth 2^28": 2**30, "EyeLike of 2^15": 2**32, "Range of 2^27": 2**30,
    "Resize to 2^30": 2**32, "Pad by 2^28": 2**30, "input of 2^26 rows": 2**30, "twenty constants of 2^24": 20 * 2**26,
    "LinearRegressor of 2^28 targets": 2**30, "a shape that grows with the batch": 2**20,
}  # fmt: skip


@pytest.mark.parametrize("name", GREAT)
def test_what_is_great_is_told_to_be(name):
    bound = told(bombs.BOMBS[name]())
    assert bound is None or bound.live >= GREAT[name]


def test_work_counts_where_memory_does_not():
    built = model(node("ConstantOfShape", "s", "c"), *chain("MatMul", 30, "c"), s=ints(1000, 1000))
    assert told(built, 1).work > 30 * 2 * 10**9
    assert not bounds.fits(told(built, 1), built.ByteSize())


def test_the_limits_grow_with_the_file_and_what_is_given():
    least = bounds.limits(0)
    assert least.memory < 400 * 2**20
    assert bounds.limits(10**8).memory > 10**9
    assert bounds.limits(0, given=10**8).memory > 10**9
    assert bounds.limits(10**5, rows=10**4).memory > 10**9
    assert bounds.limits(10**4, rows=64).memory < 1.1 * least.memory


def test_a_large_net_on_many_rows_runs_here():
    g = Sketch()
    g.dense("x", "d", 4, 1024)
    built = g.model({"x": ["N", 4]}, {"d": ["N", 1024]})
    rows = 1_000_000
    assert bounds.fits(told(built, rows), built.ByteSize(), rows * 16, rows)


def test_numbers_that_onnx_would_follow_to_no_end_are_not_followed():
    """onnx.shape_inference with data_prop=True keeps all 2^30 of them."""
    built = model(*chain("Concat", 30, "c", axis=0), node("ConstantOfShape", "concat29", "z"), c=ints(1, 1))
    assert told(built) is None


def test_a_long_chain_is_told_in_time():
    built = model(*single("Relu", 2000, "x"), s=numpy_helper.from_array(np.ones(4, np.float32)))
    assert told(built).work >= 2000 * 64 * 4


def raw_columns(*nodes, **texts):
    """Text in, numbers out."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["N", 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value, object), name) for name, value in texts.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def coded(source):
    return helper.make_node(
        "LabelEncoder",
        [source],
        ["c"],
        domain="ai.onnx.ml",
        keys_strings=["0=a"],
        values_floats=[1.0],
        default_float=0.0,
    )


def scaled(operator, **attributes):
    return helper.make_node(operator, ["c"], ["z"], domain="ai.onnx.ml", **attributes)


@pytest.mark.parametrize(
    "tail", [scaled("Scaler", offset=[1.0], scale=[2.0]), scaled("Imputer", imputed_value_floats=[1.0])]
)
def test_what_onnx_infers_nothing_of_is_told(tail):
    """Files of raw columns: what goes in keeps its shape; a text is put in front of the caller's, once."""
    assert told(raw_columns(coded("x"), tail)).work > 0
    prefixed = helper.make_node("StringConcat", ["p", "x"], ["s"])
    assert told(raw_columns(prefixed, coded("s"), tail, p=[["0=", "1="]])).live > 0


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("StringConcat", ["x", "x"], ["s"])],
        [helper.make_node("StringConcat", ["x", "p"], ["t"]), helper.make_node("StringConcat", ["t", "t"], ["s"])],
        [helper.make_node("StringConcat", ["x", "long"], ["s"])],
    ],
)
def test_texts_that_may_grow_are_not_told(nodes):
    tail = scaled("Imputer", imputed_value_floats=[1.0])
    assert told(raw_columns(*nodes, coded("s"), tail, p=[["0=", "1="]], long=[["a" * 1000, "b"]])) is None
