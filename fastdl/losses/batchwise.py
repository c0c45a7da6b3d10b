"""Losses of a batch as a whole, by numpy: how far two masks overlap, and the pairs of a batch's embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdl import kernels
from fastdl.base.arguments import real
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.weighting import same_rank, slopes
from fastdl.compiler.graph import Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import ShapeError
from fastdl.losses.loss import AVERAGE, Loss
from fastdl.ops.terminal import OfBatch, target_shape

Pull = Callable[[Array], Array]  # from how a loss grows with the values to how it grows with the predictions
Axis = int | Sequence[int] | None
EPSILON = 1e-7  # Keras's, in the quotient


class _OfBatch(Loss):
    """A loss that samples have no part of their own in: training calls numpy at each batch, and is slower."""

    whole_batch = True

    def values(self, y_true: Array, y_pred: Array) -> tuple[Array, Pull]:
        """The values that are weighted and reduced, in float64, and what their gradients become."""
        raise NotImplementedError

    def batch(self, y_true: Array, y_pred: Array, weights: Array | None) -> tuple[float, Array]:
        """The loss of a batch as the mean of its samples', and its gradient by the predictions."""
        values, pull = self.values(y_true, y_pred.astype(np.float64))
        slope = slopes(values, weights, self.reduction, self.counted(y_true, values))
        slope = slope / len(y_pred) if self.reduction == "sum" else slope  # programs sum what is a mean elsewhere
        return float((values * slope).sum()), pull(slope)

    def terminal(self, features: int) -> Terminal:
        return OfBatch(self.batch, (features,), features)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self.own_call:
            return super().attach(output)
        sample = tuple(size or 0 for size in output.shape[1:])
        return output, OfBatch(self.batch, sample, output.features)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if isinstance(y_true, Tensor) or isinstance(y_pred, Tensor):
            return super().call(y_true, y_pred)
        for name, value in (("y_true", y_true), ("y_pred", y_pred)):
            refuse_masked(name, value)
        predicted = np.asarray(y_pred)
        kind = np.dtype(np.float64 if predicted.dtype == np.float64 else np.float32)
        return self.values(np.asarray(y_true), predicted.astype(np.float64))[0].astype(kind)[()]


class _Overlap(_OfBatch):
    """1 - a I / (b I + c T + d P), of the sums I of target y, T of targets, P of y, over the axis or everything."""

    axis: Axis  # type: ignore[assignment] # of several at once

    def shares(self) -> tuple[float, float, float, float]:
        """a, b, c, d."""
        raise NotImplementedError

    def values(self, y_true: Array, y_pred: Array) -> tuple[Array, Pull]:
        t, y = same_rank(y_true.astype(np.float64), y_pred)
        if t.shape != y.shape:
            raise ShapeError(f"y_true has shape {t.shape}, which does not fit y_pred's {y.shape}")
        axis = None if self.axis is None else self.axis if isinstance(self.axis, int) else tuple(self.axis)
        a, b, c, d = self.shares()
        both, true, said = (x.sum(axis, keepdims=True) for x in (t * y, t, y))
        whole = b * both + c * true + d * said + EPSILON
        values = 1 - a * both / whole

        def pull(slope: Array) -> Array:
            grown = (a * t * whole - a * both * (b * t + d)) / whole**2
            return np.asarray((-slope.reshape(values.shape) * grown).reshape(y_pred.shape))

        return np.asarray(values.squeeze(axis)), pull


