"""The dtype of losses, which compute in it on arrays, and of metrics, which sum in float64 whatever it is."""

from __future__ import annotations

from typing import Any

from fastdl import config

DTYPES = "float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"


def dtype_name(dtype: Any) -> str:
    """config.floatx() for None. ValueError unless it is a float's dtype, or one of Keras's policies of floats."""
    name = config.floatx() if dtype is None else getattr(dtype, "name", None) or getattr(dtype, "__name__", str(dtype))
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    return str(name)
