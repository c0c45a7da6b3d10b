"""What scores of several splits and seeds say: means and their intervals, ranks, and which differences are noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from bench.tabular.splits import PARTS

LEVEL = 0.95


def quantile(freedom: int) -> float:
    """Student's t that a share LEVEL of the values lie within."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and the half width of its 95 % interval; NaN for one value."""
    if len(values) < 2:
        return mean(values), math.nan
    return mean(values), quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences and half the width of its interval; `ahead`: 1, −1, or 0 within noise."""

    mean: float
    half: float

    @property
    def ahead(self) -> int:
        """Positive differences are better."""
        if math.isnan(self.half) or abs(self.mean) <= self.half:
            return 0
        return 1 if self.mean > 0 else -1


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Of scores by split, higher is better; None without a split that both have.

    The training rows of the splits overlap, so differences vary less than those of new data would: their variance is
    taken 1/n + test/train times instead of 1/n (Nadeau and Bengio 2003, "Inference for the Generalization Error").
    """
    paired = [ours[split] - theirs[split] for split in sorted(ours.keys() & theirs.keys())]
    if not paired:
        return None
    if len(paired) == 1:
        return Difference(paired[0], math.nan)
    overlap = 1 / (PARTS - 1)
    half = quantile(len(paired) - 1) * stdev(paired) * math.sqrt(1 / len(paired) + overlap)
    return Difference(mean(paired), half)


def ranks(values: Mapping[str, float]) -> dict[str, float]:
    """1 for the highest; equal values share the mean of their ranks."""
    ordered = sorted(values.values(), reverse=True)
    places: dict[float, list[int]] = {}
    for place, value in enumerate(ordered, 1):
        places.setdefault(value, []).append(place)
    return {name: mean(places[value]) for name, value in values.items()}
