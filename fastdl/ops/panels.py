"""Panels (see ext/kernels.h) as rows, and back: for what is computed in numpy."""

from __future__ import annotations

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array, Dtype


def from_panels(panels: Array, batch: int, dtype: Dtype) -> Array:
    """A new (batch, features) of a buffer of panels."""
    each = panels.view(dtype).reshape(-(-batch // _ext.PANEL), -1, _ext.PANEL).transpose(0, 2, 1)
    return each.reshape(len(each) * _ext.PANEL, -1)[:batch].copy()


def into_panels(panels: Array, rows: Array, dtype: Dtype) -> None:
    """Write (batch, features) into a buffer of panels; lanes beyond the batch become zero."""
    count = -(-len(rows) // _ext.PANEL)
    full = np.zeros((count * _ext.PANEL, rows.shape[1]), dtype)
    full[: len(rows)] = rows
    panels.view(dtype).reshape(count, -1, _ext.PANEL)[...] = full.reshape(count, _ext.PANEL, -1).transpose(0, 2, 1)
