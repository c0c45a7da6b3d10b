"""Operators that move values and compute none, on values of any type: for the truth, and to fold constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from fastdl.base.arrays import Array

Values = Array
Attributes = Mapping[str, Any]


def _transpose(inputs: Sequence[Any], given: Attributes) -> Values:
    axes = given.get("perm", range(inputs[0].ndim)[::-1])
    if sorted(axes) != list(range(inputs[0].ndim)):  # numpy takes negative ones
        raise ValueError(f"perm {axes} is no order of {inputs[0].ndim} axes")
    return np.transpose(inputs[0], axes)


def _flatten(inputs: Sequence[Any], given: Attributes) -> Values:
    shape, axis = inputs[0].shape, given.get("axis", 1)
    return np.asarray(inputs[0].reshape(prod(shape[:axis]), prod(shape[axis:])))


def _reshape(inputs: Sequence[Any], given: Attributes) -> Values:
    x, target = inputs
    if target is None or target.ndim != 1:
        raise ValueError("its target shape is not a constant vector")
    keeps = not given.get("allowzero", 0)
    return np.asarray(x.reshape([x.shape[i] if d == 0 and keeps else d for i, d in enumerate(target.tolist())]))


def _axes(inputs: Sequence[Any], given: Attributes) -> tuple[int, ...] | None:
    """An attribute, and an input from opset 13 on."""
    axes = given.get("axes")
    if len(inputs) > 1 and inputs[1] is not None:
        axes = inputs[1].reshape(-1).tolist()
    return None if axes is None else tuple(axes)


def _squeeze(inputs: Sequence[Any], given: Attributes) -> Values:
    axes = _axes(inputs, given)
    if axes == ():
        raise ValueError("it names no axes, which may mean none or all")
    return np.asarray(np.squeeze(inputs[0], axes))


def _unsqueeze(inputs: Sequence[Any], given: Attributes) -> Values:
    axes = _axes(inputs, given)
    if axes is None:
        raise ValueError("its axes are not a constant")
    return np.expand_dims(inputs[0], axes)


MOVES: dict[str, Callable[[Sequence[Any], Attributes], Any]] = {
    "Concat": lambda inputs, given: np.concatenate(inputs, axis=given["axis"]),
    "Flatten": _flatten,
    "Identity": lambda inputs, given: inputs[0],
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
