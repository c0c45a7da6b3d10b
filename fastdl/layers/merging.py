"""Layers in which branches meet: Keras's names. Each takes a list of tensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from fastdl import ops
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError
from fastdl.layers.layer import Layer


class _Merge(Layer):
    """Base: two tensors or more. ShapeError for fewer."""

    takes_several, scalars = True, True

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


class Maximum(_Merge):
    """The largest of tensors, element by element. Keras: layers.Maximum."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(ops.maximum, inputs)


class Minimum(_Merge):
    """The smallest of tensors, element by element. Keras: layers.Minimum."""

    def merge(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(ops.minimum, inputs)


class Concatenate(_Merge):
    """Tensors behind each other along an axis of a sample, the last as it is. Keras: layers.Concatenate.

    ShapeError for tensors that differ in other sizes.
    """

    scalars = False

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(axis, int) or axis == 0:
            raise ValueError(f"axis must be that of a sample, the last (-1) or another, not {axis}")
        self.axis = axis

    def merge(self, inputs: list[Tensor]) -> Tensor:
        ranks = {len(tensor.shape) for tensor in inputs}
        if max(ranks) == 2 and self.axis in (-1, 1):
            return ops.Concatenate(inputs, self.name).output
        result: Tensor = ops.concatenate(inputs, self.axis)
        return result


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """As Add(**options)(inputs). Keras: layers.add."""
    return Add(**options)(list(inputs))


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """As Concatenate(axis, **options)(inputs). Keras: layers.concatenate."""
    return Concatenate(axis, **options)(list(inputs))


def maximum(inputs: Sequence[Any], **options: Any) -> Any:
    """As Maximum(**options)(inputs). Keras: layers.maximum."""
    return Maximum(**options)(list(inputs))


def minimum(inputs: Sequence[Any], **options: Any) -> Any:
    """As Minimum(**options)(inputs). Keras: layers.minimum."""
    return Minimum(**options)(list(inputs))


def subtract(inputs: Sequence[Any], **options: Any) -> Any:
    """As Subtract(**options)(inputs). Keras: layers.subtract."""
    return Subtract(**options)(list(inputs))


def average(inputs: Sequence[Any], **options: Any) -> Any:
    """As Average(**options)(inputs). Keras: layers.average."""
    return Average(**options)(list(inputs))


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """As Multiply(**options)(inputs). Keras: layers.multiply."""
    return Multiply(**options)(list(inputs))
