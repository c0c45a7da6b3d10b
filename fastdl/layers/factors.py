"""What a layer multiplies the optimizer's step and decay of its weights with, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastdl.base.arguments import real

FACTORS = "learning_rate_factors", "weight_decay_factors"


def checked_factors(what: str, factors: Mapping[str, float] | None) -> dict[str, float] | None:
    """By name, as finite numbers of zero or more. ValueError."""
    if factors is None:
        return None
    if not isinstance(factors, Mapping) or not all(isinstance(name, str) for name in factors):
        raise ValueError(f"{what} must be numbers by the names of weights, as {{'bias': 0.1}}, not {factors!r}")
    return {name: real(f"{what}[{name!r}]", factor, finite=True) for name, factor in factors.items()}


def refuse_unknown(layer: str, what: str, factors: Mapping[str, float] | None, weights: Sequence[str]) -> None:
    """ValueError for a factor of what is none of the layer's trained weights."""
    for name in factors or {}:
        if name not in weights:
            has = f"it trains {', '.join(weights)}" if weights else "it trains none"
            raise ValueError(f"{layer}: {what} names {name!r}, which is no weight of this layer: {has}")
