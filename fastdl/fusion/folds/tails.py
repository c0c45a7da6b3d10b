"""What comes before a label and cannot change it: f(z) under ArgMax, and Sigmoid before a threshold.

ArgMax(f(z)) = ArgMax(z) for f strictly increasing, the same for all columns: Softmax and LogSoftmax along ArgMax's
own axis, Sigmoid, Tanh and the like, times or plus one number. Not Relu, under which all negative scores tie.
σ(z) > c is z > log(c/(1 − c)): 0 for one half. Where f rounds to a tie (two probabilities of 1.0), z still tells.
"""

from math import log

import numpy as np

from ..index import GraphIndex, Node, Refused
from ..patterns import Affine

INCREASING = ("Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Selu", "Erf", "Atan", "LogSoftmax", "Softmax")
INCREASING_BY_ALPHA = {"LeakyRelu": 0.01, "Elu": 1.0, "Celu": 1.0}
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Let an ArgMax or a threshold read the scores themselves."""
    if node.op == "ArgMax":
        return _argmax(index, node)
    if node.op in COMPARISONS:
        return _threshold(index, node)
    return None


def _argmax(index: GraphIndex, node: Node) -> str | None:
    tail = index.producer(node.inputs[0])
    if tail is None:
        return None
    affine = None if tail.op == "BatchNormalization" else Affine.read(index, tail)
    if affine is not None:
        if not affine.uniform or affine.scale.item() <= 0:
            raise Refused(f"{tail.op} {tail.label!r} is not one positive factor and one shift for all columns")
        affine.spread(index.shape(affine.value))  # refuses a constant that changes the shape
        source = affine.value
    elif tail.op in ("Softmax", "LogSoftmax"):
        _require_axis(index, node, tail)
        source = tail.inputs[0]
    elif _increases(tail):
        source = tail.inputs[0]
    else:
        return None
    index.require_private(node.inputs[0])  # where the tail stays, there is nothing to gain
    index.set_inputs(node, [source])
    return node.label


def _increases(tail: Node) -> bool:
    """Whether a node gives more for more, value by value: some do with attributes above zero only."""
    if tail.op == "Selu":
        return all(tail.attribute(key, 1.0) > 0 for key in ("alpha", "gamma"))
    if tail.op in INCREASING_BY_ALPHA:
        return bool(tail.attribute("alpha", INCREASING_BY_ALPHA[tail.op]) > 0)
    return tail.op in INCREASING


def _require_axis(index: GraphIndex, node: Node, tail: Node) -> None:
    """Both along one axis. Before opset 13 Softmax took all axes from its own on as one: on the last they agree."""
    shape = index.shape(tail.inputs[0])
    if not shape:
        raise Refused(f"the rank of {tail.inputs[0]!r} is not known, so neither is the axis")
    axes = node.attribute("axis", 0), tail.attribute("axis", -1 if index.opset >= 13 else 1)
    taken, normalised = (axis % len(shape) for axis in axes)
    if taken != normalised or (index.opset < 13 and normalised != len(shape) - 1):
        raise Refused(f"{tail.op} {tail.label!r} normalises axis {normalised}, ArgMax takes axis {taken}")


def _threshold(index: GraphIndex, node: Node) -> str | None:
    slot = next((s for s, name in enumerate(node.inputs) if index.is_constant(name)), None)
    tail = index.producer(node.inputs[1 - slot]) if slot is not None and len(node.inputs) == 2 else None
    if slot is None or tail is None or tail.op != "Sigmoid":
        return None
    index.require_private(node.inputs[1 - slot])
    name = node.inputs[slot]
    bar = index.constant(name)
    if not ((bar > 0) & (bar < 1)).all():
        raise Refused(f"threshold {name!r} is not between 0 and 1")
    moved = np.array([log(c / (1 - c)) for c in bar.ravel()]).reshape(bar.shape)
    inputs = list(node.inputs)
    inputs[slot] = index.add_constant(f"{name}_logit", moved, index.dtype(name))
    inputs[1 - slot] = tail.inputs[0]
    index.set_inputs(node, inputs)
    return node.label
