"""Graphs that invite a wrong fold: each is left as it is there, the report says which node and why, the values stay."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from fastdl.errors import FusionError
from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.prover import prove

from .graphs import Sketch, operators, run

BACK, FORWARD, FACTOR = "dense → affine", "affine → dense", "factor of a summand → dense"
SUMMANDS = ["Mul", "Tanh", "Mul", "Add", "Gemm"]


def done(g, inputs=None, outputs=("y",)):
    return g.model(inputs or {"x": ["N", 4]}, dict.fromkeys(outputs))


def dense_then(op, constant, units=4, inputs=None, first=False, **more):
    def build():
        g = Sketch()
        g.dense("x", "d", 4, units)
        pair = ["d", g.const("c", constant)]
        g.node(op, pair[::-1] if first else pair, "y", **more)
        return done(g, inputs)

    return build


def then_dense(op, constant, shape, inputs=4, first=False):
    def build():
        g = Sketch()
        pair = ["x", g.const("c", constant)]
        g.node(op, pair[::-1] if first else pair, "n")
        g.dense("n", "y", inputs, 3)
        return done(g, {"x": shape})

    return build


def overridable(build, name):
    def also_an_input():
        model = build()
        tensor = next(t for t in model.graph.initializer if t.name == name)
        model.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        return model

    return also_an_input


def also_an_output(build, value):
    def tapped():
        model = build()
        model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
        return model

    return tapped


def also_read(build, value, op="Relu"):
    def read():
        model = build()
        model.graph.node.append(helper.make_node(op, [value], ["also"], name=f"{op}_also"))
        model.graph.output.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, None))
        return model

    return read


def also_read_inside(build, value):
    def read():
        model = build()
        inner = [helper.make_tensor_value_info("i", TensorProto.FLOAT, None)]
        branch = helper.make_graph([helper.make_node("Relu", [value], ["i"])], "b", [], inner)
        model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [1]))
        model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch))
        model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
        return model

    return read


def gelu_then_dense():
    """As PyTorch writes it: 0.5 · (x · (1 + erf(x/√2)))."""
    g = Sketch()
    g.dense("x", "d", 4, 8)
    g.node("Div", ["d", g.const("root", np.sqrt(2.0))], "a")
    g.node("Erf", ["a"], "b")
    g.node("Add", ["b", g.const("one", 1.0)], "c")
    g.node("Mul", ["d", "c"], "e")
    g.node("Mul", ["e", g.const("half", 0.5)], "f")
    g.dense("f", "y", 8, 3)
    return done(g)


def layer_norm_then_dense():
    g = Sketch()
    g.node("ReduceMean", ["x"], "m", axes=[-1], keepdims=1)
    g.node("Sub", ["x", "m"], "s")
    g.node("Pow", ["s", g.const("two", 2.0)], "p")
    g.node("ReduceMean", ["p"], "v", axes=[-1], keepdims=1)
    g.node("Add", ["v", g.const("eps", 1e-5)], "w")
    g.node("Sqrt", ["w"], "q")
    g.node("Div", ["s", "q"], "n")
    g.node("Mul", ["n", g.vector("gamma", 4)], "k")
    g.node("Add", ["k", g.vector("beta", 4)], "l")
    g.dense("l", "y", 4, 3)
    return done(g)


def transposed():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Transpose", ["d"], "t")
    g.node("Mul", ["t", g.vector("c", 4)], "y")
    return done(g, {"x": [4, 4]})


def reshaped():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Reshape", ["d", g.const("shape", [4, -1], np.int64)], "t")
    g.node("Add", ["t", g.vector("c", 4)], "y")
    return done(g, {"x": ["N", 4]})


def normalised_then_transposed():
    """Four rows of four: the constants lie along what the dense layer has as its rows."""
    g = Sketch()
    g.node("Mul", ["x", g.vector("c", 4)], "n")
    g.node("Transpose", ["n"], "t")
    g.dense("t", "y", 4, 3)
    return done(g, {"x": [4, 4]})


def rows_joined():
    g = Sketch()
    g.node("Mul", ["x", g.vector("c", 4)], "n")
    g.node("Concat", ["n", "z"], "j", axis=0)
    g.dense("j", "y", 4, 3)
    return done(g, {"x": [2, 4], "z": [2, 4]})


def columns_of_unknown_number():
    g = Sketch()
    g.node("Mul", ["x", g.vector("c", 4)], "n")
    g.node("Concat", ["n", "z"], "j", axis=1)
    g.dense("j", "y", 8, 3)
    return done(g, {"x": ["N", 4], "z": ["N", "C"]})


def dense_rank_3():
    g = Sketch()
    g.dense("x", "d", 4, 4, "matmul")
    g.node("Mul", ["d", g.vector("c", 4)], "y")
    return done(g, {"x": ["N", 2, 4]})


def channel_first_affine_of_images_by_the_last_axis():
    """The batch norm is of two channels, the row of four columns: right by accident only where sizes agree."""
    g = Sketch()
    g.node("Conv", ["x", g.const("w", g.rng.normal(size=(4, 4, 1, 1)))], "d")
    g.node("Mul", ["d", g.vector("c", 4)], "y")
    return done(g, {"x": ["N", 4, 4, 4]})


def convolution_with_a_pixel_bias():
    g = Sketch()
    g.node("Conv", ["x", g.const("w", g.rng.normal(size=(4, 4, 1, 1)))], "d")
    g.node("Add", ["d", g.const("c", g.rng.normal(size=(4, 3, 3)))], "y")
    return done(g, {"x": ["N", 4, 3, 3]})


def convolution():
    g = Sketch()
    g.node("Conv", ["x", g.const("w", g.rng.normal(size=(4, 4, 1, 1)))], "d")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": ["N", 4, 3, 3]})


def convolution_with_a_weight_from_outside():
    g = Sketch()
    g.node("Conv", ["x", "w"], "d")
    g.batch_norm("d", "y", 4)
    return done(g, {"x": ["N", 4, 3, 3], "w": [4, 4, 1, 1]})


def branches(op="Add", units=(4, 4), second="gemm", constant=4, **more):
    def build():
        g = Sketch()
        g.dense("x", "a", 4, units[0])
        g.dense("w", "b", 4, units[1]) if second == "gemm" else g.node(second, ["w"], "b")
        g.node(op, ["a", "b"], "s", **more)
        g.node("Mul", ["s", g.vector("c", constant)], "y")
        return done(g, {"x": ["N", 4], "w": ["N", 4]})

    return build


def then_relu(build):
    """The same with a ReLU after it, whose value alone is given out."""

    def longer():
        model = build()
        model.graph.node.append(helper.make_node("Relu", ["y"], ["o"], name="Relu_o"))
        model.graph.output[0].name = "o"
        return model

    return longer


def one_branch_twice():
    g = Sketch()
    g.dense("x", "a", 4, 4)
    g.node("Add", ["a", "a"], "s")
    g.batch_norm("s", "y", 4)
    return done(g)


def concat_of_rows():
    g = Sketch()
    g.dense("x", "a", 4, 4)
    g.dense("x", "b", 4, 4)
    g.node("Concat", ["a", "b"], "s", axis=0)
    g.batch_norm("s", "y", 4)
    return done(g)


def two_dense(middle=4, units=4):
    def build():
        g = Sketch()
        g.dense("x", "d", 4, middle)
        g.dense("d", "y", middle, units)
        return done(g)

    return build


def outer_sum():
    g = Sketch()
    g.node("Add", [g.const("column", np.ones((64, 1))), g.const("row", np.ones((1, 64)))], "m")
    g.node("MatMul", ["x", "m"], "y")
    return done(g, {"x": ["N", 64]})


def product_too_large_for_memory():
    g = Sketch()
    g.node("Mul", [g.const("column", np.ones((1_000_000, 1))), g.const("row", np.ones((1, 1_000_000)))], "m")
    g.node("IsNaN", ["m"], "s")
    g.node("Cast", ["s"], "y", to=1)
    return done(g)


def root_of_a_negative():
    g = Sketch()
    g.node("Sqrt", [g.const("c", [1.0, -1.0, 1.0, 1.0])], "r")
    g.dense("x", "d", 4, 4)
    g.node("Mul", ["d", "r"], "y")
    return done(g)


def constant_given_out():
    g = Sketch()
    g.node("Sqrt", [g.const("c", np.ones(4))], "r")
    g.node("Mul", ["x", "r"], "y")
    return done(g, outputs=("y", "r"))


def scaler(kind):
    def build():
        g = Sketch()
        g.node("Scaler", ["x"], "n", domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
        g.dense("n", "y", 4, 3)
        model = done(g)
        model.graph.input[0].type.tensor_type.elem_type = kind
        model.graph.output[0].type.tensor_type.elem_type = 1
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
        return model

    return build


def idle_units(activation="Relu", **attributes):
    def build():
        g = Sketch()
        w = g.rng.normal(size=(4, 4))
        w[:, 1] = 0
        g.node("Gemm", ["x", g.const("w", w), g.vector("b", 4)], "d")
        inputs = ["d", g.const("slope", g.rng.uniform(size=4))] if activation == "PRelu" else ["d"]
        g.node(activation, inputs, "h", **attributes)
        g.dense("h", "y", 4, 3)
        return done(g)

    return build


def nearly_twins():
    g = Sketch()
    w, b = g.rng.normal(size=(4, 4)).astype(np.float32), np.zeros(4, np.float32)
    w[:, 1] = w[:, 0]
    b[1] = np.nextafter(b[0], np.float32(1))
    w[:, 3] = np.nextafter(w[:, 2], np.float32(9))
    g.node("Gemm", ["x", g.const("w", w), g.const("b", b)], "d")
    g.node("Relu", ["d"], "h")
    g.dense("h", "y", 4, 3)
    return done(g)


def twins_but_for_the_last_weight():
    g = Sketch()
    w = np.repeat(g.rng.normal(size=(30, 1)), 4, axis=1)
    w[-1] = range(4)
    g.node("Gemm", ["x", g.const("w", w), g.const("b", np.zeros(4))], "d")
    g.node("Relu", ["d"], "h")
    g.dense("h", "y", 4, 3)
    return done(g, {"x": ["N", 30]})


def casts(first, second):
    def build():
        g = Sketch()
        g.dense("x", "d", 4, 4)
        g.node("Cast", ["d"], "a", to=first)
        g.node("Cast", ["a"], "b", to=second)
        g.batch_norm("b", "y", 4)
        return done(g)

    return build


def squeezes():
    g = Sketch(opset=11)
    g.node("Unsqueeze", ["x"], "a", axes=[0])
    g.node("Squeeze", ["a"], "b", axes=[1])
    g.node("Relu", ["b"], "y")
    return done(g, {"x": [1, 4]})


def reshapes():
    g = Sketch()
    g.node("Reshape", ["x", g.const("s1", [-1, 2], np.int64)], "a")
    g.node("Reshape", ["a", g.const("s2", [-1, 4], np.int64)], "b")
    g.node("Relu", ["b"], "y")
    return done(g, {"x": ["N", 4]})


def shared_constant_beside_its_own_fold():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.node("Mul", ["d", g.vector("c", 4)], "e")
    g.node("Max", ["e", "c"], "y")
    return done(g)


def summands(first=(1.0, 2, 3, 4), second=(0.5, 1, 2, 1), then="Gemm", plain=False):
    """x times one constant and Tanh(x) times another, added, and read by a dense layer or by something else."""

    def build():
        g = Sketch()
        g.node("Mul", ["x", g.const("c", first)], "a")
        g.node("Tanh", ["x"], "t")
        g.node("Mul", ["t", g.const("d", second)], "b")
        g.node("Add", ["a", "b"], "s")
        if then == "Gemm":
            g.dense("s", "y", 4, 3, "gemm")
        else:
            g.node(then, ["s"], "y")
        return g.model({"x": ["N", 4]}, {"y": ["N", 3 if then == "Gemm" else 4]})

    return build


def choice(high=(1.0, 2, 3, 4), low=(0.5, 1, 2, 1), then="Gemm", inputs=("N", 4)):
    """Where(x > 0) of two constants, read by a dense layer or by something else."""

    def build():
        g = Sketch()
        g.node("Greater", ["x", g.const("limit", 0.0)], "q")
        g.node("Where", ["q", g.const("a", high), g.const("b", low)], "w")
        if then == "Gemm":
            g.dense("w", "y", 4, 3, "gemm")
        else:
            g.node(then, ["w"], "y")
        return g.model({"x": list(inputs)}, {"y": None})

    return build


CHOICE = ["Greater", "Where", "Gemm"]
LEFT = [
    (also_an_output(choice(), "w"), CHOICE, "Where_w", "choice → dense", "'w' is a graph output"),
    (also_read(choice(), "w"), [*CHOICE, "Relu"], "Where_w", "choice → dense", "read by Relu"),
    (overridable(choice(), "y_w"), CHOICE, "Where_w", "choice → dense", "may override it"),
    (choice(then="Relu"), [*CHOICE[:-1], "Relu"], "Where_w", "choice → dense", "read by Relu"),
    (choice(np.ones((4, 4)), inputs=(4, 4)), CHOICE, "Where_w", "choice → dense", "not one value for each of 4"),
    (choice(np.ones((4, 1)), inputs=(4, 4)), CHOICE, "Where_w", "choice → dense", "not one value for each of 4"),
    (choice(inputs=("N", "C")), CHOICE, "Where_w", "choice → dense", "not known to have columns"),
    # build, operators after, node, fold, reason
    (dense_then("Add", np.ones((4, 4)), inputs={"x": [4, 4]}), ["Gemm", "Add"], "Add_y", BACK, "not one row of 4"),
    (dense_then("Mul", np.ones((4, 1)), inputs={"x": [4, 4]}), ["Gemm", "Mul"], "Mul_y", BACK, "not one row of 4"),
    (dense_then("Sub", np.ones((1, 1, 4))), ["Gemm", "Sub"], "Sub_y", BACK, "not one row of 4"),
    (dense_then("Mul", np.ones((1, 1, 1))), ["Gemm", "Mul"], "Mul_y", BACK, "not one row of 4"),
    (dense_then("Add", np.ones(4), units=1), ["Gemm", "Add"], "Add_y", BACK, "not one row of 1"),
    (dense_then("Div", np.ones((1, 3)), units=1), ["Gemm", "Div"], "Div_y", BACK, "not one row of 1"),
    (dense_then("Div", [1.0, 0.0, 1.0, 1.0]), ["Gemm", "Div"], "Div_y", BACK, "divides by 'c', which is zero"),
    (dense_then("Mul", [1.0, np.nan, 1.0, 1.0]), ["Gemm", "Mul"], "Mul_y", BACK, "'c' is not finite"),
    (dense_then("Add", [1.0, np.inf, 1.0, 1.0]), ["Gemm", "Add"], "Add_y", BACK, "'c' is not finite"),
    (dense_then("Mul", np.full(4, 3e38)), ["Gemm", "Mul"], "Mul_y", BACK, "by which float32 may overflow"),
    (dense_then("Div", np.ones(4), first=True), ["Gemm", "Div"], None, None, None),  # c / y is no affine map
    (overridable(dense_then("Mul", np.ones(4)), "c"), ["Gemm", "Mul"], "Mul_y", BACK, "may override it"),
    (overridable(dense_then("Add", np.ones(4), first=True), "c"), ["Gemm", "Add"], "Add_y", BACK, "may override it"),
    (also_an_output(dense_then("Mul", np.ones(4)), "d"), ["Gemm", "Mul"], "Mul_y", BACK, "'d' is a graph output"),
    (also_read(dense_then("Mul", np.ones(4)), "d"), ["Gemm", "Mul", "Relu"], "Mul_y", BACK, "'d' has another use"),
    (also_read_inside(dense_then("Sub", 2.0), "d"), ["Gemm", "Sub", "If"], "Sub_y", BACK, "read inside a subgraph"),
    (transposed, ["Gemm", "Transpose", "Mul"], "Mul_y", BACK, "comes from Transpose"),
    (reshaped, ["Gemm", "Reshape", "Add"], "Add_y", BACK, "comes from Reshape"),
    (dense_rank_3, ["MatMul", "Mul"], "Mul_y", BACK, "works on rank 3"),
    (then_dense("Sub", np.ones(4), ["N", 1]), ["Sub", "Gemm"], "Sub_n", FORWARD, "not one row of 1"),
    (then_dense("Add", np.ones((1, 4)), [4]), ["Add", "Gemm"], "Add_n", FORWARD, "has rank 1"),
    (then_dense("Mul", np.ones((3, 4)), [3, 4]), ["Mul", "Gemm"], "Mul_n", FORWARD, "not one row of 4"),
    (then_dense("Mul", np.ones((4, 1)), [4, 4]), ["Mul", "Gemm"], "Mul_n", FORWARD, "not one row of 4"),
    (then_dense("Mul", np.ones(4), ["N", "C"]), ["Mul", "Gemm"], "Mul_n", FORWARD, "shape of 'x', which it works on"),
    (then_dense("Mul", np.ones(4), None), ["Mul", "Gemm"], "Mul_n", FORWARD, "rank of 'x', which it works on"),
    (then_dense("Div", [[1.0, 0.0, 1.0, 1.0]], ["N", 4]), ["Div", "Gemm"], "Div_n", FORWARD, "zero somewhere"),
    (also_read(then_dense("Mul", 2.0, ["N", 4]), "n"), ["Mul", "Gemm", "Relu"], "Mul_n", FORWARD, "read by Relu"),
    (also_an_output(then_dense("Mul", 2.0, ["N", 4]), "n"), ["Mul", "Gemm"], "Mul_n", FORWARD, "is a graph output"),
    (also_read_inside(then_dense("Mul", 2.0, ["N", 4]), "n"), ["Mul", "Gemm", "If"], "Mul_n", FORWARD, "subgraph"),
    (overridable(then_dense("Mul", np.ones(4), ["N", 4]), "y_w"), ["Mul", "Gemm"], "Mul_n", FORWARD, "may override"),
    (normalised_then_transposed, ["Mul", "Transpose", "Gemm"], "Mul_n", FORWARD, "does not keep rows"),
    (rows_joined, ["Mul", "Concat", "Gemm"], "Mul_n", FORWARD, "does not join columns"),
    (columns_of_unknown_number, ["Mul", "Concat", "Gemm"], "Mul_n", FORWARD, "how many columns"),
    (gelu_then_dense, ["Gemm", "Div", "Erf", "Add", "Mul", "Mul", "Gemm"], "Mul_f", FORWARD, "end of a Gelu"),
    (
        layer_norm_then_dense,
        ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add", "Gemm"],
        "Add_l",
        FORWARD,
        "end of a layer norm",
    ),
    (branches(units=(4, 1)), ["Gemm", "Gemm", "Add", "Mul"], "Mul_y", "branches → affine", "of 1 and 4 units"),
    (branches(second="Relu"), ["Gemm", "Relu", "Add", "Mul"], "Mul_y", "branches → affine", "comes from Relu"),
    (
        branches(second="Relu", op="Concat", axis=1, constant=8),
        ["Gemm", "Relu", "Concat", "Mul"],
        "Mul_y",
        "branches → affine",
        "joins 'b', which comes from Relu",
    ),
    (also_read(branches(), "b"), ["Gemm", "Gemm", "Add", "Mul", "Relu"], "Mul_y", "branches → affine", "another use"),
    (also_an_output(branches(), "s"), ["Gemm", "Gemm", "Add", "Mul"], "Mul_y", "branches → affine", "graph output"),
    (overridable(branches(), "b_w"), ["Gemm", "Gemm", "Add", "Mul"], "Mul_y", "branches → affine", "may override"),
    (
        also_read_inside(then_relu(branches()), "y"),
        ["Gemm", "Gemm", "Add", "Mul", "Relu", "If"],
        "Mul_y",
        "branches → affine",
        "'y' is read inside a subgraph",
    ),
    (
        one_branch_twice,
        ["Gemm", "Add", "BatchNormalization"],
        "BatchNormalization_y",
        "branches → affine",
        "another use",
    ),
    (
        concat_of_rows,
        ["Gemm", "Gemm", "Concat", "BatchNormalization"],
        "BatchNormalization_y",
        "branches → affine",
        "joins rows",
    ),
    (also_an_output(two_dense(), "d"), ["Gemm", "Gemm"], "Gemm_y", "dense → dense", "'d' is a graph output"),
    (also_read(two_dense(), "d"), ["Gemm", "Gemm", "Relu"], "Gemm_y", "dense → dense", "'d' has another use"),
    (overridable(two_dense(), "d_w"), ["Gemm", "Gemm"], "Gemm_y", "dense → dense", "may override"),
    (two_dense(1, 300), ["Gemm", "Gemm"], "Gemm_y", "dense → dense", "costs more than the bottleneck"),
    (
        channel_first_affine_of_images_by_the_last_axis,
        ["Conv", "Mul"],
        "Mul_y",
        "convolution → affine",
        "not one value for each of 4",
    ),
    (convolution_with_a_pixel_bias, ["Conv", "Add"], "Add_y", "convolution → affine", "not one value for each of 4"),
    (
        convolution_with_a_weight_from_outside,
        ["Conv", "BatchNormalization"],
        "BatchNormalization_y",
        "convolution → affine",
        "'w' is not a constant",
    ),
    (
        also_read(convolution, "d"),
        ["Conv", "BatchNormalization", "Relu"],
        "BatchNormalization_y",
        "convolution → affine",
        "'d' has another use",
    ),
    (outer_sum, ["Add", "MatMul"], "Add_m", "constant", "stored with 4096 values"),
    (product_too_large_for_memory, ["Mul", "IsNaN", "Cast"], "Mul_m", "constant", "stored with 1000000000000 values"),
    (root_of_a_negative, ["Sqrt", "Gemm", "Mul"], "Sqrt_r", "constant", "would not be finite"),
    (constant_given_out, ["Sqrt", "Mul"], "Sqrt_r", "constant", "'r' is a graph output"),
    (
        scaler(TensorProto.INT64),
        ["ai.onnx.ml:Scaler", "Gemm"],
        "Scaler_n",
        FORWARD,
        "int64, which it turns into float32",
    ),
    (
        also_an_output(idle_units(), "h"),
        ["Gemm", "Relu", "Gemm"],
        "Gemm_d",
        "units that cannot matter",
        "1 of its units could go, but 'h' is a graph output",
    ),
    (
        also_read(idle_units(), "h", "Softmax"),
        ["Gemm", "Relu", "Gemm", "Softmax"],
        "Gemm_d",
        "units that cannot matter",
        "read by Softmax",
    ),
    (idle_units("Softmax"), ["Gemm", "Softmax", "Gemm"], "Gemm_d", "units that cannot matter", "read by Softmax"),
    (idle_units("PRelu"), ["Gemm", "PRelu", "Gemm"], "Gemm_d", "units that cannot matter", "read by PRelu"),
    (nearly_twins, ["Gemm", "Relu", "Gemm"], None, None, None),
    (twins_but_for_the_last_weight, ["Gemm", "Relu", "Gemm"], None, None, None),
    (
        casts(TensorProto.FLOAT16, TensorProto.FLOAT),
        ["Gemm", "Cast", "Cast", "BatchNormalization"],
        "BatchNormalization_y",
        "dense → batch norm",
        "comes from Cast",
    ),
    (
        casts(TensorProto.INT32, TensorProto.FLOAT),
        ["Gemm", "Cast", "Cast", "BatchNormalization"],
        "BatchNormalization_y",
        "dense → batch norm",
        "comes from Cast",
    ),
    (also_an_output(summands(), "s"), SUMMANDS, "Add_s", FACTOR, "'s' is a graph output"),
    (also_read(summands(), "b"), [*SUMMANDS, "Relu"], "Add_s", FACTOR, "'b' has another use"),
    (also_read_inside(summands(), "s"), [*SUMMANDS, "If"], "Add_s", FACTOR, "read inside a subgraph"),
    (overridable(summands(), "d"), SUMMANDS, "Add_s", FACTOR, "may override it"),
    (overridable(summands(), "y_w"), SUMMANDS, "Add_s", FACTOR, "may override it"),
    (summands((1.0, 0, 3, 4), (0.5, 0, 2, 1)), SUMMANDS, "Add_s", FACTOR, "far enough from zero"),
    (summands((1.0, 1e-9, 3, 4), (1e-9, 1, 2, 1)), SUMMANDS, "Add_s", FACTOR, "far enough from zero"),
    (summands(then="Relu"), [*SUMMANDS[:-1], "Relu"], "Add_s", FACTOR, "read by Relu"),
    (squeezes, ["Unsqueeze", "Squeeze", "Relu"], None, None, None),
    (reshapes, ["Reshape", "Reshape", "Relu"], None, None, None),
]


def kinds(model):
    return [f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("build", "left", "node", "fold", "reason"), LEFT, ids=range(len(LEFT)))
def test_left_as_it_is(build, left, node, fold, reason):
    model = build()
    before = model.SerializeToString()
    fused, folds, refusals = fold_all(model)
    assert kinds(fused) == left
    assert model.SerializeToString() == before
    told = [r.reason for r in refusals if (r.node, r.fold) == (node, fold)]
    if reason is not None:
        assert len(told) == 1
        assert reason in told[0]
    else:
        assert folds == []
    if build is not product_too_large_for_memory:
        assert_values_stay(model, fused)


def assert_values_stay(model, fused):
    stored = {t.name for t in model.graph.initializer}
    feed = {}
    for info in model.graph.input:
        kind = info.type.tensor_type
        if info.name not in stored:
            dims = [d.dim_value or 4 for d in kind.shape.dim] if kind.HasField("shape") else [4, 4]
            drawn = np.random.default_rng(0).normal(size=dims) * 3
            feed[info.name] = drawn.astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    for got, want in zip(run(fused, feed), run(model, feed), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_constant_that_others_read_is_copied():
    model = shared_constant_beside_its_own_fold()
    fused, _, _ = fold_all(model)
    assert operators(fused) == ["Gemm", "Max"]
    assert "c" in {t.name for t in fused.graph.initializer}
    assert_values_stay(model, fused)


def test_an_override_is_still_possible_after_folding():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "n", 4)
    g.node("Mul", ["n", g.const("c", np.ones(4))], "y")
    model = done(g)
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [4]))
    fused, _ = fuse(model, measure=False)
    assert operators(fused) == ["Gemm", "Mul"]
    feed = {"x": np.ones((2, 4), np.float32), "c": np.array([1, 2, 3, 4], np.float32)}
    np.testing.assert_allclose(run(fused, feed)[0], run(model, feed)[0], rtol=1e-5)


def test_a_name_that_a_subgraph_uses_is_not_taken():
    """'d_w_fused' names a value inside a branch: were a new initializer called so, the branch would shadow it."""
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "y", 4)
    inner = [helper.make_node("Relu", ["x"], ["d_w_fused"])]
    branch = helper.make_graph(inner, "b", [], [helper.make_tensor_value_info("d_w_fused", TensorProto.FLOAT, None)])
    g.nodes.append(
        helper.make_node("If", [g.const("yes", True, np.bool_)], ["z"], then_branch=branch, else_branch=branch)
    )
    model = done(g, outputs=("y", "z"))
    fused, _, _ = fold_all(model)
    assert operators(fused) == ["Gemm", "If"]
    assert "d_w_fused" not in {t.name for t in fused.graph.initializer}
    assert_values_stay(model, fused)


def test_values_that_lie_far_from_zero_keep_their_standardisation():
    """Years and kelvins with small deviations: the dense layer would sum them uncentred; the division still folds."""
    g = Sketch(seed=3)
    g.node("Sub", ["x", g.const("mean", np.full(400, 30_000.0))], "a")
    g.node("Div", ["a", g.const("deviation", g.rng.uniform(0.5, 2, 400))], "b")
    g.dense("b", "y", 400, 16)
    model = g.model({"x": ["N", 400]}, {"y": ["N", 16]})
    samples = np.random.default_rng(0).normal(30_000, 1, size=(64, 400)).astype(np.float32)
    fused, report = fuse(model, samples=samples, measure=False)
    assert operators(fused) == ["Sub", "Gemm"]
    assert report.verified
    told = {(r.node, r.fold): r.reason for r in report.refusals}
    assert "failed the proof" in told["Sub_a", FORWARD]


def test_layers_that_cancel_are_more_exact_together():
    """Apart, the second layer subtracts two large values that float32 has rounded."""
    g = Sketch(seed=1)
    g.const("w1", np.array([[1e6, 1e6 + 1, 0, 0]] * 4))
    g.const("w2", np.array([[1.0], [-1.0], [0.0], [0.0]]))
    g.node("MatMul", ["x", "w1"], "d")
    g.node("MatMul", ["d", "w2"], "y")
    model = g.model({"x": ["N", 4]}, {"y": ["N", 1]})
    fused, report = fuse(model, measure=False)
    assert report.verified
    assert report.max_rel_error < 1e-6 < report.unfused_rel_error
    assert operators(fused) == ["Gemm"]


def test_many_ways_are_given_up_in_time():
    """Concat(v, v), 12 times over: 4,096 ways lead from the first to the dense layer."""
    g = Sketch()
    g.node("Mul", ["x", g.vector("c", 2)], "v0")
    for i in range(12):
        g.node("Concat", [f"v{i}"] * 2, f"v{i + 1}", axis=1)
    g.node("MatMul", ["v12", g.const("w", np.ones((2**13, 1)))], "y")
    fused, _, refusals = fold_all(done(g, {"x": ["N", 2]}))
    assert operators(fused)[0] == "Mul"
    assert any("more than 256 ways" in r.reason for r in refusals if r.node == "Mul_v0")


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Add", ["x"], ["y"]),
        helper.make_node("Gemm", ["x"], ["y"]),
        helper.make_node("Reshape", ["x"], ["y"]),
        helper.make_node("Concat", [], ["y"], axis=1),
        helper.make_node("Concat", ["x", "x"], ["y"], axis="one"),
        helper.make_node("Gemm", ["x", "c"], ["y"], alpha="much"),
        helper.make_node("Flatten", ["x"], ["y"], axis=[1]),
        helper.make_node("BatchNormalization", ["x", "c", "c", "c", "c"], ["y"], epsilon=[1.0]),
        helper.make_node("ArgMax", [""], ["y"]),
        helper.make_node("Softmax", ["x"], [""]),
        helper.make_node("Transpose", ["x"], ["y"], perm=b"ab"),
        helper.make_node("Unsqueeze", ["c"], ["y"], axes=[1]),
    ],
    ids=lambda node: node.op_type,
)
def test_nodes_that_break_their_operators_rules_are_known_to_no_fold(node):
    g = Sketch()
    g.vector("c", 4)
    g.nodes.append(node)
    g.node("Relu", ["x"], "z")
    model = done(g, outputs=("z",))
    fused, folds, _ = fold_all(model)
    assert operators(fused) == [node.op_type, "Relu"]
    assert folds == []


@pytest.mark.parametrize("perm", [[0, 0], [0, 5], [-1, 0], [0]])
def test_a_transpose_of_axes_that_are_none(perm):
    g = Sketch()
    g.node("Transpose", [g.weights("w", 4, 4)], "t", perm=perm)
    g.node("MatMul", ["x", "t"], "m")
    g.node("Transpose", ["m"], "n", perm=perm)
    g.node("Mul", ["n", g.const("two", 2.0)], "k")
    g.node("Transpose", ["k"], "y", perm=perm)
    fused, _, refusals = fold_all(done(g))
    assert operators(fused)[0] == "Transpose"
    assert any(r.node == "Transpose_t" and "is no order of 2 axes" in r.reason for r in refusals)


class TestNearTies:
    """Labels where two scores differ by less than rounding: either is right. Any other label is wrong."""

    def graph(self, weight):
        g = Sketch()
        g.node("Gemm", ["x", g.const("w", weight)], "z")
        g.node("ArgMax", ["z"], "y", axis=1, keepdims=0)
        model = done(g)
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
        return model

    def test_either_of_two_equal_scores(self):
        weight = np.repeat(np.random.default_rng(0).normal(size=(4, 1)), 2, axis=1).astype(np.float32)
        weight[0, 1] = np.nextafter(weight[0, 1], np.float32(9))
        prove(self.graph(weight), self.graph(weight[:, ::-1]))

    def test_another_label(self):
        weight = np.random.default_rng(0).normal(size=(4, 2))
        with pytest.raises(FusionError, match="off by"):
            prove(self.graph(weight), self.graph(weight[:, ::-1]))


@pytest.mark.parametrize("to", [TensorProto.INT64, TensorProto.BOOL, TensorProto.BFLOAT16, TensorProto.STRING, 9999])
def test_a_cast_of_a_constant_to_what_is_no_float_is_left(to):
    g = Sketch()
    g.node("Cast", [g.const("c", [0.5, 1.5, -2.5, 3.5])], "k", to=to)
    g.node("Cast", ["k"], "f", to=TensorProto.FLOAT)
    g.dense("x", "d", 4, 4)
    g.node("Mul", ["d", "f"], "y")
    fused, folds, _ = fold_all(done(g))
    assert operators(fused) == ["Cast", "Cast", "Gemm", "Mul"]
    assert folds == []


def test_a_cast_of_an_integer_constant_is_its_value():
    g = Sketch()
    g.node("Cast", [g.const("c", [1, 2, 3, 4], np.int64)], "f", to=TensorProto.FLOAT)
    g.dense("x", "d", 4, 4)
    g.node("Mul", ["d", "f"], "y")
    model = done(g)
    fused, _, _ = fold_all(model)
    assert operators(fused) == ["Gemm"]
    assert_values_stay(model, fused)


@pytest.mark.parametrize("op", ["Concat", "Identity", "Add"])
def test_constants_do_not_grow_without_end(op):
    """Each of 60 doublings is small beside the one before; all together would fill any memory."""
    g = Sketch()
    g.const("c0", np.ones((1, 1000)))
    for i in range(60):
        copy = g.node("Identity", [f"c{i}"], f"i{i}") if op == "Identity" else f"c{i}"
        g.node("Concat" if op != "Add" else "Add", [f"c{i}", copy], f"c{i + 1}", **({"axis": 0} if op != "Add" else {}))
    g.node("Shape", ["c60"], "y")
    model = done(g)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    fused, _, refusals = fold_all(model)
    if op == "Add":  # which adds numbers, but no more of them
        assert operators(fused) == ["Shape"]
    else:
        assert operators(fused).count("Concat") > 45
        assert any("many times the room" in r.reason for r in refusals)
