"""Dense graphs drawn at random, and their values in float64 numpy: apart from fastdl and from onnx's reference."""

import math

import numpy as np
from onnx import helper, numpy_helper

from .graphs import AFFINES, FORMS, Sketch

ACTIVATIONS = {
    "Relu": (7, lambda x, a: np.maximum(x, 0)),
    "Tanh": (7, lambda x, a: np.tanh(x)),
    "Sigmoid": (7, lambda x, a: 1 / (1 + np.exp(-x))),
    "LeakyRelu": (7, lambda x, a: np.where(x > 0, x, a.get("alpha", 0.01) * x)),
    "Softplus": (7, lambda x, a: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)),
    "Softsign": (7, lambda x, a: x / (1 + np.abs(x))),
    "Abs": (7, lambda x, a: np.abs(x)),
    "Elu": (7, lambda x, a: np.where(x > 0, x, a.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)))),
    "HardSigmoid": (7, lambda x, a: np.clip(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1)),
    "HardSwish": (14, lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Mish": (18, lambda x, a: x * np.tanh(np.logaddexp(0, x))),
    "Gelu": (20, lambda x, a: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
}
DOUBLE = ("Relu", "Tanh", "Sigmoid", "Abs")  # what onnxruntime runs in float64 at every opset
OPSETS = (9, 11, 13, 15, 17, 18, 20, 21, 22, 23)
FEATURES = 6


class Draw:
    """One random graph: `model`, and whether anything in it forbids folding (`obstructed`)."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.dtype = np.float64 if rng.random() < 0.1 else np.float32
        self.g = Sketch(self.dtype, int(rng.choice(OPSETS)), seed=seed)
        self.obstructed = False
        self.count = 0
        self.taps = {}
        self.overridable = []
        known = [op for op, (opset, _) in ACTIVATIONS.items() if opset <= self.g.opset]
        self.activations = [op for op in known if self.dtype == np.float32 or op in DOUBLE]
        forms = [f for f in FORMS if self.g.opset >= 11 or f != "gemm no bias"]
        self.forms = [f for f in forms if self.g.opset >= 11 or "scalar" not in f]
        value, size = "x", FEATURES
        for _ in range(rng.integers(1, 9)):
            value, size = self.step(value, size)
        value, size = self.dense(value, size)
        value, kind = self.head(value, size)
        outputs = {value: ["N", size] if kind != "label" else ["N"]} | self.taps
        self.model = self.g.model({"x": ["N", FEATURES]}, outputs)
        if kind == "label":
            self.model.graph.output[0].type.tensor_type.elem_type = 7
        for name in self.overridable:
            dims = self.g.constants[name].shape
            kind = helper.np_dtype_to_tensor_dtype(self.g.dtype)
            self.model.graph.input.append(helper.make_tensor_value_info(name, kind, dims))

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def step(self, value, size):
        steps = (
            [self.dense] * 4
            + [self.affine] * 6
            + [self.activation] * 4
            + [self.no_op] * 3
            + [self.join, self.residual, self.swish, self.tap, self.widen, self.override, self.forked]
        )
        return steps[self.rng.integers(len(steps))](value, size)

    def dense(self, value, size):
        width, y = int(self.rng.integers(1, 13)), self.name()
        before = set(self.g.constants)
        self.g.dense(value, y, size, width, str(self.rng.choice(self.forms)))
        if self.rng.random() < 0.2:  # units that cannot matter
            for name in set(self.g.constants) - before:
                array = self.g.constants[name]
                axis = 0 if name.endswith("_w") and array.shape != (size, width) else -1
                if array.ndim and array.shape[axis] == width and width > 2:
                    np.moveaxis(array, axis, 0)[1] = np.moveaxis(array, axis, 0)[0]
                    if name.endswith("_w"):
                        np.moveaxis(array, axis, 0)[2] = 0
        return y, width

    def affine(self, value, size):
        return self.g.affine(value, self.name(), size, str(self.rng.choice(list(AFFINES)))), size

    def activation(self, value, size):
        op = str(self.rng.choice(self.activations))
        return self.g.node(op, [value], self.name()), size

    def no_op(self, value, size):
        kind, y = self.rng.integers(6), self.name()
        if kind == 0:
            return self.g.node("Identity", [value], y), size
        if kind == 1:
            return self.g.node("Dropout", [value], y), size
        if kind == 2:
            return self.g.node("Flatten", [value], y), size
        if kind == 3:
            return self.g.node("Reshape", [value, self.g.const(f"{y}_shape", [-1, size], np.int64)], y), size
        if kind == 4:
            to = helper.np_dtype_to_tensor_dtype(self.g.dtype)
            return self.g.node("Cast", [value], y, to=to), size
        middle = self.g.node("Transpose", [value], f"{y}_t")
        return self.g.node("Transpose", [middle], y), size

    def join(self, value, size):
        op = str(self.rng.choice(["Add", "Sub", "Concat"]))
        first, width = self.dense(value, size)
        branches, widths = [first], [width]
        for _ in range(self.rng.integers(1, 3)) if op == "Concat" else (1,):
            y = self.name()
            widths.append(int(self.rng.integers(1, 6)) if op == "Concat" else width)
            branches.append(self.g.dense(value, y, size, widths[-1], str(self.rng.choice(self.forms))))
        more = {"axis": int(self.rng.choice([1, -1 if self.g.opset >= 11 else 1]))} if op == "Concat" else {}
        y = self.g.node(op, branches, self.name(), **more)
        return self.affine(y, sum(widths) if op == "Concat" else width)

    def residual(self, value, size):
        self.obstructed = True
        y = self.g.dense(value, self.name(), size, size, str(self.rng.choice(self.forms)))
        return self.g.node("Add", [value, y], self.name()), size

    def swish(self, value, size):
        self.obstructed = True
        return self.g.node("Mul", [value, self.g.node("Sigmoid", [value], self.name())], self.name()), size

    def tap(self, value, size):
        if value != "x":
            self.taps[value] = ["N", size]
            self.obstructed = True
        return value, size

    def widen(self, value, size):
        """One column and a row of three: the sum has three columns."""
        value = self.g.dense(value, self.name(), size, 1, "gemm")
        y = self.name()
        op = str(self.rng.choice(["Add", "Mul", "Sub", "Div"]))
        self.obstructed = True
        return self.g.node(op, [value, self.g.const(f"{y}_c", self.rng.uniform(0.5, 2, 3))], y), 3

    def override(self, value, size):
        y = self.name()
        self.overridable.append(self.g.vector(f"{y}_c", size))
        self.obstructed = True
        return self.g.node(str(self.rng.choice(["Add", "Mul"])), [value, f"{y}_c"], y), size

    def forked(self, value, size):
        """An affine map that two dense layers read, whose sum goes on."""
        value, size = self.affine(value, size)
        a, width = self.dense(value, size)
        b = self.g.dense(value, self.name(), size, width, str(self.rng.choice(self.forms)))
        return self.g.node("Add", [self.activation(a, width)[0], b], self.name()), width

    def head(self, value, size):
        kind = self.rng.integers(5)
        if kind < 2:
            return value, "score"
        value = self.g.node(
            "Softmax" if kind < 4 else "Sigmoid", [value], self.name(), **({"axis": 1} if kind < 4 else {})
        )
        if kind == 2 or size == 1:
            return value, "score"
        return self.g.node("ArgMax", [value], self.name(), axis=1, keepdims=0), "label"


def evaluate(model, x):
    """Every value of the graph in float64, by name."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in values.items()}
    values["x"] = x.astype(np.float64)
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = _apply(node.op_type, [values[name] for name in node.input], attributes)
    return values


def _apply(op, a, f):
    if op in ACTIVATIONS:
        return ACTIVATIONS[op][1](a[0], f)
    if op == "Gemm":
        y = f.get("alpha", 1) * (a[0] @ (a[1].T if f.get("transB") else a[1]))
        return y + (f.get("beta", 1) * a[2] if len(a) > 2 else 0)
    if op == "BatchNormalization":
        return (a[0] - a[3]) / np.sqrt(a[4] + float(np.float32(1e-5))) * a[1] + a[2]
    if op == "Softmax":
        e = np.exp(a[0] - a[0].max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return {
        "MatMul": lambda: a[0] @ a[1],
        "Add": lambda: a[0] + a[1],
        "Sub": lambda: a[0] - a[1],
        "Mul": lambda: a[0] * a[1],
        "Div": lambda: a[0] / a[1],
        "Neg": lambda: -a[0],
        "Sqrt": lambda: np.sqrt(a[0]),
        "Reciprocal": lambda: 1 / a[0],
        "Concat": lambda: np.concatenate(a, axis=1),
        "Transpose": lambda: a[0].T,
        "ArgMax": lambda: a[0].argmax(axis=1),
        **dict.fromkeys(("Identity", "Dropout", "Flatten", "Reshape", "Cast"), lambda: a[0]),
    }[op]()
