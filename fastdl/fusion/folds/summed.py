"""A factor of one summand → dense: (c·x + d·y)·W + b = ((c/d)·x + y)·(diag(d)·W) + b.

Of two summands, each times a constant, only one keeps its Mul: for activations mixed with the identity in shares
of their own, and for scaled branches. d is the constant of which no part is zero, and in which c/d stays moderate; no
digits are lost, as both summands are scaled alike.
"""

from __future__ import annotations

import numpy as np

from fastdl.fusion.folds.affine_dense import require_no_larger_whole, take_over
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import Affine

MOST = 2.0**10  # times one constant may be another


def fold(index: GraphIndex, node: Node) -> str | None:
    """Move it into every dense layer that reads the sum; refuses as a whole when one cannot take it."""
    if node.op != "Add" or len(node.inputs) != 2 or node.inputs[0] == node.inputs[1]:
        return None
    makers = [index.producer(name) for name in node.inputs]
    summands = [Affine.read(index, maker) for maker in makers if maker is not None and maker.op == "Mul"]
    if len(summands) < 2 or any(one is None for one in summands):
        return None
    first, second = _in_order([one for one in summands if one is not None])
    index.require_private(first.node.outputs[0])
    index.require_private(second.node.outputs[0])
    require_no_larger_whole(index, second)
    shape = index.shape(second.value)
    if shape is None or shape != index.shape(first.value):
        raise Refused("the shapes of its summands are not known to be one")
    (c, *_), (d, *_) = first.spread(shape), second.spread(shape)
    ratio = index.add_constant(f"{first.constant}_fused", c / d, index.dtype(first.constant))
    into = take_over(index, node.outputs[0], d, np.zeros(()))
    index.set_inputs(first.node, [ratio if name == first.constant else name for name in first.node.inputs])
    index.bypass(second.node, second.value)
    return into


def _in_order(summands: list[Affine]) -> tuple[Affine, Affine]:
    """The one that keeps a constant, and the one whose constant goes."""
    for first, second in (summands, summands[::-1]):
        c, d = np.abs(first.scale), np.abs(second.scale)
        if d.all() and c.max() <= MOST * d.min():
            return first, second
    raise Refused("neither constant is far enough from zero to divide by it")


RULES = (Rule("factor of a summand → dense", fold, order=92, lossy=True),)
