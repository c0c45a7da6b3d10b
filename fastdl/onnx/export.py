"""Graph → plain ONNX: each op adds its own nodes. Folding and proof are the fusion room's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, helper, numpy_helper

import fastdl
from fastdl.base.naming import free_name
from fastdl.compiler.formula import Form, Formula, Value
from fastdl.compiler.graph import Array, Graph, Op, Parameter, Tensor
from fastdl.errors import FusionError
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.report.report import FusionReport
from fastdl.layers.layer import listed

if TYPE_CHECKING:
    from fastdl.models import Model

OPSET, IR_VERSION = (
    17,
    8,
)  # old enough for every onnxruntime still in use, new enough for all that is written here


FEATURE_NAMES_KEY = "fastdl.feature_names"  # metadata: a JSON list of the columns of the input


class OnnxGraph:
    """What ops see while a graph is written: names of tensors, constants, and `node`."""

    def __init__(self, graph: Graph, output_names: Sequence[str]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._names: dict[Tensor, str] = {tensor: tensor.name for tensor in graph.inputs}
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
        self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
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
        """Add the nodes that compute op's output as `form` says of its input."""
        source = Formula()
        names: dict[Formula, str] = {source: self.name(op.inputs[0])}

        def name_of(value: Value, last: bool = False) -> str:
            if not isinstance(value, Formula):
                return self.constant(np.asarray(value, op.output.dtype), f"{op.name}.constant")
            if value not in names:
                inputs = [name_of(part) for part in value.inputs]
                names[value] = self._claim(op.output) if last else self._free(f"{op.name}.{value.operator.lower()}")
                self._inner.add(names[value])
                self.nodes.append(
                    helper.make_node(value.operator, inputs, [names[value]], name=names[value], **value.attributes)
                )
            return names[value]

        name_of(form(source), last=True)


def to_onnx(
    graph: Graph, name: str, metadata: dict[str, str] | None = None, output_names: Sequence[str] = ("output",)
) -> Any:
    """The graph in inference as a checked onnx.ModelProto, batch dimension "batch"."""
    writer = OnnxGraph(graph, output_names)
    for op in graph.ops:
        op.onnx(writer)
    element = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[graph.inputs[0].dtype.name]

    def info(tensor: Tensor, name: str) -> Any:
        return helper.make_tensor_value_info(name, element, [size or "batch" for size in tensor.shape])

    proto = helper.make_graph(
        writer.nodes,
        name,
        [info(tensor, tensor.name) for tensor in graph.inputs],
        [info(tensor, writer.name(tensor)) for tensor in graph.outputs],
        list(writer.constants.values()),
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastdl",
        producer_version=fastdl.__version__,
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def memory_errors() -> Iterator[None]:
    """What protobuf and onnxruntime raise when memory runs out becomes a MemoryError."""
    try:
        yield
    except Exception as error:
        causes = [error, error.__cause__, error.__context__]
        if any(isinstance(cause, EncodeError | DecodeError) or "bad_alloc" in str(cause) for cause in causes):
            raise MemoryError(f"no memory was left while the model was exported: {error}") from error
        raise


def export(
    model: Model,
    graph: Graph,
    path: Path,
    *,
    fuse: bool,
    samples: Any,
    class_names: Sequence[str] | None,
) -> FusionReport:
    """Write the model to `path`, folded and proven unless fuse=False; the report. FusionError: nothing is written."""
    from fastdl import fusion
    from fastdl.base.files import check_target, write_atomically
    from fastdl.callbacks.divergence import ADVICE, first_broken
    from fastdl.runner import CLASS_NAMES_KEY

    check_target(path)
    if path.exists() and path.read_bytes()[8:9] == b"{":
        raise FileExistsError(f"{path} is a saved model, which its export would replace: choose another name")
    if broken := first_broken([parameter for op in graph.ops for parameter in op.parameters]):
        raise FusionError(f"{model.name} cannot be exported: {broken}: training diverged, so train it anew; {ADVICE}")
    metadata = {}
    before = model.class_names
    try:
        model.class_names = before if class_names is None else class_names  # which checks them
        if model.class_names:
            metadata[CLASS_NAMES_KEY] = json.dumps(model.class_names)
    finally:
        model.class_names = before
    if len(graph.inputs) == 1 and model.feature_names:
        metadata[FEATURE_NAMES_KEY] = json.dumps(model.feature_names)
    names = ["output"] if len(graph.outputs) == 1 else _apart(model.output_names, [x.name for x in graph.inputs])
    plain = to_onnx(graph, model.name, metadata, names)
    if CLASS_NAMES_KEY in metadata and graph.outputs[0].features == 1 and not _ends_in_sigmoid(plain):
        raise ValueError("two class_names are for one column of probabilities: end the model in a sigmoid")
    if fuse:
        written, report = fusion.fuse(plain, samples=samples)
    else:
        index = GraphIndex(plain)
        written, report = plain, FusionReport.of(index, index)
    report.predict_max_abs_error = compare_with_predict(model, plain, written, samples)
    write_atomically(path, written.SerializeToString())
    return report


def _ends_in_sigmoid(model: Any) -> bool:
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in ("Identity", "Reshape"):
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Sigmoid"


def _apart(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    return [f"{name}_output" if name in taken else name for name in names]


def compare_with_predict(model: Model, plain: Any, written: Any, samples: Any) -> float:
    """Largest difference between onnxruntime on the file and `model.predict`, on random inputs and the samples.

    FusionError when it is more than both roundings explain: 8 times what float64 says of the two, or 1e-6.
    """
    from fastdl.fusion.proof.feeds import Feeder
    from fastdl.fusion.proof.truth import Truth
    from fastdl.fusion.runtime.session import Session

    feeder, truth, session, worst = Feeder(plain), Truth(plain), Session(written.SerializeToString()), 0.0
    floor = 1e-6 if model.dtype == np.float32 else 1e-14
    for feed in [*feeder.random(), *(feeder.samples(samples) if samples is not None else ())]:
        arrays = list(feed.values())
        for exact, served, predicted in zip(
            truth(feed),
            session.run(None, feed),
            listed(model.predict(arrays if len(arrays) > 1 else arrays[0])),
            strict=True,
        ):
            scale = float(np.abs(exact).max(initial=0))
            bar = 8 * float(np.abs(served - exact).max(initial=0)) + floor * max(scale, 1.0)
            off = float(np.abs(predicted - exact).max(initial=0))
            if not off <= bar:
                raise FusionError(
                    f"predict is off the exported graph by {off:.2e}, more than {bar:.2e}: please report it"
                )
            worst = max(worst, float(np.abs(served - predicted).max(initial=0)))
    return worst
