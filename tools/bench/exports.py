"""Nets for `fusion` as the default options of exporters write them: shapes computed, channels last, columns, labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from bench.workloads import Skip

OPSET, IR_VERSION, ML = 17, 8, "ai.onnx.ml"
TINY = (20, 64, 64, 3)
IMAGE = (3, 14, 14)  # channels first


class Drawing:
    """A graph under construction, of inputs and outputs of any rank; methods return the name of the next value."""

    def __init__(self) -> None:
        self._rng, self._nodes = np.random.default_rng(0), list[Any]()
        self._constants: dict[str, Any] = {}

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(values, dtype)
        return name

    def draw(self, *shape: int) -> str:
        return self.constant(self._rng.normal(size=shape) / np.sqrt(shape[0]))

    def node(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=f"n{len(self._nodes)}", **attributes))
        return output

    def dense(self, x: str, inputs: int, units: int, output: str = "") -> str:
        return self.node("Gemm", x, self.draw(inputs, units), self.draw(units), output=output)

    def model(self, inputs: tuple[int, ...], outputs: int) -> ModelProto:
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, ["N", *inputs])],
            [helper.make_tensor_value_info("y", kind, ["N", outputs])],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def flattened(plain: bool) -> ModelProto:
    """Keras's Normalization and Flatten: Sub, Mul, then the rows counted by Shape, Gather, Unsqueeze, Concat."""
    net = Drawing()
    if plain:
        value = net.node("Flatten", "x")
    else:
        value = net.node("Mul", net.node("Sub", "x", net.draw(1, 1, 8)), net.draw(1, 1, 8))
        rows = net.node("Gather", net.node("Shape", value), net.constant(0, np.int64), axis=0)
        rows = net.node("Unsqueeze", rows, net.constant([0], np.int64))
        target = net.node("Concat", rows, net.constant([-1], np.int64), axis=0)
        value = net.node("Reshape", value, target)
    value = net.node("Relu", net.dense(value, 32, 64))
    net.dense(value, 64, 3, "y")
    return net.model((4, 8), 3)


def channels_last(plain: bool) -> ModelProto:
    """Keras's convolutions by way of PyTorch: a Transpose before and after each, batch norm as Sub, Mul, Add."""
    net = Drawing()
    value, channels = net.node("Transpose", "x", perm=[0, 3, 1, 2]), 3
    for _ in range(2):
        weight = net.constant(net._rng.normal(size=(8, channels, 3, 3)) / 5)
        if plain:
            value = net.node("Relu", net.node("Conv", value, weight, net.draw(8)))
        else:
            value = net.node("Transpose", net.node("Conv", value, weight), perm=[0, 2, 3, 1])
            for op in ("Add", "Sub", "Mul", "Add"):
                value = net.node(op, value, net.draw(1, 1, 1, 8))
            value = net.node("Transpose", net.node("Relu", value), perm=[0, 3, 1, 2])
        value, channels = net.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2]), 8
    if not plain:
        value = net.node("Transpose", value, perm=[0, 2, 3, 1])
    net.dense(net.node("Flatten", value), 32, 10, "y")
    return net.model((IMAGE[1], IMAGE[2], IMAGE[0]), 10)


def heads(plain: bool) -> ModelProto:
    """Two dense layers on one input, added, and three heads that are joined."""
    net = Drawing()
    value = net.dense("x", 20, 64)
    if not plain:
        value = net.node("Add", value, net.dense("x", 20, 64))
    value = net.node("Relu", value)
    if plain:
        net.dense(value, 64, 6, "y")
    else:
        net.node("Concat", *(net.dense(value, 64, 2) for _ in range(3)), output="y", axis=1)
    return net.model((20,), 6)


def bottleneck(plain: bool) -> ModelProto:
    net = Drawing()
    value = net.dense("x", 13, 32) if plain else net.dense(net.dense("x", 13, 8), 8, 32)
    net.dense(net.node("Relu", value), 32, 3, "y")
    return net.model((13,), 3)


