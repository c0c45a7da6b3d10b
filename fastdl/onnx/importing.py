"""ONNX → layers: a dense net of anyone's, to be trained on. What is no dense net is refused."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.naming import Names
from fastdl.base.order import in_order
from fastdl.base.scopes import having
from fastdl.compiler.graph import Tensor
from fastdl.errors import ModelFileError, ShapeError
from fastdl.fusion.files.limits import LIMIT
from fastdl.fusion.files.model_file import ModelSource, read_model
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.graph.node import Node, Refused
from fastdl.layers.context import values_from
from fastdl.layers.core import Input
from fastdl.layers.layer import Layer
from fastdl.onnx import formulas
from fastdl.onnx.handlers import HANDLERS
from fastdl.onnx.numbers import dense, fixed
from fastdl.onnx.parts import Affine, ByShape, Made, Part, Product, Step, take
from fastdl.onnx.reading import Reader


@dataclass(frozen=True)
class DenseNet:
    """What a file holds: layers with weights between symbolic inputs and outputs, and what was left out of it."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    layers: list[Layer]
    in_a_row: bool  # whether each layer but the first reads the one before it, and no other
    notes: list[str]


@memory_errors()
def read_dense_net(source: ModelSource, limited: bool) -> DenseNet:
    """See from_onnx."""
    name = str(Path(source)) if isinstance(source, str | os.PathLike) else "the model"
    reader = Reader(read_model(source, limited=limited), name)
    outputs, notes = _outputs(reader)
    uses = list(_uses(reader, outputs))
    for use in uses:
        if use.step.last and use.value not in outputs:
            raise _refusal(reader, use.node, "it takes away the features' axis")
        notes += use.step.notes
    net = _net(reader, outputs, uses)
    return replace(net, notes=[f"{name}: {note}" for note in dict.fromkeys(notes)])


def _refusal(reader: Reader, node: Node, why: object) -> ModelFileError:
    return ModelFileError(f"{reader.name}: node {node.label!r} ({node.op}) is no layer of a dense net: {why}")


@dataclass(frozen=True)
class Use:
    """A node, or the last of several, as a step that makes `value`."""

    value: str
    node: Node
    step: Step


# -- from where to where ----------------------------------------------------------------------------------


def _inputs(reader: Reader) -> list[str]:
    """The graph's inputs, without parameters that old files list among them."""
    return [i.name for i in reader.model.graph.input if not reader.is_constant(i.name)]


def _outputs(reader: Reader) -> tuple[list[str], list[str]]:
    """The values that the net ends in, before what a classifier makes of its probabilities, and notes of that."""
    ends: dict[str, None] = {}
    labels: dict[str, None] = {}
    notes: list[str] = []
    for output in reader.model.graph.output:
        end, tail = _before_tail(reader, output.name)
        (labels if any(node.op in LABELS for node in tail) else ends)[end] = None
        if tail:
            done = ", ".join(dict.fromkeys(f"{node.label} ({node.op})" for node in tail))
            notes.append(f"output {output.name!r} is left out from {done} on: predict gives what comes before")
    if not ends and not labels:
        raise ModelFileError(f"{reader.name}: it has no output")
    return list(ends or labels), notes


SCORES = "ai.onnx.ml:LinearClassifier"  # its second output; the first are labels
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


def _uses(reader: Reader, outputs: list[str]) -> Iterator[Use]:
    """The nodes between inputs and outputs as steps, each after those that it reads."""
    inputs, steps = set(_inputs(reader)), dict[str, tuple[Node, Step]]()

    def reads(value: str) -> Iterator[str]:
        steps[value] = _step(reader, value)
        return (source for source in steps[value][1].sources if source not in inputs)

    for value in in_order((output for output in outputs if output not in inputs), reads):
        yield Use(value, *steps[value])


def _step(reader: Reader, value: str) -> tuple[Node, Step]:
    """What makes the value, with sources before casts and identities."""
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
    return node, replace(step, sources=tuple(map(reader.source, step.sources)))


# -- layers -----------------------------------------------------------------------------------------------


