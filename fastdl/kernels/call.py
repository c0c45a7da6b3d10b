"""One kernel run once, on numpy arrays: the copies into and out of its layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastdl import _ext
from fastdl.base.arrays import Array, Dtype, refuse_masked
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments
from fastdl.errors import DataError, ShapeError


def checked(name: str, value: ArrayLike, ndim: int, dtype: Any = None) -> Array:
    """The value as a contiguous array of a kernel's dtype; anything but float64 becomes float32."""
    refuse_masked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, not {array.dtype}")
    if array.ndim != ndim:
        raise ShapeError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
    if dtype is None:
        dtype = np.float64 if array.dtype == np.float64 else np.float32
    return np.ascontiguousarray(array, dtype)


class KernelCall:
    """One kernel run once: arrays are copied into panels or padded storage, and back."""

    def __init__(self, batch: int, dtype: Dtype) -> None:
        if batch == 0:
            raise DataError("the batch is empty")
        self.batch, self.dtype = batch, dtype
        self.panels = -(-batch // _ext.PANEL)

    def _program(self) -> _ext.Program:
        return _ext.Program(self.batch, self.dtype.itemsize)

    def panel(self, features: int) -> Array:
        return aligned((self.panels, features, _ext.PANEL), self.dtype)

    def rows(self, x: Array) -> Array:
        """(batch, features) → panels."""
        panel = self.panel(x.shape[1])
        program = self._program()
        program.declare_feed(0, x.shape[1] * self.dtype.itemsize, False)
        program.emit("gather", {"out": panel, "feed": 0, "features": x.shape[1]}, _ext.ONCE, x.shape[1], False)
        program.run({0: x}, 0, 1, None, None, 0, 0, 1)
        return panel

    def back(self, panel: Array) -> Array:
        """panels → (batch, features)."""
        out = np.empty((self.batch, panel.shape[1]), self.dtype)
        program = self._program()
        program.declare_feed(0, panel.shape[1] * self.dtype.itemsize, True)
        arguments = {"x": panel, "feed": 0, "features": panel.shape[1]}
        program.emit("scatter", arguments, _ext.ONCE, panel.shape[1], False)
        program.run({0: out}, 0, 1, None, None, 0, 0, 1)
        return out

    def vector(self, values: ArrayLike | None, size: int) -> Array:
        storage = aligned((padded(size),), self.dtype)
        if values is not None:
            storage[:size] = values
        return storage

    def run(
        self,
        kernel: str,
        over: int,
        *,
        rates: Sequence[float] = (0.0,) * _ext.MAX_RATES,
        labels: Array | None = None,
        seed: int = 0,
        step: int = 0,
        **arguments: Any,
    ) -> None:
        """over: how many features it computes. arguments: by the names of the kernel table, arrays in its layouts."""
        program = self._program()
        feeds = {}
        if labels is not None:
            program.declare_feed(0, 4, False)
            feeds[0] = labels
        program.emit(kernel, arguments, _ext.ONCE, over, False)
        program.run(feeds, 0, 1, None, np.array([rates], np.float64), step, seed, 1)


def elementwise(kernel: str, arrays: dict[str, Any], **numbers: Any) -> Array:
    """A kernel from panels to one panel of the same shape. numbers: what the kernel takes beside `features`."""
    first = next(iter(arrays))
    head = checked(first, arrays[first], 2)
    call = KernelCall(len(head), head.dtype)
    panels: Arguments = {}
    for name, value in arrays.items():
        array = checked(name, value, 2, head.dtype)
        if array.shape != head.shape:
            raise ShapeError(f"{name} has shape {array.shape}, {first} {head.shape}")
        panels[name] = call.rows(array)
    features = panels["features"] = head.shape[1]
    (written,) = (name for name, argument in _ext.KERNELS[kernel].arguments.items() if argument.kind == "written")
    out = panels[written] = call.panel(features)
    call.run(kernel, features, **panels, **numbers)
    return call.back(out)
