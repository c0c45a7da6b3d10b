"""Layers that make several numbers of each number, for nets to see more in it: waves, and pieces of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import activations, initializers, ops
from fastdl.activations import not_negative
from fastdl.base.arguments import flag, whole
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Shape, Tensor, features_of
from fastdl.errors import ShapeError
from fastdl.layers.layer import Layer
from fastdl.layers.preprocessing import Adapted
from fastdl.layers.statistics import Sample

VARIANTS = ("pbld", "plr")


class PeriodicEmbedding(Layer):
    """Each number z of x: (batch, N) as output_dim numbers made of trained waves → (batch, N * output_dim).

    variant "pbld" (Holzmüller et al. 2024): z itself, and W cos(2 pi f z + p) + b of output_dim - 1 numbers; "plr"
    (Gorishniy et al. 2022): relu(W [cos(2 pi f z), sin(2 pi f z)] + b). f and p are n_frequencies for each number,
    W and b its own, or with `lite` one for all numbers. f is drawn from N(0, frequency_stddev²), p from U(-pi, pi),
    W and b from U(±1 / sqrt(waves)). ShapeError for other ranks, ValueError for another variant.
    """

    def __init__(
        self,
        output_dim: int = 4,
        n_frequencies: int = 16,
        frequency_stddev: float = 0.1,
        variant: str = "pbld",
        lite: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if variant not in VARIANTS:
            raise ValueError(f"variant must be 'pbld' or 'plr', not {variant!r}")
        self.output_dim = whole("output_dim", output_dim, 2 if variant == "pbld" else 1)
        self.n_frequencies = whole("n_frequencies", n_frequencies)
        self.frequency_stddev = not_negative("frequency_stddev", frequency_stddev)
        self.variant, self.lite = variant, flag("lite", lite)

    def build(self, shape: Shape, dtype: Dtype) -> None:
        numbers, count, plr = features_of(self.name, shape), self.n_frequencies, self.variant == "plr"
        waves, outputs = (2 * count, self.output_dim) if plr else (count, self.output_dim - 1)
        tables, bound = 1 if self.lite else numbers, 1 / math.sqrt(waves)
        sizes = {"frequencies": (numbers, count), "phases": (numbers, count)}
        sizes |= {"kernel": (tables * outputs, waves), "bias": (tables, outputs)}
        draws: dict[str, initializers.Initializer] = {
            "frequencies": initializers.RandomNormal(0.0, self.frequency_stddev),
            "phases": initializers.RandomUniform(-math.pi, math.pi),
            "kernel": initializers.RandomUniform(-bound, bound),
            "bias": initializers.RandomUniform(-bound, bound),
        }
        made = {
            name: self.add_weight(sizes[name], draw, dtype, name=name, by_rows=True)
            for name, draw in draws.items()
            if not (plr and name == "phases")
        }
        self.frequencies, self.phases = made["frequencies"], made.get("phases")
        self.kernel, self.bias = made["kernel"], made["bias"]

    def call(self, x: Tensor) -> Tensor:
        plr = self.variant == "plr"
        waves = ops.Periodic(x, self.frequencies, self.phases, self.kernel, self.bias, plr, not plr, self.name).output
        return activations.relu(waves) if plr else waves


class PiecewiseLinearEncoding(Adapted[Sample]):
    """Each number of x: (batch, N) as how far it is through each of its bins → (batch, sum of bins). Not trained.

    A bin from a to b gives (x - a) / (b - a), clipped to [0, 1] but for a number's first bin below and its last one
    above (Gorishniy et al. 2022). `adapt` puts the bins' edges at quantiles of the data, n_bins or fewer where several
    are equal, of a random 100,000 rows where there are more; a constant gives 0. n_bins: how many at most, or a list of
    how many each number has. Until `adapt` the bins cut [0, 1] evenly. ValueError for less than one.
    """

    def __init__(self, n_bins: int | Sequence[int] = 48, **options: Any) -> None:
        super().__init__(**options)
        several = isinstance(n_bins, list | tuple | np.ndarray)
        self.n_bins: int | list[int] = (
            [whole("each of n_bins", each) for each in n_bins] if several else whole("n_bins", n_bins)  # type: ignore[union-attr]
        )
        self._asked = (self.n_bins,)  # how many at most, whatever was learned since

    def _bins(self, count: int, n_bins: int | list[int]) -> list[int]:
        """Of each of `count` numbers. ShapeError for a list of another length."""
        bins = [n_bins] * count if isinstance(n_bins, int) else n_bins
        if len(bins) != count:
            raise ShapeError(f"{self.name} has n_bins for {len(bins)} numbers, the input {count}")
        return bins

    def _axes(self, shape: Shape) -> range:
        features_of(self.name, shape)
        return range(1, 2)

    def _statistic(self, count: int) -> Sample:
        return Sample(count)

    def _learn(self, statistic: Sample) -> dict[str, Array]:
        rows = statistic.rows
        most = self._bins(rows.shape[1], *self._asked)
        edges = [np.unique(np.quantile(rows[:, i], np.linspace(0, 1, n + 1))) for i, n in enumerate(most)]
        edges = [np.repeat(each, 2) if len(each) == 1 else each for each in edges]  # of a constant: a bin of no width
        bins = [len(each) - 1 for each in edges]
        if self.built and bins != self._bins(len(bins), self.n_bins):
            raise ShapeError(
                f"{self.name} is built with {self.n_bins} bins, and these data give {bins}: adapt it first"
            )
        self.n_bins = bins
        return _pieces(edges)

    def build(self, shape: Shape, dtype: Dtype) -> None:
        super().build(shape, dtype)
        self.n_bins = self._bins(self._count(shape), self.n_bins)
        if not self._learned:
            self._learned = _pieces([np.linspace(0, 1, n + 1) for n in self.n_bins])
        self._lower = self._weight("lower", sum(self.n_bins), dtype, 0.0)
        self._scale = self._weight("scale", sum(self.n_bins), dtype, 1.0)

    def call(self, inputs: Tensor) -> Tensor:
        bins = self._bins(inputs.features, self.n_bins)
        return ops.PiecewiseLinear(inputs, self._lower, self._scale, bins, self.name).output


def _pieces(edges: Sequence[Array]) -> dict[str, Array]:
    """Where each bin begins, and one over its width; 0 for one of no width."""
    widths = np.concatenate([np.diff(each) for each in edges])
    scale = np.divide(1.0, widths, out=np.zeros(len(widths)), where=widths > 0)
    return {"lower": np.concatenate([each[:-1] for each in edges]), "scale": scale}
