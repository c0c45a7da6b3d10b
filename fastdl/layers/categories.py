"""CategoryEncoding and Discretization: whole numbers as rows of zeros and ones, and numbers in bins. Keras's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array, Dtype, check_finite, numbers
from fastdl.compiler.graph import Shape, Tensor
from fastdl.errors import DataError, ShapeError
from fastdl.layers.data_layer import INT64, MODES, DataLayer, checked_mode, dense, hot, hot_shape, pieces, write_hot
from fastdl.layers.data_tensor import ColumnWriter, DataTensor, converted, float_dtype


class CategoryEncoding(DataLayer):
    """Whole numbers in [0, num_tokens) as rows of num_tokens. Keras: layers.CategoryEncoding.

    output_mode: "one_hot", (batch, 1) → (batch, num_tokens) and (batch, n) → (batch, n, num_tokens); "multi_hot",
    (batch, n) → (batch, num_tokens), 1 for each that is there; "count", how often it is, or the sum of count_weights of
    the input's shape. Both run along axis 1 where there are more: (batch, n, ...) → (batch, ..., num_tokens); one axis
    is one sample, (n,) → (num_tokens,), which no model computes. DataError for numbers out of the range, which become
    zeros in an exported file. ValueError.
    """

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        if num_tokens is None:
            raise ValueError("num_tokens must be given; IntegerLookup learns how many there are")
        self.num_tokens, self.sparse = whole("num_tokens", num_tokens), dense(sparse)
        self.output_mode = checked_mode(output_mode, MODES[1:])

    def __call__(  # type: ignore[override]
        self, x: Any, count_weights: Any = None, training: bool | None = None
    ) -> Any:
        """As of any layer; count_weights: of each number of x, (batch, n), a tensor or an array as x is."""
        if count_weights is None:
            return super().__call__(x, training)
        if self.output_mode != "count":
            raise ValueError(f"count_weights are for output_mode 'count', not {self.output_mode!r}")
        if isinstance(x, Tensor):
            return super().__call__([x, count_weights], training)
        return self._on_values([x, count_weights])

    def _check_count(self, count: int) -> None:
        if count > 1 + (self.output_mode == "count"):
            raise ShapeError(f"{self.name} takes one tensor, and in output_mode 'count' its weights, not {count}")

    def kinds_of(self, place: int) -> tuple[str, ...]:
        return ("float", "int64") if place else ("int64",)

    def _array(self, value: Any, place: int) -> Array:
        return super()._array(value, place) if not place else numbers("count_weights", value)

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[1:] and shapes[1] != shapes[0]:
            raise ShapeError(f"count_weights have shape {shapes[1]}, the numbers {shapes[0]}")
        return hot_shape(shapes[0], self.output_mode, self.num_tokens)

    def encoded_dtype(self) -> Dtype:
        return float_dtype()

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        indices = arrays[0]
        self.encoded_shape([array.shape for array in arrays])
        wrong = (indices < 0) | (indices >= self.num_tokens)
        if wrong.any():
            row = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
            raise DataError(
                f"{self.name}'s input holds {indices[wrong].flat[0]} in row {row}: num_tokens={self.num_tokens} is for "
                f"0 to {self.num_tokens - 1}"
            )
        return hot(indices, self.output_mode, self.num_tokens, dtype, arrays[1] if arrays[1:] else None)

    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str:
        weights = converted(graph, names[1], tensor.dtype, self.name) if names[1:] else None
        return write_hot(graph, names[0], tensor, self.output_mode, self.num_tokens, weights)


class Discretization(DataLayer):
    """The bin of each number, (...) of int64, or that in an output mode as for CategoryEncoding. Keras: Discretization.

    Bin i holds bin_boundaries[i - 1] <= x < bin_boundaries[i]; NaN is in the last. The boundaries are given, ascending,
    or learned by `adapt` as quantiles that leave about equally many numbers to each of num_bins bins; epsilon: how far
    these may be off, as a share of the rows. ValueError unless there is one of bin_boundaries and num_bins.
    """

    kinds = ("float",)

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError("one of bin_boundaries and num_bins must be given, and not both")
        self.num_bins = None if num_bins is None else whole("num_bins", num_bins)
        self.epsilon = real("epsilon", epsilon)
        if not 0 < self.epsilon <= 1:
            raise ValueError(f"epsilon must lie in (0, 1], not {epsilon!r}")
        self.output_mode, self.sparse = checked_mode(output_mode), dense(sparse)
        self.bin_boundaries = None if bin_boundaries is None else _ascending(bin_boundaries)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the boundaries from data, in one pass over all their numbers: an array, series or list, or an iterable
        of batches, alone or (x, y), of which `steps` are used. What was learned before is forgotten (Keras).

        ValueError where the boundaries were given; DataError for data that are not finite numbers.
        """
        if self.num_bins is None:
            raise ValueError(f"{self.name} was given its bin_boundaries: there is nothing to adapt")
        summary = np.zeros((2, 0), np.float32)
        for values in pieces(self.name, data, _finite, steps):
            joined = np.concatenate([_summary(values, self.epsilon), summary], axis=1)
            summary = _compressed(joined[:, np.argsort(joined[0])], self.epsilon)
        boundaries = [float(value) for value in _compressed(summary, 1.0 / self.num_bins)[0, :-1]]
        bins = self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1
        if self.built and self.output_mode != "int" and bins != len(boundaries) + 1:
            raise ValueError(
                f"{self.name} is in a model that was built for {bins} bins, not {len(boundaries) + 1}: make a new layer"
            )
        self.bin_boundaries = boundaries

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        if self.output_mode == "int":
            return shapes[0]
        depth = self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1
        return hot_shape(shapes[0], self.output_mode, depth or 0)

    @property
    def output_dtype(self) -> Dtype:
        """The dtype of what it gives (Keras)."""
        return self.encoded_dtype()

    def encoded_dtype(self) -> Dtype:
        return INT64 if self.output_mode == "int" else float_dtype()

    def _known(self) -> list[float]:
        if self.bin_boundaries is None:
            raise ValueError(f"{self.name} has no bin_boundaries: adapt it first")
        return self.bin_boundaries

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        (values,) = arrays
        boundaries = np.array(self._known(), values.dtype)
        indices = np.digitize(values, boundaries).astype(np.int64)
        return hot(indices, self.output_mode, len(boundaries) + 1, dtype)

    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str:
        (source,), name = tensor.sources, names[0]
        boundaries = graph.constant(np.array(self._known(), source.dtype), f"{self.name}.bin_boundaries")
        single = source.shape[-1] == 1 and (self.output_mode == "one_hot" or len(source.shape) == 2)
        if not single:
            name = graph.computed("Unsqueeze", [name, graph.shape_constant([-1])], self.name)
        below = graph.computed("Less", [name, boundaries], self.name)  # NaN is below none
        above = converted(graph, graph.computed("Not", [below], self.name), INT64, self.name)
        index = graph.computed("ReduceSum", [above, graph.shape_constant([-1])], self.name, keepdims=int(single))
        return write_hot(graph, index, tensor, self.output_mode, len(self._known()) + 1)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and the boundaries, which `adapt` may replace (Keras)."""
        arguments = dict(config)
        learned = arguments.pop("bin_boundaries") if arguments.get("num_bins") is not None else None
        layer = cls(**arguments)
        if learned is not None:
            layer.bin_boundaries = _ascending(learned)
        return layer


def _ascending(boundaries: Any) -> list[float]:
    values = np.asarray(boundaries, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) < 0).any():
        raise ValueError(f"bin_boundaries must be a list of finite numbers that ascend, not {boundaries!r}")
    return [float(value) for value in values]


def _finite(name: str, value: Any) -> Array:
    array = numbers(name, value)
    check_finite(name, array, "clean it")
    return array.astype(np.float32)


def _summary(values: Array, epsilon: float) -> Array:
    """About 1 / epsilon of the values, evenly spaced in their order, and how many each stands for: (2, n)."""
    values = np.sort(values.ravel())
    step = max(values.size * epsilon, 1.0)
    chosen = values[int(step - 1) :: int(step)]
    return np.stack([chosen, np.full_like(chosen, step)])


def _compressed(summary: Array, epsilon: float) -> Array:
    """A summary of at most 1 / epsilon values, which are interpolated at even shares of all that it stands for."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    totals = summary[1].cumsum()
    values = np.interp(shares, totals / totals[-1], summary[0])
    reached = np.interp(shares, totals / totals[-1], totals)
    return np.stack([values, np.diff(reached, prepend=0.0)]).astype(np.float32)
