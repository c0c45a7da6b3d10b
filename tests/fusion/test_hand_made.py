"""Graphs drawn by hand, each with the operators that must be left, at no more than the unfused graph's own error."""

import numpy as np
import pytest
from onnx import helper

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.truth import Truth

from .graphs import AFFINES, FORMS, Sketch, check, close, operators, run

FLOORS = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-13}


def draw(model, rows, dtype, seed=0):
    rng = np.random.default_rng(seed)
    feed = {}
    stored = {t.name for t in model.graph.initializer}
    for info in model.graph.input:
        if info.name not in stored:
            dims = [d.dim_value or rows for d in info.type.tensor_type.shape.dim]
            feed[info.name] = rng.normal(size=dims).astype(dtype)
    return feed


def assert_as_exact(model, fused, dtype):
    """Error against the float64 truth at most max(4 × the unfused graph's, the floor), over several batches."""
    truth = Truth(model)
    feeds = [draw(model, rows, dtype, rows) for rows in (1, 2, 7, 64)]
    for k in range(len(model.graph.output)):
        scale = own = off = 0.0
        for feed in feeds:
            want, plain, got = truth(feed)[k], run(model, feed)[k], run(fused, feed)[k]
            assert got.dtype == plain.dtype
            assert got.shape == plain.shape == want.shape
            scale = max(scale, float(np.abs(want).max()))
            own = max(own, float(np.abs(plain - want).max()))
            off = max(off, float(np.abs(got - want).max()))
        assert off <= max(4 * own, FLOORS[np.dtype(dtype).name] * scale)


def assert_left(model, expected, dtype=np.float32, **options):
    fused, report = fuse(model, measure=False, **options)
    assert operators(fused) == expected, [str(r) for r in report.refusals]
    check(fused)
    assert_as_exact(model, fused, dtype)
    return fused, report


def layers(g, x, size, steps, prefix="v"):
    """The named steps on `x` (N, size): forms of dense layers as "form:units", affine maps, operators."""
    for i, step in enumerate(steps):
        out = f"{prefix}{i}"
        form, _, units = step.partition(":")
        if form in FORMS:
            x, size = g.dense(x, out, size, int(units), form), int(units)
        elif step in AFFINES:
            x = g.affine(x, out, size, step)
        else:
            x = g.node(step, [x], out)
    return x, size


def net(steps, dtype=np.float32, opset=17, size=6):
    g = Sketch(dtype, opset)
    y, units = layers(g, "x", size, steps)
    return g.model({"x": ["N", size]}, {y: ["N", units]})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "activation", ["Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu", "Selu", "Softplus", "Gelu", "Mish", "HardSwish"]
)
def test_forms_and_activations(form, activation):
    opset = {"Gelu": 20, "Mish": 18}.get(activation, 15)
    steps = ["standardise", f"{form}:9", "batch norm", activation, f"{form}:5", activation, "batch norm", f"{form}:3"]
    assert_left(net(steps, opset=opset), ["Gemm", activation, "Gemm", activation, "Gemm"])


