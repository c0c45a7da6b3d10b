"""Which columns of a matrix a node picks: Gather, Slice, ArrayFeatureExtractor by constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node
from fastdl.fusion.graph.sizes import integers

EXTRACTOR = "ai.onnx.ml:ArrayFeatureExtractor"
PICKS = ("Gather", "Slice", EXTRACTOR)
MOST = 2**16  # columns

Columns = npt.NDArray[np.intp]


def width(index: GraphIndex, value: str) -> int | None:
    """How many columns a matrix has; None where it is none, or that is not known, or they are too many."""
    shape = index.shape(value)
    if shape is None or len(shape) != 2 or not isinstance(shape[1], int) or not 0 < shape[1] <= MOST:
        return None
    return shape[1]


def picked(index: GraphIndex, node: Node) -> Columns | None:
    """The columns of its first input that a node gives, in order; None where it does something else."""
    if node.op not in PICKS or len(node.inputs) < 2 or not node.inputs[0] or any(node.outputs[1:]):
        return None
    columns = width(index, node.inputs[0])
    if columns is None:
        return None
    if node.op == "Slice":
        return _sliced(index, node, columns)
    places = index.stored(node.inputs[1])
    if places is None or places.dtype.kind != "i" or not 0 < places.size <= MOST:
        return None
    if node.op == "Gather":
        if places.ndim != 1 or node.attribute("axis", 0) not in (1, -1):
            return None
        places = np.where(places < 0, places + columns, places)
    if places.min() < 0 or places.max() >= columns:
        return None
    return places.reshape(-1).astype(np.intp)


def _sliced(index: GraphIndex, node: Node, columns: int) -> Columns | None:
    if len(node.inputs) < 4:  # all axes, from the first on
        return None
    parts = [integers(index, name) if name else None for name in node.inputs[1:]]
    numbers = [part.numbers if part is not None else None for part in parts]
    starts, ends, axes, steps = [*numbers, None][:4]
    if len(node.inputs) > 4 and node.inputs[4] and steps is None:
        return None
    if starts is None or ends is None or axes not in ([1], [-1]) or len(starts) != 1 or len(ends) != 1:
        return None
    step = steps[0] if steps else 1
    places = np.arange(columns, dtype=np.intp)[starts[0] : ends[0] : step] if step > 0 else None
    return places if places is not None and places.size else None
