"""onnxruntime's own tools that make a float32 model int8 or float16, called so that they do no harm.

int8 is static, in QDQ form (QuantizeLinear, DequantizeLinear): weights per output channel and symmetric, activations
uint8. Weights take 7 bits, so that no CPU's 16-bit sums of products saturate: a file made here is right everywhere
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import onnx
import onnx.version_converter
from onnx import ModelProto, NodeProto, TensorProto

from fastdl.errors import FusionError
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import copied
from fastdl.fusion.graph.node import Node, subgraphs
from fastdl.fusion.runtime.session import Feed, load_onnxruntime

QUANTIZED = ["Gemm", "MatMul", "Conv", "Relu", "Clip"]  # others are short, and lose more than they gain
WARNINGS, ERRORS = 2, 3  # onnxruntime's severities; the first is what it starts with
OPSET = 13  # from which DequantizeLinear knows channels


def to_int8(model: ModelProto, calibration: Iterable[Feed], method: str, apart: Container[str]) -> ModelProto:
    """A static int8 copy, calibrated on the feeds; nodes whose labels are in `apart` stay as they are.

    method: "MinMax", "Percentile" or "Entropy". Raises FusionError with what onnxruntime says.
    """
    load_onnxruntime()
    import onnxruntime.quantization as tool

    model = _at_opset(model)
    excluded = _name_uniquely(model, apart)
    left = iter(calibration)

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        def get_next(self) -> Feed | None:
            return next(left, None)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        before, after = (str(Path(folder, name)) for name in ("before.onnx", "after.onnx"))
        onnx.save(model, before)
        try:
            tool.quantize_static(
                before,
                after,
                Reader(),
                quant_format=tool.QuantFormat.QDQ,
                op_types_to_quantize=QUANTIZED,
                nodes_to_exclude=excluded,
                per_channel=True,
                reduce_range=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
                calibrate_method=tool.CalibrationMethod[method],
            )
        except MemoryError:
            raise
        except Exception as error:
            line = (str(error).strip() or repr(error)).splitlines()[0]
            raise FusionError(f"onnxruntime cannot quantise this graph: {line}") from error
        narrow = onnx.load(after)
    if all(node.op_type != "QuantizeLinear" for node in narrow.graph.node):
        raise FusionError("the model holds nothing that becomes int8: float32 dense layers are needed")
    return narrow


def _name_uniquely(model: ModelProto, apart: Container[str]) -> list[str]:
    """The tool knows nodes by their names: give every node one of its own, and return the names of those apart."""
    taken: set[str] = set()
    names = []
    for node in model.graph.node:
        label = Node(node).label
        while not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{len(taken)}"
        taken.add(node.name)
        if label in apart:
            names.append(node.name)
    return names


def _at_opset(model: ModelProto) -> ModelProto:
    """A copy, of opset 13 at least."""
    copy = copied(model)
    if GraphIndex(model).opset >= OPSET:
        return copy
    try:
        return onnx.version_converter.convert_version(copy, OPSET)
    except MemoryError:
        raise
    except Exception as error:
        line = str(error).splitlines()[0]
        raise FusionError(f"int8 needs opset {OPSET}, and this graph does not convert to it: {line}") from error


def to_float16(model: ModelProto) -> ModelProto:
    """A float16 copy whose inputs and outputs keep their types. Raises FusionError with what onnxruntime says."""
    load_onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = copied(model)
    with _quiet():
        try:
            half: ModelProto = convert_float_to_float16(copy, keep_io_types=True)
        except MemoryError:
            raise
        except Exception as error:
            line = (str(error).strip() or repr(error)).splitlines()[0]
            raise FusionError(f"onnxruntime cannot convert this graph to float16: {line}") from error
    if all(tensor.data_type != TensorProto.FLOAT16 for tensor in half.graph.initializer):
        raise FusionError("the model holds nothing that becomes float16: constants of float32 are needed")
    return _in_order(half)


def _in_order(model: ModelProto) -> ModelProto:
    """Nodes after those that they read from, as ONNX demands: the tool puts its casts of inputs last."""
    makers = {output: node for node in model.graph.node for output in node.output if output}
    placed: dict[int, NodeProto] = {}
    waiting = list(reversed(model.graph.node))
    while waiting:
        node = waiting[-1]
        missing = [makers[name] for name in _reads(node) if name in makers and id(makers[name]) not in placed]
        if missing:
            waiting += missing
            continue
        placed[id(waiting.pop())] = node
    nodes = [type(node).FromString(node.SerializeToString()) for node in placed.values()]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, in its subgraphs too."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (output.name for output in graph.output)
        for inner in graph.node:
            yield from _reads(inner)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools advise on every call what fuse has done already, warn of what they do themselves, and print it too."""
    ort = load_onnxruntime()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(ERRORS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
        ort.set_default_logger_severity(WARNINGS)
