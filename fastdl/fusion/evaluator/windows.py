"""Convolutions and pools in float64 by numpy and BLAS: any number of axes, groups, dilations, pads, ceil_mode.

ONNX's own reference walks windows one by one in Python, which takes minutes for a net that onnxruntime runs in
seconds. Each function takes the inputs of a node, (N, C, spatial…) first, and its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from fastdl.fusion.graph.node import Floats

Attributes = Mapping[str, Any]
CHUNK = 2**20  # numbers that the columns of a convolution may hold at a time: more leave the caches


@dataclass(frozen=True)
class Windows:
    """Where a kernel reads along one axis: window i, tap k reads position i·stride + k·dilation − before."""

    size: int  # of the axis
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int  # of windows

    @property
    def reach(self) -> int:
        """From the first position of a window to one past its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def beyond(self) -> int:
        """How far the last window reaches past the end of the axis: the pad, or more with ceil_mode."""
        return max((self.count - 1) * self.stride + self.reach - self.before - self.size, 0)

    def taps(self) -> Iterator[slice]:
        """For each tap, what all windows read there, of the axis padded by `before` and `beyond`."""
        for tap in range(self.kernel):
            first = tap * self.dilation
            yield slice(first, first + (self.count - 1) * self.stride + 1, self.stride)


