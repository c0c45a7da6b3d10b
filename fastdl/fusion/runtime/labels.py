"""The class of each row, from whatever a model gives: labels, probabilities or logits."""

from __future__ import annotations

import numpy as np

from fastdl.base.arrays import Array


def labels_of(output: Array) -> Array | None:
    """(rows,): integers or strings as they are, argmax of two columns or more, > 0.5 of one; None for all else."""
    if output.ndim == 0:
        return None
    if output.dtype.kind != "f":
        flat = output.reshape(len(output), -1) if output.size else output.reshape(len(output), 0)
        return flat[:, 0] if flat.shape[1] == 1 else None
    if output.ndim != 2 or output.shape[1] == 0:
        return None
    if output.shape[1] == 1:
        return (output[:, 0] > 0.5).astype(np.int64)
    return np.asarray(output.argmax(axis=1))
