"""Robust scaling and smooth clipping (RealMLP, arXiv 2407.04491): z = s (x − median), then z / √(1 + (z/3)²).

Kept as w = z/3, so that what follows is 3 w / √(1 + w²). Constants are computed in float64 and applied in float32 in
the order in which the nodes of the ONNX file apply them, so that both give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastdl.base.arrays import Array

REACH = 3.0  # what clipped values stay within
LARGEST = 1e18  # of w: its square is still a float32
MOST = 1e300  # of a factor
NOTICED = 1e-5  # of the spread: what rounding an input to float32 may move it by


@dataclass(frozen=True)
class Scaling:
    """w = factor (x − center); missing: the w of what is missing; double: x needs more digits than float32 has."""

    center: float
    factor: float
    missing: float
    double: bool = False

    def constants(self) -> tuple[Array, Array]:
        """Center and factor in the type in which they are applied."""
        dtype = np.float64 if self.double else np.float32
        return np.array(self.center, dtype), np.array(self.factor, dtype)

    def apply(self, x: Array) -> tuple[Array, Array]:
        """float64 (rows,), NaN where missing → w, float32 (rows,), and where it is missing."""
        center, factor = self.constants()
        with np.errstate(all="ignore"):
            w = ((x.astype(center.dtype) - center) * factor).astype(np.float32)
        gone = np.isnan(w)
        w[gone] = self.missing
        return w, gone


def clipped(w: Array) -> Array:
    """3 w / √(1 + w²), float32 of any shape, a new array."""
    w = np.clip(w, np.float32(-LARGEST), np.float32(LARGEST))
    root = w * w
    root += np.float32(1)
    np.sqrt(root, out=root)
    w /= root
    w *= np.float32(REACH)
    return w


def scaling_of(values: Array, counts: Array, missing: float | None = None) -> Scaling:
    """The scaling of values that are seen so often each, ascending; a missing one is `missing`, else their mean."""
    finite = np.isfinite(values)
    values, counts = values[finite].astype(np.float64), counts[finite].astype(np.float64)
    if not values.size:
        return Scaling(0.0, 0.0, 0.0)
    center, scale = robust(values, counts)
    if missing is None:
        share = counts / counts.sum()
        missing = float((values * share).sum())
    factor = scale / REACH
    own = Scaling(center, factor, 0.0, _needs_double(values, center, factor))
    return Scaling(center, factor, float(np.float32((missing - center) * factor)), own.double)


def robust(values: Array, counts: Array) -> tuple[float, float]:
    """Median, and 1/(q75 − q25), else 2/(max − min), else 0. Values ascending; each stands for so many, or so much."""
    total = counts.sum()
    if (counts != np.floor(counts)).any():  # weights: of as many rows as there are values, on average
        counts = counts * (len(counts) / total)
        total = counts.sum()
    low, center, high = (_quantile(values, counts, q * max(total - 1, 0)) for q in (0.25, 0.5, 0.75))
    for one, other, times in ((low, high, 0.5), (values[0], values[-1], 1.0)):
        spread = other / 2 - one / 2  # which cannot overflow
        if spread > 0:
            return center, min(times / spread, MOST)
    return center, 0.0


def _quantile(values: Array, counts: Array, position: float) -> float:
    """Between the two values at the place: numpy's default, of the values repeated."""
    reached = np.cumsum(counts)
    whole = np.floor(position)
    first, second = np.minimum(np.searchsorted(reached, [whole, whole + 1], side="right"), len(values) - 1)
    share = position - whole
    return float(values[first] * (1 - share) + values[second] * share)


def _needs_double(values: Array, center: float, factor: float) -> bool:
    """Whether float32 would lose digits of the values that matter at their spread, or cannot hold the constants."""
    with np.errstate(all="ignore"):
        lost = np.abs(values.astype(np.float32).astype(np.float64) - values) * factor
        near = np.abs((values - center) * factor) < REACH  # further out nothing is told apart
        narrow = np.array([center, factor], np.float32)
    least, most = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    odd = not np.isfinite(narrow).all() or any(0 < abs(each) < least for each in (center, factor))
    return bool(odd or (lost[near] > NOTICED).any() or (np.abs(values) > most).any())


def flag_constants(values: tuple[float, ...], counts: tuple[float, ...], scaled: bool) -> Array:
    """What each of a flag's values becomes, float32, in their order: scaled as numbers are, or as it is."""
    given = np.array(values, np.float32)
    if not scaled:
        return given
    order = np.argsort(given)
    scaling = scaling_of(given[order], np.array(counts, np.float64)[order])
    return clipped(scaling.apply(given.astype(np.float64))[0])
