"""One ONNX file that takes raw columns and answers: the columns' nodes, the net, and the classes, in one graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, version_converter

from fastdl import fusion
from fastdl.base.arrays import Array
from fastdl.base.metadata import CLASS_NAMES_KEY, COLUMNS_KEY
from fastdl.base.naming import Names, unknown
from fastdl.base.version import VERSION
from fastdl.errors import FusionError
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.tabular.columns.columns import Columns
from fastdl.tabular.inputs import LAYOUTS, FromColumns, FromMatrices, Layout
from fastdl.tabular.nodes import ColumnNodes, Writer
from fastdl.tabular.shortening import shorten

OPSET, ML_OPSET, IR_VERSION = 17, 4, 8
TEXT_OPSET, TEXT_IR_VERSION = 20, 9  # from which text is put together
SAMPLES = 256  # random rows on which folds are proven
INPUTS = ("numbers", "flags", "codes")


@memory_errors()
def assemble(
    columns: Columns,
    net: ModelProto,
    *,
    layout: Layout = "columns",
    rank1: bool = False,
    classes: Sequence[Any] | None = None,
    target: tuple[float, float] | None = None,
    limits: tuple[Any, Any] | None = None,
    fold: bool = True,
) -> ModelProto:
    """One file of the columns and a net that reads them encoded: raw columns in, answers out.

    net: inputs among "numbers", "flags" and "codes", (N, ·) float32, and one output: probabilities (N, classes), or
    numbers. layout: "columns", an input (N, 1) for each under its own name, or (N,) where rank1; "matrices", one of all
    numbers and one of all texts. Numbers and booleans enter as float32, or double where digits would be lost, NaN where
    missing; dates as seconds since 1970 (UTC), double; all else as text, "" where missing. classes: of any type, in the
    order of the net's columns; the outputs are then `label` and `probabilities`, else `prediction`. target: mean and
    deviation by which a prediction is unscaled; limits: what it stays within, one of each or one an output. fold:
    whether `fusion.fuse` folds it. Raises FusionError for a net that does not fit the columns, and what `fuse` raises.
    """
    if layout not in LAYOUTS:
        raise ValueError(unknown("layout", layout, LAYOUTS))
    nodes = ColumnNodes()
    columns.write(nodes)
    inputs = FromMatrices(nodes) if layout == "matrices" else FromColumns(nodes, columns.inputs, rank1)
    infos = inputs.infos()
    _check(columns, net, classes)
    text = isinstance(inputs, FromMatrices) and bool(nodes.texts)
    net = _at_opset(net, TEXT_OPSET if text else OPSET)
    names = Names(info.name for info in infos)
    outputs = [names.free(n) for n in (["prediction"] if classes is None else ["label", "probabilities"])]
    writer = Writer(names)
    whole_codes = _reads_whole_codes(net)
    values = nodes.write(writer, inputs.write(writer, whole_codes), columns.scaled_flags)
    answer = _join(writer, net, values, names, whole_codes)
    if classes is None:
        ends = _regression(writer, answer, outputs[0], _width(net.graph.output[0]), target, limits)
    else:
        ends = _label(writer, answer, outputs, classes)
    kinds = columns.kinds
    told: dict[str, Any] = {"layout": layout, "columns": {name: kinds[name] for name in columns.inputs}}
    if isinstance(inputs, FromMatrices):
        told["matrices"] = inputs.columns()
    if classes is not None:
        told |= {"label": outputs[0], "classes": class_array(classes).astype(str).tolist()}
    model = _model(writer, net, infos, ends, told, classes)
    return _folded(model, columns) if fold else model


def _check(columns: Columns, net: ModelProto, classes: Sequence[Any] | None) -> None:
    """FusionError unless the net takes what the columns give, and gives one score for each class."""
    sizes = dict(zip(INPUTS, map(len, (columns.numbers, columns.flags, columns.codes)), strict=True))
    stored = {tensor.name for tensor in net.graph.initializer}
    taken = {i.name: _width(i) for i in net.graph.input if i.name not in stored}
    there = {name: size for name, size in sizes.items() if size}
    if taken != there:
        raise FusionError(f"the net takes {_told(taken)}, the columns give {_told(there)}")
    if len(net.graph.output) != 1:
        raise FusionError(f"the net must have one output, not {len(net.graph.output)}")
    width = _width(net.graph.output[0])
    if classes is not None and width != len(classes):
        raise FusionError(f"the net gives {width} columns, not {len(classes)}, one for each class")


def _width(info: ValueInfoProto) -> int:
    dims = info.type.tensor_type.shape.dim
    return int(dims[-1].dim_value) if dims else 0


def _told(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size} {name}" for name, size in sizes.items()) or "nothing"


def _at_opset(net: ModelProto, least: int) -> ModelProto:
    opset = next(each.version for each in net.opset_import if each.domain in ("", "ai.onnx"))
    return net if opset >= least else version_converter.convert_version(net, least)


def _reads_whole_codes(net: ModelProto) -> bool:
    """Whether all that the net does with codes at first is to make them int64."""
    readers = [node for node in net.graph.node if "codes" in node.input]
    return bool(readers) and all(
        node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == TensorProto.INT64 for node in readers
    )


def _join(writer: Writer, net: ModelProto, values: Mapping[str, str], names: Names, whole_codes: bool) -> str:
    """The net's nodes behind the columns', under names that are free; the value of its output."""
    own = dict(values)
    skipped = set()
    if whole_codes:
        for node in net.graph.node:
            if "codes" in node.input:
                own[node.output[0]] = values["codes"]
                skipped.add(node.output[0])

    def name(old: str) -> str:
        if old and old not in own:
            own[old] = names.free(old)
        return own.get(old, "")

    for tensor in net.graph.initializer:
        copy = TensorProto()
        copy.MergeFrom(tensor)
        copy.name = name(tensor.name)
        writer.constants.append(copy)
    for node in net.graph.node:
        if node.output[0] in skipped:
            continue
        if any(each.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for each in node.attribute):
            raise FusionError(f"the net has a graph within its node {node.name or node.op_type!r}, which is not joined")
        copy = onnx.NodeProto()
        copy.MergeFrom(node)
        copy.input[:] = [name(each) for each in node.input]
        copy.output[:] = [name(each) for each in node.output]
        copy.name = copy.output[0]
        writer.nodes.append(copy)
    return name(net.graph.output[0].name)


def _named(writer: Writer, value: str, output: str) -> None:
    """Give a value the name of an output, wherever it stands."""
    for node in writer.nodes:
        for values in (node.input, node.output):
            if value in values:
                values[:] = [output if each == value else each for each in values]


def _regression(
    writer: Writer,
    value: str,
    output: str,
    width: int,
    target: tuple[float, float] | None,
    limits: tuple[Any, Any] | None,
) -> list[ValueInfoProto]:
    def number(x: Any) -> str:
        return writer.constant(np.asarray(x, np.float32), "constant")

    if target is not None:
        mean, deviation = target
        value = writer.add("Mul", [value, number(deviation)], "unscaled")
        value = writer.add("Add", [value, number(mean)], "shifted")
    if limits is not None and np.size(limits[0]) == 1:
        value = writer.add("Clip", [value, *(number(np.squeeze(limit)) for limit in limits)], "limited")
    elif limits is not None:
        value = writer.add("Max", [value, number(limits[0])], "not_below")
        value = writer.add("Min", [value, number(limits[1])], "not_above")
    _named(writer, value, output)
    return [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width])]


def _label(writer: Writer, value: str, outputs: Sequence[str], classes: Sequence[Any]) -> list[ValueInfoProto]:
    label, probabilities = outputs
    _named(writer, value, probabilities)
    known = class_array(classes)
    counting = known.dtype == np.int64 and np.array_equal(known, np.arange(len(known)))
    best = writer.add("ArgMax", [probabilities], "best", axis=1, keepdims=0)
    if not counting:
        best = writer.add("Gather", [writer.constant(known, "classes"), best], "named")
    _named(writer, best, label)
    kind = TensorProto.STRING if known.dtype == object else helper.np_dtype_to_tensor_dtype(known.dtype)
    return [
        helper.make_tensor_value_info(label, kind, ["N"]),
        helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, ["N", len(classes)]),
    ]


def class_array(classes: Sequence[Any]) -> Array:
    """The classes in a type that ONNX has: int64, float64, bool, or text."""
    array = np.asarray(classes)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind in "fb":
        return array.astype(np.float64 if array.dtype.kind == "f" else np.bool_)
    return np.array([str(each) for each in classes], object)


def _model(
    writer: Writer,
    net: ModelProto,
    infos: Sequence[ValueInfoProto],
    ends: Sequence[ValueInfoProto],
    told: Mapping[str, Any],
    classes: Sequence[Any] | None,
) -> ModelProto:
    metadata = {entry.key: entry.value for entry in net.metadata_props}
    metadata.pop(CLASS_NAMES_KEY, None)
    if classes is not None and class_array(classes).dtype == object:
        metadata[CLASS_NAMES_KEY] = json.dumps([str(each) for each in classes])
    metadata[COLUMNS_KEY] = json.dumps(told)
    opsets = {each.domain or "": each.version for each in net.opset_import if each.domain != "ai.onnx"}
    opsets["ai.onnx.ml"] = max(opsets.get("ai.onnx.ml", 0), ML_OPSET)
    least = TEXT_IR_VERSION if opsets.get("", 0) >= TEXT_OPSET else IR_VERSION
    model = helper.make_model(
        onnx.GraphProto(name=net.graph.name or "tabular"),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=max(net.ir_version, least),
        producer_name="fastdl",
        producer_version=VERSION,
    )
    graph = model.graph
    fields = graph.node, graph.initializer, graph.input, graph.output
    for field, parts in zip(fields, (writer.nodes, writer.constants, infos, ends), strict=True):
        for part in parts:
            field.add().MergeFrom(part)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def _folded(model: ModelProto, columns: Columns) -> ModelProto:
    """The file after all folds that are proven on random rows."""
    table = columns.draw(np.random.default_rng(0), SAMPLES)
    samples = TableInputs.of(model).feed({name: table.column(name) for name in table.names})
    return shorten(fusion.fuse(model, samples=samples, measure=False)[0])
