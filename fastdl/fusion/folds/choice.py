"""A choice between two constants → dense: where(q, a, b)·W + b₀ = q·(diag(a − b)·W) + b·W + b₀, q being 0 or 1.

For the flags of missing values, and any step of two heights: Where, which broadcasts, becomes a Cast, which is several
times as fast in a batch of one.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from fastdl.fusion.folds.affine_dense import take_over
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused


def fold(index: GraphIndex, node: Node) -> str | None:
    """Let every dense layer that reads the choice take both constants; refuses as a whole when one cannot."""
    if node.op != "Where" or len(node.inputs) != 3 or not all(map(index.is_constant, node.inputs[1:])):
        return None
    condition, value = node.inputs[0], node.outputs[0]
    if index.is_constant(condition):
        return None
    shape = index.shape(condition)
    if shape is None or len(shape) != 2 or not isinstance(shape[1], int):
        raise Refused(f"{condition!r}, by which it chooses, is not known to have columns")
    dtype = index.dtype(node.inputs[1])
    high, low = (_row(index, name, shape[1]) for name in node.inputs[1:])
    into = take_over(index, value, high - low, low)
    index.rewrite(node, "Cast", [condition], {"to": helper.np_dtype_to_tensor_dtype(dtype)})
    return into


def _row(index: GraphIndex, name: str, width: int) -> Floats:
    constant = index.constant(name)
    if constant.size not in (1, width) or constant.ndim > 2 or constant.shape[:-1] not in ((), (1,)):
        raise Refused(f"{name!r} is not one value for each of {width}")
    return np.broadcast_to(constant.reshape(-1), width)


RULES = (Rule("choice → dense", fold, order=94, forward=True, lossy=True),)
