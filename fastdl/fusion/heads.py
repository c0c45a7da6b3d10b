"""What a model gives out: probabilities, logits or labels. Chosen on the unfused graph; the folds do the rest.

So that the proof has something to prove, labels are first made from the probabilities as they are, and the fold
"tail of labels" then takes what comes before them away. Only what is flat for large scores (Sigmoid, Tanh) is left out
at once: of several probabilities of 1.0 none is the largest, of the scores behind them one is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from fastdl.base.metadata import CLASS_NAMES_KEY
from fastdl.errors import FusionError
from fastdl.fusion.files.zip_map import without_zip_map
from fastdl.fusion.folds.tails import NOWHERE_FLAT, increases
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.inference import Dim
from fastdl.fusion.graph.linear_models import CLASSIFIER
from fastdl.fusion.graph.node import FLOATS, Node
from fastdl.fusion.graph.weights import Lean

Head = Literal["probabilities", "logits", "labels"]

TAILS = ("Softmax", "LogSoftmax", "Sigmoid")
NO_PROBABILITIES = ("Gemm", "MatMul", "Add", "Sub", "Mul", "BatchNormalization", "LogSoftmax", "Relu", "Tanh")
THRESHOLD = 0.5


def choose_head(lean: Lean, head: Head) -> Lean:
    """A copy of a model that gives what `head` says, under the same output names. Unfused: see the module.

    Of a model that has both kinds of outputs, labels (integers, strings) and scores (floating point), one kind stays.
    "logits": a last Softmax, LogSoftmax or Sigmoid goes. "labels": the index of the largest of two scores or more, or
    whether the one is above 0.5 (1 or 0), int64 of shape (N,). Raises FusionError where that has no meaning.
    """
    if head not in get_args(Head):
        raise FusionError(f"output must be one of {', '.join(map(repr, get_args(Head)))}, got {head!r}")
    copy, model = without_zip_map(lean.proto), lean.proto
    index = GraphIndex(Lean(copy, lean.weights))
    scores = [o for o in copy.graph.output if index.type(o.name) in FLOATS]
    labels = [o for o in copy.graph.output if _is_label(o, index)]
    if head == "labels" and labels:
        _keep_outputs(copy, labels)
        if all(entry.key != CLASS_NAMES_KEY for entry in model.metadata_props):
            # Names from a ZipMap are of columns; labels that the model gives itself are no column numbers.
            others = [(entry.key, entry.value) for entry in copy.metadata_props if entry.key != CLASS_NAMES_KEY]
            del copy.metadata_props[:]
            for key, value in others:
                copy.metadata_props.add(key=key, value=value)
        return Lean(copy, lean.weights)
    if not scores:
        raise FusionError(f"no output of the model gives {head}: none is floating point")
    _keep_outputs(copy, scores)
    renamed: dict[str, str] = {}
    for output in copy.graph.output:
        tail = _tail(index, output.name)
        if head == "probabilities":
            if tail is None or tail.op in NO_PROBABILITIES:
                raise FusionError(f"output {output.name!r} comes from {_origin(tail)}, so it is no probability")
        elif head == "labels":
            renamed[output.name] = _to_label(copy, index, output, tail, renamed)
        elif tail is not None and tail.op.endswith("Classifier"):
            _untransform(copy, tail)
        elif tail is not None and tail.op in TAILS:
            source = tail.inputs[0]  # another output, perhaps, that was cut before
            renamed[output.name] = _cut(copy, index, output.name, renamed.get(source, source))
        elif tail is not None and tail.op == "Concat":  # of a sigmoid and what it lacks to 1, say
            raise FusionError(f"output {output.name!r} comes from {_origin(tail)}: which of its inputs are logits?")
    return Lean(copy, lean.weights)


def _is_label(output: ValueInfoProto, index: GraphIndex) -> bool:
    if output.type.tensor_type.elem_type == TensorProto.STRING:
        return True
    dtype = index.type(output.name)
    return dtype is not None and dtype.kind in "iub"


def _tail(index: GraphIndex, value: str) -> Node | None:
    """The node that makes `value`, Identity looked through."""
    node = index.producer(value)
    while node is not None and node.op == "Identity":
        node = index.producer(node.inputs[0])
    return node


def _origin(node: Node | None) -> str:
    return f"{node.op} {node.label!r}" if node is not None else "no node"


def _keep_outputs(model: ModelProto, wanted: Iterable[ValueInfoProto]) -> None:
    outputs = [ValueInfoProto.FromString(output.SerializeToString()) for output in wanted]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def _cut(model: ModelProto, index: GraphIndex, output: str, source: str) -> str:
    """Let `output` be `source` under its own name; what made it goes when it is fused. The name of what it was."""
    fresh = _rename(model, index, output)
    model.graph.node.append(helper.make_node("Identity", [source], [output], name=f"{output}_logits"))
    return fresh


def _untransform(model: ModelProto, classifier: Node) -> None:
    """Let a linear classifier of ai.onnx.ml give its scores as they are. FusionError for others, and of one score."""
    transform = classifier.attribute("post_transform", b"NONE")
    if transform == b"NONE":
        return
    if transform != b"SOFTMAX" or classifier.op != CLASSIFIER or len(classifier.attribute("intercepts", [])) < 2:
        raise FusionError(f"the logits behind {_origin(classifier)} are not given out by it: it makes {transform!r}")
    for node in model.graph.node:
        if node.output[:] == classifier.outputs:
            for attribute in node.attribute:
                if attribute.name == "post_transform":
                    attribute.s = b"NONE"


def _to_label(
    model: ModelProto, index: GraphIndex, output: ValueInfoProto, tail: Node | None, renamed: dict[str, str]
) -> str:
    """Let `output` be the labels of its scores; the scores' new name. renamed: of outputs made labels before."""
    name = output.name
    shape: tuple[Dim, ...] | None = index.shape(name)
    columns = shape[1] if shape is not None and len(shape) == 2 else None
    if not isinstance(columns, int) or columns < 1:
        raise FusionError(f"output {name!r} is not known to be rows of so many scores, so no label follows from it")
    scores = _rename(model, index, name)
    if columns > 1:
        source = _behind_flat(index, name)
        source = scores if source == name else renamed.get(source, source)
        nodes = [helper.make_node("ArgMax", [source], [name], name=f"{name}_argmax", axis=1, keepdims=0)]
    elif tail is None or tail.op != "Sigmoid":
        raise FusionError(f"output {name!r} is one column from {_origin(tail)}, not Sigmoid: no label follows from it")
    else:
        dtype = index.type(name)
        bar, over, number, flat = (index.fresh(f"{name}_{what}") for what in ("bar", "over", "number", "shape"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(THRESHOLD, dtype), bar))
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), flat))
        if model.ir_version < 4:
            added = list(model.graph.initializer)[-2:]
            model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in added)
        nodes = [
            helper.make_node("Greater", [scores, bar], [over], name=over),
            helper.make_node("Cast", [over], [number], name=number, to=TensorProto.INT64),
            helper.make_node("Reshape", [number, flat], [name], name=f"{name}_labels"),
        ]
    model.graph.node.extend(nodes)
    batch = shape[0] if shape is not None else None
    output.CopyFrom(helper.make_tensor_value_info(name, TensorProto.INT64, [batch], output.doc_string))
    return scores


def _behind_flat(index: GraphIndex, value: str) -> str:
    """The scores behind what increases with them but is flat for large ones."""
    while (node := _tail(index, value)) is not None and increases(node) and node.op not in NOWHERE_FLAT:
        value = node.inputs[0]
    return value


def _rename(model: ModelProto, index: GraphIndex, value: str) -> str:
    """Give `value` another name wherever the graph mentions it; what is read in subgraphs cannot be."""
    if value in index.captured or index.producer(value) is None:
        raise FusionError(f"output {value!r} is read inside a subgraph, or an input: its head cannot change")
    fresh = index.fresh(f"{value}_scores")
    for node in model.graph.node:
        for names in (node.input, node.output):
            if value in names:
                names[:] = [fresh if name == value else name for name in names]
    return fresh
