"""Errors of one output, pooled over batches, and the bar that they must stay under.

Pooled, so that one lucky row of the plain graph does not set the bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.errors import FusionError
from fastdl.fusion.graph.node import Floats
from fastdl.fusion.proof.result import Proof
from fastdl.fusion.proof.ties import Flags
from fastdl.fusion.runtime.labels import labels_of

FACTOR = 4.0
FLOORS = {np.dtype(np.float16): 8e-3, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
INPUTS = 4.0  # times the floor: as far as the rounding of the inputs may lift it
OF_COLUMN = 100.0  # times the floor: what a column may be off by, relative to itself, that no large one may hide it
COLUMNS = 4096
ULP_REACH = 2.0**-10  # an ulp is taken at no less than this share of the output's largest magnitude

Values = Array
Tie = Callable[[Values, Values], Flags]  # of the labels wanted and given


@dataclass(frozen=True)
class Output:
    """One output of one batch: what it ought to be, and what the graphs give, optimised and not (`…_off`)."""

    want: Values
    plain: Values
    plain_off: Values
    fused: Values
    fused_off: Values


@dataclass
class Tally:
    """Pooled over batches, for one output: largest magnitude, and largest absolute errors, by column too."""

    dtype: Dtype
    scale: float = 0.0
    plain: float = 0.0
    fused: float = 0.0
    columns: dict[str, Floats] = field(default_factory=dict)  # "scale", "plain", "fused"
    odd: str = ""  # what is not finite in the fused graph alone

    @property
    def floor(self) -> float:
        """What rounding in the output's own type alone may come to, relative to its largest magnitude."""
        return FLOORS.get(self.dtype, 0.0)

    def off(self) -> tuple[float, float]:
        """Relative errors of the plain and of the fused graph."""
        scale = self.scale or 1.0
        return self.plain / scale, self.fused / scale

    def add(self, output: Output, proof: Proof, tied: Tie | None) -> None:
        """What one batch gives; tied: what labels may differ."""
        want = output.want
        plain, fused = (output.plain, output.plain_off), (output.fused, output.fused_off)
        if any(y.shape != want.shape for y in (*plain, *fused)):
            raise FusionError(f"shapes differ: {want.shape} expected, {[y.shape for y in (*plain, *fused)]} given")
        if want.size == 0:
            return
        if self.dtype.kind != "f":  # labels, counts: the error is the share that differs
            self.scale = 1.0
            shares = [[float(np.mean((y != want) & ~(tied(want, y) if tied else False))) for y in ys]
                      for ys in (plain, fused)]  # fmt: skip
            self.plain, self.fused = max(self.plain, *shares[0]), max(self.fused, *shares[1])
            return
        finite = np.isfinite(want)
        largest = float(np.abs(want[finite]).max(initial=0.0))
        self.scale = max(self.scale, largest)
        # Where the plain graph itself overflows there is nothing to be as exact as.
        usable = finite & np.isfinite(output.plain) & np.isfinite(output.plain_off)
        expected = np.where(usable, want, 0.0)
        self._column("scale", np.abs(expected))
        ulp = np.spacing(np.maximum(np.abs(expected), largest * ULP_REACH).astype(self.dtype))
        for y in plain:
            off = np.abs(np.where(usable, y, 0).astype(np.float64) - expected)
            self.plain = max(self.plain, float(off.max(initial=0.0)))
            self._column("plain", off)
            proof.unfused_ulp_error = max(proof.unfused_ulp_error, float((off / ulp).max(initial=0.0)))
        for y in fused:
            off = np.abs(np.where(usable, y, 0).astype(np.float64) - expected)
            worst = float(off.max(initial=0.0))
            odd = ~finite & ~((y == output.plain) | (np.isnan(y) & np.isnan(output.plain)))
            if odd.any() or np.isnan(worst):
                self.odd = self.odd or _odd(y, want)
                continue
            self.fused = max(self.fused, worst)
            self._column("fused", off)
            proof.max_ulp_error = max(proof.max_ulp_error, float((off / ulp).max(initial=0.0)))

    def _column(self, what: str, values: Floats) -> None:
        if values.ndim < 2 or not 1 < values.shape[-1] <= COLUMNS:
            return
        largest = values.reshape(-1, values.shape[-1]).max(axis=0)
        before = self.columns.get(what)
        self.columns[what] = largest if before is None or before.shape != largest.shape else np.maximum(before, largest)

    def worst_column(self) -> tuple[int, float, float] | None:
        """A column further off than rounding explains: which, how far, and the bar, relative to its own size."""
        if not {"scale", "plain", "fused"} <= self.columns.keys():
            return None
        scale, plain, fused = (self.columns[what] for what in ("scale", "plain", "fused"))
        own = float((plain / np.maximum(scale, 1e-300)).max())  # of the column that rounding shows most in
        bars = np.maximum(FACTOR * plain, max(FACTOR * own, OF_COLUMN * self.floor) * scale)
        if not (over := fused > bars).any():
            return None
        column = int(np.argmax(np.where(over, fused / np.maximum(bars, 1e-300), 0)))
        size = scale[column] or 1.0
        return column, float(fused[column] / size), float(bars[column] / size)


def _odd(y: Array, want: Array) -> str:
    for what, test in (("NaN", np.isnan), ("infinity", np.isinf)):
        if (test(y) & ~test(want)).any():
            return f"it gives {what} where the unfused graph does not"
    return "it gives numbers where the unfused graph gives NaN or infinity"


def label_flips(plain: Array, fused: Array) -> int:
    """Rows whose label differs; 0 where the output has no labels."""
    one, other = labels_of(plain), labels_of(fused)
    return 0 if one is None or other is None else int((one != other).sum())
