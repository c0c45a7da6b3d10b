"""Layers in which branches meet: Keras's names. Each takes a list of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastdl import ops
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError
from fastdl.layers.layer import Layer


class _Merge(Layer):
    """Base: two tensors or more. ShapeError for fewer."""

    takes_several = True

    def call(self, inputs: list[Tensor]) -> Tensor:
        if len(inputs) < 2:
            raise ShapeError(f"{self.name} takes a list of two tensors or more, not {len(inputs)}")
        return self.merge(inputs)

    def merge(self, inputs: list[Tensor]) -> Tensor:
        raise NotImplementedError


class Add(_Merge):
    """The sum of tensors of one shape. Keras: layers.Add."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return ops.Add(inputs, [1.0] * len(inputs), self.name).output


class Subtract(_Merge):
    """The first of two tensors of one shape minus the second. Keras: layers.Subtract."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        if len(inputs) != 2:
            raise ShapeError(f"{self.name} takes a list of two tensors, not {len(inputs)}")
        return ops.Add(inputs, [1.0, -1.0], self.name).output


class Average(_Merge):
    """The mean of tensors of one shape. Keras: layers.Average.

    shares: how much each counts, as the weights of numpy.average; all alike if None. ValueError unless they are zero or
    more, and not all zero; ShapeError for another number of them.
    """

    def __init__(self, shares: Sequence[float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.shares = None if shares is None else [float(share) for share in shares]
        if self.shares is not None and not (min(self.shares, default=-1.0) >= 0 < sum(self.shares) < math.inf):
            raise ValueError(f"shares must be zero or more, and not all zero, not {shares}")

    def merge(self, inputs: list[Tensor]) -> Tensor:
        shares = self.shares or [1.0] * len(inputs)
        if len(shares) != len(inputs):
            raise ShapeError(f"{self.name} has {len(shares)} shares for {len(inputs)} tensors")
        return ops.Add(inputs, [share / sum(shares) for share in shares], self.name).output


class Multiply(_Merge):
    """The product of tensors of one shape, element by element. Keras: layers.Multiply."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        product = inputs[0]
        for tensor in inputs[1:]:
            product = ops.Multiply(product, tensor, self.name).output
        return product


class Concatenate(_Merge):
    """The features of tensors of (batch, features) side by side. Keras: layers.Concatenate."""

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        if axis not in (-1, 1):
            raise ValueError(f"axis must be the features' (-1), not {axis}")
        self.axis = axis

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return ops.Concatenate(inputs, self.name).output


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """As Add(**options)(inputs). Keras: layers.add."""
    return Add(**options)(list(inputs))


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """As Concatenate(axis, **options)(inputs). Keras: layers.concatenate."""
    return Concatenate(axis, **options)(list(inputs))
