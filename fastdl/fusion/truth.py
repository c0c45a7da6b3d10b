"""What a graph ought to give: its float64 copy, run by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from .index import subgraphs

NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPE_ATTRIBUTES = ("to", "dtype", "stash_type", "output_datatype")


class Truth:
    """A float64 evaluator of a graph. Raises whatever the reference raises for operators it does not know."""

    def __init__(self, model: ModelProto, more: Sequence[str] = ()) -> None:
        """more: names of inner values to give after the outputs."""
        from onnx.reference import ReferenceEvaluator

        self._names = [*(output.name for output in model.graph.output), *more]
        self._evaluator = ReferenceEvaluator(to_float64(model), new_ops=[_batch_normalization(), _zip_map()])

    def __call__(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[Any]:
        """The outputs for one batch, arrays or sequences; floating-point feeds of any width are widened."""
        wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        return list(self._evaluator.run(self._names, wide))


def to_float64(model: ModelProto) -> ModelProto:
    """A copy in which every float16, bfloat16 and float32 tensor, type and cast is float64."""
    wide = ModelProto()
    wide.CopyFrom(model)
    _widen_graph(wide.graph)
    for function in wide.functions:
        _widen_nodes(function.node)
    return wide


def _widen_graph(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for info in (*graph.input, *graph.output):
        _widen_type(info.type)
    del graph.value_info[:]
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Any) -> None:
    node: onnx.NodeProto
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                # These are float32 by definition; as a tensor they can be wider.
                values = np.array(helper.get_attribute_value(attribute), dtype=np.float64)
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))
            elif attribute.name in TYPE_ATTRIBUTES and attribute.i in NARROW:
                attribute.i = TensorProto.DOUBLE
        for graph in subgraphs(node):
            _widen_graph(graph)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in NARROW:
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def _widen_type(kind: onnx.TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type in NARROW:
        kind.tensor_type.elem_type = TensorProto.DOUBLE


def _batch_normalization() -> Any:
    """Inference BN for every opset: up to 13 the reference takes a BN with default momentum for training."""
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):  # type: ignore[misc,unused-ignore]
        op_domain = ""

        def _run(
            self, x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: float = 1e-5, **settings: Any
        ) -> tuple[Any]:
            if settings.get("training_mode") or not settings.get("spatial", 1) or len(self.output) > 1:
                raise NotImplementedError("BatchNormalization in training mode or with spatial=0")
            shape = (-1, *(1,) * (x.ndim - 2))
            scale, bias, mean, var = (p.reshape(shape) for p in (scale, bias, mean, var))
            return ((x - mean) / np.sqrt(var + epsilon) * scale + bias,)

    return BatchNormalization


def _zip_map() -> Any:
    """Scores (rows, classes) as one map a row, as skl2onnx ends a classifier; the reference has none."""
    from onnx.reference.op_run import OpRun

    class ZipMap(OpRun):  # type: ignore[misc,unused-ignore]
        op_domain = "ai.onnx.ml"

        def _run(self, x: Any, classlabels_int64s: Any = None, classlabels_strings: Any = None) -> tuple[Any]:
            keys = classlabels_int64s or classlabels_strings
            return ([dict(zip(keys, row, strict=True)) for row in np.atleast_2d(x)],)

    return ZipMap