def windows(sizes: Sequence[int], kernel: Sequence[int], given: Attributes) -> list[Windows]:
    """One a spatial axis, by ONNX's rules of auto_pad, pads, strides, dilations and ceil_mode."""
    rank = len(kernel)
    strides = given.get("strides") or [1] * rank
    dilations = given.get("dilations") or [1] * rank
    pads = given.get("pads") or [0] * 2 * rank
    mode = given.get("auto_pad") or "NOTSET"
    windows = []
    for axis, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        reach = (taps - 1) * dilation + 1
        before, after = (pads[axis], pads[axis + rank]) if mode == "NOTSET" else (0, 0)
        if mode.startswith("SAME"):
            count = -(-size // stride)
            total = max((count - 1) * stride + reach - size, 0)
            before = (total + (mode == "SAME_LOWER")) // 2
            after = total - before
        else:
            room = size + before + after - reach
            count = room // stride + 1
            # One window more where a part of one is left, unless it would read nothing but the pad at the end.
            if given.get("ceil_mode") and room % stride and count * stride < size + before:
                count += 1
        if count < 1:
            raise ValueError(f"a kernel that reaches over {reach} finds no window in {size} with its pads")
        windows.append(Windows(size, taps, stride, dilation, before, after, count))
    return windows


def conv(x: Floats, weight: Floats, bias: Floats | None, given: Attributes) -> Floats:
    """Conv: x (N, C, …), weight (M, C / group, kernel…), bias (M,)."""
    group, kernel = given.get("group", 1), weight.shape[2:]
    axes = windows(x.shape[2:], kernel, given)
    padded = np.pad(x, [(0, 0), (0, 0), *((max(w.before, 0), w.beyond) for w in axes)])
    padded = padded.reshape(len(x), group, -1, *padded.shape[2:])
    weights = weight.reshape(group, weight.shape[0] // group, -1)
    counts = [w.count for w in axes]
    y = np.empty((len(x), group, weights.shape[1], *counts))
    depthwise = weight.shape[1] == 1
    columns = group * weights.shape[2] * prod(counts[1:])
    rows = max(1, CHUNK // max(columns, 1))  # of the first spatial axis at a time
    for sample in range(len(x)):
        for start in range(0, counts[0], rows):
            part, out = _rows(axes, start, min(rows, counts[0] - start)), y[sample, :, :, start : start + rows]
            reads = list(product(*part))
            if depthwise:
                out[...] = 0.0
                for tap, read in enumerate(reads):
                    values = padded[_at(sample, read)]
                    out += weights[:, :, tap].reshape(group, -1, *(1,) * len(kernel)) * values
                continue
            parts = [padded[_at(sample, read)] for read in reads]
            taken = np.stack(parts, axis=2) if len(parts) > 1 else parts[0]
            out[...] = (weights @ taken.reshape(group, weights.shape[2], -1)).reshape(out.shape)
    y = y.reshape(len(x), weight.shape[0], *counts)
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(kernel))


def _at(sample: int, read: Sequence[slice]) -> Any:
    return (sample, slice(None), slice(None), *read)


def _rows(axes: Sequence[Windows], start: int, count: int) -> list[list[slice]]:
    """The reads of every tap, for `count` windows of the first axis from `start` on, and all of the others."""
    first, *others = axes
    shift, length = start * first.stride, (count - 1) * first.stride + 1
    cut = [slice(read.start + shift, read.start + shift + length, first.stride) for read in first.taps()]
    return [cut, *(list(axis.taps()) for axis in others)]


def conv_transpose(x: Floats, weight: Floats, bias: Floats | None, given: Attributes) -> Floats:
    """ConvTranspose: x (N, C, …), weight (C, M / group, kernel…), bias (M,)."""
    group, kernel, sizes = given.get("group", 1), weight.shape[2:], x.shape[2:]
    rank = len(kernel)
    strides = given.get("strides") or [1] * rank
    dilations = given.get("dilations") or [1] * rank
    more = given.get("output_padding") or [0] * rank
    whole = [
        stride * (size - 1) + (taps - 1) * dilation + 1
        for stride, size, taps, dilation in zip(strides, sizes, kernel, dilations, strict=True)
    ]
    starts, output_sizes = _cropped(whole, sizes, strides, more, given)
    room = [max(a, s + w) for a, s, w in zip(whole, starts, output_sizes, strict=True)]
    filters = weight.shape[1]
    weights = weight.reshape(group, weight.shape[0] // group, -1).swapaxes(1, 2)
    y = np.zeros((len(x), group, filters, *room))
    for sample in range(len(x)):
        spread = (weights @ x[sample].reshape(group, weights.shape[2], -1)).reshape(group, filters, -1, *sizes)
        for tap, place in enumerate(product(*map(range, kernel))):
            at = [slice(k * d, k * d + s * (n - 1) + 1, s)
                  for k, d, s, n in zip(place, dilations, strides, sizes, strict=True)]  # fmt: skip
            y[_at(sample, at)] += spread[:, :, tap]
    y = y.reshape(len(x), group * filters, *room)
    inner: Any = (..., *(slice(s, s + w) for s, w in zip(starts, output_sizes, strict=True)))
    y = np.asarray(y[inner])
    return y if bias is None else y + bias.reshape(-1, *(1,) * rank)


def _cropped(
    whole: Sequence[int], sizes: Sequence[int], strides: Sequence[int], more: Sequence[int], given: Attributes
) -> tuple[list[int], list[int]]:
    """Where the output of a ConvTranspose begins within all that is written, and how long it is, by axis."""
    rank, mode = len(whole), given.get("auto_pad") or "NOTSET"
    stated = given.get("output_shape")
    if stated is None and mode.startswith("SAME"):
        stated = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if stated is None:
        pads = (given.get("pads") if mode == "NOTSET" else None) or [0] * 2 * rank
        return list(pads[:rank]), [
            w + m - pads[i] - pads[i + rank] for i, (w, m) in enumerate(zip(whole, more, strict=True))
        ]
    output_sizes = list(stated[-rank:])
    cut = [max(w + m - want, 0) for w, m, want in zip(whole, more, output_sizes, strict=True)]
    return [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in cut], output_sizes


def max_pool(x: Floats, given: Attributes) -> Floats:
    """MaxPool without indices: the largest along one axis after the other."""
    return _pool(x, windows(x.shape[2:], given["kernel_shape"], given), np.maximum, -np.inf)


def average_pool(x: Floats, given: Attributes) -> Floats:
    """AveragePool; what ceil_mode reads beyond the pads is never counted."""
    axes = windows(x.shape[2:], given["kernel_shape"], given)
    y = _pool(x, axes, np.add, 0.0)
    for axis, w in enumerate(axes):
        first = np.arange(w.count)[:, None] * w.stride + np.arange(w.kernel) * w.dilation - w.before
        least, most = (-w.before, w.size + w.after) if given.get("count_include_pad") else (0, w.size)
        counted = ((first >= least) & (first < most)).sum(axis=1)
        y /= np.maximum(counted, 1).reshape(-1, *(1,) * (len(axes) - 1 - axis))
    return y


def lp_pool(x: Floats, given: Attributes) -> Floats:
    """LpPool: the p-norm of each window."""
    p = given.get("p", 2)
    axes = windows(x.shape[2:], given["kernel_shape"], given)
    return np.asarray(_pool(np.abs(x) ** p, axes, np.add, 0.0) ** (1 / p))


def _pool(x: Floats, axes: Sequence[Windows], joined: Callable[..., Floats], empty: float) -> Floats:
    for axis, w in enumerate(axes, start=x.ndim - len(axes)):
        pads = [(0, 0)] * x.ndim
        pads[axis] = (w.before, w.beyond)
        padded = np.pad(x, pads, constant_values=empty)
        before: tuple[slice, ...] = (slice(None),) * axis
        first, *others = [padded[(*before, tap)] for tap in w.taps()]
        x = np.array(first)
        for other in others:
            joined(x, other, out=x)
    return x


def local_response(x: Floats, given: Attributes) -> Floats:
    """LRN: each value over a power of the squares around it, across channels."""
    size = given["size"]
    before = (size - 1) // 2
    squares = np.pad(x * x, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = sum(squares[:, tap : tap + x.shape[1]] for tap in range(size))
    alpha, beta, bias = given.get("alpha", float(np.float32(1e-4))), given.get("beta", 0.75), given.get("bias", 1.0)
    return np.asarray(x / (bias + alpha / size * total) ** beta)
