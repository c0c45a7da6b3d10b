"""Graphs that are broken, or made to harm whoever reads them: each by name, as a function that builds it."""

import numpy as np
from onnx import AttributeProto, SparseTensorProto, TensorProto, TypeProto, helper, numpy_helper

from .graphs import Sketch

FLOAT = TensorProto.FLOAT


def good():
    g = Sketch()
    g.dense("x", "d", 4, 4)
    g.batch_norm("d", "y", 4)
    return g.model({"x": ["N", 4]}, {"y": ["N", 4]})


def with_node(*args, at=0, **attributes):
    """The good model with one more node; attributes as make_node takes them."""
    model = good()
    nodes = list(model.graph.node)
    nodes.insert(at, helper.make_node(*args, **attributes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def changed(change):
    model = good()
    change(model)
    return model


def tensor(change, position=0):
    return changed(lambda model: change(model.graph.initializer[position]))


def dims(*values):
    def change(t):
        del t.dims[:]
        t.dims.extend(values)

    return change


def raw(value):
    return lambda t: setattr(t, "raw_data", value)


def cycle():
    model = with_node("Relu", ["y"], ["loop"])
    model.graph.node[1].input[0] = "loop"
    return model


def ring():
    """Three nodes that feed each other."""
    model = with_node("Relu", ["c"], ["a"])
    model.graph.node.extend([helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])])
    return model


def branch(*nodes, output):
    return helper.make_graph(list(nodes), "b", [], [helper.make_tensor_value_info(output, FLOAT, None)])


def nested(value):
    body = branch(helper.make_node("Relu", [value], ["in"]), output="in")
    return with_node("If", ["d_b"], ["z"], then_branch=body, else_branch=body)


def deep(levels):
    node = helper.make_node("Relu", ["x"], ["in0"])
    other = branch(node, output="in0")
    for level in range(levels):
        body = branch(node, output=node.output[0])
        node = helper.make_node("If", ["d_b"], [f"in{level + 1}"], then_branch=body, else_branch=other)
    model = good()
    model.graph.node.append(node)
    return model


def functions(bodies):
    """Functions by name, each a list of the functions that it calls in turn; the first is called once."""
    model = good()
    model.opset_import.append(helper.make_opsetid("f", 1))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    for name, calls in bodies.items():
        values = ["a", *(f"v{i}" for i in range(len(calls)))]
        nodes = [
            helper.make_node(call, [values[i]], [values[i + 1]], domain="f" if call in bodies else "")
            for i, call in enumerate(calls)
        ]
        model.functions.append(helper.make_function("f", name, ["a"], [values[-1]], nodes, imports))
    model.graph.node.append(helper.make_node(next(iter(bodies)), ["y"], ["z"], domain="f"))
    return model


def sparse(*shape):
    def change(model):
        one = SparseTensorProto(dims=shape)
        one.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "s"))
        one.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "i"))
        model.graph.sparse_initializer.append(one)

    return change


def many_nodes():
    model = good()
    nodes = [helper.make_node("Relu", ["x" if i == 0 else f"r{i - 1}"], [f"r{i}"]) for i in range(10_001)]
    model.graph.node.extend(nodes)
    return model


