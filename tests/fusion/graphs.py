"""Hand-made graphs for the tests, and an independent run of them."""

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


class Sketch:
    """A graph under construction. Every method returns the name of the value that it adds."""

    def __init__(self, dtype=np.float32, opset=17, seed=0, ir=None):
        self.dtype, self.opset = np.dtype(dtype), opset
        self.ir = ir or (10 if opset >= 21 else 8)
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], {}

    def const(self, name, values, dtype=None):
        self.constants[name] = np.array(values, dtype or self.dtype)
        return name

    def node(self, op, inputs, output, **attributes):
        outputs = [output] if isinstance(output, str) else output
        name = attributes.pop("name", f"{op}_{outputs[0]}")
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def weights(self, name, rows, columns):
        return self.const(name, self.rng.normal(size=(rows, columns)) / np.sqrt(rows))

    def vector(self, name, size):
        return self.const(name, self.rng.normal(size=size))

    def batch_norm(self, x, output, channels, extra_outputs=(), **attributes):
        names = [f"{output}_{what}" for what in ("gamma", "beta", "mean", "var")]
        for name in names[:3]:
            self.vector(name, channels)
        self.const(names[3], self.rng.uniform(0.2, 3, channels))
        return self.node("BatchNormalization", [x, *names], [output, *extra_outputs], **attributes)

    def dense(self, x, output, rows, columns, form="gemm"):
        """One dense layer, in one of the forms that exporters write (see FORMS)."""
        return FORMS[form](self, x, output, rows, columns)

    def affine(self, x, output, size, kind):
        """An affine map of (N, size) by constants, in one of the forms that exporters write (see AFFINES)."""
        return AFFINES[kind](self, x, output, size)

    def model(self, inputs, outputs, **more):
        """inputs, outputs: mapping of name to shape; an output's shape may be None."""
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info(n, kind, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, kind, s) for n, s in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=self.ir, **more)


def _gemm(bias, **attributes):
    def build(g, x, y, rows, columns):
        shape = (columns, rows) if attributes.get("transB") else (rows, columns)
        inputs = [x, g.weights(f"{y}_w", *shape)]
        if bias is not None:
            size = {"vector": (columns,), "row": (1, columns), "scalar": (), "one": (1,)}[bias]
            inputs.append(g.const(f"{y}_b", g.rng.normal(size=size)))
        return g.node("Gemm", inputs, y, **attributes)

    return build


def _matmul(bias, bias_first=False):
    def build(g, x, y, rows, columns):
        product = y if bias is None else f"{y}_product"
        g.node("MatMul", [x, g.weights(f"{y}_w", rows, columns)], product)
        if bias is not None:
            size = {"vector": (columns,), "row": (1, columns), "scalar": ()}[bias]
            pair = [product, g.const(f"{y}_b", g.rng.normal(size=size))]
            g.node("Add", pair[::-1] if bias_first else pair, y)
        return y

    return build


FORMS = {
    "gemm": _gemm("vector"),
    "gemm row bias": _gemm("row"),
    "gemm scalar bias": _gemm("scalar"),
    "gemm one bias": _gemm("one"),
    "gemm no bias": _gemm(None),
    "gemm transB": _gemm("vector", transB=1),
    "gemm alpha beta": _gemm("vector", alpha=0.7, beta=-1.3),
    "gemm transB alpha beta row": _gemm("row", transB=1, alpha=-2.0, beta=0.5),
    "matmul": _matmul(None),
    "matmul + vector": _matmul("vector"),
    "matmul + row": _matmul("row"),
    "scalar + matmul": _matmul("scalar", bias_first=True),
}


def _by_constant(op, shape, first=False):
    def build(g, x, y, size):
        shapes = {"scalar": (), "one": (1,), "vector": (size,), "row": (1, size), "one by one": (1, 1)}
        c = g.const(f"{y}_c", g.rng.uniform(0.3, 2, shapes[shape]) * g.rng.choice([-1, 1], shapes[shape]))
        return g.node(op, [c, x] if first else [x, c], y)

    return build


