"""How many answers are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastdl import config
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import same_rank
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import ShapeError
from fastdl.metrics.reduction import MeanOverSamples, elementwise
from fastdl.ops import Activation
from fastdl.ops.numeric import symbolic
from fastdl.ops.terminal import Own, PerSample


class _Ranked(MeanOverSamples):
    """What depends on the order of the outputs alone, which is the logits' too."""

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        return self.terminal(prediction.features), prediction


class CategoricalAccuracy(_Ranked):
    """How often the largest output is the target's largest."""

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy", labels=self.sparse)


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """How often the largest output is the label's."""

    sparse = True


class TopKCategoricalAccuracy(_Ranked):
    """How often the target's largest is among the k largest outputs."""

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        if k < 1:
            raise ValueError(f"k must be positive, not {k}")
        self.k = int(k)

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy_top", labels=self.sparse, more={"k": self.k})


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the label is among the k largest outputs.

    from_sorted_ids: the outputs are labels, the likeliest first, k of them or more; by numpy.
    """

    sparse = True

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None, from_sorted_ids: bool = False) -> None:
        super().__init__(k, name, dtype)
        self.from_sorted_ids = bool(from_sorted_ids)

    @property
    def counts_itself(self) -> bool:
        return self.from_sorted_ids or super().counts_itself

    def values(self, y_true: Any, y_pred: Any) -> Array:
        if not self.from_sorted_ids:
            return super().values(y_true, y_pred)
        refuse_masked("y_true", y_true)
        refuse_masked("y_pred", y_pred)
        ids, labels = np.asarray(y_pred), np.asarray(y_true)
        if ids.ndim < 2 or ids.shape[-1] < self.k or labels.size != ids.size // ids.shape[-1]:
            raise ShapeError(
                f"from_sorted_ids takes labels (samples,) and {self.k} or more ids a sample, not {labels.shape} and "
                f"{ids.shape}"
            )
        found = (ids.reshape(-1, ids.shape[-1])[:, : self.k] == labels.reshape(-1, 1)).any(1)
        return np.asarray(found.reshape(labels.shape), np.float64)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; from_sorted_ids only if it is True (Keras)."""
        config = super().get_config()
        return config if self.from_sorted_ids else {n: each for n, each in config.items() if n != "from_sorted_ids"}


class Accuracy(MeanOverSamples):
    """How often the outputs are the targets, number by number. By numpy."""

    def terminal(self, features: int) -> Own:
        return Own(lambda y_true, y_pred: (y_true == y_pred).mean(1))

    def values(self, y_true: Any, y_pred: Any) -> Array:
        return elementwise(np.equal, *same_rank(np.asarray(y_true), np.asarray(y_pred)))


class BinaryAccuracy(MeanOverSamples):
    """How often the outputs lie on the targets' side of the threshold; targets are 0 and 1."""

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = float(threshold)

    def values(self, y_true: Any, y_pred: Any) -> Array:
        target, predicted = same_rank(np.asarray(y_true), np.asarray(y_pred))
        return elementwise(lambda t, y: (y > self.threshold) == t, target, predicted)

    def terminal(self, features: int) -> PerSample:
        return PerSample("accuracy_binary", mean=True, own=self.threshold)

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        behind = isinstance(output.op, Activation) and output.op.kind == "sigmoid" and output.op.inputs[0] is prediction
        if not behind or not 0 < self.threshold < 1:
            return self.terminal(output.features), output
        logit = float(np.log(self.threshold / (1 - self.threshold)))  # sigmoid x > t where x > logit t
        return replace(self.terminal(output.features), own=logit), prediction


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """As BinaryAccuracy, of each number of each sample: 1 or 0. Keras: metrics.binary_accuracy."""
    return _floats(BinaryAccuracy(threshold=threshold), y_true, y_pred)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """As CategoricalAccuracy, of each sample: 1 or 0. Keras: metrics.categorical_accuracy."""
    return _floats(CategoricalAccuracy(), y_true, y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """As SparseCategoricalAccuracy, of each sample: 1 or 0. Keras: metrics.sparse_categorical_accuracy."""
    return _floats(SparseCategoricalAccuracy(), y_true, y_pred)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """As TopKCategoricalAccuracy, of each sample: 1 or 0. Keras: metrics.top_k_categorical_accuracy."""
    return _floats(TopKCategoricalAccuracy(k), y_true, y_pred)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Array:
    """As SparseTopKCategoricalAccuracy, of each sample: 1 or 0. Keras: metrics.sparse_top_k_categorical_accuracy."""
    return _floats(SparseTopKCategoricalAccuracy(k, from_sorted_ids=from_sorted_ids), y_true, y_pred)


def _floats(metric: MeanOverSamples, y_true: Any, y_pred: Any) -> Array:
    """The metric's values in the dtype floatx. TypeError for symbolic tensors: they have none."""
    if symbolic(y_true, y_pred):
        raise TypeError(f"{metric.name} counts answers by numpy: give compile the metric {metric.name!r}")
    return metric.values(y_true, y_pred).astype(config.floatx())


FUNCTIONS = {
    each.__name__: each
    for each in (
        *(binary_accuracy, categorical_accuracy, sparse_categorical_accuracy),
        *(top_k_categorical_accuracy, sparse_top_k_categorical_accuracy),
    )
}
