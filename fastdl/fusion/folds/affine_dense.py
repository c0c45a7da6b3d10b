"""Affine (batch norm; Add, Sub, Mul, Div by constants; Neg; Scaler) → dense: y = (s·x + t)·W + b.

W' = diag(s)·W, b' = b + tᵀ·W. For batch norm as the first layer or after the activation, and for input
standardisation. Every reader must be a dense layer, reached directly or through nodes that only move values: all
take s and t, or none. Through Flatten (or a Reshape that is one) of (N, C, spatial…) each constant is spread over
the row in the row-major order that Flatten keeps; through Gather, Slice and the like of columns each goes with its
column; through Concat of columns s is 1 and t is 0 beside its own; one scale and shift for all values go through
whatever moves them.

With values far from zero (a year, a temperature in kelvin) the dense layer sums what batch norm would have centred,
and may lose digits: the proof tells, and then the fold is left out.
"""

from math import prod

import numpy as np

from fastdl.fusion.folds.no_op import keeps_rows, permutation
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.columns import PICKS, picked, width
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused
from fastdl.fusion.graph.patterns import HEADS, Affine, Dense

MOVES = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
WAYS = 256  # at most so many ways from an affine node to dense layers are followed
COLUMNS = 2**22  # and so many columns of a Concat


def fold_batch_norm(index: GraphIndex, node: Node) -> str | None:
    """Fold a BN into every dense layer that reads it; refuses as a whole when one cannot take it."""
    return _fold(index, node) if node.op == "BatchNormalization" else None


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold any other affine node likewise."""
    return _fold(index, node) if node.op != "BatchNormalization" else None


def _fold(index: GraphIndex, node: Node) -> str | None:
    affine = Affine.read(index, node)
    if affine is None:
        return None
    value = node.outputs[0]
    _require_readers(index, value)
    if node.op in ("Add", "Mul"):
        require_no_larger_whole(index, affine)
    shape = index.shape(affine.value)
    if shape is None and node.op == "BatchNormalization" and all(r.op == "Gemm" for r, _ in index.uses(value)):
        shape = (None, affine.scale.size)  # a batch norm keeps the rank, and a Gemm reads rank 2
    scale, center, shift = affine.spread(shape)
    into = take_over(index, value, scale, shift - center * scale)
    index.bypass(node, affine.value)
    return into


def take_over(index: GraphIndex, value: str, scale: Floats, shift: Floats) -> str:
    """Let every dense layer that `value` leads to take its scale and shift; their labels. Refuses as a whole."""
    ready = []
    for head, (s, t) in _heads(index, value, scale, shift).items():
        dense = Dense.read(index, head)
        depth = dense.shape[0]
        if s.size not in (1, depth):
            raise Refused(f"it gives {s.size} values where {head.label!r} reads {depth}")
        s, t = np.broadcast_to(s, depth), np.broadcast_to(t, depth)
        bias = dense.bias + t @ dense.weight
        ready.append((dense, dense.constants(index, dense.times(s[:, None]), bias)))
    for dense, names in ready:
        dense.write(index, names)
    return ", ".join(dense.node.label for dense, _ in ready)


def _require_readers(index: GraphIndex, value: str) -> None:
    """Refuse a value that is seen or read by anything but dense layers and what moves values to them."""
    index.require_hidden(value)
    uses = index.uses(value)
    if not uses:
        raise Refused(f"nothing reads its output {value!r}")
    for node, slot in uses:
        if not ((slot == 0 and node.op in (*HEADS, *MOVES, *PICKS)) or node.op == "Concat"):
            raise Refused(f"its output is read by {node.op} {node.label!r}, which is not a dense layer")


def _heads(index: GraphIndex, value: str, scale: Floats, shift: Floats) -> dict[Node, tuple[Floats, Floats]]:
    """The dense layers that `value` leads to, each with the scale and shift of all it reads."""
    heads: dict[Node, tuple[Floats, Floats]] = {}
    todo = [(value, scale, shift)]
    ways = 0
    while todo:
        value, scale, shift = todo.pop()
        _require_readers(index, value)
        for node, slot in index.uses(value):
            ways += 1
            if ways > WAYS:
                raise Refused(f"more than {WAYS} ways lead on from it")
            if node.op in HEADS:
                # Reached twice, through a Concat: each way brings its own columns, and 1 and 0 for the rest.
                s, t = heads.get(node, (np.ones(()), np.zeros(())))
                heads[node] = (s * scale, t + shift)
            elif node.op == "Concat":
                todo.append((node.outputs[0], *_beside(index, node, slot, scale, shift)))
            else:
                todo.append((node.outputs[0], *_moved(index, node, scale, shift)))
    return heads


def _moved(index: GraphIndex, node: Node, scale: Floats, shift: Floats) -> tuple[Floats, Floats]:
    if scale.size == shift.size == 1:
        return scale, shift
    if (places := picked(index, node)) is not None:
        if max(scale.size, shift.size) != width(index, node.inputs[0]):
            raise Refused(f"{node.op} {node.label!r} picks from another number of columns")
        whole = max(scale.size, shift.size)
        return np.broadcast_to(scale, whole)[places], np.broadcast_to(shift, whole)[places]
    shape = index.shape(node.inputs[0])
    if shape is None:
        raise Refused(f"the rank of {node.inputs[0]!r}, which {node.label!r} moves, is not known")
    if node.op == "Transpose" and len(shape) > 2:
        axes = permutation(node, len(shape))
        dims = [dim for dim in shape[1:] if isinstance(dim, int)]
        if axes[0] == 0 and prod(dims) == scale.size:
            order = np.arange(scale.size).reshape(dims).transpose([axis - 1 for axis in axes[1:]]).reshape(-1)
            return scale[order], shift[order]
    if not keeps_rows(index, node):
        raise Refused(f"{node.op} {node.label!r} does not keep rows and channels apart")
    return scale, shift


def _beside(index: GraphIndex, node: Node, slot: int, scale: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Scale and shift of a Concat's columns: those given at its input `slot`, else 1 and 0."""
    shapes = [index.shape(name) for name in node.inputs]
    if any(shape is None or len(shape) != 2 for shape in shapes) or node.attribute("axis", 1) not in (1, -1):
        raise Refused(f"{node.label!r} does not join columns of values known to be rank 2")
    widths = [shape[1] for shape in shapes if shape is not None]
    sizes = [width for width in widths if isinstance(width, int)]
    if len(sizes) < len(widths) or sum(sizes) > COLUMNS:
        raise Refused(f"how many columns {node.label!r} joins is not known, or more than {COLUMNS}")
    if scale.size not in (1, sizes[slot]):
        raise Refused(f"it gives {scale.size} values where {node.label!r} joins {sizes[slot]}")
    own = slice(sum(sizes[:slot]), sum(sizes[: slot + 1]))
    s, t = np.ones(sum(sizes)), np.zeros(sum(sizes))
    s[own], t[own] = scale, shift
    return s, t