def _standardise(g, x, y, size):
    """(x − mean) / deviation, as Keras's Normalization and PyTorch models write it."""
    g.node("Sub", [x, g.vector(f"{y}_mean", size)], f"{y}_centred")
    return g.node("Div", [f"{y}_centred", g.const(f"{y}_deviation", g.rng.uniform(0.5, 2, (1, size)))], y)


def _de_standardise(g, x, y, size):
    g.node("Mul", [x, g.const(f"{y}_deviation", g.rng.uniform(0.5, 2, size))], f"{y}_scaled")
    return g.node("Add", [f"{y}_scaled", g.vector(f"{y}_mean", size)], y)


def _primitive_parameters(g, y, size):
    gamma, beta, mean = (g.vector(f"{y}_{what}", size) for what in ("gamma", "beta", "mean"))
    g.node("Add", [g.const(f"{y}_var", g.rng.uniform(0.2, 3, size)), g.const(f"{y}_eps", 1e-3)], f"{y}_v")
    g.node("Sqrt", [f"{y}_v"], f"{y}_s")
    return gamma, beta, mean


def _batch_norm_in_primitives(g, x, y, size):
    """γ·(x − μ)/√(σ² + ε) + β, each step a node."""
    gamma, beta, mean = _primitive_parameters(g, y, size)
    g.node("Sub", [x, mean], f"{y}_1")
    g.node("Div", [f"{y}_1", f"{y}_s"], f"{y}_2")
    g.node("Mul", [f"{y}_2", gamma], f"{y}_3")
    return g.node("Add", [f"{y}_3", beta], y)


def _batch_norm_by_tensorflow(g, x, y, size):
    """x·k + (β − μ·k) with k = γ·(1/√(σ² + ε)), as TensorFlow's converters write it."""
    gamma, beta, mean = _primitive_parameters(g, y, size)
    g.node("Reciprocal", [f"{y}_s"], f"{y}_r")
    g.node("Mul", [f"{y}_r", gamma], f"{y}_k")
    g.node("Mul", [mean, f"{y}_k"], f"{y}_mk")
    g.node("Sub", [beta, f"{y}_mk"], f"{y}_t")
    g.node("Mul", [x, f"{y}_k"], f"{y}_1")
    return g.node("Add", [f"{y}_1", f"{y}_t"], y)


AFFINES = {
    "+ vector": _by_constant("Add", "vector"),
    "row +": _by_constant("Add", "row", first=True),
    "+ scalar": _by_constant("Add", "scalar"),
    "- row": _by_constant("Sub", "row"),
    "- one": _by_constant("Sub", "one"),
    "vector -": _by_constant("Sub", "vector", first=True),
    "scalar -": _by_constant("Sub", "scalar", first=True),
    "* vector": _by_constant("Mul", "vector"),
    "one by one *": _by_constant("Mul", "one by one", first=True),
    "row *": _by_constant("Mul", "row", first=True),
    "/ vector": _by_constant("Div", "vector"),
    "/ scalar": _by_constant("Div", "scalar"),
    "neg": lambda g, x, y, size: g.node("Neg", [x], y),
    "batch norm": lambda g, x, y, size: g.batch_norm(x, y, size),
    "standardise": _standardise,
    "de-standardise": _de_standardise,
    "batch norm in primitives": _batch_norm_in_primitives,
    "batch norm by TensorFlow": _batch_norm_by_tensorflow,
}


def session(model, optimise=False):
    """onnxruntime's, on one thread, its own optimiser on or off."""
    return _session(model.SerializeToString(), optimise)


@lru_cache(maxsize=4)  # a test mostly runs the same two graphs in turn
def _session(model, optimise):
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model, feed):
    """Outputs by onnxruntime, its optimiser off, apart from anything fastdl does."""
    return session(model).run(None, feed)


def close(a, b, dtype):
    """Equal up to rounding, relative to the largest magnitude."""
    bar = {"float16": 2e-2, "float32": 2e-5, "float64": 1e-12}[np.dtype(dtype).name]
    return np.abs(a - b).max() <= bar * max(np.abs(b).max(), 1e-30)


def operators(model):
    return [node.op_type for node in model.graph.node]


def check(model):
    onnx.checker.check_model(model, full_check=True)
