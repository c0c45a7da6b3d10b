"""Normalizer (ai.onnx.ml) by sums of absolute values, of what a softmax gives: |p|/Σ|p| is p, as Σp is 1 and p ≥ 0.

scikit-learn's exporter ends a logistic regression so. Only rounding differs: the sum of a float32 softmax is 1 but for
a few units of the last place.
"""

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.linear_models import CLASSIFIER
from fastdl.fusion.graph.node import Node, Refused


def fold(index: GraphIndex, node: Node) -> str | None:
    """Remove the node; refuses another norm, and a softmax along another axis."""
    if node.op != "ai.onnx.ml:Normalizer" or len(node.inputs) != 1:
        return None
    value = node.inputs[0]
    maker = index.producer(value)
    if maker is None or maker.op not in ("Softmax", CLASSIFIER):
        return None
    if node.attribute("norm", b"MAX") not in (b"L1", "L1"):
        raise Refused("it divides by another norm than the sum")
    if maker.op == CLASSIFIER:
        if maker.outputs[1:] != [value] or maker.attribute("post_transform", b"NONE") not in (b"SOFTMAX", "SOFTMAX"):
            raise Refused(f"what {maker.label!r} gives does not sum to 1")
    elif not _along_rows(index, maker):
        raise Refused(f"{maker.label!r} does not sum to 1 along the last of two axes")
    index.bypass(node, value)
    return maker.label


def _along_rows(index: GraphIndex, softmax: Node) -> bool:
    shape = index.shape(softmax.inputs[0])
    axis = softmax.attribute("axis", -1 if index.opset >= 13 else 1)
    return shape is not None and len(shape) == 2 and axis in (1, -1)


RULES = (Rule("normalizer", fold, order=125),)
