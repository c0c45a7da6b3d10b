"""Graph → plain ONNX: each op adds its own nodes. Folding and proof are the fusion room's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from fastdl.base.arrays import Array
from fastdl.base.naming import free_name
from fastdl.base.order import in_order
from fastdl.base.version import VERSION
from fastdl.compiler.formula import Form, Formula, Value
from fastdl.compiler.graph import Graph, Op, Parameter, Tensor
from fastdl.errors import FusionError
from fastdl.fusion.graph.memory import tensor_of
from fastdl.layers.data_tensor import encoding_order

# Old enough for every onnxruntime still in use, new enough for all that is written here.
OPSET, IR_VERSION = 17, 8
ML, ML_OPSET = "ai.onnx.ml", 4  # of layers that encode columns
ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "object": TensorProto.STRING}


class OnnxGraph:
    """What ops see while a graph is written: names of tensors, constants, and `node`."""

    def __init__(self, graph: Graph, output_names: Sequence[str]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._names: dict[Tensor, str] = {tensor: tensor.name for tensor in graph.columns}
        self._inner: set[str] = set()  # values within a formula, which are no op's output
        self._outputs = dict(zip(graph.outputs, output_names, strict=True))

    def name(self, tensor: Tensor) -> str:
        return self._names[tensor]

    def same(self, output: Tensor, source: Tensor) -> None:
        """The output is the source under another name; an Identity only where the model's output needs its own."""
        if output in self._outputs:
            self.nodes.append(helper.make_node("Identity", [self._names[source]], [self._claim(output)]))
        else:
            self._names[output] = self._names[source]

    def _claim(self, tensor: Tensor) -> str:
        name = self._outputs[tensor] if tensor in self._outputs else self._free(tensor.name or "value")
        self._names[tensor] = name
        return name

    def _free(self, base: str) -> str:
        return free_name(base, {*self.constants, *self._names.values(), *self._inner, *self._outputs.values()})

    def constant(self, value: Parameter | Array, name: str = "") -> str:
        """An initializer with the parameter's values; returns its name."""
        array, name = (value.numpy(), value.path) if isinstance(value, Parameter) else (value, name)
        name = self._free(name)
        self.constants[name] = tensor_of(np.asarray(array, order="C"), name)
        return name

    def shape_constant(self, shape: Sequence[int]) -> str:
        """An int64 initializer for Reshape."""
        return self.constant(np.array(shape, np.int64), "shape")

    def refuse_noise(self, op: Op) -> None:
        """FusionError for an op that is random in inference too: there is nothing that a file could be proven to be."""
        if op.active:
            raise FusionError(f"{op.name} draws random numbers in inference too: a file of it cannot be proven")

    def node(self, operator: str, inputs: Sequence[str], op: Op, **attributes: Any) -> None:
        """Add the node that computes op's output."""
        output = self._claim(op.output)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))

    def computed(self, operator: str, inputs: Sequence[str], owner: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of a layer that encodes columns; returns its output."""
        name = self._free(f"{owner}.{operator.lower()}")
        self._inner.add(name)
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def encode(self, graph: Graph) -> None:
        """Add what computes the graph's inputs of its columns."""
        for tensor in encoding_order(graph):
            self._names[tensor] = tensor.onnx(self, [self._names[source] for source in tensor.sources])

    def inner(self, operator: str, inputs: Sequence[str], op: Op, **attributes: Any) -> str:
        """Add a node on the way to op's output; returns its own output."""
        name = self._free(f"{op.name}.{operator.lower()}")
        self._inner.add(name)
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def number(self, value: float, op: Op) -> str:
        """A scalar constant of op's dtype."""
        return self.constant(np.asarray(value, op.output.dtype), f"{op.name}.constant")

    def write(self, form: Form, op: Op) -> None:
        """Add the nodes that compute op's output as `form` says of its inputs."""
        sources = [Formula() for _ in op.inputs]
        names: dict[Formula, str] = {f: self.name(x) for f, x in zip(sources, op.inputs, strict=True)}

        def name_of(value: Value, last: bool = False) -> str:
            if not isinstance(value, Formula):
                return self.constant(np.asarray(value, op.output.dtype), f"{op.name}.constant")
            if value not in names:
                inputs = [name_of(part) for part in value.inputs]
                names[value] = self._claim(op.output) if last else self._free(f"{op.name}.{value.operator.lower()}")
                self._inner.add(names[value])
                operator, attributes = value.operator, value.attributes
                if operator == "Float":  # of what is true or false
                    operator, attributes = "Cast", {"to": ELEMENTS[op.output.dtype.name]}
                self.nodes.append(helper.make_node(operator, inputs, [names[value]], name=names[value], **attributes))
            return names[value]

        name_of(form(*sources), last=True)


def _makers(tensors: Iterable[Tensor]) -> Iterator[Op]:
    return (tensor.op for tensor in tensors if tensor.op is not None)


def to_onnx(
    graph: Graph, name: str, metadata: dict[str, str] | None = None, output_names: Sequence[str] = ("output",)
) -> Any:
    """The graph in inference as a checked onnx.ModelProto, batch dimension "batch"."""
    writer = OnnxGraph(graph, output_names)
    writer.encode(graph)
    for op in in_order(_makers(graph.outputs), lambda op: _makers(op.inference_inputs)):
        op.onnx(writer)

    def info(tensor: Tensor, name: str) -> Any:
        element = ELEMENTS.get(tensor.dtype.name, TensorProto.INT64)
        return helper.make_tensor_value_info(name, element, [size or "batch" for size in tensor.shape])

    proto = helper.make_graph(
        writer.nodes,
        name,
        [info(tensor, tensor.name) for tensor in graph.columns],
        [info(tensor, writer.name(tensor)) for tensor in graph.outputs],
        list(writer.constants.values()),
    )
    opsets = {"": OPSET} | ({ML: ML_OPSET} if any(node.domain == ML for node in writer.nodes) else {})
    model = helper.make_model(
        onnx.GraphProto(),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=IR_VERSION,
        producer_name="fastdl",
        producer_version=VERSION,
    )
    model.graph.MergeFrom(proto)  # make_model would copy it in a way that does not look whether there is memory
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    return model
