"""Values that may be infinite or NaN: algebra ends there, and with it every fold."""

from __future__ import annotations

import numpy as np

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import FLOATS, LARGEST, Node, Refused, magnitude, names_inside

# What gives no infinity, whatever it reads
BOUNDED = ("Softmax", "Sigmoid", "Tanh", "Erf", "HardSigmoid", "Softsign")
# What gives infinity or NaN for some values of moderate size
MAY_OVERFLOW = ("Log", "Exp", "Reciprocal", "Sqrt", "Div", "Pow")

IMPUTER = "ai.onnx.ml:Imputer"  # which states what it replaces, NaN most often


def require_range(index: GraphIndex, value: str, strict: bool = False) -> None:
    """Refuse a value that follows from a constant which is not finite, or by which it may overflow.

    Infinity is where algebra ends: 0·∞ and ∞ − ∞ are no numbers. What comes out of a BOUNDED operator is never so.
    strict: nor from an operator that may give such values for some of moderate size.
    """
    known = index.in_range[strict]
    todo, seen = [value], set[str]()
    while todo:
        source = todo.pop()
        if source in known or source in seen:
            continue
        array = None if index.is_checked(source) else index.stored(source)  # a type is noted once it is checked
        if array is not None and array.dtype in FLOATS and not magnitude(array) <= LARGEST[array.dtype]:
            raise Refused(f"{value!r} follows from {source!r}, which is not finite, or by which it may overflow")
        seen.add(source)
        if (node := index.producer(source)) is not None and node.op not in BOUNDED:
            if _may_overflow(index, node, strict):
                raise Refused(f"{value!r} follows from {node.op} {node.label!r}, which may give what is not finite")
            todo.extend(node.inputs if node.op != "Clip" else node.inputs[:1])
            todo.extend(names_inside([node.proto]))
    known |= seen


def _may_overflow(index: GraphIndex, node: Node, strict: bool) -> bool:
    stated = [a for a in node.proto.attribute if node.op != IMPUTER or a.name != "replaced_value_float"]
    numbers = [number for a in stated for number in (a.f, *a.floats)]
    if node.op != "Clip" and not np.abs(numbers).max(initial=0) <= LARGEST[np.dtype(np.float32)]:
        return True
    if node.op not in MAY_OVERFLOW:
        return False
    if all(map(index.is_constant, node.inputs)):
        return True  # else it would be a constant by now
    divisor = index.stored(node.inputs[1]) if node.op == "Div" else None
    if divisor is not None and divisor.dtype in FLOATS:
        return not np.abs(divisor).min(initial=1) >= 1 / LARGEST[divisor.dtype]
    return strict and not index.is_constant(node.inputs[-1])
