"""ONNX → layers: a dense net of anyone's as a Sequential that can be trained on. What is no dense net is refused."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl.errors import ModelFileError, ShapeError
from fastdl.fusion.index import Node, Refused
from fastdl.fusion.limits import LIMIT
from fastdl.fusion.model_file import ModelSource, read_model
from fastdl.graph import Array, Tensor
from fastdl.layers.core import Input
from fastdl.layers.layer import Layer, values_from
from fastdl.onnx import formulas
from fastdl.onnx.handlers import HANDLERS, Affine, ByShape, Made, Part, Product, Step, dense, fixed, take
from fastdl.onnx.reading import Reader

if TYPE_CHECKING:
    from fastdl.models.sequential import Sequential

SCORES = "ai.onnx.ml:LinearClassifier"  # its second output; the first are labels


def from_onnx(source: ModelSource) -> Sequential:
    """The dense net in an ONNX file, as layers that can be trained, exported and saved; not compiled.

    source: path, bytes or onnx.ModelProto, written by PyTorch, Keras, scikit-learn (skl2onnx), fastdl or others. Its
    float type is the model's. Scalings by feature become batch norms with trainable=False. What a classifier does
    with the probabilities (labels, a dict by class) is left out, with a warning. ModelFileError for a file that cannot
    be trusted, and, with node, operator and reason, for a net that is not layers of this kind in a row.
    """
    name = str(Path(source)) if isinstance(source, str | os.PathLike) else "the model"
    model = read_model(source)
    reader = Reader(model, name)
    inputs = _inputs(reader)
    if len(inputs) != 1:
        raise ModelFileError(f"{name}: it has {len(inputs)} inputs ({', '.join(inputs)}), a Sequential has one")
    output, notes = _output(reader)
    steps = [*_steps(reader, output, inputs[0])][::-1]
    for node, step in steps[:-1]:
        if step.last:
            raise _refusal(reader, node, "it takes away the features' axis")
    notes += [note for _, step in steps for note in step.notes]
    made = _layers(reader, inputs[0], steps)
    for note in dict.fromkeys(notes):
        warnings.warn(f"{name}: {note}", stacklevel=2)
    return made


def _refusal(reader: Reader, node: Node, why: object) -> ModelFileError:
    return ModelFileError(f"{reader.name}: node {node.label!r} ({node.op}) is no layer of a dense net: {why}")


# -- from where to where ----------------------------------------------------------------------------------


def _inputs(reader: Reader) -> list[str]:
    """The graph's inputs, without parameters that old files list among them."""
    return [i.name for i in reader.model.graph.input if not reader.is_constant(i.name)]


def _output(reader: Reader) -> tuple[str, list[str]]:
    """The value that the net ends in, before what a classifier makes of its probabilities, and notes of that."""
    ends: dict[str, None] = {}
    labels: dict[str, None] = {}
    notes: list[str] = []
    for output in reader.model.graph.output:
        end, tail = _before_tail(reader, output.name)
        kinds = [node.op for node in tail if node.op != "ai.onnx.ml:ZipMap"]
        (labels if any(kind in LABELS for kind in kinds) else ends)[end] = None
        if tail:
            done = ", ".join(dict.fromkeys(f"{node.label} ({node.op})" for node in tail))
            notes.append(f"output {output.name!r} is left out from {done} on: predict gives what comes before")
    found = list(ends or labels)
    if len(found) != 1:
        raise ModelFileError(f"{reader.name}: it has {len(found)} outputs ({', '.join(found)}), a Sequential has one")
    return found[0], notes


# What makes labels of scores; each reads them, or labels, from one input.
LABELS = {
    "ArgMax": 0,
    "ai.onnx.ml:ArrayFeatureExtractor": 1,
    "ai.onnx.ml:LabelEncoder": 0,
    "ai.onnx.ml:Binarizer": 0,
    SCORES: 0,
}


def _before_tail(reader: Reader, value: str) -> tuple[str, list[Node]]:
    """The scores that a classifier's output comes from, and the nodes between, from the scores on."""
    tail: list[Node] = []
    passed: list[Node] = []  # casts and shapes, which are tail only if they stand behind labels
    while (node := reader.index.producer(value)) is not None:
        if node.op == SCORES and value == node.outputs[0]:
            tail += [*passed, node]
            return node.outputs[1], tail[::-1]
        if node.op in LABELS and node.op != SCORES and len(node.inputs) > LABELS[node.op]:
            tail += [*passed, node]
            value, passed = node.inputs[LABELS[node.op]], []
        elif node.op == "ai.onnx.ml:ZipMap" and node.inputs:
            tail += [*passed, node]
            value, passed = node.inputs[0], []
        elif (positive := _both_classes(reader, node)) is not None:
            tail += [*passed, node]
            value, passed = positive, []
        elif node.op in ("Cast", "Reshape", "Identity") and node.inputs:
            passed.append(node)
            value = node.inputs[0]
        else:
            break
    return reader.source(passed[0].outputs[0] if passed else value), tail[::-1]


