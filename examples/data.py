"""Pictures for the examples: Fashion-MNIST where it is on the machine, else the digits that fastdl ships."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl import datasets

Array = np.ndarray[Any, Any]


def pictures(rows: int | None = None) -> tuple[Array, Array, Array, Array]:
    """x, y, x_test, y_test: flat pictures in [0, 1], labels 0 to 9; at most `rows` rows of each."""
    found = datasets.find_fashion_mnist() is not None
    (x, y), (x_test, y_test) = datasets.fashion_mnist() if found else datasets.digits()
    top = 255 if found else 16
    flat = [(part.reshape(len(part), -1) / np.float32(top))[:rows] for part in (x, x_test)]
    return flat[0], y[:rows], flat[1], y_test[:rows]


def digits(rows: int | None = None) -> tuple[Array, Array, Array, Array]:
    """The same of the 8 × 8 digits."""
    (x, y), (x_test, y_test) = datasets.digits()
    flat = [(part.reshape(len(part), -1) / np.float32(16))[:rows] for part in (x, x_test)]
    return flat[0], y[:rows], flat[1], y_test[:rows]