def require_no_larger_whole(index: GraphIndex, affine: Affine) -> None:
    """Refuse the end of a Gelu or layer norm in primitives: without it onnxruntime no longer sees the whole.

    Back from here, through Mul and Add by constants, to the one Mul or Div of two values: Gelu multiplies by
    1 + erf(…) or 1 + tanh(…), layer norm divides by √(variance + ε).
    """
    value = affine.value
    for _ in range(3):
        maker = index.producer(value)
        if maker is None or maker.op not in ("Mul", "Add", "Div"):
            return
        varying = [name for name in maker.inputs if not index.is_constant(name)]
        if len(varying) == 2:
            factors = [_operators_above(index, name) for name in varying]
            if maker.op == "Mul" and any(f[0] == "Add" and {"Erf", "Tanh"} & set(f) for f in factors):
                raise Refused("it is the end of a Gelu that onnxruntime runs as one")
            if maker.op == "Div" and [f[0] for f in factors] == ["Sub", "Sqrt"] and "ReduceMean" in factors[0]:
                raise Refused("it is the end of a layer norm that onnxruntime runs as one")
            return
        value = varying[0] if varying else ""


def _operators_above(index: GraphIndex, value: str) -> list[str]:
    """The operator that makes `value`, then those that make what it reads."""
    maker = index.producer(value)
    if maker is None:
        return [""]
    return [maker.op, *(source.op for name in maker.inputs if (source := index.producer(name)) is not None)]


RULES = (
    Rule("batch norm → dense", fold_batch_norm, order=80, forward=True, lossy=True),
    Rule("affine → dense", fold, order=90, forward=True, lossy=True),
)
