"""Nodes that change the shape, and dropout."""

from __future__ import annotations

import numpy as np

from fastdl import layers
from fastdl.compiler.graph import Shape
from fastdl.fusion.graph.node import Node, Refused
from fastdl.onnx.parts import ByShape, Handler, Made, Step
from fastdl.onnx.reading import Reader

KEPT = "the model's output has shape (batch, 1), not (batch,)"


def _dropout(reader: Reader, node: Node) -> Step:
    value, ratio, training = reader.only(node, 1, 3)
    if any(node.outputs[1:]):
        raise Refused("it gives its mask out")
    if training and reader.is_constant(training) and any(reader.integers(training)):
        raise Refused("it is in training mode: export the net in inference mode")
    stated = reader.number(ratio) if ratio else reader.shortest(node.attribute("ratio", 0.5))
    if stated is None or not 0 <= stated <= 1:
        raise Refused(f"its ratio is {stated}")
    return Step((value,), (Made(layers.Dropout(stated)),))


def _flatten(reader: Reader, node: Node) -> Step:
    axis = node.attribute("axis", 1)

    def make(shape: Shape) -> Made | None:
        if axis not in (1, 1 - len(shape)):
            raise Refused(f"it flattens from axis {axis}: the samples' axis must stay")
        return None if len(shape) == 2 else Made(layers.Flatten())

    return Step((reader.only(node, 1)[0],), (ByShape(make),))


def _reshape(reader: Reader, node: Node) -> Step:
    value, target = reader.only(node, 2)
    sizes_of_target, any_batch = _target(reader, target)

    def make(shape: Shape) -> Made | None:
        features = int(np.prod([size or 0 for size in shape[1:]]))
        batch, *rest = sizes_of_target
        if not rest and features == 1 and batch == -1:
            return None
        rest = [features // max(-int(np.prod(rest)), 1) if size == -1 else size for size in rest]
        whole = any_batch or (batch in (-1, 0, _fixed_batch(reader)) and sizes_of_target.count(-1) < 2)
        if not whole or not rest or int(np.prod(rest)) != features or min(rest) < 1:
            raise Refused(f"it reshapes {shape} to {sizes_of_target}, not to (batch, sizes …)")
        if (None, *rest) == shape:
            return None
        return Made(layers.Flatten() if len(rest) == 1 else layers.Reshape(rest))

    flat = len(sizes_of_target) == 1
    return Step((value,), (ByShape(make),), (KEPT,) if flat else (), last=flat)


def _target(reader: Reader, value: str) -> tuple[list[int], bool]:
    """The shape that is asked for, and whether its batch is computed by the graph itself."""
    if reader.is_constant(value):
        return reader.integers(value), False
    node = reader.index.producer(value)
    if node is not None and node.op == "Concat" and not reader.is_constant(node.inputs[0]):
        return [-1, *(n for name in node.inputs[1:] for n in reader.integers(name))], True
    raise Refused("its shape is computed")


def _fixed_batch(reader: Reader) -> int | None:
    shape = reader.index.shape(reader.model.graph.input[0].name)
    return shape[0] if shape and isinstance(shape[0], int) else None


def _squeeze(reader: Reader, node: Node) -> Step:
    value, axes = reader.only(node, 1, 2)
    stated = reader.integers(axes) if axes else list(node.attribute("axes", ()))

    def make(shape: Shape) -> None:
        if shape != (None, 1) or stated not in ([1], [-1]):
            raise Refused(f"it removes axes {stated} of {shape}")

    return Step((value,), (ByShape(make),), (KEPT,), last=True)


HANDLERS: dict[str, Handler] = {
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
}