def flattened_by_torch() -> ModelProto:
    """Batch norm, Flatten, dense layers by torch.onnx's default exporter."""
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise Skip(f"{error.name} not installed") from None
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Flatten(), torch.nn.Linear(32, 64), torch.nn.ReLU(),
                              torch.nn.Linear(64, 3))  # fmt: skip
    with torch.no_grad():
        net(torch.randn(64, 4, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(
            net.eval(), (torch.randn(2, 4, 8),), dynamo=True, dynamic_shapes=rows, verbose=False
        )
    model: ModelProto = program.model_proto
    return model


def _skl(make: Callable[[], Any], classes: bool = True) -> ModelProto:
    """A pipeline as skl2onnx writes it, label and probabilities."""
    try:
        from skl2onnx import to_onnx
    except ImportError as error:
        raise Skip(f"{error.name} not installed") from None
    x = np.random.default_rng(0).normal(size=(500, TINY[0])).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make().fit(x, y if classes else x[:, 0])
        options = {id(pipe.steps[-1][1]): {"zipmap": False}} if classes else None
        model: ModelProto = to_onnx(pipe, x[:1], options=options)
    return model


def columns() -> ModelProto:
    """ColumnTransformer, MLPClassifier, with its label."""

    def make() -> Any:
        from sklearn.compose import ColumnTransformer
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler, StandardScaler

        parts = [("a", StandardScaler(), list(range(0, 20, 2))), ("b", MinMaxScaler(), list(range(1, 13, 2)))]
        return make_pipeline(ColumnTransformer(parts, remainder="passthrough"), MLPClassifier(TINY[1:-1], max_iter=5))

    return _skl(make)


def linear(classes: bool) -> ModelProto:
    """StandardScaler, LogisticRegression or LinearRegression."""

    def make() -> Any:
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression() if classes else LinearRegression())

    return _skl(make, classes)


def labelled() -> ModelProto:
    """What `columns` comes down to."""
    net, value = Drawing(), "x"
    for inputs, units in pairwise(TINY[:-1]):
        value = net.node("Relu", net.dense(value, inputs, units))
    value = net.node("Softmax", net.dense(value, TINY[-2], TINY[-1]), output="y", axis=1)
    net.node("ArgMax", value, output="label", axis=1, keepdims=0)
    model = net.model(TINY[:1], TINY[-1])
    model.graph.output.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]))
    return model


def linear_by_hand(classes: bool) -> ModelProto:
    """One operator."""
    rng, kind = np.random.default_rng(0), onnx.TensorProto.FLOAT
    weights: dict[str, Any] = {"coefficients": rng.normal(size=20 * (3 if classes else 1)).tolist()}
    outputs = [helper.make_tensor_value_info("y", kind, ["N", 3 if classes else 1])]
    if classes:
        more = {"intercepts": [0.0, 1.0, 2.0], "classlabels_ints": [0, 1, 2], "post_transform": "SOFTMAX"}
        node = helper.make_node("LinearClassifier", ["x"], ["label", "y"], domain=ML, **weights, **more)
        outputs.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]))
    else:
        node = helper.make_node("LinearRegressor", ["x"], ["y"], domain=ML, **weights, intercepts=[0.5])
    graph = helper.make_graph([node], "net", [helper.make_tensor_value_info("x", kind, ["N", 20])], outputs)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


EXPORTS: dict[str, tuple[Callable[[], ModelProto], Callable[[], ModelProto]]] = {  # as exported, and by hand
    "PyTorch, flattened": (flattened_by_torch, lambda: flattened(True)),
    "Keras, flattened": (lambda: flattened(False), lambda: flattened(True)),
    "Keras, channels last": (lambda: channels_last(False), lambda: channels_last(True)),
    "heads": (lambda: heads(False), lambda: heads(True)),
    "small bottleneck": (lambda: bottleneck(False), lambda: bottleneck(True)),
    "scikit-learn, columns": (columns, labelled),
    "scikit-learn, logistic": (lambda: linear(True), lambda: linear_by_hand(True)),
    "scikit-learn, linear": (lambda: linear(False), lambda: linear_by_hand(False)),
}