def _both_classes(reader: Reader, node: Node) -> str | None:
    """p of [1 - p, p], as scikit-learn gives it for two classes."""
    if node.op != "Concat" or len(node.inputs) != 2 or node.attribute("axis", 0) not in (1, -1):
        return None
    rest = reader.index.producer(node.inputs[0])
    if rest is None or rest.op != "Sub" or len(rest.inputs) != 2 or reader.number(rest.inputs[0]) != 1:
        return None
    return node.inputs[1] if reader.source(rest.inputs[1]) == reader.source(node.inputs[1]) else None


def _steps(reader: Reader, output: str, source: str) -> Iterator[tuple[Node, Step]]:
    """The nodes between input and output as steps, the last first."""
    value = reader.source(output)
    while value != source:
        node = reader.index.producer(value)
        if node is None or reader.is_constant(value):
            raise ModelFileError(f"{reader.name}: its output does not depend on its input, but on {value!r}")
        if value != node.outputs[1 if node.op == SCORES else 0]:
            raise _refusal(reader, node, f"its output {value!r} is read, which is not its result")
        try:
            step = formulas.find(reader, node)
            if step is None and node.op not in HANDLERS:
                raise Refused("fastdl has no such operator")
            step = step or HANDLERS[node.op](reader, node)
        except Refused as reason:
            raise _refusal(reader, node, reason) from None
        yield node, step
        value = reader.source(step.source)


# -- layers -----------------------------------------------------------------------------------------------


def _layers(reader: Reader, source: str, steps: list[tuple[Node, Step]]) -> Sequential:
    """The steps, in their order, as layers with weights. ModelFileError if their shapes do not fit each other."""
    from fastdl.models.sequential import Sequential

    parts = _joined(reader, steps)
    sample = _sample(reader, source, [part for _, part in parts])
    tensor = Tensor((None, *sample), reader.dtype, name="input")
    found: list[Layer] = []
    for node, part in parts:
        try:
            made = _made(part, tensor)
            if made is not None:
                made.layer.name = _free(node, made.layer.name, [layer.name for layer in found])
                tensor = _built(made, tensor)
                found.append(made.layer)
        except (Refused, ShapeError) as reason:
            raise _refusal(reader, node, reason) from None
    if not found:
        raise ModelFileError(f"{reader.name}: it holds no layer")
    return Sequential([Input(sample), *found], dtype=reader.dtype)


def _joined(reader: Reader, steps: list[tuple[Node, Step]]) -> list[tuple[Node, Part]]:
    """All parts with their nodes; those that are one layer as one: a product and what is added, numbers in a row."""
    joined: list[tuple[Node, Part]] = []
    for node, part in ((node, part) for node, step in steps for part in step.parts):
        try:
            taken = take(joined[-1][1], part) if joined and isinstance(part, Affine) else None
        except Refused as reason:
            raise _refusal(reader, node, reason) from None
        if taken:
            joined[-1] = joined[-1][0], taken
        else:
            joined.append((node, part))
    return joined


def _made(part: Part, x: Tensor) -> Made | None:
    """The part as a layer of x; None if it leaves x as it is. Refused if it does not fit."""
    if isinstance(part, ByShape):
        return part.make(x.shape)
    if isinstance(part, Affine):
        return fixed(part, x.shape)
    return dense(part) if isinstance(part, Product) else part


def _built(made: Made, x: Tensor) -> Tensor:
    """The layer's output, after it has made its weights of those it is given. Refused unless they fit."""
    waiting = iter(made.weights)

    def value(shape: tuple[int, ...], dtype: Any) -> Array:
        weight = next(waiting, None)
        if weight is None or weight.shape != shape:
            raise Refused(f"its weights do not fit an input of shape {x.shape}")
        rounded = weight.astype(dtype)
        if not np.isfinite(rounded).all():
            raise Refused(f"its weights are too large for {np.dtype(dtype)}")
        return rounded

    token = values_from.set(value)
    try:
        result: Tensor = made.layer(x)
        return result
    finally:
        values_from.reset(token)


def _sample(reader: Reader, source: str, parts: list[Part]) -> tuple[int, ...]:
    """The input's shape without the batch. Features that the file does not state are those of the first weights."""
    shape = reader.index.shape(source)
    if shape is None or (len(shape) == 2 and not isinstance(shape[1], int)):
        known = (_features(part) for part in parts)
        shape = None, next((size for size in known if size), None)
    sizes = [size for size in shape[1:] if isinstance(size, int) and size > 0]
    if not sizes or len(sizes) != len(shape) - 1 or math.prod(sizes) > LIMIT:
        raise ModelFileError(f"{reader.name}: its input {source!r} has shape {shape}, not (batch, sizes …)")
    return tuple(sizes)


def _features(part: Part) -> int | None:
    if isinstance(part, Product):
        return int(part.weight.shape[0])
    if isinstance(part, Affine):
        return max((row.size for row in (part.center, part.scale, part.shift) if row.ndim), default=None)
    return part.features if isinstance(part, Made) else None


def _free(node: Node, default: str, taken: list[str]) -> str:
    """The node's name as a layer's, or the layer's own, with a number if another layer has it."""
    base = re.sub(r"[^A-Za-z0-9_.]+", "_", node.proto.name).strip("_")[:64] or default
    name, number = base, 0
    while name in taken:
        name, number = f"{base}_{number + 1}", number + 1
    return name
