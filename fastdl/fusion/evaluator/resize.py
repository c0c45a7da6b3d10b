"""Resize and Upsample in float64: along one axis after the other, by a matrix of weights or a choice of positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

import numpy as np

from fastdl.fusion.graph.node import Floats

Attributes = Mapping[str, Any]


def upsample(inputs: Sequence[Any], given: Attributes) -> Floats:
    """Upsample, which Resize has replaced."""
    scales = inputs[1] if len(inputs) > 1 else given["scales"]
    fixed = {"mode": given.get("mode", "nearest"), "coordinate_transformation_mode": "asymmetric"}
    return _resized(
        inputs[0], range(inputs[0].ndim), np.asarray(scales, np.float64), None, fixed | {"nearest_mode": "floor"}
    )


def resize(inputs: Sequence[Any], given: Attributes) -> Floats:
    """Resize: nearest, linear, cubic; not antialiased, not cropped, not of a kept aspect ratio."""
    x, *more = inputs
    if len(more) == 1:  # opset 10
        fixed = {"mode": given.get("mode", "nearest"), "coordinate_transformation_mode": "asymmetric"}
        return _resized(x, range(x.ndim), more[0], None, fixed | {"nearest_mode": "floor"})
    scales, sizes = (
        more[slot] if slot < len(more) and more[slot] is not None and more[slot].size else None for slot in (1, 2)
    )
    aspect = given.get("keep_aspect_ratio_policy", "stretch")
    if given.get("antialias") or aspect != "stretch" or (scales is None) == (sizes is None):
        raise NotImplementedError("Resize with antialias or a kept aspect ratio")
    axes = [axis % x.ndim for axis in given.get("axes") or range(x.ndim)]
    if sizes is not None:
        scales = np.array([size / x.shape[axis] for axis, size in zip(axes, sizes.tolist(), strict=True)])
    return _resized(x, axes, scales, None if sizes is None else sizes.tolist(), given)


def _resized(x: Floats, axes: Sequence[int], scales: Any, sizes: list[int] | None, given: Attributes) -> Floats:
    for position, axis in enumerate(axes):
        scale, size = float(scales[position]), x.shape[axis]
        count = floor(size * scale) if sizes is None else sizes[position]
        if scale == 1.0 and count == size:
            continue
        read = _positions(size, count, scale, given)
        if given.get("mode", "nearest") == "nearest":
            x = x.take(_nearest(read, size, given.get("nearest_mode", "round_prefer_floor")), axis=axis)
        else:
            x = np.moveaxis(np.moveaxis(x, axis, -1) @ _weights(read, size, given).T, -1, axis)
    return x


def _positions(size: int, count: int, scale: float, given: Attributes) -> Floats:
    """Where each of the `count` outputs lies among the inputs."""
    out, mode = np.arange(count, dtype=np.float64), given.get("coordinate_transformation_mode", "half_pixel")
    if mode == "half_pixel":
        return (out + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        length = scale * size
        return size / 2 * (1 - count / length) + (out + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (out + 0.5) / scale - 0.5 if count > 1 else np.zeros(count)
    if mode == "asymmetric":
        return out / scale
    if mode == "align_corners":
        return out * (size - 1) / (count - 1) if count > 1 else np.zeros(count)
    raise NotImplementedError(f"Resize by {mode}")


def _nearest(read: Floats, size: int, mode: str) -> Any:
    # Positions are quotients, so that a half may come out a few units of the last place beside it.
    halves = np.round(read * 2)
    read = np.where(np.abs(read * 2 - halves) < 1e-9 * size, halves / 2, read)
    chosen = {
        "round_prefer_floor": np.ceil(read - 0.5),
        "round_prefer_ceil": np.floor(read + 0.5),
        "floor": np.floor(read),
        "ceil": np.ceil(read),
    }[mode]
    return np.clip(chosen, 0, size - 1).astype(np.int64)


def _weights(read: Floats, size: int, given: Attributes) -> Floats:
    """(outputs, inputs): what each output takes of each input."""
    cubic = given.get("mode") == "cubic"
    outside = given.get("exclude_outside", 0)
    first = np.floor(read).astype(np.int64)
    part = read - first
    taps = range(-1, 3) if cubic else range(2)
    matrix, rows = np.zeros((read.size, size)), np.arange(read.size)
    for tap in taps:
        near = np.abs(part - tap)
        weight = _cubic(near, given.get("cubic_coeff_a", -0.75)) if cubic else 1 - near
        at = first + tap
        if outside:
            weight = np.where((at >= 0) & (at < size), weight, 0.0)
        np.add.at(matrix, (rows, np.clip(at, 0, size - 1)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True) if outside else matrix


def _cubic(near: Floats, a: float) -> Floats:
    inner = ((a + 2) * near - (a + 3)) * near * near + 1
    outer = ((a * near - 5 * a) * near + 8 * a) * near - 4 * a
    return np.asarray(np.where(near <= 1, inner, np.where(near < 2, outer, 0.0)))
