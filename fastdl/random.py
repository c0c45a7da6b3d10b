"""Keras's `random`: arrays of random numbers. seed: an integer (the same numbers at every call), a SeedGenerator (other
ones at each), or None for the source that `utils.set_random_seed` seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import config
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.base.random import Seed, source, within_two
from fastdl.base.random import SeedGenerator as SeedGenerator
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError
from fastdl.ops import Dropout
from fastdl.ops.numeric import symbolic, tensor_of

Shape = Sequence[int]


def normal(shape: Shape, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Seed = None) -> Array:
    """Normal. ValueError for a dtype that is no float's."""
    return _floats(mean + stddev * source(seed).standard_normal(tuple(shape)), dtype)


def truncated_normal(
    shape: Shape, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Seed = None
) -> Array:
    """Normal, where what lies beyond two standard deviations is drawn again. ValueError as for `normal`."""
    return _floats(mean + stddev * within_two(source(seed), tuple(shape)), dtype)


def uniform(shape: Shape, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Seed = None) -> Array:
    """Uniform in [minval, maxval). ValueError as for `normal`."""
    return _floats(source(seed).uniform(minval, maxval, tuple(shape)), dtype)


def randint(shape: Shape, minval: int, maxval: int, dtype: Any = "int32", seed: Seed = None) -> Array:
    """Whole numbers in [minval, maxval). ValueError for a dtype that is no integer's."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        raise ValueError(f"randint draws whole numbers: dtype must be an integer's, not {dtype!r}")
    return source(seed).integers(minval, maxval, tuple(shape)).astype(kind)


def gamma(shape: Shape, alpha: Any, dtype: Any = None, seed: Seed = None) -> Array:
    """Gamma with the shape alpha, which is broadcast, and the scale 1. ValueError as for `normal`."""
    return _floats(source(seed).gamma(alpha, size=tuple(shape)), dtype)


def beta(shape: Shape, alpha: Any, beta: Any, dtype: Any = None, seed: Seed = None) -> Array:
    """Beta, of alpha and beta, which are broadcast. ValueError as for `normal`."""
    return _floats(source(seed).beta(alpha, beta, size=tuple(shape)), dtype)


def binomial(shape: Shape, counts: Any, probabilities: Any, dtype: Any = None, seed: Seed = None) -> Array:
    """How many of so many trials succeed, both broadcast, as floats. ValueError as for `normal`."""
    trials = np.asarray(counts).astype(np.int64)
    return _floats(source(seed).binomial(trials, probabilities, tuple(shape)), dtype)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Seed = None) -> Array:
    """Classes, (rows, num_samples), with the probabilities softmax(logits), (rows, classes). ShapeError."""
    rows = _array("logits", logits).astype(np.float64)
    if rows.ndim != 2:
        raise ShapeError(f"logits must be of (rows, classes), not {rows.shape}")
    each = whole("num_samples", num_samples)
    noise = source(seed).gumbel(size=(len(rows), each, rows.shape[1]))  # Gumbel 1954: the largest is so distributed
    return np.asarray((rows[:, None, :] + noise).argmax(-1), np.dtype(dtype))


def dropout(inputs: Any, rate: float, noise_shape: Shape | None = None, seed: Seed = None) -> Any:
    """Each number zero with the probability `rate`, else / (1 - rate). noise_shape: that of the draws, broadcast.

    Of a symbolic tensor, as in a layer's `call`, a tensor, whose draws are others in each batch. ValueError.
    """
    if symbolic(inputs):
        return _dropped(tensor_of(inputs), rate, noise_shape, seed)
    x = _array("inputs", inputs)
    x = x if x.dtype.kind == "f" else x.astype(config.floatx())
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], not {rate}")
    sizes = (
        x.shape
        if noise_shape is None
        else tuple(n if m is None else m for m, n in zip(noise_shape, x.shape, strict=True))
    )
    kept = source(seed).random(sizes) >= rate
    return np.where(kept, x / max(1 - rate, 1e-300), 0).astype(x.dtype)


def _dropped(x: Tensor, rate: float, noise_shape: Shape | None, seed: Seed) -> Tensor:
    """The same by a kernel."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), not {rate}")
    if noise_shape is not None:
        raise ValueError(f"noise_shape must be None, not {noise_shape!r}: in a model each number is drawn by itself")
    if seed is not None and not isinstance(seed, SeedGenerator):
        raise ValueError(
            f"in a model each batch has draws of its own: seed must be a SeedGenerator or None, not {seed!r}"
        )
    own = None if seed is None else int(np.random.default_rng(seed.next()).integers(2**32))
    return Dropout(x, float(rate), active=True, seed=own).output


def shuffle(x: Any, axis: int = 0, seed: Seed = None) -> Array:
    """A copy whose parts along the axis are in another order."""
    return source(seed).permutation(_array("x", x), axis)


def _array(name: str, value: Any) -> Array:
    if symbolic(value):
        raise TypeError(
            f"{name} is a symbolic tensor: random numbers in a model are drawn by layers, as layers.Dropout"
        )
    return np.asarray(value)


def _floats(values: Any, dtype: Any) -> Array:
    kind = np.dtype(dtype or config.floatx())
    if kind.kind != "f":
        raise ValueError(f"dtype must be a float's, not {dtype!r}")
    return np.asarray(values, kind)
