"""What comes before a label and cannot change it: f(z) under ArgMax, and Sigmoid before a threshold.

ArgMax(f(z)) = ArgMax(z) for f strictly increasing, the same for all columns: Softmax and LogSoftmax along ArgMax's
own axis, LeakyRelu, times or plus one number. σ(z) > c is z > log(c/(1 − c)): 0 for one half.

The rule for ties. Of equal values ArgMax takes the first (or the last, select_last_index). Where f rounds two scores to
one value, as Softmax does with scores that differ by less than its own rounding, the scores still tell them apart, and
the label becomes that of the larger score: what it would be without rounding. A threshold likewise goes by the side on
which z is, also where σ(z) rounds to c. Only such rows may differ, and the proof accepts just these.

So an f that is flat somewhere stays: Relu, but also Sigmoid and Tanh, which are 1 for all large scores in float64
too. (Of labels that the caller asks for the scores decide, see choose_head.) Scores that are not finite have no
such rule, as Softmax makes NaN of them: an ArgMax stays where its scores follow from a constant that is not finite
or so large that they may overflow, or from a logarithm, root, quotient and the like of values.
"""

from math import log

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import COMPARISONS, Node, Refused
from fastdl.fusion.graph.patterns import Affine
from fastdl.fusion.graph.ranges import require_range

INCREASING = ("Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Selu", "Erf", "Atan", "LogSoftmax", "Softmax")
INCREASING_BY_ALPHA = {"LeakyRelu": 0.01, "Elu": 1.0, "Celu": 1.0}
NOWHERE_FLAT = ("LogSoftmax", "Softmax", "LeakyRelu")
LEAST, MOST = 0.01, 0.99  # thresholds beyond which σ is too flat to tell in float32 on which side a score is


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
    elif increases(tail):
        if tail.op not in NOWHERE_FLAT:
            raise Refused(f"{tail.op} {tail.label!r} is flat for large scores, and of equal ones the first is taken")
        source = tail.inputs[0]
    else:
        return None
    index.require_private(node.inputs[0])  # where the tail stays, there is nothing to gain
    require_range(index, source, strict=True)
    index.set_inputs(node, [source])
    return node.label


def increases(tail: Node) -> bool:
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
    if not ((bar >= LEAST) & (bar <= MOST)).all():
        raise Refused(f"threshold {name!r} is not between {LEAST} and {MOST}")
    moved = np.array([log(c / (1 - c)) for c in bar.ravel()]).reshape(bar.shape)
    inputs = list(node.inputs)
    inputs[slot] = index.add_constant(f"{name}_logit", moved, index.dtype(name))
    inputs[1 - slot] = tail.inputs[0]
    index.set_inputs(node, inputs)
    return node.label


RULES = (Rule("tail of labels", fold, order=130),)
