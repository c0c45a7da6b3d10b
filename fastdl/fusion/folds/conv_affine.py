"""Conv or ConvTranspose → affine per output channel: W' = W·s, b' = (b − c)·s + t.

W of Conv is (out, in/groups, kernel…), so s goes along axis 0. W of ConvTranspose is (in, out/groups, kernel…), where
input channels of group g feed outputs g·(out/groups) … only: s goes along axis 1, by groups. Padding plays no part:
it is added before the layer, the affine map comes after. A Transpose between the two (channels last, as Keras has
them) moves the axis of the channels, and the constants must lie along that.
"""

from functools import partial
from math import prod

import numpy as np

from fastdl.fusion.folds.no_op import permutation
from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Floats, Node, Refused
from fastdl.fusion.graph.patterns import Affine, new_parameters

CONV = ("Conv", "ConvTranspose")


def fold(index: GraphIndex, node: Node) -> str | None:
    """Fold an affine node into the convolution that makes its input, which nothing else may read."""
    affine = Affine.read(index, node)
    if affine is None:
        return None
    last = conv = index.producer(affine.value)
    if conv is not None and conv.op == "Transpose":
        conv = index.producer(conv.inputs[0])
    if last is None or conv is None or conv.op not in CONV:
        return None
    index.require_private(affine.value)
    index.require_private(conv.outputs[0])
    weight, dtype = index.constant(conv.inputs[1]), index.dtype(conv.inputs[1])
    groups = conv.attribute("group", 1)
    if weight.ndim < 3 or groups < 1 or prod(weight.shape) == 0:
        raise Refused(f"weight {conv.inputs[1]!r} of {conv.label!r} has shape {weight.shape}")
    if weight.shape[0] % groups:
        raise Refused(f"{conv.label!r} has {weight.shape[0]} channels in {groups} groups")
    channels = weight.shape[0] if conv.op == "Conv" else weight.shape[1] * groups
    bias = np.zeros(channels)
    if len(conv.inputs) > 2 and conv.inputs[2]:
        bias = index.constant(conv.inputs[2])
        if bias.shape != (channels,):
            raise Refused(f"bias {conv.inputs[2]!r} of {conv.label!r} is not a vector of its {channels} channels")
    axis = 1 if last is conv else permutation(last, weight.ndim).index(1)
    scale, center, shift = (_per_channel(affine, part, channels, weight.ndim, axis) for part in affine.parts)
    scaled = partial(_scaled, index, conv.inputs[1], scale, groups if conv.op == "ConvTranspose" else None)
    names = new_parameters(index, conv, scaled, (bias - center) * scale + shift, dtype, affine.constant)
    index.set_inputs(conv, [conv.inputs[0], *names])
    index.absorb(last, node)
    return conv.label


def _scaled(index: GraphIndex, name: str, scale: Floats, groups: int | None) -> Floats:
    """The weights times the scale of their output channel; groups: of a ConvTranspose."""
    weight = index.constant(name)
    if groups is None:
        return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return (by_group * scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))).reshape(weight.shape)


def _per_channel(affine: Affine, part: Floats, channels: int, rank: int, axis: int) -> Floats:
    """A constant of `affine` as one value a channel, which lie along `axis`; refuses one that differs within one."""
    if part.size == 1 and part.ndim <= rank:
        return np.full(channels, part.item())
    if affine.node.op == "BatchNormalization":
        fits = axis == 1 and part.shape == (channels,)
    else:
        along = [channels if each == axis else 1 for each in range(rank)]
        fits = part.ndim <= rank and [*(1,) * (rank - part.ndim), *part.shape] == along
    if not fits:
        raise Refused(f"a constant of shape {part.shape} is not one value for each of {channels} channels")
    return part.reshape(-1)


RULES = (Rule("convolution → affine", fold, order=70),)
