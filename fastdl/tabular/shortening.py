"""Fewer nodes in a file of raw columns than the folds leave: what an answer to one row takes is by the node.

Each change computes the same, but for the order of sums. They are of a table's net alone, and none of use in batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from fastdl.base.arrays import Array
from fastdl.fusion.graph.columns import picked, width
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.linear_models import stated
from fastdl.fusion.graph.node import ML, Node, Refused
from fastdl.fusion.graph.weights import Lean
from fastdl.tabular.side_by_side import join
from fastdl.tabular.stacking import alone, joined_before, set_weight, stack

UNASKED = 16  # columns that are asked whether they are missing though nobody reads it, to save picking the others


def shorten(model: ModelProto) -> ModelProto:
    """The same file with fewer nodes."""
    index = GraphIndex(Lean.of(model))
    for dense in index.nodes:
        for step in (_hand_on, _flag_missing, stack):
            try:
                step(index, dense)
            except Refused:
                continue
    join(index)
    _end(index)
    index.prune()
    return index.to_model().joined()


def _widths(index: GraphIndex, features: Node) -> list[int]:
    """Columns of each part; refuses where one is not known."""
    found = [width(index, value) for value in features.inputs]
    known = [columns for columns in found if columns is not None]
    if len(known) < len(found):
        raise Refused(f"the columns of what {features.label!r} joins are not known")
    return known


def _hand_on(index: GraphIndex, dense: Node) -> None:
    """Numbers beside their waves: [w·V + z·I + b, …]·W is [w·V', z, …]·W' where V has columns of zeros for z·I.

    V' is V without those columns; W' has I·W for the rows of z. So one Gemm is less.
    """
    features = joined_before(index, dense)
    for slot, value in enumerate(features.inputs if features is not None else []):
        waves = alone(index, value, "Gemm")
        itself = alone(index, waves.inputs[2], "Gemm") if waves is not None and len(waves.inputs) > 2 else None
        if features is None or waves is None or itself is None or waves.proto.attribute or itself.proto.attribute:
            continue
        mixed, through = index.constant(waves.inputs[1]), index.constant(itself.inputs[1])
        used: Array = np.any(mixed != 0, axis=0)
        if len(through) > np.count_nonzero(~used) or len(dense.inputs) < 3 or len(itself.inputs) < 3:
            continue
        kernel, start = index.constant(dense.inputs[1]), sum(_widths(index, features)[:slot])
        end = start + len(used)
        own, bias = kernel[start:end], index.constant(dense.inputs[2])
        dtype = index.dtype(dense.inputs[1])
        set_weight(index, waves, mixed[:, used])
        shifted = index.add_constant(dense.inputs[2], bias + index.constant(itself.inputs[2]) @ own, dtype)
        set_weight(index, dense, np.concatenate([kernel[:start], own[used], through @ own, kernel[end:]]))
        index.set_inputs(dense, [*dense.inputs[:2], shifted])
        index.set_inputs(waves, waves.inputs[:2])
        index.resize(value, (None, int(used.sum())))
        joined = features.inputs
        index.set_inputs(features, [*joined[: slot + 1], itself.inputs[0], *joined[slot + 1 :]])
        index.remove(itself)
        return


def _flag_missing(index: GraphIndex, dense: Node) -> None:
    """One LabelEncoder that knows NaN, for a Gather of columns, IsNaN and Cast."""
    features = joined_before(index, dense)
    for slot, value in enumerate(features.inputs if features is not None else []):
        cast = alone(index, value, "Cast")
        asked = alone(index, cast.inputs[0], "IsNaN") if cast is not None else None
        if features is None or cast is None or asked is None or cast.attribute("to", 0) != TensorProto.FLOAT:
            continue
        source = asked.inputs[0]
        if index.type(source) != np.float32:
            continue
        pick = alone(index, source, "Gather")
        places = None if pick is None else picked(index, pick)
        columns = width(index, pick.inputs[0]) if pick is not None else None
        if pick is not None and places is not None and columns is not None and columns <= len(places) + UNASKED:
            kernel, start = index.constant(dense.inputs[1]), sum(_widths(index, features)[:slot])
            flags = np.zeros((columns, kernel.shape[1]))
            np.add.at(flags, np.asarray(places), kernel[start : start + len(places)])
            set_weight(index, dense, np.concatenate([kernel[:start], flags, kernel[start + len(places) :]]))
            source = pick.inputs[0]
        else:
            pick = None
        given: dict[str, Any] = {"keys_floats": [np.nan], "values_floats": [1.0], "default_float": 0.0}
        told = index.insert(features, "LabelEncoder", [source], like=source, domain=ML, **given)
        index.set_inputs(features, [told if i == slot else old for i, old in enumerate(features.inputs)])
        for node in (cast, asked, *([pick] if pick is not None else [])):
            index.remove(node)
        return


def _end(index: GraphIndex) -> None:
    """A LinearClassifier, which gives label and probabilities, for Gemm, Softmax, ArgMax and Gather."""
    if len(index.lean.proto.graph.output) != 2:
        return
    label, scores = (output.name for output in index.lean.proto.graph.output)
    softmax, named = index.producer(scores), index.producer(label)
    dense = alone(index, softmax.inputs[0], "Gemm") if softmax is not None and softmax.op == "Softmax" else None
    if softmax is None or dense is None or named is None or softmax.attribute("axis", -1) not in (1, -1):
        return
    best = alone(index, named.inputs[1], "ArgMax") if named.op == "Gather" else named
    if best is None or best.op != "ArgMax" or best.attribute("axis", 0) != 1 or best.attribute("keepdims", 1):
        return
    if best.inputs[0] != scores or len(index.uses(scores)) != 1 or index.uses(label) or len(dense.inputs) != 3:
        return
    weight, bias = index.constant(dense.inputs[1]), index.constant(dense.inputs[2])
    classes = np.arange(len(bias)) if best is named else index.stored(named.inputs[0])
    if dense.proto.attribute or classes is None or classes.dtype.kind not in "iO" or len(bias) < 2:
        return
    kind = "classlabels_ints" if classes.dtype.kind == "i" else "classlabels_strings"
    gone = dict.fromkeys((named, best, softmax, dense))
    for node in gone:
        index.remove(node)
    given: dict[str, Any] = {kind: classes.tolist(), "post_transform": "SOFTMAX", "domain": ML, **stated(weight, bias)}
    index.make(dense, "LinearClassifier", dense.inputs[:1], [label, scores], **given)
