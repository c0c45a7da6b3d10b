"""Files of a few kilobytes that would take memory or time without a bound, or whose parts contradict each other.

Each by name, as a function that builds a model or bytes. `GOOD` nodes beside them can be folded, so that a proof runs.
"""

import itertools

import numpy as np
from onnx import (
    AttributeProto,
    ModelProto,
    SparseTensorProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)

from . import hostile

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
ML = "ai.onnx.ml"


def info(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, domain="", **attributes):
    names = [inputs.split(), outputs.split()] if isinstance(inputs, str) else [inputs, outputs]
    return helper.make_node(op, *names, domain=domain, **attributes)


def model(*nodes, inputs=(), outputs=(), opset=17, foldable=True, functions=(), x=("N", 4), kind=FLOAT, **constants):
    """The nodes beside a dense layer with a batch norm (`foldable`), which read `x`; their last output is given."""
    base = hostile.good() if foldable else ModelProto()
    stored = [*base.graph.initializer, *(_tensor(v, k) for k, v in constants.items())]
    ends = [*base.graph.output, *(outputs or [info(name) for name in nodes[-1].output[:1]])]
    starts = [info("x", kind, list(x)), *inputs]
    graph = helper.make_graph([*base.graph.node, *nodes], "g", starts, ends, stored)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 3), helper.make_opsetid("org.example", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def _tensor(value, name):
    if isinstance(value, TensorProto):
        value.name = name
        return value
    return numpy_helper.from_array(np.asarray(value), name)


def chain(op, count, first, constant=None, **attributes):
    """`count` nodes in a row from `first`, each reading the one before twice, or it and a constant."""
    names = [first, *(f"{op.lower()}{i}" for i in range(count))]
    second = [constant] if constant else []
    return [node(op, [a, *(second or [a])], [b], **attributes) for a, b in itertools.pairwise(names)]


def single(op, count, first, **attributes):
    names = [first, *(f"{op.lower()}{i}" for i in range(count))]
    return [node(op, [a], [b], **attributes) for a, b in itertools.pairwise(names)]


def body(nodes, inputs, outputs, name="body", constants=()):
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(constants))


def loop(nodes, state, end, rounds=2**60, kind=None, condition=False):
    """A Loop of so many rounds from `state` (a value outside) to `end`; None: while its condition holds."""
    inner = body(
        [node("Identity", "go", "on"), *nodes],
        [info("i", INT64, []), info("go", BOOL, []), kind or info("v")],
        [info("on", BOOL, []), helper.make_value_info(end, kind.type) if kind else info(end)],
    )
    start = "rounds" if rounds is not None else ""
    return node("Loop", [start, "yes" if condition else "", state], ["z"], body=inner)


def looping(*nodes, end, rounds=2**60, before=(), **more):
    limit = {"rounds": np.array(rounds)} if rounds is not None else {"yes": np.array(True)}
    state = more.pop("state", "x")
    kind = more.pop("kind", None)
    out = [helper.make_value_info("z", kind.type)] if kind else [info("z")]
    last = loop(nodes, state, end, rounds, kind, rounds is None)
    return model(*before, last, outputs=out, **limit, **more)


def big(op, *shape, **attributes):
    """A constant of that shape, made by ConstantOfShape, into one node."""
    return model(node("ConstantOfShape", "s", "c"), node(op, "c", "z", **attributes), s=np.array(shape, np.int64))


def scan():
    inner = body([node("Add", "a b", "c"), node("Identity", "c", "d")], [info("a"), info("b")], [info("c"), info("d")])
    made = [node("ConstantOfShape", "s", "e"), node("Scan", "k e", "m o", body=inner, num_scan_inputs=1)]
    return model(*made, s=np.array([2**20, 64]), k=np.zeros(64, np.float32))


def nested_loops(depth):
    """Loops within loops, each of 2^10 rounds."""
    inner = [node("Add", f"v{depth} v{depth}", f"w{depth}"), node("Identity", f"go{depth}", f"on{depth}")]
    for level in range(depth, 0, -1):
        graph = body(
            inner,
            [info(f"i{level}", INT64, []), info(f"go{level}", BOOL, []), info(f"v{level}")],
            [info(f"on{level}", BOOL, []), info(f"w{level}")],
        )
        above = level - 1
        inner = [
            node("Loop", ["rounds", "", f"v{above}" if above else "x"], [f"w{above}" if above else "z"], body=graph)
        ]
        if above:
            inner.append(node("Identity", f"go{above}", f"on{above}"))
    return model(*inner, rounds=np.array(2**10))


def nested_ifs(depth):
    inner = [node("Relu", "x", "b0")]
    for level in range(depth):
        graphs = [body(inner, [], [info(f"b{level}")]), body([node("Neg", "x", f"b{level}")], [], [info(f"b{level}")])]
        inner = [node("If", "yes", f"b{level + 1}", then_branch=graphs[0], else_branch=graphs[1])]
    return model(*inner, yes=np.array(True))


def branching(depth):
    """Both branches hold an If of two branches."""

    def tree(level, name):
        if level == 0:
            return [node("Relu", "x", name)]
        graphs = [body(tree(level - 1, f"{name}{side}"), [], [info(f"{name}{side}")]) for side in "ab"]
        return [node("If", "yes", name, then_branch=graphs[0], else_branch=graphs[1])]

    return model(*tree(depth, "t"), yes=np.array(True))


def sequences(op, **more):
    """A sequence that each round of a loop makes longer."""
    kind = helper.make_value_info("v", helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)))
    nodes = [node("SequenceInsert", "v x", "w")]
    return looping(*nodes, end="w", state="q", before=[node("SequenceConstruct", "x", "q")], kind=kind, **more)


def function(name, nodes, inputs=("a",), outputs=("b",)):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    return helper.make_function("org.example", name, list(inputs), list(outputs), nodes, imports)


