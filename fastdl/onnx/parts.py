"""What nodes become: layers with weights, or what may still become part of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fastdl import layers
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Shape
from fastdl.fusion.graph.node import Node, Refused
from fastdl.layers.layer import Layer
from fastdl.onnx.reading import Reader

LARGEST = 2**24  # features over which one number is spread


@dataclass(frozen=True)
class Made:
    """A layer with its weights, in the order in which it makes them. features: of its input, where it knows them."""

    layer: Layer
    weights: tuple[Array, ...] = ()
    features: int | None = None


@dataclass(frozen=True)
class Product:
    """A dense layer that may still get a bias."""

    weight: Array


@dataclass(frozen=True)
class Affine:
    """(x - center) scale + shift, numbers or (features,): what several nodes do may be one layer."""

    center: Array
    scale: Array
    shift: Array

    def then(self, other: Affine) -> Affine:
        """This, and then the other. What is added first stays a center: far from zero, products would lose digits."""
        try:
            if (self.scale == 1).all() and not self.shift.any():
                return Affine(self.center + other.center, other.scale, other.shift)
            shift = (self.shift - other.center) * other.scale + other.shift
            return Affine(self.center, self.scale * other.scale, shift)
        except ValueError:
            raise Refused("constants that follow each other do not have one size") from None

    @property
    def added(self) -> Array | None:
        """The one row that is added, if that is all."""
        return self.shift - self.center if (self.scale == 1).all() else None

    @property
    def idle(self) -> bool:
        return not self.center.any() and (self.scale == 1).all() and not self.shift.any()


@dataclass(frozen=True)
class ByShape:
    """What depends on its input's shape: a layer, or None where nothing is left to do. Refused if it does not fit."""

    make: Callable[[Shape], Made | None]


Part = Made | Product | Affine | ByShape


@dataclass(frozen=True)
class Step:
    """A node, or several, as parts in their order, of `sources`: one value, or those that the one part merges.

    notes: what of it is left out.
    """

    sources: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    last: bool = False  # whether nothing may follow


Handler = Callable[[Reader, Node], Step]


def dense_layer(weight: Array, bias: Array | None = None) -> Made:
    """A Dense with these weights, (in, out) and (out,)."""
    rows, units = weight.shape
    layer = layers.Dense(units, use_bias=bias is not None)
    return Made(layer, (weight,) if bias is None else (weight, bias), rows)


def take(before: Part, part: Affine) -> Part | None:
    """The part before, with this one in it; None if it has no place for it."""
    if isinstance(before, Affine):
        return before.then(part)
    if isinstance(before, Product):
        units, row = before.weight.shape[1], part.added
        if row is not None and row.size in (1, units):
            return dense_layer(before.weight, np.array(np.broadcast_to(row, (units,))))
    return _into_layer_norm(before, part) if isinstance(before, Made) else None


def _into_layer_norm(before: Made, part: Affine) -> Made | None:
    """A layer norm that was spelled out takes the row that multiplies it, then the row that is added."""
    layer = before.layer
    if not isinstance(layer, layers.LayerNormalization) or layer.center:
        return None
    if part.scale.ndim == 1 and not layer.scale and not part.center.any() and not part.shift.any():
        made = layers.LayerNormalization(epsilon=layer.epsilon, center=False)
        return replace(before, layer=made, weights=(part.scale,), features=part.scale.size)
    row = part.added
    if row is not None and row.ndim == 1:
        made = layers.LayerNormalization(epsilon=layer.epsilon, scale=layer.scale)
        return replace(before, layer=made, weights=(*before.weights, row), features=row.size)
    return None
