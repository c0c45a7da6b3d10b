"""Numbers (rank 0), nodes without inputs, and graphs in which nothing folds: what is stored comes out as it was."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastdl import Runner
from fastdl.fusion import fuse, verify
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.pipeline import fold_all

from .graphs import Sketch, check, operators, run


@pytest.mark.parametrize("values", [5, [], [5], [[5, 6]], np.zeros((0, 3)), np.float32(2), True, np.int8(3)], ids=str)
def test_an_added_tensor_keeps_shape_and_type(values):
    given = np.asarray(values)
    index = GraphIndex(Sketch().model({"x": ["N"]}, {"x": ["N"]}))
    stored = index.stored(index.add_tensor("new", given))
    assert (stored.shape, stored.dtype, stored.tolist()) == (given.shape, given.dtype, given.tolist())


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_an_index_squeezed_to_a_number(opset):
    """x[:, 1] and x[:, 0:4] + range(4): an index of rank 1 would keep the axis, and is none of a Range."""
    g = Sketch(opset=opset)

    def squeezed(name, value):
        axes = [g.const(f"{name}_axes", [0], np.int64)] if opset >= 13 else []
        return g.node(
            "Squeeze", [g.const(name, [value], np.int64), *axes], f"{name}_0", **({} if axes else {"axes": [0]})
        )

    g.node("Gather", ["x", squeezed("one", 1)], "column", axis=1)
    g.node("Range", [g.const("zero", 0, np.int64), squeezed("four", 4), g.const("step", 1, np.int64)], "steps")
    g.node("Cast", ["steps"], "numbers", to=TensorProto.FLOAT)
    g.node("Add", ["column", "numbers"], "y")
    model = g.model({"x": ["N", 3, 4]}, {"y": ["N", 4]})
    fused, report = fuse(model, measure=False)
    assert report.verified
    assert operators(fused) == ["Gather", "Range", "Cast", "Add"]
    check(fused)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(fused, {"x": x})[0], x[:, 1] + np.arange(4, dtype=np.float32))


def beside_a_layer(g):
    """A dense layer and its batch norm, from "rows" to "z"."""
    g.dense("rows", "d", 3, 4)
    g.batch_norm("d", "z", 4)


@pytest.mark.parametrize("standardised", [False, True])
def test_a_first_input_of_rank_0(standardised):
    g = Sketch()
    beside_a_layer(g)
    g.node("Sub" if standardised else "Mul", ["x", g.const("c", 2.0)], "y")
    model = g.model({"x": [], "rows": ["N", 3]}, {"y": [], "z": ["N", 4]})
    fused, report = fuse(model)
    assert report.verified
    assert report.samples == 1 + 2 + 7 + 64
    assert "Gemm" in operators(fused)
    assert verify(model, fused).max_rel_error < 1e-6


def test_a_number_goes_into_a_runner():
    g = Sketch()
    g.node("Mul", ["x", g.const("c", 2.0)], "y")
    runner = Runner(g.model({"x": []}, {"y": []}))
    given = runner.predict(np.float32(1.5))
    assert (np.shape(given), float(given)) == ((), 3.0)


NO_INPUTS = {
    "a constant": helper.make_node(
        "Constant", [], ["y"], value=numpy_helper.from_array(np.arange(3, dtype=np.float32))
    ),
    "an integer": helper.make_node("Constant", [], ["y"], value_int=3),
    "random": helper.make_node("RandomNormal", [], ["y"], shape=[2], seed=1.0),
}


@pytest.mark.parametrize("what", NO_INPUTS)
@pytest.mark.parametrize("through", [None, "Identity", "Cast"])
def test_an_output_that_no_input_leads_to_beside_a_fold(what, through):
    g = Sketch()
    beside_a_layer(g)
    model = g.model({"rows": ["N", 3]}, {"y": None, "z": ["N", 4]})
    kind = TensorProto.INT64 if what == "an integer" else TensorProto.FLOAT
    model.graph.node.append(NO_INPUTS[what])
    name = "y"
    if through is not None:
        more = {"to": kind} if through == "Cast" else {}
        model.graph.node.append(helper.make_node(through, ["y"], ["t"], **more))
        name = "t"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, kind, None))
    fused, _, _ = fold_all(model)
    assert operators(fused)[0] == "Gemm"
    if what == "random":
        return  # of which no two runs are alike, so there is nothing to prove
    _, report = fuse(model, measure=False)
    assert report.verified


def test_a_dim_of_0_is_drawn_as_it_is_stated():
    g = Sketch()
    beside_a_layer(g)
    g.node("ReduceSum", ["x", "axes"], "y", keepdims=0)
    model = g.model({"x": ["N", 3], "axes": [0], "rows": ["N", 3]}, {"y": [], "z": ["N", 4]})
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    _, report = fuse(model, measure=False)
    assert report.verified


def test_what_nothing_folds_in_comes_back_to_the_byte():
    g = Sketch()
    g.const("unread", [1.0, 2.0])
    g.node("Relu", ["x"], "y")
    model = g.model({"x": ["N", 3]}, {"y": ["N", 3]})
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unread too"], value_float=1.0))
    fused, report = fuse(model, measure=False)
    assert report.folds == []
    assert fused.SerializeToString() == model.SerializeToString()
