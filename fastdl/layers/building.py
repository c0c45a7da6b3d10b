"""What layers take from Keras's ways: a `build` that others may call, and a dtype."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastdl import config


def checked_dtype(dtype: Any) -> None:
    """ValueError unless it is None or config.floatx(): a layer computes in the dtype of its model."""
    if dtype is not None and str(getattr(dtype, "name", dtype)) != config.floatx():
        raise ValueError(
            f"dtype must be {config.floatx()} or None, not {dtype!r}: layers take the dtype of their model"
        )


def buildable(build: Callable[..., None]) -> Callable[..., None]:
    """A layer's `build` that may be called from without as well, with the shape alone, as Keras's is."""

    @functools.wraps(build)
    def either(layer: Any, *given: Any, **named: Any) -> None:
        if not layer.building and len(given) + len(named) == 1:
            layer.build_for(*given, *named.values())
        else:
            build(layer, *given, **named)

    return either