def calling(depth, width):
    """Functions that each call the next several times."""
    made = []
    for level in range(depth):
        names = ["a", *(f"v{i}" for i in range(width - 1)), "b"]
        called = "org.example" if level < depth - 1 else ""
        op = f"F{level + 1}" if called else "Relu"
        made.append(function(f"F{level}", [
            node(op, [one], [two], domain=called) for one, two in itertools.pairwise(names)
        ]))  # fmt: skip
    return model(node("F0", "x", "z", domain="org.example"), functions=made)


def doubling_function():
    twice = function("Twice", [node("Concat", "a a", "b", axis=0)])
    return model(*single("Twice", 40, "x", domain="org.example"), functions=[twice])


def tensor(kind, dims, **fields):
    return TensorProto(data_type=kind, dims=dims, **fields)


def stored(kind, dims, **fields):
    return lambda: model(node("Identity", "t", "z"), t=tensor(kind, dims, **fields), outputs=[info("z", kind)])


def tree(**changes):
    """A TreeEnsembleRegressor of one split, with fields changed."""
    fields = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
        "n_targets": 1,
    } | changes
    return model(node("TreeEnsembleRegressor", "x", "z", domain=ML, **fields))


def sparse(shape, kind=FLOAT, constant=False):
    one = SparseTensorProto(dims=list(shape))
    one.values.CopyFrom(numpy_helper.from_array(np.ones(1, helper.tensor_dtype_to_np_dtype(kind)), "s"))
    one.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "s_indices"))
    if constant:
        made = node("Constant", [], ["s"])
        made.attribute.append(AttributeProto(name="sparse_value", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=one))
        return model(made, node("Relu", "s", "z"))
    built = model(node("Relu", "s", "z"))
    built.graph.sparse_initializer.append(one)
    return built


def renamed(old, new):
    """The bytes of a model in which one text is another, which need not be text."""
    built = model(node("Relu", "QQQQ", "z", doc_string="DDDD"), QQQQ=np.ones(4, np.float32), opset=17)
    built.producer_name, built.domain, built.graph.doc_string = "PPPP", "MMMM", "GGGG"
    helper.set_model_props(built, {"KKKK": "VVVV"})
    built.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "RRRR"
    built.graph.node[0].name, built.graph.node[-1].op_type = "NNNN", "Relu"
    built.graph.node[1].attribute.append(helper.make_attribute("AAAA", 1))
    return built.SerializeToString().replace(old, new)


def text(old, new=b"\xff\xfe\xed\xa0"):
    return lambda: renamed(old, new)


def external(location, **entries):
    built = hostile.good()
    target = built.graph.initializer[0]
    target.data_location = TensorProto.EXTERNAL
    target.ClearField("raw_data")
    for key, value in {"location": location, **entries}.items():
        target.external_data.add(key=key, value=str(value))
    return built


def many(what, count):
    built = hostile.good()
    if what == "inputs":
        built.graph.input.extend(info(f"i{i}", FLOAT, [1]) for i in range(count))
    elif what == "outputs":
        built.graph.node.extend(node("Relu", "y", f"o{i}") for i in range(count))
        built.graph.output.extend(info(f"o{i}") for i in range(count))
    elif what == "metadata":
        helper.set_model_props(built, {f"k{i}": "v" for i in range(count)})
    elif what == "opsets":
        built.opset_import.extend(helper.make_opsetid(f"d{i}", 1) for i in range(count))
    elif what == "attributes":
        built.graph.node[0].attribute.extend(helper.make_attribute(f"a{i}", 1) for i in range(count))
    elif what == "functions":
        built.functions.extend(function(f"F{i}", [node("Relu", "a", "b")]) for i in range(count))
    else:
        built.graph.node[0].input.extend("x" for _ in range(count))
    return built


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return np.ones(shape, np.float32)


def raw(change):
    def build():
        built = hostile.good()
        change(built)
        return built

    return build


STRING_X = {"foldable": False, "kind": STRING}

