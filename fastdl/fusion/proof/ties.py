"""Labels that rounding may decide: a label is wrong only where its score is further from the best than rounding goes.

The scores are what the fused graph's ArgMax or threshold reads, as the float64 truth of the plain graph has them. The
plain graph may read f of them (Softmax, Sigmoid …), which rounds more scores to one value: there ArgMax takes the first
and the scores themselves the larger. So labels of one row are tied where either the scores or f of them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdl.base.arrays import Array, Dtype
from fastdl.fusion.evaluator.elementwise import is_elementwise
from fastdl.fusion.evaluator.operators import evaluate
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import COMPARISONS, Floats, Node, Refused
from fastdl.fusion.graph.patterns import Affine

Labels = Array
Flags = npt.NDArray[np.bool_]

KEEPS = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze")
TAILS = 8  # at most so many nodes between the scores and what the plain graph's ArgMax reads
STEPS = 2  # of the type's rounding, by which onnxruntime's Softmax and the like are off


@dataclass(frozen=True)
class Decision:
    """How an output's labels are decided: the largest of `scores` along `axis`, or what of them is over `bar`."""

    scores: str
    dtype: Dtype
    axis: int | None
    bar: Floats | None
    before: tuple[tuple[Node | Affine, ...], Floats | None] = ((), None)  # f, and the plain graph's own bar

    def tied(self, scores: Array, want: Labels, got: Labels, reach: float) -> Flags:
        """Where both labels are right but for `reach`, a share of the largest score, or for the rounding of f."""
        near = self._near(scores, self.bar, want, got, reach)
        tails, bar = self.before
        if tails:
            values = scores
            for tail in tails:
                values = _given(tail, values, self.axis)
            near = near | self._near(values, bar, want, got, STEPS * float(np.finfo(self.dtype).eps))
        return near

    def _near(self, values: Floats, bar: Floats | None, want: Labels, got: Labels, reach: float) -> Flags:
        slack = reach * float(np.abs(values).max(initial=0.0))
        try:
            if bar is not None:
                return (np.abs(values - bar) <= max(slack, reach)).reshape(want.shape)
            assert self.axis is not None  # told by `_decision`
            return np.asarray(np.abs(_at(values, want, self.axis) - _at(values, got, self.axis)) <= slack)
        except (ValueError, IndexError):  # labels of another shape, or that count no score
            return np.zeros(want.shape, bool)


def _at(values: Floats, labels: Labels, axis: int) -> Floats:
    """The value that each label counts, in the labels' shape."""
    shape = [*values.shape]
    shape[axis] = 1
    return np.take_along_axis(values, labels.reshape(shape), axis).reshape(labels.shape)


def _given(tail: Node | Affine, values: Floats, axis: int | None) -> Floats:
    if isinstance(tail, Affine):
        return (values - tail.center) * tail.scale + tail.shift
    if tail.op not in ("Softmax", "LogSoftmax"):
        return np.asarray(evaluate(tail.proto, [values]))
    shifted = values - values.max(axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(shifted)
    total = e.sum(axis=axis, keepdims=True)
    return np.asarray(e / total if tail.op == "Softmax" else shifted - np.log(total))


def decisions(outputs: Sequence[str], plain: GraphIndex, fused: GraphIndex) -> dict[int, Decision]:
    """For each position of an output that labels are decided for, how; others are missing."""
    indices = fused, plain
    known = {name for node in indices[1].nodes for name in node.outputs} | indices[1].graph_inputs
    decisions_by_output = {}
    for position, output in enumerate(outputs):
        after, before = (_decision(index, output) for index in indices)
        if after is not None and after.scores in known:  # the fused graph's scores, which the plain graph has too
            tails = _tails(indices[1], before.scores, after.scores) if before is not None else ()
            bar = before.bar if before is not None else None
            decisions_by_output[position] = Decision(after.scores, after.dtype, after.axis, after.bar, (tails, bar))
        elif before is not None:
            decisions_by_output[position] = before
    return decisions_by_output


def _decision(index: GraphIndex, value: str) -> Decision | None:
    node = index.producer(value)
    while node is not None and node.op in KEEPS:
        node = index.producer(node.inputs[0])
    if node is None or node.op not in ("ArgMax", *COMPARISONS):
        return None
    constants = [index.stored(name) for name in node.inputs]
    slot = 1 if len(constants) == 2 and constants[0] is not None else 0
    scores = node.inputs[slot]
    dtype, shape = index.type(scores), index.shape(scores)
    if dtype is None or dtype.kind != "f":
        return None
    if node.op == "ArgMax":
        axis = node.attribute("axis", 0)
        return Decision(scores, dtype, axis, None) if shape is None or -len(shape) <= axis < len(shape) else None
    bar = constants[1 - slot]
    return Decision(scores, dtype, None, bar.astype(np.float64)) if bar is not None else None


def _tails(index: GraphIndex, value: str, scores: str) -> tuple[Node | Affine, ...]:
    """What makes `value` of the scores, the first of them first; none where that is not told."""
    steps: list[Node | Affine] = []
    while value != scores:
        node = index.producer(value)
        if node is None or len(steps) == TAILS:
            return ()
        if node.op in ("Identity", "Cast"):
            value = node.inputs[0]
            continue
        try:
            affine = Affine.read(index, node)
        except Refused:
            return ()
        if affine is None and node.op not in ("Softmax", "LogSoftmax") and not is_elementwise(node):
            return ()
        value = node.inputs[0] if affine is None else affine.value
        steps.insert(0, node if affine is None else affine)
    return tuple(steps)