def forever():
    """A Loop of 2^62 rounds in front of a BN that could be folded."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", FLOAT, None)],
    )
    model = good()
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "rounds"))
    model.graph.node.append(helper.make_node("Loop", ["rounds", "", "y"], ["z"], body=body))
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, None))
    return model


def filled(shape):
    """A ConstantOfShape of `shape` beside what can be folded."""
    model = good()
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, None))
    return model


def attribute(node, name, **fields):
    def change(model):
        target = model.graph.node[node]
        for entry in [a for a in target.attribute if a.name == name]:
            target.attribute.remove(entry)
        target.attribute.append(AttributeProto(name=name, **fields))

    return change


def inputs(node, *names):
    def change(model):
        del model.graph.node[node].input[:]
        model.graph.node[node].input.extend(names)

    return change


def outputs(node, *names):
    def change(model):
        del model.graph.node[node].output[:]
        model.graph.node[node].output.extend(names)

    return change


def input_shape(*shape):
    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", FLOAT, list(shape)))

    return change


def input_type(**kind):
    return lambda model: model.graph.input[0].type.CopyFrom(TypeProto(**kind))


def setting(name, value):
    return lambda model: setattr(model, name, value)


def opset(version):
    return lambda model: setattr(model.graph, "name", "g") or setattr(model.opset_import[0], "version", version)


def beside(*nodes, shape=("N", 4), **constants):
    """Of nodes that end in "y", by constants of those names: arrays, or tensors."""
    graph = helper.make_graph(
        [helper.make_node(*args, name=args[2][0], **attributes) for *args, attributes in nodes],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [v if isinstance(v, TensorProto) else numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def own_then_argmax(alpha):
    return lambda: beside(
        ("Own", ["x"], ["r"], {"domain": "org.example", "alpha": alpha}), ("ArgMax", ["r"], ["y"], {"axis": 1})
    )


def ones(*shape):
    return np.ones(shape, np.float32)


# Never a model: ModelFileError, of which the text says this.
REFUSED = {
    "cycle": (cycle, "cycle"),
    "ring of three": (ring, "cycle"),
    "node that reads itself": (lambda: with_node("Relu", ["s"], ["s"]), "cycle"),
    "out of order": (lambda: with_node("Relu", ["y"], ["z"]), "before it is made"),
    "duplicate output": (lambda: with_node("Relu", ["x"], ["d"]), "made twice"),
    "duplicate output of one node": (lambda: with_node("Split", ["x"], ["a", "a"]), "made twice"),
    "output overwrites an input": (lambda: with_node("Relu", ["d_w"], ["x"]), "made twice"),
    "output overwrites an initializer": (lambda: with_node("Relu", ["x"], ["d_w"]), "made twice"),
    "missing input": (lambda: with_node("Relu", ["ghost"], ["z"]), "'ghost', which nothing makes"),
    "missing input in a subgraph": (lambda: nested("ghost"), "'ghost', which nothing makes"),
    "missing initializer": (lambda: changed(lambda m: m.graph.initializer.pop(0)), "which nothing makes"),
    "graph output not made": (lambda: changed(lambda m: setattr(m.graph.output[0], "name", "q")), "made by no node"),
    "duplicate input": (lambda: changed(lambda m: m.graph.input.append(m.graph.input[0])), "listed twice"),
    "duplicate initializer": (
        lambda: changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        "stored twice",
    ),
    "no graph": (lambda: changed(lambda m: m.ClearField("graph")), "no graph"),
    "no opset": (lambda: changed(lambda m: m.ClearField("opset_import")), "no opset"),
    "no IR version": (lambda: changed(lambda m: m.ClearField("ir_version")), "not an ONNX model"),
    "short data": (lambda: tensor(raw(b"1234")), "does not hold the data"),
    "long data": (lambda: tensor(raw(b"1" * 400)), "does not hold the data"),
    "no data": (lambda: tensor(lambda t: t.ClearField("raw_data")), "does not hold the data"),
    "negative dims": (lambda: tensor(dims(-4, -4)), "impossible dims"),
    "dims that overflow": (lambda: tensor(dims(2**62, 2**62, 4)), "impossible dims"),
    "dims that overflow to what the data has": (lambda: tensor(dims(2**32, 2**32 + 1, 16)), "impossible dims"),
    "unknown data type": (lambda: tensor(lambda t: setattr(t, "data_type", 99)), "unknown data type"),
    "no data type": (lambda: tensor(lambda t: setattr(t, "data_type", 0)), "unknown data type"),
    "input of an unknown type": (
        lambda: changed(input_type(tensor_type=TypeProto.Tensor(elem_type=99))),
        "unknown data type",
    ),
    "external, in memory": (
        lambda: tensor(lambda t: setattr(t, "data_location", TensorProto.EXTERNAL)),
        "stored outside",
    ),
    "sparse tensor of 2^60 numbers": (lambda: changed(sparse(2**30, 2**30)), "impossible dims"),
    "sparse tensor of negative dims": (lambda: changed(sparse(-1, 4)), "impossible dims"),
    "function that calls itself": (lambda: functions({"f": ["Relu", "f"]}), "calls itself"),
    "functions that call each other": (lambda: functions({"f": ["g"], "g": ["f"]}), "calls itself"),
    "functions that expand to 2^40 nodes": (
        lambda: functions({f"f{i}": [f"f{i + 1}"] * 16 for i in range(10)} | {"f10": ["Relu"]}),
        "more than 10000 nodes",
    ),
    "functions forty deep": (
        lambda: functions({f"f{i}": [f"f{i + 1}"] for i in range(40)} | {"f40": ["Relu"]}),
        "deep in each other",
    ),
    "subgraphs twenty deep": (lambda: deep(20), "deep in each other"),
    "too many nodes": (many_nodes, "more than 10000 nodes"),
}

# Strange, but nothing that a reader must refuse: a typed error, or passed through, the rest folded or not.
STRANGE = {
    "unknown operator": lambda: with_node("Frobnicate", ["x"], ["z"]),
    "unknown domain": lambda: with_node("Gemm", ["x"], ["z"], domain="org.example"),
    "no operator": lambda: with_node("", ["x"], ["z"]),
    "no outputs": lambda: with_node("Relu", ["x"], []),
    "no inputs": lambda: changed(inputs(0)),
    "Gemm of one input": lambda: changed(inputs(0, "x")),
    "Gemm of five inputs": lambda: changed(inputs(0, "x", "d_w", "d_b", "d_b", "d_b")),
    "Gemm of empty names": lambda: changed(inputs(0, "", "", "")),
    "BN of two inputs": lambda: changed(inputs(1, "d", "y_gamma")),
    "BN without an output": lambda: with_node("BatchNormalization", ["x", "y_gamma", "y_beta", "y_mean", "y_var"], []),
    "Gemm whose sizes do not fit": lambda: tensor(dims(2, 8)),
    "BN whose sizes do not fit": lambda: tensor(dims(2, 2), 2),
    "weight of no rows": lambda: tensor(lambda t: t.CopyFrom(numpy_helper.from_array(np.zeros((0, 4), "f4"), t.name))),
    "weight of rank 0": lambda: tensor(lambda t: t.CopyFrom(numpy_helper.from_array(np.float32(1), t.name))),
    "weight of strings": lambda: tensor(
        lambda t: t.CopyFrom(numpy_helper.from_array(np.array([["a"] * 4] * 4, object), t.name))
    ),
    "epsilon is not a number": lambda: changed(attribute(1, "epsilon", type=1, f=float("nan"))),
    "epsilon is a string": lambda: changed(attribute(1, "epsilon", type=3, s=b"small")),
    "epsilon has no type": lambda: changed(attribute(1, "epsilon", f=1e-3)),
    "alpha is a graph": lambda: changed(attribute(0, "alpha", type=5)),
    "transB is a list": lambda: changed(attribute(0, "transB", type=7, ints=[1, 0])),
    "an attribute of unknown type": lambda: changed(attribute(0, "beta", type=0)),
    "Constant without a value": lambda: with_node("Constant", [], ["z"]),
    "Transpose of a constant by no permutation": lambda: with_node("Transpose", ["d_w"], ["z"], perm=[0, 0]),
    "Transpose by axes out of range": lambda: with_node("Transpose", ["d_w"], ["z"], perm=[7, -9]),
    "Reshape without a shape": lambda: with_node("Reshape", ["x"], ["z"]),
    "Flatten by an axis out of range": lambda: with_node("Flatten", ["x"], ["z"], axis=2**40),
    "Cast to nothing": lambda: with_node("Cast", ["x"], ["z"]),
    "Cast to an unknown type": lambda: with_node("Cast", ["x"], ["z"], to=999),
    "If without branches": lambda: with_node("If", ["d_b"], ["z"]),
    "input of negative dims": lambda: changed(input_shape(-3, 4)),
    "input of no rows": lambda: changed(input_shape(0, 4)),
    "input of 2^62 rows": lambda: changed(input_shape(2**62, 4)),
    "input of 2^62 columns": lambda: changed(input_shape("N", 2**62)),
    "input of sixty axes": lambda: changed(input_shape(*["N"] * 60)),
    "input without a type": lambda: changed(input_type()),
    "input of a bare shape": lambda: changed(lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type")),
    "input of strings": lambda: changed(input_type(tensor_type=TypeProto.Tensor(elem_type=TensorProto.STRING))),
    "input of a sequence": lambda: changed(input_type(sequence_type=TypeProto.Sequence())),
    "no graph inputs": lambda: changed(lambda m: m.graph.ClearField("input") or inputs(0, "d_w", "d_w", "d_b")(m)),
    "no graph outputs": lambda: changed(lambda m: m.graph.ClearField("output")),
    "no nodes": lambda: changed(lambda m: m.graph.ClearField("node") or setattr(m.graph.output[0], "name", "x")),
    "opset 0": lambda: changed(opset(0)),
    "opset -1": lambda: changed(opset(-1)),
    "opset 2^40": lambda: changed(opset(2**40)),
    "two opsets": lambda: changed(lambda m: m.opset_import.append(helper.make_opsetid("", 9))),
    "IR version 2^40": lambda: changed(setting("ir_version", 2**40)),
    "IR version -1": lambda: changed(setting("ir_version", -1)),
    "a Loop of 2^62 rounds": forever,
    "a constant of 2^60 numbers": lambda: filled([2**30, 2**30]),
    "a constant of 2^34 numbers": lambda: filled([2**34]),
    "a constant of negative size": lambda: filled([-5]),
    "Unsqueeze of a constant at 2^40": lambda: beside(
        ("Unsqueeze", ["c", "axes"], ["s"], {}), ("Add", ["x", "s"], ["y"], {}), c=ones(4), axes=np.array([2**40])
    ),
    "ArgMax of a number": lambda: beside(
        ("Softmax", ["x"], ["p"], {}), ("ArgMax", ["p"], ["y"], {"axis": 0}), shape=()
    ),
    "ArgMax of an unknown operator whose alpha is a list": own_then_argmax([0.1, 0.2]),
    "ArgMax of an unknown operator whose alpha is a string": own_then_argmax("much"),
    "constants in a row that do not fit each other": lambda: beside(
        ("Add", ["x", "c"], ["a"], {}), ("Add", ["a", "d"], ["y"], {}), shape=("N", "M"), c=ones(4), d=ones(3)
    ),
    "infinite weights": lambda: tensor(raw(np.full(16, np.inf, np.float32).tobytes())),
    "a name of a million letters": lambda: changed(outputs(0, "d" * 10**6)) and with_node("Relu", ["x"], ["z" * 10**6]),
    "names that are markup and control": lambda: with_node("Relu", ["x"], ["</svg><script>\x1b[2J"], name="\u202e&\"'"),
}

# A few kilobytes that would cost a fold much memory: the fold of this node is refused, for this reason.
COSTLY = {
    "a weight of 20,000,000 columns and no rows": (
        lambda: beside(
            ("MatMul", ["x", "w"], ["h"], {}),
            ("Add", ["h", "c"], ["y"], {}),
            shape=("N", 0),
            w=TensorProto(name="w", data_type=FLOAT, dims=[0, 20_000_000], raw_data=b""),
            c=ones(1),
        ),
        "holds nothing",
    ),
    "20,000,000 groups": (
        lambda: beside(
            ("ConvTranspose", ["x", "w"], ["h"], {"group": 20_000_000}),
            ("Mul", ["h", "c"], ["y"], {}),
            shape=("N", 1, 4),
            w=ones(1, 1, 1),
            c=ones(1),
        ),
        "1 channels in 20000000 groups",
    ),
    "a column that rows of 9,000,000 values would each be given": (
        lambda: beside(
            ("Add", ["x", "c"], ["a"], {}),
            ("Flatten", ["a"], ["f"], {}),
            ("Gemm", ["f", "w"], ["y"], {}),
            shape=("N", 3000, 3000),
            c=ones(3000, 1),
            w=ones(2, 2),
        ),
        "rows hold 9000000 values",
    ),
    "a column and a row that make a square": (
        lambda: beside(
            ("Add", ["x", "c"], ["a"], {}),
            ("Add", ["a", "d"], ["y"], {}),
            shape=(5000, 5000),
            c=ones(5000, 1),
            d=ones(1, 5000),
        ),
        "larger than each by itself",
    ),
}
