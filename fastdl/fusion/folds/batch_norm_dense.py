"""BatchNormalization → dense: W' = diag(s)·W, b' = b + tᵀ·W, with s = γ/√(σ² + ε), t = β − μ·s.

For BN as the first layer or after the activation. Every reader must be a dense layer, reached directly or
through a Flatten (or a Reshape that is one): all take s and t, or none. Through Flatten of (N, C, spatial…)
each channel's s and t stand for all its positions, which row-major order keeps together: repeat, not tile.
"""

import math

import numpy as np

from ..index import GraphIndex, Node, Refused
from ..patterns import DENSE, BatchNorm, Dense


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold a BN into every dense layer that reads it; refuses as a whole when one cannot take it."""
    if node.op != "BatchNormalization":
        return None
    norm = BatchNorm.read(index, node)
    value = node.outputs[0]
    heads = _heads(index, value, 1)
    if not heads:
        raise Refused(f"nothing reads its output {value!r}")
    ready = []
    for head, positions in heads:
        dense = Dense.read(index, head)
        scale, shift = np.repeat(norm.scale, positions), np.repeat(norm.shift, positions)
        if scale.size != dense.weight.shape[0]:
            raise Refused(f"it gives {scale.size} values where {head.label!r} reads {dense.weight.shape[0]}")
        weight, bias = scale[:, None] * dense.weight, dense.bias + shift @ dense.weight
        ready.append((dense, dense.constants(index, weight, bias)))
    for dense, names in ready:
        dense.write(index, names)
    index.bypass(node)
    return ", ".join(head.label for head, _ in heads)


def _heads(index: GraphIndex, value: str, positions: int) -> list[tuple[Node, int]]:
    """The dense layers that read `value`, each with how many columns share one channel."""
    index.require_hidden(value)
    heads: list[tuple[Node, int]] = []
    for node, slot in index.uses(value):
        if node.op in DENSE and slot == 0:
            heads.append((node, positions))
        elif node.op in ("Flatten", "Reshape") and slot == 0:
            heads += _heads(index, node.outputs[0], positions * _positions(index, node))
        else:
            raise Refused(f"its output is read by {node.op} {node.label!r}, which is not a dense layer")
    return heads


def _positions(index: GraphIndex, node: Node) -> int:
    """How many spatial positions a Flatten of (N, C, spatial…) to (N, C·positions) joins to each channel."""
    shape = index.shape(node.inputs[0])
    if shape is None:
        raise Refused(f"the rank of {node.inputs[0]!r}, which {node.label!r} flattens, is not known")
    spatial = [dim for dim in shape[2:] if isinstance(dim, int)]
    if len(shape) < 2 or len(spatial) != len(shape) - 2 or not isinstance(shape[1], int):
        raise Refused(f"the shape of {node.inputs[0]!r}, which {node.label!r} flattens, is not known")
    columns = shape[1] * math.prod(spatial)
    if node.op == "Flatten":
        keeps_rows = node.attribute("axis", 1) in (1, 1 - len(shape))
    else:
        target = index.stored(node.inputs[1])
        wanted = [] if target is None or node.attribute("allowzero", 0) else target.tolist()
        keeps_rows = wanted in ([-1, columns], [0, columns], [0, -1])
    if not keeps_rows:
        raise Refused(f"{node.op} {node.label!r} does not keep rows and channels apart")
    return math.prod(spatial)
