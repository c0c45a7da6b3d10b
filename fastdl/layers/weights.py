"""New values for the weights of a layer or a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import refuse_masked
from fastdl.compiler.graph import Parameter
from fastdl.errors import ShapeError


def assign_all(owner: str, parameters: Sequence[Parameter], weights: Sequence[Any]) -> None:
    """Copy values into parameters, all or none. ShapeError if one does not fit."""
    if not isinstance(weights, list | tuple | np.ndarray):
        raise TypeError(f"weights must be a list of arrays, not {weights!r}")
    if len(weights) != len(parameters):
        raise ShapeError(f"{owner} has {len(parameters)} weight arrays, {len(weights)} were given")
    for parameter, weight in zip(parameters, weights, strict=True):
        refuse_masked(parameter.path, weight)
    arrays = [np.asarray(weight) for weight in weights]
    for parameter, array in zip(parameters, arrays, strict=True):
        if array.shape != parameter.shape:
            raise ShapeError(f"{parameter.path} has shape {parameter.shape}, the new value {array.shape}")
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.assign(array)
