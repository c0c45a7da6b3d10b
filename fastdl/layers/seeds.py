"""Arguments of layers that draw random numbers."""

from __future__ import annotations


def checked_seed(seed: int | None) -> int | None:
    """A layer's seed. ValueError unless 0 <= seed < 2**32, or None."""
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**32):
        raise ValueError(f"seed must be an integer in [0, 2**32), not {seed!r}")
    return seed


def no_shape(noise_shape: None) -> None:
    """ValueError for any noise_shape of Keras's but None."""
    if noise_shape is not None:
        raise ValueError(f"noise_shape must be None, not {noise_shape!r}: each number is drawn by itself")
