"""Layers that learn from data before training, in `adapt`, and stay as they are in it: Keras's and scikit-learn's.

What they learn are weights that no optimizer touches: saved, loaded and exported with the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from fastdl import ops
from fastdl.activations import not_negative
from fastdl.base import arrays
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Parameter, Shape, Tensor, features_of
from fastdl.errors import DataError, ShapeError
from fastdl.layers.layer import Layer
from fastdl.layers.statistics import Covariance, Extremes, Moments, Statistic

S = TypeVar("S", bound=Statistic)
ADAPTED_AT_ONCE = 2**18  # numbers that are converted to float64 at a time
Axis = int | Sequence[int] | None


class Adapted(Layer, Generic[S]):
    """Base. A subclass says over which axes it tells features apart, and what its weights are from a statistic."""

    nameable = False

    def __init__(self, axis: Axis = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis if axis is None or isinstance(axis, int) else [int(each) for each in axis]
        self._learned: dict[str, Array] = {}
        self._sample: Shape | None = None  # of what was adapted to, or built for
        self.feature_names: list[str] | None = None  # the columns of the frame that was adapted to

    def adapt(self, data: Any) -> None:
        """Learn from data, in one pass: an array, frame or list of rows, or an iterable of batches, alone or (x, y).

        Statistics are in float64. What was learned before is forgotten. DataError for data that are not finite
        numbers; ShapeError if they do not fit the layer or each other. A frame's columns are remembered: of further
        batches, and of what a model that begins with this layer is given, they are taken by name.
        """
        statistic: S | None = None
        shape, names = (self._sample, self.feature_names) if self._dtype is not None else (None, None)
        columns = Columns(names)
        for rows in _pieces(self.name, data, columns):
            if shape is not None and self._told_apart(rows.shape) != self._told_apart(shape):
                raise ShapeError(f"{self.name} takes {shape}, and is to adapt to data of shape {rows.shape}")
            shape = (None, *rows.shape[1:])
            axes = self._axes(shape)
            count = math.prod(rows.shape[axis] for axis in axes)
            statistic = statistic or self._statistic(count)
            kept = np.moveaxis(rows, list(axes), range(-len(axes), 0)) if axes else rows
            statistic.add(kept.reshape(-1, count))
        if statistic is None:
            raise DataError(f"{self.name} is to adapt to no data at all")
        learned = self._learn(statistic)
        for parameter in self._parameters:
            if parameter.name in learned:
                parameter.assign(learned[parameter.name])
        self._learned, self._sample, self.feature_names = learned, shape, columns.names
        self.built = True  # its weights are made for the dtype of the model that it is used in

    def build(self, shape: Shape, dtype: Dtype) -> None:
        if None in self._told_apart(shape):
            raise ShapeError(f"{self.name}: all sizes along axis {self.axis} must be known, and the input is {shape}")
        if self._sample is not None and self._told_apart(self._sample) != self._told_apart(shape):
            raise ShapeError(f"{self.name} is adapted to data of shape {self._sample}, the input is {shape}")
        self._sample = shape

    def _statistic(self, count: int) -> S:
        """What is to be known of `count` features."""
        raise NotImplementedError

    def _learn(self, statistic: S) -> dict[str, Array]:
        """The weights, by name."""
        raise NotImplementedError

    def _axes(self, shape: Shape) -> range:
        """The axes whose places are told apart. ValueError unless they are neighbours among the sample's."""
        rank = len(shape)
        listed = [] if self.axis is None else [self.axis] if isinstance(self.axis, int) else self.axis
        axes = sorted(axis + rank if axis < 0 else axis for axis in listed)
        if not axes:
            return range(rank, rank)
        span = range(axes[0], axes[-1] + 1)
        if list(span) != axes or span.start < 1 or span.stop > rank:
            raise ValueError(f"{self.name}: axis must be neighbouring axes of a sample in {shape}, not {self.axis}")
        return span

    def _weight(self, name: str, count: int, dtype: Dtype, default: float) -> Parameter:
        """A weight with one number a feature, as it was learned, or the default."""

        def values(shape: tuple[int, ...], dtype: Dtype) -> Array:
            learned = self._learned.get(name)
            return np.full(shape, default, dtype) if learned is None else learned.astype(dtype).ravel()

        return self.add_weight((count,), values, dtype, name=name, trainable=False)

    def _told_apart(self, shape: Shape) -> Shape:
        """The sizes along the axes whose places are told apart."""
        return tuple(shape[axis] for axis in self._axes(shape))

    def _count(self, shape: Shape) -> int:
        return math.prod(size or 1 for size in self._told_apart(shape))


@dataclass
class Columns:
    """The names of a frame's columns, once one was met."""

    names: list[str] | None

    def meet(self, name: str, value: Any) -> Any:
        """The value; a frame with its columns in their order."""
        if self.names is None and arrays.is_frame(value):
            self.names = arrays.column_names(name, value)
        return arrays.in_order(name, value, self.names)


