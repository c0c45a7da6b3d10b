"""Arguments of layers that draw random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import ops
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError


def checked_seed(seed: int | None) -> int | None:
    """A layer's seed. ValueError unless 0 <= seed < 2**32, or None."""
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**32):
        raise ValueError(f"seed must be an integer in [0, 2**32), not {seed!r}")
    return seed


def checked_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    """As a tuple: the batch, or None, and sizes, 1 where one draw is for all of an axis, None where each is drawn.

    ValueError for other sizes, and for one draw for all samples.
    """
    if noise_shape is None:
        return None
    sizes = tuple(noise_shape) if isinstance(noise_shape, list | tuple) else ()
    right = all(each is None or (isinstance(each, int | np.integer) and each >= 1) for each in sizes)
    if not sizes or not right:
        raise ValueError(f"noise_shape must be positive sizes or None, as (None, 1, None), not {noise_shape!r}")
    if sizes[0] == 1:
        raise ValueError(f"noise_shape must begin with None, or the batch's size, not {noise_shape!r}")
    return sizes


def dropped(
    x: Tensor, rate: Any, noise_shape: Sequence[int | None], name: str, training: bool | None, seed: int | None
) -> Tensor:
    """What Dropout makes of ones of the noise's shape, to multiply x with. ShapeError if it does not broadcast to x."""
    sizes = [have if size is None else size for size, have in zip(noise_shape[1:], x.shape[1:], strict=False)]
    wrong = [size for size, have in zip(sizes, x.shape[1:], strict=False) if size not in (1, have)]
    if wrong or len(noise_shape) != x.ndim:
        raise ShapeError(f"{name}: noise_shape {tuple(noise_shape)} does not fit {x.shape}")
    ones = ops.Constant(np.ones([size or 1 for size in sizes]), x.dtype).output
    drawn: Tensor = ops.Dropout(ops.View(ones, (None, *ones.shape)).output, rate, name, training, seed).output
    return drawn
