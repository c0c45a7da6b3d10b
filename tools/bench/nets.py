"""Nets for `fusion`, as exporters write them, and each by hand as the ideal: dense layers and activations alone.

An ideal computes something else, for its weights are random too; only its time counts.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from bench.exports import EXPORTS
from bench.workloads import Skip

TEXTBOOK, TINY = (784, 300, 100, 10), (20, 64, 64, 3)
OPSET, IR_VERSION = 17, 8


class Net:
    """A graph under construction; every method takes the name of a value and returns that of the next."""

    def __init__(self, seed: int = 0) -> None:
        self._rng, self._nodes, self._constants = np.random.default_rng(seed), [], {}  # type: ignore[var-annotated]

    def constant(self, values: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(values, np.float32)
        return name

    def vector(self, size: int, low: float = -1.0, high: float = 1.0) -> str:
        return self.constant(self._rng.uniform(low, high, size))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.constant(self._rng.normal(size=(inputs, outputs)) / np.sqrt(inputs))
        return self.node("Gemm", x, weight, self.vector(outputs))

    def matmul_add(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.constant(self._rng.normal(size=(inputs, outputs)) / np.sqrt(inputs))
        return self.node("Add", self.node("MatMul", x, weight), self.vector(outputs))

    def batch_norm(self, x: str, size: int) -> str:
        return self.node("BatchNormalization", x, *(self.vector(size, *range_) for range_ in
                         ((0.5, 1.5), (-1.0, 1.0), (-1.0, 1.0), (0.5, 2.0))))  # fmt: skip

    def primitives(self, x: str, size: int) -> str:
        """Batch norm as some exporters write it."""
        centred = self.node("Sub", x, self.vector(size))
        scaled = self.node("Mul", centred, self.vector(size, 0.5, 1.5))
        return self.node("Add", scaled, self.vector(size))

    def model(self, inputs: int, outputs: int, value: str) -> ModelProto:
        self._nodes[-1].output[0] = "y"
        for node in self._nodes:
            node.input[:] = ["y" if name == value else name for name in node.input]
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, ["N", inputs])],
            [helper.make_tensor_value_info("y", kind, ["N", outputs])],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def chain(widths: Sequence[int], *steps: str, first: Sequence[str] = (), tail: str = "Softmax") -> ModelProto:
    """`first`, then dense layers with `steps` after each but the last, then `tail`."""
    net, value = Net(), "x"

    def step(name: str, x: str, size: int) -> str:
        return getattr(net, name)(x, size) if name.islower() else net.node(name, x)

    for name in first:
        value = step(name, value, widths[0])
    layers = list(pairwise(widths))
    for inputs, outputs in layers:
        value = (net.matmul_add if "matmul" in steps else net.dense)(value, inputs, outputs)
        for name in steps if outputs != widths[-1] else ():
            value = value if name == "matmul" else step(name, value, outputs)
    return net.model(widths[0], widths[-1], net.node(tail, value))


def ideal(widths: Sequence[int]) -> ModelProto:
    return chain(widths, "Relu")


def standardised() -> ModelProto:
    """Sub and Div of the input, MatMul and Add, de-standardised output."""
    net = Net()
    value = net.node("Div", net.node("Sub", "x", net.vector(20)), net.vector(20, 0.5, 2.0))
    for inputs, outputs in pairwise((20, 64, 64, 1)):
        value = net.matmul_add(value, inputs, outputs)
        value = net.node("Relu", value) if outputs > 1 else value
    value = net.node("Mul", value, net.constant([3.0]))
    return net.model(20, 1, net.node("Add", value, net.constant([7.0])))


def standardised_ideal() -> ModelProto:
    net, value = Net(), "x"
    for inputs, outputs in pairwise((20, 64, 64, 1)):
        value = net.dense(value, inputs, outputs)
        value = net.node("Relu", value) if outputs > 1 else value
    return net.model(20, 1, value)


def _branches(norm: bool) -> ModelProto:
    net = Net()

    def maybe(x: str, size: int) -> str:
        return net.batch_norm(x, size) if norm else x

    x = maybe("x", 64)
    left, right = (net.node("Relu", maybe(net.dense(x, 64, 64), 64)) for _ in range(2))
    both = maybe(net.node("Add", net.dense(left, 64, 64), net.dense(right, 64, 64)), 64)
    value = maybe(net.node("Relu", both), 64)
    return net.model(64, 10, net.node("Softmax", net.dense(value, 64, 10)))


def pytorch() -> ModelProto:
    """784-300-100-10 with batch norm before the activation, by torch.onnx's TorchScript exporter."""
    try:
        import torch
    except ImportError:
        raise Skip("torch not installed") from None
    layers: list[Any] = []
    for inputs, outputs in pairwise(TEXTBOOK):
        layers.append(torch.nn.Linear(inputs, outputs))
        layers += [torch.nn.BatchNorm1d(outputs), torch.nn.ReLU()] if outputs != TEXTBOOK[-1] else []
    net = torch.nn.Sequential(*layers, torch.nn.Softmax(dim=1))
    with torch.no_grad():
        net(torch.randn(256, TEXTBOOK[0]))
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.randn(2, TEXTBOOK[0]),), content, dynamo=False, input_names=["x"],
                          output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})  # fmt: skip
    return onnx.load_from_string(content.getvalue())


def sklearn() -> ModelProto:
    """StandardScaler, PCA, MLPClassifier by skl2onnx, its probabilities alone."""
    try:
        from skl2onnx import to_onnx
        from sklearn.decomposition import PCA
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise Skip(f"{error.name} not installed") from None
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, TINY[0])).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make_pipeline(StandardScaler(), PCA(TINY[0]), MLPClassifier(TINY[1:-1], max_iter=5)).fit(x, y)
        model = to_onnx(pipe, x[:1], options={id(pipe.steps[-1][1]): {"zipmap": False}})
    labels = [output for output in model.graph.output if output.type.tensor_type.elem_type != onnx.TensorProto.FLOAT]
    for output in labels:
        model.graph.output.remove(output)
    _drop_unread(model)
    return model


def _drop_unread(model: ModelProto) -> None:
    """Nodes that no output needs, so that no tool is measured by whether it drops them."""
    needed = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(type(node).FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(kept[::-1])


Make = Callable[[], ModelProto]
NETS: dict[str, tuple[Make, Make]] = {  # as it is exported, and by hand
    "BN before": (lambda: chain(TEXTBOOK, "batch_norm", "Relu"), lambda: ideal(TEXTBOOK)),
    "BN after": (lambda: chain(TEXTBOOK, "Relu", "batch_norm"), lambda: ideal(TEXTBOOK)),
    "BN first": (lambda: chain(TEXTBOOK, "Relu", first=["batch_norm"]), lambda: ideal(TEXTBOOK)),
    "tiny, BN before": (lambda: chain(TINY, "batch_norm", "Relu"), lambda: ideal(TINY)),
    "tiny, BN as primitives": (lambda: chain(TINY, "matmul", "primitives", "Relu"), lambda: ideal(TINY)),
    "deep, BN after": (
        lambda: chain((64, *[64] * 10, 10), "Relu", "batch_norm"),
        lambda: ideal((64, *[64] * 10, 10)),
    ),
    "standardised": (standardised, standardised_ideal),
    "branches": (lambda: _branches(True), lambda: _branches(False)),
    "PyTorch": (pytorch, lambda: ideal(TEXTBOOK)),
    "scikit-learn": (sklearn, lambda: ideal(TINY)),
    **EXPORTS,
}