def _pieces(name: str, data: Any, columns: Columns) -> Iterator[Array]:
    """The data in float64, some rows at a time."""
    several = arrays.arrive_in_batches(data)
    for batch in arrays.each_batch(data) if several else [data]:
        value = arrays.parts(batch)[0] if several else batch
        if several and isinstance(value, int | float | np.number):
            raise TypeError(f"{name}'s data: each batch must be an array, which has a `.shape`, not {value!r}")
        rows = arrays.numbers(f"{name}'s data", columns.meet(f"{name}'s data", value))
        rows = rows[:, None] if rows.ndim == 1 else rows
        arrays.check_finite(f"{name}'s data", rows, "clean it")
        step = max(1, ADAPTED_AT_ONCE // math.prod(rows.shape[1:]))
        for start in range(0, len(rows), step):
            yield rows[start : start + step].astype(np.float64)


class Normalization(Adapted[Moments]):
    """(x - mean) / max(sqrt(variance), 1e-7); with invert the way back, x max(sqrt(variance), 1e-7) + mean.

    mean, variance: for each place of `axis` (None: one for all), given or learned by `adapt`; the variance is biased.
    As attributes they have the input's axes, of size 1 where places are not told apart. Until then 0 and 1. A constant
    feature becomes 0. What is learned are weights, and `count`, which is zero as Keras's; what is given is none.
    x: (batch, ...). Keras: layers.Normalization; scikit-learn's StandardScaler. ValueError for one of mean and variance
    without the other, or a negative variance.
    """

    def __init__(
        self, axis: Axis = -1, mean: Any = None, variance: Any = None, invert: bool = False, **options: Any
    ) -> None:
        super().__init__(axis, **options)
        if (mean is None) != (variance is None):
            raise ValueError("mean and variance must be given together, or neither")
        self.invert = bool(invert)
        self._given = None if mean is None else tuple(np.asarray(each, np.float64) for each in (mean, variance))
        if self._given and (self._given[0].shape != self._given[1].shape or not (self._given[1] >= 0).all()):
            raise ValueError("mean and variance must have one shape, and no variance may be negative")

    @property
    def mean(self) -> Array | None:
        """As learned or given, in the rank of the input; None before its shape is known."""
        return self._known("mean")

    @property
    def variance(self) -> Array | None:
        """As `mean`."""
        return self._known("variance")

    def _known(self, name: str) -> Array | None:
        if self._sample is None:
            return None
        axes = self._axes(self._sample)
        shape = [(size or 1) if axis in axes else 1 for axis, size in enumerate(self._sample)]
        return (self._learned[name] if self._dtype is None else vars(self)[f"_{name}"].numpy()).reshape(shape)

    def get_config(self) -> dict[str, Any]:
        mean, variance = self._given or (None, None)
        given = {"mean": mean, "variance": variance}
        return super().get_config() | {name: each if each is None else each.tolist() for name, each in given.items()}

    def adapt(self, data: Any) -> None:
        if self._given:
            raise ValueError(f"{self.name} was given its mean and variance: there is nothing to adapt")
        super().adapt(data)

    def _statistic(self, count: int) -> Moments:
        return Moments(count)

    def _learn(self, statistic: Moments) -> dict[str, Array]:
        return {"mean": statistic.mean, "variance": statistic.squares / statistic.count}

    def build(self, shape: Shape, dtype: Dtype) -> None:
        super().build(shape, dtype)
        count = self._count(shape)
        if self._given:
            kept = [shape[axis] or 1 for axis in self._axes(shape)]
            try:
                given = [np.broadcast_to(each, kept) for each in self._given]
            except ValueError:
                raise ShapeError(f"{self.name}: a mean of shape {self._given[0].shape} does not fit {shape}") from None
            self._learned = {"mean": given[0], "variance": given[1]}
            # arguments, which the config holds, are no weights
            self._mean, self._variance = (
                Parameter(f"{self.name}/{name}", (count,), dtype, self._learned[name].ravel(), trainable=False)
                for name in ("mean", "variance")
            )
            return
        self._mean = self._weight("mean", count, dtype, 0.0)
        self._variance = self._weight("variance", count, dtype, 1.0)
        self.add_weight((), "zeros", dtype, name="count", trainable=False)

    def call(self, inputs: Tensor) -> Tensor:
        center, offset, kind = (None, self._mean, "root") if self.invert else (self._mean, None, "inverse root")
        return ops.Affine(
            inputs, center, self._variance, offset, self._axes(inputs.shape), kind, 1e-7, self.name
        ).output


class MinMaxScaling(Adapted[Extremes]):
    """Maps what lies between the least and the greatest value that `adapt` saw onto feature_range, linearly.

    For each place of `axis` (None: one range for all); a constant feature becomes the lower end. Until `adapt` the
    range seen is [0, 1]. x: (batch, ...). scikit-learn: MinMaxScaler. ValueError unless the range ascends.
    """

    def __init__(self, feature_range: Sequence[float] = (0.0, 1.0), axis: Axis = -1, **options: Any) -> None:
        super().__init__(axis, **options)
        self.feature_range = [float(end) for end in feature_range]
        if len(self.feature_range) != 2 or not -math.inf < self.feature_range[0] < self.feature_range[1] < math.inf:
            raise ValueError(f"feature_range must be a lower and a higher number, not {feature_range}")

    def _statistic(self, count: int) -> Extremes:
        return Extremes(count)

    def _learn(self, statistic: Extremes) -> dict[str, Array]:
        return self._map(statistic.least, statistic.greatest)

    def _map(self, least: Array, greatest: Array) -> dict[str, Array]:
        low, high = self.feature_range
        wide = greatest - least
        wide = np.where(wide < 10 * np.finfo(np.float64).eps, 1.0, wide)  # as scikit-learn tells a constant
        scale = (high - low) / wide
        return {"center": least - low / scale, "scale": scale}

    def build(self, shape: Shape, dtype: Dtype) -> None:
        super().build(shape, dtype)
        count = self._count(shape)
        default = self._map(np.zeros(1), np.ones(1))
        self._center = self._weight("center", count, dtype, float(default["center"][0]))
        self._scale = self._weight("scale", count, dtype, float(default["scale"][0]))

    def call(self, inputs: Tensor) -> Tensor:
        return ops.Affine(inputs, self._center, self._scale, None, self._axes(inputs.shape), name=self.name).output


class Whitening(Adapted[Covariance]):
    """(x - mean) W: uncorrelated features of variance 1. x: (batch, features) → (batch, n_components or features).

    With C = V diag(v) V^T the covariance that `adapt` saw, W = V diag(v + epsilon)^-1/2, its columns by falling v
    ("pca", scikit-learn: PCA(whiten=True)), or that times V^T ("zca", Bell and Sejnowski 1997: as near to x as can
    be). A direction in which the data do not vary becomes 0 unless there is an epsilon. Until `adapt` W is the
    identity. ValueError for other methods, or n_components with "zca"; DataError from `adapt` for less than two rows.
    """

    def __init__(
        self, method: str = "pca", n_components: int | None = None, epsilon: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        if method not in ("pca", "zca"):
            raise ValueError(f"method must be 'pca' or 'zca', not {method!r}")
        if n_components is not None and (not isinstance(n_components, int) or n_components < 1 or method == "zca"):
            raise ValueError(f"n_components must be a positive integer, for 'pca' alone, not {n_components!r}")
        self.method, self.n_components, self.epsilon = method, n_components, not_negative("epsilon", epsilon)

    def _axes(self, shape: Shape) -> range:
        features = features_of(self.name, shape)
        if self.n_components and self.n_components > features:
            raise ShapeError(f"{self.name} has {features} features, which have no {self.n_components} components")
        return range(1, 2)

    def _statistic(self, count: int) -> Covariance:
        return Covariance(count)

    def _learn(self, statistic: Covariance) -> dict[str, Array]:
        if statistic.count < 2:
            raise DataError(f"{self.name} needs two rows to adapt to, not {statistic.count}")
        values, vectors = np.linalg.eigh(statistic.squares / (statistic.count - 1))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        largest = vectors[np.abs(vectors).argmax(axis=0), range(len(values))]
        vectors = vectors * np.where(largest < 0, -1.0, 1.0)  # each component's largest part is positive
        flat = values <= len(values) * np.finfo(np.float64).eps * values[0] if self.epsilon == 0 else values < 0
        roots = np.sqrt(np.where(flat, 1.0, values + self.epsilon))
        kernel = vectors * np.where(flat, 0.0, 1 / roots)
        kernel = kernel @ vectors.T if self.method == "zca" else kernel[:, : self.n_components]
        return {"mean": statistic.mean, "kernel": kernel}

    def build(self, shape: Shape, dtype: Dtype) -> None:
        super().build(shape, dtype)
        count = self._count(shape)

        def kernel(shape: tuple[int, ...], dtype: Dtype) -> Array:
            learned = self._learned.get("kernel")
            return np.eye(shape[0], shape[1], dtype=dtype) if learned is None else learned.astype(dtype)

        self._mean = self._weight("mean", count, dtype, 0.0)
        self._kernel = self.add_weight(
            (count, self.n_components or count), kernel, dtype, name="kernel", trainable=False
        )

    def call(self, inputs: Tensor) -> Tensor:
        centred = ops.Affine(inputs, self._mean, None, None, self._axes(inputs.shape), name=self.name).output
        return ops.Dense(centred, self._kernel, None, self.name).output