def _net(reader: Reader, outputs: list[str], uses: list[Use]) -> DenseNet:
    """The steps, in their order, as layers with weights. ModelFileError if their shapes do not fit each other."""
    readers = Counter([*outputs, *(source for use in uses for source in use.step.sources)])
    runs = _runs(reader, uses, {value for value, count in readers.items() if count == 1} - set(outputs))
    inputs = _inputs(reader)
    if unread := [name for name in inputs if not readers[name]]:
        raise ModelFileError(f"{reader.name}: nothing reads its input {unread[0]!r}")
    made: dict[str, Tensor] = {
        name: Input(_sample(reader, name, runs), dtype=reader.dtype, name=_named(name) or "input") for name in inputs
    }
    layers: list[Layer] = []
    taken = Names()
    for run in runs:
        tensors = [made[source] for source in run.sources]
        for node, part in run.parts:
            try:
                layer = _made(part, tensors[0])
                if layer is not None:
                    layer.layer.name = taken.free(_named(node.proto.name) or layer.layer.name)
                    tensors = [_built(layer, tensors)]
                    layers.append(layer.layer)
            except (Refused, ShapeError) as reason:
                raise _refusal(reader, node, reason) from None
        made[run.value] = tensors[0]
    if not layers or any(made[output].made_by is None for output in outputs):
        raise ModelFileError(f"{reader.name}: it holds no layer")
    sources = [made[name] for name in inputs]
    in_a_row = len(inputs) == len(outputs) == len(runs) == 1 and len(runs[0].sources) == 1
    return DenseNet(sources, [made[output] for output in outputs], layers, in_a_row, [])


@dataclass
class Run:
    """Parts with their nodes, one after another, from `sources` to `value`, which only they read in between."""

    sources: tuple[str, ...]
    parts: list[tuple[Node, Part]]
    value: str


def _runs(reader: Reader, uses: list[Use], private: set[str]) -> list[Run]:
    """The uses as runs; parts that are one layer as one: a product and what is added, numbers in a row."""
    runs: dict[str, Run] = {}  # by the value in which each ends
    for use in uses:
        source = use.step.sources[0]
        if len(use.step.sources) == 1 and source in private and source in runs:
            run = runs.pop(source)
        else:
            run = Run(use.step.sources, [], use.value)
        for part in use.step.parts:
            try:
                taken = take(run.parts[-1][1], part) if run.parts and isinstance(part, Affine) else None
            except Refused as reason:
                raise _refusal(reader, use.node, reason) from None
            if taken:
                run.parts[-1] = run.parts[-1][0], taken
            else:
                run.parts.append((use.node, part))
        run.value = use.value
        runs[use.value] = run
    return list(runs.values())


def _made(part: Part, x: Tensor) -> Made | None:
    """The part as a layer of x; None if it leaves x as it is. Refused if it does not fit."""
    if isinstance(part, ByShape):
        return part.make(x.shape)
    if isinstance(part, Affine):
        return fixed(part, x.shape)
    return dense(part) if isinstance(part, Product) else part


def _built(made: Made, inputs: list[Tensor]) -> Tensor:
    """The layer's output, after it has made its weights of those it is given. Refused unless they fit."""
    waiting = iter(made.weights)

    def value(draw: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        weight = next(waiting, None)
        if weight is None or weight.shape != shape:
            raise Refused(f"its weights do not fit an input of shape {inputs[0].shape}")
        rounded = weight.astype(dtype)
        if not np.isfinite(rounded).all():
            raise Refused(f"its weights are too large for {np.dtype(dtype)}")
        return rounded

    with having(values_from, value):
        result: Tensor = made.layer(inputs if made.layer.takes_several else inputs[0])
    return result


def _sample(reader: Reader, source: str, runs: list[Run]) -> tuple[int, ...]:
    """The input's shape without the batch. Features that the file does not state are those of the first weights."""
    shape = reader.index.shape(source)
    if shape is None or (len(shape) == 2 and not isinstance(shape[1], int)):
        known = (_features(part) for run in runs if source in run.sources for _, part in run.parts)
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


def _named(name: str) -> str:
    """A file's name for something as fastdl's, or ""."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("_")[:64]