@pytest.mark.parametrize("head", ["Softmax", "LogSoftmax", "Sigmoid", "Identity"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("opset", [9, 11, 13, 15, 17, 19, 21, 22, 23])
def test_heads_types_and_opsets(head, dtype, opset):
    steps = ["batch norm", "gemm:9", "batch norm in primitives", "Relu", "matmul + vector:3", head]
    assert_left(net(steps, dtype, opset), ["Gemm", "Relu", "Gemm"] + [head] * (head != "Identity"), dtype)


class TestDenseThenDense:
    @pytest.mark.parametrize(
        ("steps", "left"),
        [
            (["gemm:6", "gemm:6"], ["Gemm"]),
            (["matmul:20", "gemm transB:3"], ["Gemm"]),
            (["gemm:20", "matmul + row:20", "gemm alpha beta:2", "Relu"], ["Gemm", "Relu"]),
            (["gemm:4", "batch norm", "Dropout", "gemm:4"], ["Gemm"]),
            (["gemm:3", "gemm:6"], ["Gemm"]),  # 6·6 = 6·3 + 3·6: as many products, and one layer less
            (["gemm:2", "gemm:6"], ["Gemm"]),  # few products in all: a call costs more than they do
            (["gemm:2", "gemm:200"], ["Gemm", "Gemm"]),  # a bottleneck
        ],
    )
    def test_where_it_costs_no_more(self, steps, left):
        assert_left(net(steps), left)

    def test_the_bottleneck_is_named(self):
        _, report = assert_left(net(["gemm:2", "gemm:200"]), ["Gemm", "Gemm"])
        assert [(r.node, r.fold, r.reason) for r in report.refusals] == [
            ("Gemm_v1", "dense → dense", "one layer 6 → 200 costs more than the bottleneck 6 → 2 → 200")
        ]


class TestChainsOfAffineMaps:
    @pytest.mark.parametrize(
        ("steps", "left"),
        [
            (["standardise"], ["Sub", "Div"]),  # as short as it gets
            (["* vector", "/ vector"], ["Mul"]),
            (["+ vector", "- row", "+ scalar"], ["Add"]),
            (["standardise", "de-standardise"], ["Mul", "Add"]),
            (["batch norm in primitives"], ["Mul", "Add"]),
            (["- row", "+ vector", "/ vector", "* vector"], ["Add", "Mul"]),
            (["neg", "neg", "/ scalar"], ["Neg", "Neg", "Div"]),  # single numbers: a formula's
            (["neg", "neg", "* vector"], ["Mul"]),
            (["neg", "vector -", "/ scalar"], ["Mul", "Add"]),
            (["standardise", "standardise", "neg", "row +"], ["Mul", "Add"]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_before_an_activation(self, steps, left, dtype):
        assert_left(net([*steps, "Relu", "gemm:3"], dtype), [*left, "Relu", "Gemm"], dtype)

    def test_what_is_read_on_the_way_stays(self):
        g = Sketch()
        g.affine("x", "a", 6, "* vector")
        g.affine("a", "b", 6, "/ vector")
        g.affine("b", "c", 6, "* vector")
        g.affine("c", "y", 6, "row *")
        model = g.model({"x": ["N", 6]}, {"y": ["N", 6], "b": ["N", 6]})
        assert_left(model, ["Mul", "Mul"])

    def test_constants_that_together_make_a_table_stay_apart(self):
        g = Sketch()
        g.node("Mul", ["x", g.const("channel", np.full((8, 1), 2.0))], "a")
        g.node("Mul", ["a", g.const("column", np.arange(1.0, 9))], "y")
        fused, _, refusals = fold_all(g.model({"x": ["N", 8, 8]}, {"y": ["N", 8, 8]}))
        assert operators(fused) == ["Mul", "Mul"]
        assert any("larger than each by itself" in r.reason and r.node == "Mul_y" for r in refusals)

    def test_constants_that_widen_stay(self):
        g = Sketch()
        g.node("Mul", ["x", g.const("a", np.ones(4))], "w")
        g.node("Mul", ["w", g.const("b", np.full(4, 2.0))], "y")
        fused, _, refusals = fold_all(g.model({"x": ["N", 1]}, {"y": ["N", 4]}))
        assert operators(fused) == ["Mul", "Mul"]
        assert any("widen it" in r.reason and r.node == "Mul_y" for r in refusals)

    def test_digits_that_centring_keeps_are_not_lost(self):
        """(x − 30,000)·s + t as x·s + t' would lose four digits: the proof leaves it."""
        g = Sketch()
        for op, values in (("Sub", np.full(6, 30_000.0)), ("Mul", np.full(6, 7.3)), ("Add", np.full(6, 0.1))):
            g.node(
                op,
                ["x" if op == "Sub" else f"v{op}", g.const(op, values)],
                {"Sub": "vMul", "Mul": "vAdd", "Add": "y"}[op],
            )
        model = g.model({"x": ["N", 6]}, {"y": ["N", 6]})
        samples = np.random.default_rng(0).normal(30_000, 1, size=(64, 6)).astype(np.float32)
        fused, report = fuse(model, samples=samples, measure=False)
        assert operators(fused) == ["Sub", "Mul", "Add"]
        assert any(r.fold == "affine → affine" and "failed the proof" in r.reason for r in report.refusals)


class TestJoins:
    @pytest.mark.parametrize("kind", AFFINES)
    @pytest.mark.parametrize("op", ["Add", "Sub", "Sum"])
    def test_sums(self, op, kind):
        g = Sketch()
        names = [g.dense(x, f"d{x}", 6, 4, form) for x, form in (("x", "gemm"), ("z", "matmul"))]
        g.node(op, names, "s")
        g.affine("s", "n", 4, kind)
        g.node("Relu", ["n"], "y")
        assert_left(g.model({"x": ["N", 6], "z": ["N", 6]}, {"y": ["N", 4]}), ["Gemm", "Gemm", op, "Relu"])

    @pytest.mark.parametrize("kind", AFFINES)
    @pytest.mark.parametrize("axis", [1, -1])
    def test_concat(self, kind, axis):
        g = Sketch()
        names = [
            g.dense(x, f"d{i}", 6, 2 + i, form)
            for i, (x, form) in enumerate([("x", "gemm"), ("z", "matmul + row"), ("x", "matmul")])
        ]
        g.node("Concat", names, "c", axis=axis)
        g.affine("c", "n", 9, kind)
        g.node("Tanh", ["n"], "y")
        model = g.model({"x": ["N", 6], "z": ["N", 6]}, {"y": ["N", 9]})
        assert_left(model, ["Gemm", "Gemm", "Gemm", "Concat", "Tanh"])

    def test_sums_of_sums_of_three_inputs(self):
        g = Sketch()
        a, b, c, d = (g.dense(f"x{i}", f"d{i}", 6, 4, "matmul + vector") for i in range(4))
        g.node("Sub", [a, b], "s")
        g.node("Sum", ["s", c, d], "t")
        g.batch_norm("t", "n", 4)
        g.node("Relu", ["n"], "y")
        inputs = {f"x{i}": ["N", 6] for i in range(4)}
        assert_left(g.model(inputs, {"y": ["N", 4]}), ["Gemm"] * 4 + ["Sub", "Sum", "Relu"])

    @pytest.mark.parametrize("kind", AFFINES)
    def test_affine_of_one_part_before_concat(self, kind):
        g = Sketch()
        g.affine("x", "n", 3, kind)
        g.node("Concat", ["z", "n"], "c", axis=1)
        g.dense("c", "y", 8, 4)
        assert_left(g.model({"x": ["N", 3], "z": ["N", 5]}, {"y": ["N", 4]}), ["Concat", "Gemm"])

    def test_the_same_value_twice_in_one_concat(self):
        g = Sketch()
        g.batch_norm("x", "n", 3)
        g.node("Relu", ["x"], "r")
        g.node("Concat", ["n", "r", "n"], "c", axis=1)
        g.dense("c", "y", 9, 4)
        assert_left(g.model({"x": ["N", 3]}, {"y": ["N", 4]}), ["Relu", "Concat", "Gemm"])


IMAGE = {
    "scalar": (),
    "channel": (2, 1, 1),
    "batch and channel": (1, 2, 1, 1),
    "pixel": (3, 4),
    "column": (4,),
    "row": (3, 1),
    "all": (1, 2, 3, 4),
}


class TestImages:
    @pytest.mark.parametrize("shape", IMAGE.values(), ids=IMAGE)
    @pytest.mark.parametrize("way", [["Flatten"], ["Reshape"], ["Transpose", "Flatten"]], ids=" ".join)
    def test_standardised_then_flattened(self, shape, way):
        g = Sketch()
        g.node("Sub", ["x", g.const("mean", g.rng.normal(size=shape))], "a")
        g.node("Div", ["a", g.const("deviation", g.rng.uniform(0.5, 2, shape))], "b")
        value = "b"
        for op in way:
            if op == "Reshape":
                value = g.node(op, [value, g.const("shape", [0, -1], np.int64)], "f")
            else:
                value = g.node(
                    op,
                    [value],
                    "f" if op == "Flatten" else "t",
                    **({"perm": [0, 2, 3, 1]} if op == "Transpose" else {}),
                )
        g.dense("f", "y", 24, 5)
        assert_left(g.model({"x": ["N", 2, 3, 4]}, {"y": ["N", 5]}), [way[-1], "Gemm"])

    @pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
    @pytest.mark.parametrize("groups", [1, 2])
    @pytest.mark.parametrize("kind", ["batch norm", "channel", "batch and channel", "scalar"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_convolutions(self, op, groups, kind, bias):
        g = Sketch()
        shape = (6, 4 // groups, 3, 3) if op == "Conv" else (4, 6 // groups, 3, 3)
        inputs = ["x", g.const("w", g.rng.normal(size=shape))] + ([g.vector("b", 6)] if bias else [])
        g.node(op, inputs, "c", group=groups, pads=[1, 1, 1, 1], strides=[2, 2])
        if kind == "batch norm":
            g.batch_norm("c", "n", 6)
        else:
            size = {"channel": (6, 1, 1), "batch and channel": (1, 6, 1, 1), "scalar": ()}[kind]
            g.node("Mul", ["c", g.const("s", g.rng.normal(size=size))], "m")
            g.node("Add", ["m", g.const("t", g.rng.normal(size=size))], "n")
        g.node("Relu", ["n"], "y")
        model = g.model({"x": ["N", 4, 5, 5]}, {"y": ["N", 6, "H", "W"]})
        if op == "Conv" or groups == 1:
            assert_left(model, [op, "Relu"])
            return
        # onnx's reference does not know groups of ConvTranspose: onnxruntime itself is the measure.
        fused, _ = fuse(model, measure=False, tolerance=1e-6)
        assert operators(fused) == [op, "Relu"]
        feed = draw(model, 7, np.float32)
        assert close(run(fused, feed)[0], run(model, feed)[0], np.float32)


class TestNoOps:
    @pytest.mark.parametrize(
        "steps",
        [
            [("Transpose", {}), ("Transpose", {})],
            [("Transpose", {"perm": [0, 1]})],
            [("Cast", {"to": 1})],
            [("Cast", {"to": 11}), ("Cast", {"to": 1})],
            [("Unsqueeze", {"axes": [1]}), ("Squeeze", {"axes": [1]})],
            [("Reshape", [-1, 2, 2]), ("Reshape", [0, 4])],
            [("Reshape", [0, 2, 2]), ("Flatten", {})],
            [("Identity", {}), ("Dropout", {}), ("Flatten", {})],
            [("Transpose", {"perm": [1, 0]}), ("Identity", {}), ("Transpose", {"perm": [1, 0]})],
        ],
        ids=lambda steps: " ".join(op for op, _ in steps),
    )
    def test_between_a_dense_layer_and_its_batch_norm(self, steps):
        g = Sketch(opset=11)
        value = g.dense("x", "d", 6, 4)
        for i, (op, how) in enumerate(steps):
            inputs = [value] + ([g.const(f"shape{i}", how, np.int64)] if op == "Reshape" else [])
            value = g.node(op, inputs, f"v{i}", **(how if isinstance(how, dict) else {}))
        g.batch_norm(value, "n", 4)
        g.node("Relu", ["n"], "y")
        assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 4]}), ["Gemm", "Relu"])


ELEMENTWISE = ["Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid"]
ELEMENTWISE += ["HardSwish", "ThresholdedRelu", "Gelu", "Mish", "Erf", "Abs", "Exp"]


@pytest.mark.parametrize("shape", [["N", "C"], [None, None], None])
@pytest.mark.parametrize("form", ["gemm", "matmul + vector"])
def test_a_batch_norm_states_how_many_columns_it_reads(shape, form):
    g = Sketch()
    g.batch_norm("x", "n", 4)
    g.dense("n", "y", 4, 3, form)
    fused, _, refusals = fold_all(g.model({"x": shape}, {"y": ["N", 3]}))
    if shape is None and form != "gemm":  # a MatMul of rank 3 would normalise another axis
        assert any("rank of 'n'" in r.reason for r in refusals)
    else:
        assert operators(fused) == ["Gemm"]


def test_flatten_reads_what_a_reshape_read():
    g = Sketch()
    g.node("Reshape", ["x", g.const("shape", [-1, 4, 3], np.int64)], "r")
    g.node("Flatten", ["r"], "f")
    g.dense("f", "y", 12, 3)
    assert_left(g.model({"x": ["N", 2, 6]}, {"y": ["N", 3]}), ["Flatten", "Gemm"])


class TestUnits:
    def sketch(self, opset=20):
        """x (N, 6) → 8 units: 1 and 4 constant, 5 the twin of 2, 6 read by nothing."""
        g = Sketch(opset=opset)
        w1, b1 = g.rng.normal(size=(6, 8)), g.rng.normal(size=8)
        w1[:, [1, 4]] = 0
        w1[:, 5], b1[5] = w1[:, 2], b1[2]
        w2 = g.rng.normal(size=(8, 3))
        w2[6] = 0
        g.node("Gemm", ["x", g.const("w1", w1), g.const("b1", b1)], "d")
        return g, w2

    def test_twins_of_which_the_head_reads_the_second_only(self):
        g, w2 = self.sketch()
        w2[2] = 0
        g.node("Relu", ["d"], "h")
        g.node("MatMul", ["h", g.const("w2", w2)], "y")
        fused, _ = assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm", "Relu", "Gemm"])
        assert {t.dims[0] for t in fused.graph.initializer if t.dims[-1] == 3 and len(t.dims) == 2} == {4}

    @pytest.mark.parametrize("activation", ELEMENTWISE)
    def test_through_every_activation(self, activation):
        g, w2 = self.sketch()
        g.node(activation, ["d"], "h")
        g.node("Gemm", ["h", g.const("w2", w2), g.vector("b2", 3)], "y")
        fused, report = assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm", activation, "Gemm"])
        left = 5 if activation == "Exp" else 4  # of ∞, 0·∞ is not 0: what nothing reads stays
        assert [(f.name, f.into) for f in report.folds] == [("units that cannot matter", f"{left} of 8 units")]
        assert {tuple(t.dims) for t in fused.graph.initializer} == {(6, left), (left,), (left, 3), (3,)}

    @pytest.mark.parametrize(
        "activation", ["Elu", "LeakyRelu", "Selu", "HardSigmoid", "ThresholdedRelu", "Celu", "Gelu"]
    )
    def test_attributes_of_activations_are_read(self, activation):
        g, w2 = self.sketch()
        attributes = {
            "Gelu": {"approximate": "tanh"},
            "HardSigmoid": {"alpha": 0.3, "beta": 0.2},
            "Selu": {"alpha": 1.3, "gamma": 0.7},
        }
        g.node(activation, ["d"], "h", **attributes.get(activation, {"alpha": 0.37}))
        g.node("Gemm", ["h", g.const("w2", w2), g.vector("b2", 3)], "y")
        assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm", activation, "Gemm"])

    def test_swish_of_several_heads(self):
        """h = d·σ(2d), read by one layer; σ(2d) by another: a unit goes only where both can do without."""
        g, w2 = self.sketch()
        g.node("Mul", ["d", g.const("two", 2.0)], "e")
        g.node("Sigmoid", ["e"], "s")
        g.node("Mul", ["d", "s"], "h")
        g.node("Gemm", ["h", g.const("w2", w2)], "y")
        g.dense("s", "z", 8, 2, "matmul")
        model = g.model({"x": ["N", 6]}, {"y": ["N", 3], "z": ["N", 2]})
        _, report = assert_left(model, ["Gemm", "Mul", "Sigmoid", "Mul", "Gemm", "Gemm"])
        assert ("units that cannot matter", "5 of 8 units") in [(f.name, f.into) for f in report.folds]

    def test_layer_by_layer(self):
        """With the second layer's dead units gone, nothing reads the first's."""
        g = Sketch()
        w2, w3 = g.rng.normal(size=(8, 8)), g.rng.normal(size=(8, 3))
        w2[:3, 2:] = 0
        w3[:2] = 0
        g.dense("x", "d", 6, 8)
        g.node("Relu", ["d"], "r")
        g.node("Gemm", ["r", g.const("w2", w2), g.vector("b2", 8)], "e")
        g.node("Tanh", ["e"], "t")
        g.node("Gemm", ["t", g.const("w3", w3)], "y")
        fused, _ = assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm", "Relu", "Gemm", "Tanh", "Gemm"])
        assert {tuple(t.dims) for t in fused.graph.initializer} == {(6, 5), (5,), (5, 6), (6,), (6, 3), (3,)}

    def test_one_unit_stays_where_all_are_constant(self):
        g = Sketch()
        g.node("Gemm", ["x", g.const("w1", np.zeros((6, 8))), g.vector("b1", 8)], "d")
        g.node("Sigmoid", ["d"], "h")
        g.dense("h", "y", 8, 3)
        fused, _ = assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm", "Sigmoid", "Gemm"])
        assert {tuple(t.dims) for t in fused.graph.initializer} == {(6, 1), (1,), (1, 3), (3,)}

    def test_a_stale_shape_in_the_file_is_dropped(self):
        g, w2 = self.sketch()
        g.node("Relu", ["d"], "h")
        g.node("Gemm", ["h", g.const("w2", w2)], "y")
        model = g.model({"x": ["N", 6]}, {"y": ["N", 3]})
        model.graph.value_info.extend(helper.make_tensor_value_info(n, 1, ["N", 8]) for n in "dh")
        assert_left(model, ["Gemm", "Relu", "Gemm"])


class TestScaler:
    @pytest.mark.parametrize("size", [1, 6])
    def test_scikit_learns_scaler(self, size):
        g = Sketch()
        how = {"offset": g.rng.normal(size=size).tolist(), "scale": g.rng.uniform(0.5, 2, size).tolist()}
        g.node("Scaler", ["x"], "n", domain="ai.onnx.ml", **how)
        g.dense("n", "y", 6, 3)
        model = g.model({"x": ["N", 6]}, {"y": ["N", 3]})
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
        assert_left(model, ["Gemm"])


def test_a_node_that_nothing_reads_goes():
    g = Sketch()
    g.dense("x", "y", 6, 3)
    g.dense("x", "d", 6, 3)
    g.node("Relu", ["d"], "unread")
    fused, _ = assert_left(g.model({"x": ["N", 6]}, {"y": ["N", 3]}), ["Gemm"])
    assert {t.name for t in fused.graph.initializer} == {"y_w", "y_b"}


MISH = ["Min", "Exp", "Add", "Mul", "Add", "Div", "Mul"]
SOFTPLUS = ["Abs", "Neg", "Exp", "Add", "Sub", "Sub", "Log", "Sub", "Relu", "Add"]


class TestSlowActivations:
    def net(self, activation, units, dtype=np.float32, batch="N", opset=20):
        g = Sketch(dtype, opset)
        g.dense("x", "d", 6, units)
        if activation == "mish in primitives":
            g.node("Softplus", ["d"], "s")
            g.node("Tanh", ["s"], "t")
            g.node("Mul", ["t", "d"], "h")
        else:
            slope = {"PRelu": [g.const("slope", [0.25])], "PRelu row": [g.const("row", np.full((1, units), -0.5))]}
            slope["PRelu many"] = [g.const("many", g.rng.uniform(size=units))]
            g.node(activation.split()[0], ["d", *slope.get(activation, [])], "h")
        g.dense("h", "y", units, 3)
        return g.model({"x": [batch, 6]}, {"y": [batch, 3]})

    @pytest.mark.parametrize(
        ("activation", "units", "left"),
        [
            ("Mish", 128, MISH),
            ("Mish", 127, ["Mish"]),
            ("mish in primitives", 200, MISH),
            ("mish in primitives", 64, ["Softplus", "Tanh", "Mul"]),
            ("Softplus", 384, SOFTPLUS),
            ("Softplus", 383, ["Softplus"]),
            ("PRelu", 4, ["LeakyRelu"]),
            ("PRelu row", 4, ["LeakyRelu"]),
            ("PRelu many", 4, ["PRelu"]),
            ("HardSwish", 500, ["HardSwish"]),
        ],
    )
    def test_rewritten_where_that_is_faster(self, activation, units, left):
        assert_left(self.net(activation, units), ["Gemm", *left, "Gemm"])

    def test_a_stated_batch_counts(self):
        assert_left(self.net("Mish", 32, batch=4), ["Gemm", *MISH, "Gemm"])

    def test_opsets_whose_min_does_not_broadcast_are_left(self):
        for opset, left in ((8, MISH), (7, ["Softplus", "Tanh", "Mul"])):
            fused, _, _ = fold_all(self.net("mish in primitives", 200, opset=opset))  # no proof that takes it back
            assert operators(fused) == ["Gemm", *left, "Gemm"]

    def test_other_types_are_left(self):
        fused, _ = fuse(self.net("Softplus", 500, np.float16), measure=False)
        assert operators(fused) == ["Gemm", "Softplus", "Gemm"]

    def test_mish_whose_softplus_is_read_elsewhere_is_left(self):
        model = self.net("mish in primitives", 200)
        model.graph.output.append(helper.make_tensor_value_info("t", 1, ["N", 200]))
        assert_left(model, ["Gemm", "Softplus", "Tanh", "Mul", "Gemm"])

    @pytest.mark.parametrize("activation", ["Mish", "Softplus"])
    def test_no_larger_error_from_end_to_end_of_float32(self, activation):
        """Absolute and relative to each value, over the whole range; what is not finite stays so."""
        g = Sketch(opset=20)
        g.node(activation, ["x"], "y")
        model = g.model({"x": ["N", 400]}, {"y": ["N", 400]})
        fused, _ = fuse(model, measure=False)
        assert len(operators(fused)) > 1
        ends = [np.linspace(-a, a, 40_000) for a in (1e-3, 1, 20, 80, 1e4)] + [np.geomspace(1e-38, 3e38, 20_000)] * 2
        ends[-1] = -ends[-1]
        x = np.concatenate(ends).astype(np.float32).reshape(-1, 400)
        want, plain, got = Truth(model)({"x": x})[0], run(model, {"x": x})[0], run(fused, {"x": x})[0]
        usable = np.isfinite(want) & (np.abs(want) > 1e-37)
        for size in (np.maximum(np.abs(want), 1), np.abs(want)):
            own, off = (np.abs(a[usable] - want[usable]) / size[usable] for a in (plain, got))
            assert off.max() <= 1.2 * own.max()
        odd = np.array([np.inf, -np.inf, np.nan, 0.0] * 100, np.float32).reshape(1, 400)
        np.testing.assert_array_equal(run(fused, {"x": odd})[0], run(model, {"x": odd})[0])
