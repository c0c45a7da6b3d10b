"""Labels that rounding may decide: a label is wrong only where its score is further from the best than rounding goes.

The scores are what the fused graph's ArgMax or threshold reads, as the float64 truth of the plain graph has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from .index import GraphIndex, Node

Labels = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]

KEEPS = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze")


@dataclass(frozen=True)
class Decision:
    """How an output's labels are decided: the largest of each row of `scores`, or what of them is over `bar`."""

    scores: str
    dtype: np.dtype[Any]
    bar: float | None

    def tied(self, scores: npt.NDArray[Any], want: Labels, got: Labels, reach: float) -> Flags:
        """Where both labels are right but for `reach`, a share of the largest score."""
        slack = reach * float(np.abs(scores).max(initial=0.0))
        if self.bar is not None:
            near = np.abs(scores - self.bar) <= max(slack, reach)
            return near.reshape(want.shape) if near.size == want.size else np.zeros(want.shape, bool)
        if scores.ndim != 2 or want.size != len(scores) or not ((got >= 0) & (got < scores.shape[1])).all():
            return np.zeros(want.shape, bool)
        rows = np.arange(len(scores))
        behind = scores[rows, want.reshape(-1)] - scores[rows, got.reshape(-1)]
        return np.asarray(np.abs(behind) <= slack).reshape(want.shape)


def decisions(plain: ModelProto, fused: ModelProto) -> dict[int, Decision]:
    """For each position of an output that labels are decided for, how; others are missing."""
    indices = GraphIndex(fused), GraphIndex(plain)
    known = {name for node in indices[1].nodes for name in node.outputs} | indices[1].graph_inputs
    found = {}
    for position, output in enumerate(plain.graph.output):
        for index in indices:  # the fused graph's scores where the plain graph has them by that name
            decision = _decision(index, output.name)
            if decision is not None and decision.scores in known:
                found[position] = decision
                break
    return found


def _decision(index: GraphIndex, value: str) -> Decision | None:
    node: Node | None = index.producer(value)
    while node is not None and node.op in KEEPS:
        node = index.producer(node.inputs[0])
    if node is None:
        return None
    dtype = index.type(node.inputs[0])
    if dtype is None or dtype.kind != "f":
        return None
    if node.op == "ArgMax" and node.attribute("axis", 0) in (1, -1):
        return Decision(node.inputs[0], dtype, None)
    bar = index.stored(node.inputs[1]) if node.op == "Greater" else None
    return Decision(node.inputs[0], dtype, float(bar.item())) if bar is not None and bar.size == 1 else None
