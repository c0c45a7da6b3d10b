"""Keras's function of summaries."""

from __future__ import annotations

from typing import Any

from fastdl.models import Model


def print_summary(
    model: Model,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> None:
    """As model.summary. Keras: utils.summary_utils.print_summary."""
    model.summary(line_length, positions, print_fn, expand_nested, show_trainable, layer_range)
