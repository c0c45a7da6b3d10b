"""A chain of Add, Sub, Mul, Div by constants and Neg that no dense layer takes: two nodes at most.

Whatever the chain, it is (x + p)·s + t, where p is all that is added before the first factor: from standardisation
that keeps (x − mean)·s, exact for x near the mean. With all three it is x·s + (p·s + t), a Mul and an Add. What is 0
(or a factor of 1) is no node. Chains of single numbers stay: they are parts of an activation's formula, by which
onnxruntime and importers know it.
"""

from math import prod

import numpy as np

from fastdl.fusion.folds.affine_dense import require_no_larger_whole
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused
from fastdl.fusion.graph.patterns import Affine

KINDS = ("Add", "Sub", "Mul", "Div", "Neg")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold the chain that ends with the node, where fewer nodes do the same."""
    last = _read(index, node)
    if last is None or _goes_on(index, node):
        return None
    chain = _chain(index, last)
    if all(affine.uniform for affine in chain):
        return None
    parts = [part for affine in chain for part in affine.parts]
    try:
        size = prod(np.broadcast_shapes(*(part.shape for part in parts)))
    except ValueError:
        raise Refused("its constants do not fit each other") from None
    if size > sum(part.size for part in parts):
        raise Refused("its constants together would be larger than each by itself")
    before, scale, after = np.zeros(()), np.ones(()), np.zeros(())
    for affine in chain:
        if (scale == 1).all() and not after.any() and (affine.scale == 1).all():
            before = before + affine.shift - affine.center
        else:
            after = (after - affine.center) * affine.scale + affine.shift
            scale = scale * affine.scale
    if before.any() and (scale != 1).any() and after.any():
        before, after = np.zeros(()), before * scale + after
    steps = [("Add", before, before.any()), ("Mul", scale, (scale != 1).any()), ("Add", after, after.any())]
    needed = [(op, values) for op, values, needs in steps if needs] or [("Mul", scale)]
    if len(needed) >= len(chain):
        return None
    require_no_larger_whole(index, chain[0])
    x, value = chain[0].value, node.outputs[0]
    shape = index.shape(x)
    if shape is None or shape != index.shape(value):
        raise Refused(f"the shape of {x!r} is not known, or its constants widen it")
    constants = [a.constant for a in chain if a.constant]
    dtype = index.dtype(constants[0]) if constants else index.type(x)
    if dtype is None:
        raise Refused(f"the type of {x!r} is not known")
    names = [index.add_constant(f"{value}_{op.lower()}", values, dtype) for op, values in needed]
    for (op, _), name in list(zip(needed, names, strict=True))[:-1]:
        x = index.insert(node, op, [x, name])
    index.rewrite(node, needed[-1][0], [x, names[-1]], {})
    for affine in chain[-2::-1]:
        index.remove(affine.node)
    return ", ".join(op for op, _ in needed)


def _read(index: GraphIndex, node: Node) -> Affine | None:
    try:
        return Affine.read(index, node) if node.op in KINDS else None
    except Refused:
        return None  # told by the folds that would take it into a dense layer


def _goes_on(index: GraphIndex, node: Node) -> bool:
    """Whether the chain is longer: only another such node reads the output."""
    value = node.outputs[0]
    uses = index.uses(value)
    seen = value in index.graph_outputs or value in index.captured
    return not seen and len(uses) == 1 and _read(index, uses[0][0]) is not None


def _chain(index: GraphIndex, last: Affine) -> list[Affine]:
    chain = [last]
    while True:
        maker = index.producer(chain[0].value)
        first = _read(index, maker) if maker is not None else None
        if first is None or not _goes_on(index, first.node):
            return chain
        chain.insert(0, first)


RULES = (Rule("affine → affine", fold, order=140, lossy=True),)