BOMBS = {
    # --- constants that grow when they are computed
    "Concat doubling 40 times": lambda: model(*chain("Concat", 40, "c", axis=0), c=floats(4)),
    "Concat doubling 12 times of a row": lambda: model(*chain("Concat", 24, "c", axis=1), c=floats(1, 8)),
    "integers doubling, then a shape": lambda: model(
        *chain("Concat", 30, "c", axis=0), node("ConstantOfShape", "concat29", "z"), c=ints(1, 1)
    ),
    "4 MB concatenated 200 times": lambda: model(
        node("ConstantOfShape", "s", "c"), node("Concat", ["c"] * 200, ["z"], axis=0), s=ints(2**20)
    ),
    "4 MB concatenated 200 times, then summed": lambda: model(
        node("ConstantOfShape", "s", "c"),
        node("Concat", ["c"] * 200, ["d"], axis=0),
        node("ReduceSum", "d", "z"),
        s=ints(2**20),
    ),
    "ConstantOfShape of 2^28": lambda: big("Relu", 2**28),
    "ConstantOfShape of 2^33": lambda: big("Relu", 2**33),
    "ConstantOfShape of 2^62": lambda: big("Relu", 2**31, 2**31),
    "ConstantOfShape of 2^64": lambda: big("Relu", 2**32, 2**32),
    "ConstantOfShape of 2^27, of ints": lambda: model(
        node("ConstantOfShape", "s", "z", value=numpy_helper.from_array(ints(7))), s=ints(2**27)
    ),
    "twenty constants of 2^24": lambda: model(
        *(node("ConstantOfShape", "s", f"c{i}") for i in range(20)),
        node("Sum", [f"c{i}" for i in range(20)], ["z"]),
        s=ints(2**24),
    ),
    "Expand to 2^33": lambda: model(node("Expand", "x s", "z"), s=ints(2**31, 1, 4)),
    "Expand of a constant to 2^28": lambda: model(node("Expand", "c s", "z"), c=floats(1), s=ints(2**28)),
    "Tile to 2^32": lambda: model(node("Tile", "x r", "z"), r=ints(2**15, 2**15)),
    "Tile x2 forty times": lambda: model(*chain("Tile", 40, "x", "r"), r=ints(1, 2)),
    "Tile of repeats that overflow": lambda: model(node("Tile", "x r", "z"), r=ints(2**62, 2**62)),
    "Range of tiny steps": lambda: model(
        node("Range", "a b c", "z"), a=np.float32(0), b=np.float32(1), c=np.float32(1e-30)
    ),
    "Range of 2^33": lambda: model(node("Range", "a b c", "z"), a=np.array(0), b=np.array(2**33), c=np.array(1)),
    "Range of 2^27": lambda: model(node("Range", "a b c", "z"), a=np.array(0), b=np.array(2**27), c=np.array(1)),
    "Range by a step of 0": lambda: model(node("Range", "a b c", "z"), a=np.array(0), b=np.array(9), c=np.array(0)),
    "Range to infinity": lambda: model(
        node("Range", "a b c", "z"), a=np.float32(0), b=np.float32(np.inf), c=np.float32(1)
    ),
    "Resize by 1e9": lambda: model(
        node("Unsqueeze", "x a", "u"),
        node("Resize", ["u", "", "s"], ["z"]),
        a=ints(0, 1),
        s=np.array([1, 1, 1e9, 1e9], np.float32),
    ),
    "Resize to 2^30": lambda: model(
        node("Unsqueeze", "x a", "u"),
        node("Resize", ["u", "", "", "s"], ["z"]),
        a=ints(0, 1),
        s=ints(1, 1, 2**15, 2**15),
    ),
    "Upsample by 1e6": lambda: model(
        node("Upsample", "x s", "z"), s=np.array([1, 1e6], np.float32), opset=9, foldable=False
    ),
    "Pad by 2^40": lambda: model(node("Pad", "x p", "z"), p=ints(0, 0, 0, 2**40)),
    "Pad by 2^28": lambda: model(node("Pad", "x p", "z"), p=ints(0, 0, 0, 2**28)),
    "Pad by -2^62": lambda: model(node("Pad", "x p", "z"), p=ints(-(2**62), 0, 0, 2**62)),
    "Pad by 2^63 - 1": lambda: model(node("Pad", "x p", "z"), p=ints(2**63 - 1, 1, 2**63 - 1, 1)),
    "OneHot of depth 2^28": lambda: model(
        node("OneHot", "i d v", "z"), i=ints(1, 2), d=np.array(2**28), v=np.array([0, 1], np.float32)
    ),
    "OneHot of depth 1e30": lambda: model(
        node("OneHot", "i d v", "z"), i=ints(1, 2), d=np.float32(1e30), v=np.array([0, 1], np.float32)
    ),
    "EyeLike of 2^15": lambda: big("EyeLike", 2**15, 2**15),
    "outer product of 2^15": lambda: model(
        node("ConstantOfShape", "s", "a"),
        node("ConstantOfShape", "t", "b"),
        node("MatMul", "a b", "z"),
        s=ints(2**15, 1),
        t=ints(1, 2**15),
    ),
    "outer sums": lambda: model(
        node("ConstantOfShape", "s", "a"),
        node("ConstantOfShape", "t", "b"),
        node("Add", "a b", "c"),
        node("ReduceMax", "c", "z"),
        s=ints(2**15, 1),
        t=ints(1, 2**15),
    ),
    "outer product of the batch": lambda: model(
        node("Reshape", "x s", "a"),
        node("Reshape", "x t", "b"),
        *chain("MatMul", 1, "a", "b"),
        node("ReduceSum", "matmul0", "z"),
        s=ints(-1, 1),
        t=ints(1, -1),
        x=("N", 2**16),
        foldable=False,
    ),
    "MatMul of 2^13 squares": lambda: model(
        node("ConstantOfShape", "s", "c"), *chain("MatMul", 8, "c"), s=ints(2**13, 2**13)
    ),
    "MatMul of 3000 squares": lambda: model(
        node("ConstantOfShape", "s", "c"), *chain("MatMul", 30, "c"), s=ints(3000, 3000)
    ),
    "Einsum of ten axes": lambda: model(
        node("Einsum", ["c"] * 10, ["z"], equation=",".join("abcdefghij") + "->abcdefghij"), c=floats(16)
    ),
    "Einsum that sums all": lambda: model(
        node("Einsum", ["c"] * 8, ["z"], equation=",".join("abcdefgh") + "->"), c=floats(32)
    ),
    "Einsum of an odd equation": lambda: model(node("Einsum", "x x", "z", equation="ab,,->...->a")),
    "Gather of repeated rows": lambda: model(
        node("ConstantOfShape", "s", "c"),
        *chain("Gather", 3, "c", "i", axis=0),
        i=np.zeros((8, 16), np.int64),
        s=ints(2, 2**14),
    ),
    "Gather chains": lambda: model(*chain("Gather", 8, "c", "i", axis=0), c=floats(2), i=np.zeros((8, 4), np.int64)),
    "GatherND of repeated rows": lambda: model(
        *chain("GatherND", 8, "c", "i"), c=floats(1), i=np.zeros((32, 1), np.int64)
    ),
    "CumSum of 2^27": lambda: model(
        node("ConstantOfShape", "s", "c"), node("CumSum", "c a", "z"), s=ints(2**27), a=np.array(0)
    ),
    "TopK of 2^27": lambda: model(
        node("ConstantOfShape", "s", "c"), node("TopK", "c k", "z i"), s=ints(2**27), k=ints(2**27)
    ),
    "TopK of k 2^62": lambda: model(node("TopK", "x k", "z i"), k=ints(2**62)),
    "NonZero of 2^26": lambda: model(
        node("ConstantOfShape", "s", "c", value=numpy_helper.from_array(floats(1))),
        node("NonZero", "c", "z"),
        s=ints(8, 8, 2**20),
        outputs=[info("z", INT64)],
    ),
    "Transpose of 2^27": lambda: big("Transpose", 2**13, 2**14),
    "Split into 2^27": lambda: big("Identity", 2, 2**27),
    "DepthToSpace": lambda: model(
        node("ConstantOfShape", "s", "c"), node("DepthToSpace", "c", "z", blocksize=2**10), s=ints(1, 2**20, 8, 8)
    ),
    "Trilu of 2^14": lambda: big("Trilu", 2**14, 2**14),
    "diamonds of x + x": lambda: model(*chain("Add", 60, "x")),
    "diamonds of MatMul": lambda: model(*chain("MatMul", 150, "c"), c=floats(20, 20)),
    "powers of powers": lambda: model(*chain("Pow", 40, "c"), c=floats(4) * 3),
    "Reshape to 2^62": lambda: model(node("Reshape", "x s", "z"), s=ints(2**31, 2**31)),
    "Reshape of -1 twice": lambda: model(node("Reshape", "x s", "z"), s=ints(-1, -1)),
    "Unsqueeze of 2^40": lambda: model(node("Unsqueeze", "x s", "z"), s=ints(2**40)),
    "Unsqueeze of 500 axes": lambda: model(node("Unsqueeze", "x s", "z"), s=np.arange(500)),
    "Slice that steps by nothing": lambda: model(
        node("Slice", "x a b c d", "z"), a=ints(0), b=ints(2**62), c=ints(1), d=ints(0)
    ),
    "a shape computed by multiplying": lambda: model(
        *chain("Mul", 5, "c"), node("ConstantOfShape", "mul4", "z"), c=ints(2)
    ),
    "a shape that grows with the batch": lambda: model(
        node("Shape", "x", "s"), *chain("Mul", 3, "s"), node("ConstantOfShape", "mul2", "z")
    ),
    "a shape computed from the values": lambda: model(
        node("Exp", "x", "e"),
        node("ReduceSum", "e", "r"),
        node("Mul", "r k", "m"),
        node("Cast", "m", "i", to=INT64),
        node("Reshape", "i one", "s"),
        node("ConstantOfShape", "s", "z"),
        k=np.float32(1e9),
        one=ints(1),
    ),
    # --- inputs that are large by themselves
    "input of 2^26 rows": lambda: model(node("Relu", "x", "z"), x=(2**26, 4)),
    "input of 2^26 columns": lambda: model(node("Relu", "x", "z"), x=("N", 2**26), foldable=False),
    "input of 2^20 columns, thirty layers": lambda: model(*single("Relu", 30, "x"), x=("N", 2**20), foldable=False),
    "input of 2^15 columns, 200 layers": lambda: model(*single("Sin", 200, "x"), x=("N", 2**15), foldable=False),
    "input of 2^12 squared": lambda: model(node("Sin", "x", "z"), x=("N", 2**12, 2**12), foldable=False),
    "input of free sizes": lambda: model(node("Relu", "x", "z"), x=("N", *"ABCDEFGHIJ"), foldable=False),
    "input of 400 axes": lambda: model(node("Relu", "x", "z"), x=("N",) * 400, foldable=False),
    "input of dims that overflow": lambda: model(node("Relu", "x", "z"), x=(2**32, 2**32 + 1), foldable=False),
    "many inputs of 2^22": lambda: model(
        node("Sum", [f"i{i}" for i in range(60)], ["z"]), inputs=[info(f"i{i}", FLOAT, [2**22]) for i in range(60)]
    ),
    "the batch against itself": lambda: model(
        node("Transpose", "x", "t"), node("MatMul", "x t", "m"), *chain("MatMul", 2, "m"), x=("N", 4)
    ),
    # --- images
    "Conv of huge dilation": lambda: model(
        node("Conv", "x w", "z", dilations=[2**30, 2**30], pads=[2**30] * 4),
        w=floats(1, 1, 2, 2),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "Conv of huge padding": lambda: model(
        node("Conv", "x w", "z", pads=[2**14] * 4), w=floats(1, 1, 1, 1), x=("N", 1, 4, 4), foldable=False
    ),
    "Conv of padding that wide steps leave out": lambda: model(
        node("Conv", "x w", "z", pads=[2**14] * 4, strides=[2**14] * 2),
        w=floats(1, 1, 1, 1),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "Conv of 2^20 channels": lambda: model(
        node("ConstantOfShape", "s", "w"),
        node("Conv", "x w", "z"),
        s=ints(2**20, 1, 3, 3),
        x=("N", 1, 32, 32),
        foldable=False,
    ),
    "Conv of a large image": lambda: model(
        *chain("Conv", 20, "x", "w", pads=[1] * 4), w=floats(1, 1, 3, 3), x=("N", 1, 3000, 3000), foldable=False
    ),
    "Conv of many taps": lambda: model(
        node("ConstantOfShape", "s", "w"),
        node("Conv", "x w", "z"),
        s=ints(64, 64, 64, 64),
        x=("N", 64, 128, 128),
        foldable=False,
    ),
    "Conv of group 2^40": lambda: model(
        node("Conv", "x w", "z", group=2**40), w=floats(1, 1, 1, 1), x=("N", 1, 4, 4), foldable=False
    ),
    "ConvTranspose of huge steps": lambda: model(
        node("ConvTranspose", "x w", "z", strides=[2**12] * 2), w=floats(1, 1, 2, 2), x=("N", 1, 4, 4), foldable=False
    ),
    "ConvTranspose to 2^40": lambda: model(
        node("ConvTranspose", "x w", "z", output_shape=[2**20] * 2),
        w=floats(1, 1, 2, 2),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "ConvTranspose doubling": lambda: model(
        *chain("ConvTranspose", 12, "x", "w", strides=[2, 2]), w=floats(1, 1, 2, 2), x=("N", 1, 4, 4), foldable=False
    ),
    "MaxPool of a huge window": lambda: model(
        node("MaxPool", "x", "z", kernel_shape=[2**30, 2**30], pads=[2**29] * 4), x=("N", 1, 4, 4), foldable=False
    ),
    "MaxPool of a wide window": lambda: model(
        node("MaxPool", "x", "z", kernel_shape=[500, 500]), x=("N", 1, 1000, 1000), foldable=False
    ),
    "AveragePool of dilation 2^31": lambda: model(
        node("AveragePool", "x", "z", kernel_shape=[2, 2], dilations=[2**31] * 2),
        x=("N", 1, 4, 4),
        foldable=False,
        opset=19,
    ),
    "MaxUnpool to 2^40": lambda: model(
        node("MaxPool", "x", "p i", kernel_shape=[2, 2]),
        node("MaxUnpool", "p i s", "z", kernel_shape=[2, 2]),
        s=ints(1, 1, 2**20, 2**20),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "LRN of size 2^31": lambda: model(node("LRN", "x", "z", size=2**31 - 1), x=("N", 4, 4, 4), foldable=False),
    "GridSample of 2^26": lambda: model(
        node("ConstantOfShape", "s", "g"),
        node("GridSample", "x g", "z"),
        s=ints(1, 2**13, 2**13, 2),
        x=(1, 1, 4, 4),
        foldable=False,
    ),
    "RoiAlign of 2^30": lambda: model(
        node("RoiAlign", "x r b", "z", output_height=2**15, output_width=2**15),
        r=floats(1, 4),
        b=ints(0),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "RoiAlign of 2^30 samples": lambda: model(
        node("RoiAlign", "x r b", "z", output_height=2, output_width=2, sampling_ratio=2**15),
        r=floats(1, 4),
        b=ints(0),
        x=("N", 1, 4, 4),
        foldable=False,
    ),
    "SpaceToDepth of 0": lambda: model(node("SpaceToDepth", "x", "z", blocksize=0), x=("N", 1, 4, 4), foldable=False),
    "AffineGrid of 2^28": lambda: model(
        node("AffineGrid", "t s", "z"), t=floats(1, 2, 3), s=ints(1, 1, 2**14, 2**14), opset=20
    ),
    # --- random numbers
    "RandomNormal of 2^40": lambda: model(node("RandomNormal", [], ["z"], shape=[2**20, 2**20])),
    "RandomUniform of 2^27": lambda: model(node("RandomUniform", [], ["z"], shape=[2**27])),
    "RandomNormalLike of 2^27": lambda: big("RandomNormalLike", 2**27),
    "Bernoulli of 2^27": lambda: big("Bernoulli", 2**27),
    "Multinomial of 2^31": lambda: model(
        node("Multinomial", "x", "z", sample_size=2**31 - 1, dtype=TensorProto.INT32),
        outputs=[info("z", TensorProto.INT32)],
    ),
    # --- loops, branches, sequences
    "Loop of 2^60 rounds": lambda: looping(node("Sin", "v", "w"), end="w"),
    "Loop of 2^60 rounds, unfoldable": lambda: looping(node("Sin", "v", "w"), end="w", foldable=False),
    "Loop while true": lambda: looping(node("Sin", "v", "w"), end="w", rounds=None),
    "Loop doubling 40 times": lambda: looping(node("Concat", "v v", "w", axis=0), end="w", rounds=40),
    "Loop doubling a constant": lambda: looping(
        node("Concat", "v v", "w", axis=0), end="w", rounds=40, state="c", c=floats(4)
    ),
    "Loop that gathers what it scans": lambda: model(
        node(
            "Loop",
            ["rounds", "", "x"],
            ["o", "z"],
            body=body(
                [node("Identity", "go", "on"), node("Sin", "v", "w"), node("Identity", "w", "s")],
                [info("i", INT64, []), info("go", BOOL, []), info("v")],
                [info("on", BOOL, []), info("w"), info("s")],
            ),
        ),
        rounds=np.array(2**40),
    ),
    "Loop of constants alone": lambda: looping(
        node("MatMul", "v v", "w"), end="w", state="c", c=floats(40, 40), rounds=2**40
    ),
    "loops within loops": lambda: nested_loops(6),
    "Scan over 2^20 rows": scan,
    "an If within an If, 15 deep": lambda: nested_ifs(15),
    "an If within an If, 24 deep": lambda: nested_ifs(24),
    "an If of two Ifs, 6 deep": lambda: branching(6),
    "If whose branch is a bomb": lambda: model(
        node("ReduceSum", "x", "r"),
        node("Cast", "r", "c0", to=BOOL),
        node("Reshape", "c0 one", "c"),
        node(
            "If",
            "c",
            "z",
            then_branch=body([node("ConstantOfShape", "s", "t")], [], [info("t")]),
            else_branch=body([node("Identity", "x", "e")], [], [info("e")]),
        ),
        s=ints(2**33),
        one=ints(1),
    ),
    "SequenceInsert in a loop": lambda: sequences("SequenceInsert"),
    "SequenceConstruct of 2^22, 500 times": lambda: model(
        node("ConstantOfShape", "s", "c"),
        node("SequenceConstruct", ["c"] * 500, ["q"]),
        node("ConcatFromSequence", "q", "z", axis=0),
        s=ints(2**22),
    ),
    "SplitToSequence of 2^24": lambda: model(
        node("ConstantOfShape", "s", "c"),
        node("SplitToSequence", "c", "q"),
        node("SequenceLength", "q", "z"),
        s=ints(2**24),
        outputs=[info("z", INT64, [])],
    ),
    "SequenceMap that doubles": lambda: model(
        node("SequenceConstruct", ["x"] * 200, ["q"]),
        node("SequenceMap", "q", "m", body=body([node("Tile", "v r", "w")], [info("v")], [info("w")])),
        node("ConcatFromSequence", "m", "z", axis=0),
        r=ints(2**14, 1),
    ),
    "Optional of a bomb": lambda: model(
        node("ConstantOfShape", "s", "c"),
        node("Optional", "c", "o"),
        node("OptionalGetElement", "o", "z"),
        s=ints(2**30),
    ),
    # --- recurrent nets
    "LSTM of hidden size 2^20": lambda: model(
        node("LSTM", "x w r", "z", hidden_size=2**20),
        w=floats(1, 4, 4),
        r=floats(1, 4, 1),
        x=("N", 1, 4),
        foldable=False,
    ),
    "LSTM of hidden size 2^62": lambda: model(
        node("LSTM", "x w r", "z", hidden_size=2**62),
        w=floats(1, 4, 4),
        r=floats(1, 4, 1),
        x=("N", 1, 4),
        foldable=False,
    ),
    "LSTM of weights of 2^26": lambda: model(
        node("ConstantOfShape", "s", "w"),
        node("ConstantOfShape", "t", "r"),
        node("LSTM", "x w r", "z", hidden_size=2**12),
        s=ints(1, 2**14, 4),
        t=ints(1, 2**14, 2**12),
        x=("N", 1, 4),
        foldable=False,
    ),
    "GRU over 2^16 steps": lambda: model(
        node("ConstantOfShape", "s", "v"),
        node("GRU", "v w r", "z", hidden_size=8),
        s=ints(2**16, 1, 8),
        w=floats(1, 24, 8),
        r=floats(1, 24, 8),
    ),
    # --- text
    "RegexFullMatch (a+)+$": lambda: model(
        node("RegexFullMatch", "t", "z", pattern="(a+)+$"),
        t=np.array(["a" * 60 + "!"], object),
        opset=20,
        outputs=[info("z", BOOL)],
    ),
    "RegexFullMatch of a huge repeat": lambda: model(
        node("RegexFullMatch", "t", "z", pattern="((a{1000}){1000}){1000}"),
        t=np.array(["a" * 60], object),
        opset=20,
        outputs=[info("z", BOOL)],
    ),
    "RegexFullMatch of the input": lambda: model(
        node("RegexFullMatch", "x", "z", pattern="(a|aa)+$"), opset=20, outputs=[info("z", BOOL)], **STRING_X
    ),
    "StringConcat doubling": lambda: model(
        *chain("StringConcat", 40, "t"),
        t=np.array(["ab" * 50], object),
        opset=20,
        outputs=[info("stringconcat39", STRING)],
    ),
    "StringConcat of the input": lambda: model(
        *chain("StringConcat", 40, "x"), opset=20, outputs=[info("stringconcat39", STRING)], **STRING_X
    ),
    "StringSplit": lambda: model(
        node("StringSplit", "t", "z n", delimiter=","),
        t=np.array(["," * 5000] + ["a"] * 500, object),
        opset=20,
        outputs=[info("z", STRING)],
    ),
    "strings expanded": lambda: model(
        node("Expand", "t s", "z"), t=np.array(["a" * 5000], object), s=ints(2**24), outputs=[info("z", STRING)]
    ),
    "StringNormalizer": lambda: model(
        node("StringNormalizer", "t", "z", stopwords=["a"] * 500),
        t=np.array(["a"] * 500, object),
        outputs=[info("z", STRING)],
    ),
    "TfIdf of 2^40 columns": lambda: model(
        node(
            "TfIdfVectorizer",
            "t",
            "z",
            max_gram_length=1,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0],
            ngram_indexes=[2**40],
            pool_int64s=[1],
        ),
        t=ints(1, 2),
    ),
    "TfIdf of 2^29 columns": lambda: model(
        node(
            "TfIdfVectorizer",
            "t",
            "z",
            max_gram_length=1,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0],
            ngram_indexes=[2**29],
            pool_int64s=[1],
        ),
        t=ints(1, 2),
    ),
    "TfIdf of 2^30 skips": lambda: model(
        node(
            "TfIdfVectorizer",
            "t",
            "z",
            max_gram_length=9,
            max_skip_count=2**30,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0, 1],
            ngram_indexes=[0, 1],
            pool_int64s=[1, 1, 2],
        ),
        t=np.ones(500, np.int64),
    ),
    # --- trees and other models of scikit-learn's
    "tree of 2^40 targets": lambda: tree(n_targets=2**40),
    "tree of 2^27 targets": lambda: tree(n_targets=2**27),
    "tree of -1 targets": lambda: tree(n_targets=-1),
    "tree that is a ring": lambda: tree(nodes_truenodeids=[0, 0, 0], nodes_falsenodeids=[0, 0, 0]),
    "tree whose leaves split": lambda: tree(
        nodes_modes=["BRANCH_LEQ"] * 3, nodes_truenodeids=[1, 2, 0], nodes_falsenodeids=[2, 0, 1]
    ),
    "tree of features out of range": lambda: tree(nodes_featureids=[2**40, 0, 0]),
    "tree of negative features": lambda: tree(nodes_featureids=[-(2**20), 0, 0]),
    "tree of ids out of range": lambda: tree(target_ids=[2**40, -5]),
    "tree of nodes that are not there": lambda: tree(nodes_truenodeids=[77, 0, 0]),
    "tree of lists that differ in length": lambda: tree(nodes_values=[0.5]),
    "tree of an unknown mode": lambda: tree(nodes_modes=["SIDEWAYS", "LEAF", "LEAF"]),
    "SVM of 2^40 vectors": lambda: model(
        node(
            "SVMRegressor",
            "x",
            "z",
            domain=ML,
            n_supports=2**40,
            coefficients=[1.0],
            support_vectors=[1.0] * 4,
            rho=[0.0],
            kernel_type="RBF",
            kernel_params=[1.0, 0.0, 3.0],
        ),
    ),
    "LinearRegressor of 2^40 targets": lambda: model(
        node("LinearRegressor", "x", "z", domain=ML, targets=2**40, coefficients=[1.0] * 4)
    ),
    "LinearRegressor of 2^28 targets": lambda: model(
        node("LinearRegressor", "x", "z", domain=ML, targets=2**28, coefficients=[1.0] * 4)
    ),
    "OneHotEncoder of many": lambda: model(
        *single("OneHotEncoder", 3, "x", domain=ML, cats_int64s=list(range(500))), foldable=False
    ),
    "FeatureVectorizer of 2^40": lambda: model(node("FeatureVectorizer", "x", "z", domain=ML, inputdimensions=[2**40])),
    "ArrayFeatureExtractor of repeated columns": lambda: model(
        *chain("ArrayFeatureExtractor", 10, "x", "i", domain=ML), i=np.zeros(400, np.int64)
    ),
    "LabelEncoder of keys that are not there": lambda: model(
        node("LabelEncoder", "x", "z", domain=ML, keys_floats=[1.0], values_strings=["a", "b"]),
        outputs=[info("z", STRING)],
    ),
    "ZipMap of other columns": lambda: model(
        node("ZipMap", "x", "z", domain=ML, classlabels_int64s=[1]),
        outputs=[
            helper.make_value_info(
                "z",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
                ),
            )
        ],
    ),
    # --- quantised
    "QLinearMatMul of 2^14": lambda: model(
        node("ConstantOfShape", "s", "a", value=numpy_helper.from_array(np.zeros(1, np.uint8))),
        node("QLinearMatMul", "a k u a k u k u", "z"),
        s=ints(2**14, 2**14),
        k=np.float32(1),
        u=np.uint8(0),
        outputs=[info("z", TensorProto.UINT8)],
    ),
    "QLinearConv of zero scales": lambda: model(
        node("QLinearConv", "q k u w k u k u", "z"),
        q=np.ones((1, 1, 4, 4), np.uint8),
        k=np.float32(0),
        u=np.uint8(0),
        w=np.ones((1, 1, 1, 1), np.uint8),
        outputs=[info("z", TensorProto.UINT8)],
    ),
    "DequantizeLinear of 2^28": lambda: model(
        node("ConstantOfShape", "s", "a", value=numpy_helper.from_array(np.zeros(1, np.uint8))),
        node("DequantizeLinear", "a k", "z"),
        s=ints(2**28),
        k=np.float32(1),
    ),
    "DynamicQuantizeLinear of 2^28": lambda: model(
        node("ConstantOfShape", "s", "a"),
        node("DynamicQuantizeLinear", "a", "z k u"),
        s=ints(2**28),
        outputs=[info("z", TensorProto.UINT8)],
    ),
    # --- functions
    "functions 15 deep, doubling": lambda: calling(15, 2),
    "functions 8 deep, calling 3 each": lambda: calling(8, 3),
    "functions 300 deep": lambda: calling(100, 1),
    "a function that doubles": doubling_function,
    "a function that calls itself": lambda: model(
        node("F", "x", "z", domain="org.example"),
        functions=[function("F", [node("F", "a", "b", domain="org.example")])],
    ),
    "functions that call each other": lambda: model(
        node("F", "x", "z", domain="org.example"),
        functions=[
            function("F", [node("G", "a", "b", domain="org.example")]),
            function("G", [node("F", "a", "b", domain="org.example")]),
        ],
    ),
    "a function named as an operator": lambda: model(
        node("Relu", "x", "z"),
        functions=[
            helper.make_function("", "Relu", ["a"], ["b"], [node("Neg", "a", "b")], [helper.make_opsetid("", 17)])
        ],
    ),
    "a function of a bomb": lambda: model(
        node("F", "x", "z", domain="org.example"),
        functions=[function("F", [node("Constant", [], ["s"], value_ints=[2**33]), node("ConstantOfShape", "s", "b")])],
    ),
    # --- tensors that are not what they say
    "sparse of 2^29": lambda: sparse([2**29]),
    "sparse of 2^27": lambda: sparse([2**27]),
    "sparse Constant of 2^40": lambda: sparse([2**40], constant=True),
    "sparse Constant of 2^28": lambda: sparse([2**28], constant=True),
    "dims with a zero and 2^60": stored(FLOAT, [0, 2**60], raw_data=b""),
    "dims of 2^30 and a zero": stored(FLOAT, [2**30, 0, 2**30], raw_data=b""),
    "negative dims": stored(FLOAT, [-1], raw_data=b"1234"),
    "dims that overflow to zero": stored(FLOAT, [2**32, 2**32], raw_data=b""),
    "400 dims of 1": stored(FLOAT, [1] * 400, raw_data=b"1234"),
    "2^28 dims in no data": stored(FLOAT, [2**28]),
    "short raw data": stored(FLOAT, [4], raw_data=b"12"),
    "long raw data": stored(FLOAT, [1], raw_data=b"12" * 50),
    "data in the wrong field": stored(FLOAT, [4], int32_data=[1, 2, 3, 4]),
    "data in two fields": stored(FLOAT, [1], raw_data=b"1234", float_data=[1.0, 2.0]),
    "bfloat16": stored(TensorProto.BFLOAT16, [2], raw_data=b"1234"),
    "float8": stored(TensorProto.FLOAT8E4M3FN, [2], raw_data=b"12"),
    "int4": stored(TensorProto.INT4, [3], raw_data=b"12"),
    "int4 of odd length": stored(TensorProto.INT4, [5], raw_data=b"12"),
    "complex": stored(TensorProto.COMPLEX64, [1], raw_data=b"12345678"),
    "strings that are not UTF-8": stored(STRING, [1], string_data=[b"\xff\xfe"]),
    "strings in raw data": stored(STRING, [1], raw_data=b"abcd"),
    "type 99": stored(99, [1], raw_data=b"1234"),
    "type -5": stored(-5, [1], raw_data=b"1234"),
    "a tensor in segments": stored(FLOAT, [1], raw_data=b"1234", segment=TensorProto.Segment(begin=0, end=2**40)),
    "Constant of 2^28 dims": lambda: model(node("Constant", [], ["z"], value=tensor(FLOAT, [2**28]))),
    "attribute of a sequence type": lambda: model(
        node("Relu", "x", "z", kind=helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [1])))
    ),
    # --- data elsewhere
    "external, in memory": lambda: external("a.bin"),
    "external, of another folder": lambda: external("../../../../etc/passwd"),
    "external, absolute": lambda: external("/etc/passwd"),
    "external, of no name": lambda: external(""),
    "external, of 2^62 bytes": lambda: external("a.bin", offset=2**62, length=2**62),
    "external, offset of text": lambda: external("a.bin", offset="much"),
    "external, offset of 5000 digits": lambda: external("a.bin", offset="9" * 5000),
    "external, of a name with NUL": lambda: external("a\0b"),
    # --- text that is none, or much
    **{
        f"{what} that is no UTF-8": text(old)
        for what, old in {
            "value": b"QQQQ",
            "node": b"NNNN",
            "node's doc": b"DDDD",
            "producer": b"PPPP",
            "domain": b"MMMM",
            "graph's doc": b"GGGG",
            "metadata key": b"KKKK",
            "metadata value": b"VVVV",
            "dimension": b"RRRR",
            "attribute": b"AAAA",
        }.items()
    },
    "operator that is no UTF-8": lambda: renamed(b"Relu", b"\xff\xfe\xed\xa0"),
    "names with NUL": lambda: renamed(b"QQQQ", b"a\0\0b"),
    "names of line breaks": lambda: renamed(b"NNNN", b"\n\r\n\x1b"),
    "a name of 9,000 letters": lambda: model(node("Relu", "x", "z", name="n" * 9000)),
    "an operator of 9,000 letters": lambda: model(node("R" * 9000, "x", "z")),
    # --- many of something
    "900 inputs": lambda: many("inputs", 300),
    "300 outputs": lambda: many("outputs", 200),
    "500 metadata entries": lambda: many("metadata", 500),
    "600 opsets": lambda: many("opsets", 600),
    "500 attributes": lambda: many("attributes", 500),
    "150 functions": lambda: many("functions", 100),
    "2,000 inputs of one node": lambda: many("node inputs", 2000),
    "a chain of 300 nodes": lambda: model(*single("Relu", 300, "x")),
    "a chain of 200 Identities": lambda: model(*single("Identity", 200, "x")),
    "a chain of 300 additions": lambda: model(*chain("Add", 250, "x", "c"), c=floats(4)),
    "a chain of 150 products": lambda: model(*chain("MatMul", 200, "x", "c"), c=floats(4, 4)),
    "attributes of 2,000 numbers": lambda: model(node("Relu", "x", "z", much=[1] * 2000)),
    # --- bytes that are no model, or hardly one
    "nothing": lambda: b"",
    "zeros": lambda: bytes(5000),
    "ones": lambda: b"\xff" * 5000,
    "a group that never ends": lambda: b"\x0b" * 5000,
    "messages within messages": lambda: _within(2000),
    "a length of 2^60": lambda: b"\x3a\xff\xff\xff\xff\xff\xff\xff\x7f",
    "1,500 empty nodes": lambda: raw(lambda m: m.graph.node.extend(node("", [], []) for _ in range(1500)))(),
    "empty graph": lambda: raw(lambda m: m.graph.Clear())(),
    "a type within a type, 90 deep": lambda: raw(_deep_type)(),
    "IR version 2^62": raw(lambda m: setattr(m, "ir_version", 2**62)),
    "opset 2^62": raw(lambda m: setattr(m.opset_import[0], "version", 2**62)),
    "no inputs, no outputs": raw(lambda m: m.graph.ClearField("input") or m.graph.ClearField("output")),
    "feature names of deep JSON": raw(lambda m: helper.set_model_props(m, {"fastdl.feature_names": "[" * 4000})),
    "class names of deep JSON": raw(lambda m: helper.set_model_props(m, {"fastdl.class_names": "[" * 4000})),
    "class names that are numbers": raw(lambda m: helper.set_model_props(m, {"fastdl.class_names": "[1e999]"})),
    "training info": raw(lambda m: m.training_info.add().algorithm.CopyFrom(m.graph)),
    "the batch norm's epsilon is -1e38": raw(lambda m: _epsilon(m, -1e38)),
    "weights of 1e38": raw(lambda m: setattr(m.graph.initializer[0], "raw_data", np.full(16, 1e38, "f4").tobytes())),
    **{f"strange: {name}": build for name, build in hostile.STRANGE.items() if "million" not in name},
    **{f"refused: {name}": build for name, (build, _) in hostile.REFUSED.items() if name != "too many nodes"},
}


def _epsilon(built, value):
    for attribute in built.graph.node[1].attribute:
        if attribute.name == "epsilon":
            attribute.f = value


def _deep_type(built):
    kind = TypeProto()
    inner = kind
    for _ in range(45):
        inner = inner.sequence_type.elem_type
    inner.tensor_type.elem_type = FLOAT
    built.graph.input.append(helper.make_value_info("deep", kind))


def _within(depth):
    content = b""
    for _ in range(depth):
        if len(content) > 9000:
            break
        size = len(content)
        prefix = b"\x3a"
        while size >= 128:
            prefix += bytes([size % 128 + 128])
            size //= 128
        content = prefix + bytes([size]) + content
    return content


def content(name):
    """The bytes of a bomb."""
    built = BOMBS[name]()
    return built if isinstance(built, bytes) else built.SerializeToString()
