"""Cross-entropies: from the logits behind the output where there are any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Tensor
from fastdl.compiler.phases import Arguments
from fastdl.compiler.program import Terminal
from fastdl.losses.loss import AVERAGE, Loss
from fastdl.ops import Activation, BatchNorm, Dense, Penalty, Softmax
from fastdl.ops.terminal import NO_SMOOTHING, PerSample


class _CrossEntropy(Loss):
    """A cross-entropy: from the logits one stable kernel, whose gradient is prediction - target.

    Logits are found behind the activation `ending`; other outputs are probabilities, kept 1e-7 away from 0 and 1.
    """

    ending: ClassVar[str]
    from_logits: bool
    targets = 0.0, 1.0

    def logits(self, features: int) -> PerSample:
        """The kernel that reads logits."""
        raise NotImplementedError

    def probabilities(self, features: int) -> PerSample:
        """The kernel that reads probabilities."""
        raise NotImplementedError

    def terminal(self, features: int) -> PerSample:
        return self.logits(features) if self.from_logits else self.probabilities(features)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self.own_call:
            return super().attach(output)
        op = output.op
        self.check_axis(output)
        if self.from_logits:
            return output, self.logits(output.channels)
        ends = "softmax" if isinstance(op, Softmax) else op.kind if isinstance(op, Activation) else None
        if op and ends == self.ending:
            return op.inputs[0], self.logits(output.channels)
        while isinstance(op, Penalty):
            op = op.inputs[0].op
        if op is None or isinstance(op, Dense | BatchNorm):
            raise ValueError(
                f"{self.name} needs a model that ends in {self.ending}, or from_logits=True: this one ends in "
                f"{op.name if op else 'its input'}, which gives no probabilities"
            )
        return output, self.probabilities(output.channels)


def _not_negative(name: str, value: float) -> float:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a finite number, zero or more, not {value}")
    return float(value)


def _smoothing(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], not {value}")
    return float(value)


class BinaryCrossentropy(_CrossEntropy):
    """-target log p - (1 - target) log(1 - p), mean over the outputs. Targets: (batch, outputs) in [0, 1].

    label_smoothing: that share of each target is taken as 1/2.
    """

    aliases = "bce", "BCE"
    ending = "sigmoid"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits, self.label_smoothing, self.axis = bool(from_logits), _smoothing(label_smoothing), int(axis)

    def _kernel(self, kind: str) -> PerSample:
        smoothing = 1 - self.label_smoothing, 0.5 * self.label_smoothing
        return PerSample("element_loss", mean=True, more={"loss": _ext.LOSSES[kind]}, smoothing=smoothing)

    def logits(self, features: int) -> PerSample:
        return self._kernel("sigmoid")

    def probabilities(self, features: int) -> PerSample:
        return self._kernel("binary")


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability of the target (Lin et al. 2017).

    apply_class_balancing: ones count alpha times, zeros 1 - alpha times.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha, self.gamma = _not_negative("alpha", alpha), _not_negative("gamma", gamma)

    def _kernel(self, kind: str) -> PerSample:
        weights = (self.alpha, 1 - self.alpha) if self.apply_class_balancing else (1.0, 1.0)
        more: Arguments = {"logits": int(kind == "sigmoid"), "weights": weights}
        return replace(super()._kernel(kind), kernel="binary_focal", own=self.gamma, more=more)


class CategoricalCrossentropy(_CrossEntropy):
    """-sum of target log p. Targets: (batch, classes), one-hot or probabilities.

    label_smoothing: that share of each target is spread over all classes.
    """

    ending, distributions = "softmax", True

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits, self.label_smoothing, self.axis = bool(from_logits), _smoothing(label_smoothing), int(axis)

    def logits(self, features: int) -> PerSample:
        smoothing = (
            (1 - self.label_smoothing, self.label_smoothing / features) if self.label_smoothing else NO_SMOOTHING
        )
        return PerSample("softmax_cross_entropy", labels=self.sparse, smoothing=smoothing)

    def probabilities(self, features: int) -> PerSample:
        return replace(self.logits(features), kernel="probability_cross_entropy")


class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """-sum of alpha (1 - p)^gamma target log p (Lin et al. 2017). Targets: (batch, classes), one-hot."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = AVERAGE,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha, self.gamma = _not_negative("alpha", alpha), _not_negative("gamma", gamma)

    def logits(self, features: int) -> PerSample:
        plain, more = super().logits(features), {"logits": 1}
        return replace(plain, kernel="categorical_focal", scale=self.alpha, own=self.gamma, more=more)

    def probabilities(self, features: int) -> PerSample:
        return replace(self.logits(features), more={"logits": 0})


class CategoricalGeneralizedCrossEntropy(Loss):
    """(1 - p[label]^q) / q, which forgives wrong labels (Zhang and Sabuncu 2018). Targets: integer labels."""

    sparse = True

    def __init__(
        self, q: float = 0.5, reduction: str | None = AVERAGE, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)
        if not 0 < q < 1:
            raise ValueError(f"q must lie in (0, 1), not {q}")
        self.q = float(q)

    def terminal(self, features: int) -> PerSample:
        return PerSample("generalized_cross_entropy", labels=True, own=self.q)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """-log p[label]. Targets: integer labels (batch,) or (batch, 1).

    ignore_class: a label that does not count, on arrays.
    """

    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = AVERAGE,
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, 0.0, axis, reduction, name, dtype)
        self.ignore_class = None if ignore_class is None else int(ignore_class)

    def counted(self, y_true: Any, values: Any) -> Array | None:
        if self.ignore_class is None:
            return None
        labels = np.asarray(y_true)
        return np.asarray(labels != self.ignore_class)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        counted = self.counted(y_true, None)
        if counted is None:
            return super().call(y_true, y_pred)
        values = super().call(np.where(counted, y_true, 0), y_pred)
        return np.where(counted.reshape(values.shape), values, 0)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self.ignore_class is not None:
            raise ValueError("ignore_class is for arrays: in training give such samples the weight 0 by sample_weight")
        return super().attach(output)