class Dice(_Overlap):
    """1 - 2 (sum of target y) / (sum of targets + sum of y), over the axis or the whole batch (Dice 1945)."""

    def __init__(
        self, reduction: str | None = AVERAGE, name: str | None = None, axis: Axis = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = axis

    def shares(self) -> tuple[float, float, float, float]:
        return 2.0, 0.0, 1.0, 1.0


class Tversky(_Overlap):
    """1 - I / (I + alpha (T - I) + beta (P - I)), of the sums I of target y, T of targets, P of y, over the axis or the
    whole batch (Salehi et al. 2017); with alpha and beta 1/2 it is Dice."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.alpha, self.beta, self.axis = float(alpha), float(beta), axis

    def shares(self) -> tuple[float, float, float, float]:
        return 1.0, 1 - self.alpha - self.beta, self.alpha, self.beta


class Circle(_OfBatch):
    """Draws outputs of one label together and others apart, each pair by how far it is from there (Sun et al. 2020).

    Outputs: embeddings of length 1 (see UnitNormalization), targets: one label a sample. margin: the distance, 1 - the
    cosine, at which pairs of one label are near enough, and 1 - margin that of others. remove_diagonal: no sample is
    its own pair. Samples whose loss is zero, as those without a pair, do not count.
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.gamma, self.margin = real("gamma", gamma, finite=True), real("margin", margin, finite=True)
        self.remove_diagonal = bool(remove_diagonal)

    @property
    def free_targets(self) -> bool:
        """Always: a label a sample, whatever the outputs' shape."""
        return True

    def counted(self, y_true: Any, values: Any) -> Array | None:
        return np.asarray(np.asarray(values) > 0)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self.own_call:
            return super().attach(output)
        if math.prod(size or 0 for size in target_shape(output)[1:]) != 1:
            shape = ("rows", *target_shape(output)[1:])
            raise ShapeError(f"{self.name} takes one label a sample, (rows,), not targets of shape {shape}")
        return output, OfBatch(self.batch, (output.features,), 1)

    def values(self, y_true: Array, y_pred: Array) -> tuple[Array, Pull]:
        labels = _labels("y_true", y_true, y_pred)
        return self.pairs(labels, y_pred, labels, None)

    def pairs(self, labels: Array, y: Array, others: Array, references: Array | None) -> tuple[Array, Pull]:
        """Each sample's loss by its pairs with references, by default with all samples."""
        z = y if references is None else references
        far = np.maximum(1 - kernels.matmul(y, z, transpose_b=True), 0)
        alike = labels[:, None] == others[None]
        if self.remove_diagonal:
            alike &= np.eye(*alike.shape) == 0
        differ, gamma, margin = labels[:, None] != others[None], self.gamma, self.margin
        near = np.maximum(1 + margin - far, 0)
        drawn, drawn_total = _softmax(gamma * np.maximum(margin + far, 0) * (far - margin), alike)
        pushed, pushed_total = _softmax(gamma * near * (1 - margin - far), differ)
        both = drawn_total + pushed_total

        def pull(slope: Array) -> Array:
            share = (slope * np.exp(-np.logaddexp(0, -both)))[:, None]
            grown = drawn * np.where(margin + far > 0, 2 * gamma * far, 0)
            grown = grown - pushed * gamma * (near + (near > 0) * (1 - margin - far))
            by_cosine = np.where(far > 0, -share * grown, 0)
            gradient = kernels.matmul(by_cosine, z)
            return gradient + kernels.matmul(by_cosine, y, transpose_a=True) if references is None else gradient

        return np.asarray(np.logaddexp(0, both)), pull


def _softmax(scores: Array, among: Array) -> tuple[Array, Array]:
    """Of each row's scores, those among them alone, and log sum exp of these; zeros and -inf where there are none."""
    scores = np.where(among, scores, -np.inf)
    most = scores.max(1, keepdims=True)
    raised = np.exp(scores - np.where(np.isfinite(most), most, 0))
    total = raised.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        return raised / np.where(total > 0, total, 1), (np.log(total) + np.where(np.isfinite(most), most, 0))[:, 0]


def _labels(name: str, value: Any, embeddings: Array) -> Array:
    """One whole number for each embedding. ShapeError."""
    labels = np.asarray(value)
    if embeddings.ndim != 2 or labels.size != len(embeddings):
        raise ShapeError(f"{name} has shape {labels.shape}: one label for each embedding, which are {embeddings.shape}")
    return labels.reshape(-1).astype(np.int64)


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Circle as a function: each sample's loss, (samples,). Keras: losses.circle.

    ref_labels, ref_embeddings: what samples are paired with, if not with each other. ShapeError.
    """
    loss = Circle(gamma, margin, remove_diagonal)
    if ref_labels is None and ref_embeddings is None:
        return loss.call(y_true, y_pred)
    predicted = np.asarray(y_pred)
    kind = np.dtype(np.float64 if predicted.dtype == np.float64 else np.float32)
    y = predicted.astype(np.float64)
    references = y if ref_embeddings is None else np.asarray(ref_embeddings, np.float64)
    labels = _labels("y_true", y_true, y)
    others = labels if ref_labels is None else _labels("ref_labels", ref_labels, references)
    return loss.pairs(labels, y, others, references)[0].astype(kind)
