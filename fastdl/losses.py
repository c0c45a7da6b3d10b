"""Losses, with Keras's names: which kernel computes them, and from which tensor."""

from __future__ import annotations

import re
from typing import ClassVar

from fastdl.graph import Tensor
from fastdl.ops import Activation, Softmax
from fastdl.ops.terminal import Terminal


class Loss:
    """A loss over the batch's mean. `kernel` and `sparse` name its terminal."""

    kernel: ClassVar[str]
    sparse: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The class's name in snake case, as Keras spells it: `mean_squared_error`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def resolve(self, output: Tensor) -> Tensor:
        """The tensor that the kernel reads: the output, or the logits behind it."""
        return output

    @property
    def terminal(self) -> Terminal:
        return Terminal(self.kernel, self.sparse)


class _FromLogits(Loss):
    """A cross-entropy: one stable kernel from the logits, whose gradient is prediction - target."""

    ending: ClassVar[str]

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = from_logits

    def resolve(self, output: Tensor) -> Tensor:
        if self.from_logits:
            return output
        op = output.op
        if isinstance(op, Softmax) and self.ending == "softmax":
            return op.inputs[0]
        if isinstance(op, Activation) and op.kind == self.ending:
            return op.inputs[0]
        raise ValueError(
            f"{self.name} needs a model that ends in {self.ending}, or from_logits=True: this one ends in "
            f"{op.name if op else 'its input'}"
        )


class SparseCategoricalCrossentropy(_FromLogits):
    """-log p[label]. Targets: integer labels (batch,) or (batch, 1)."""

    kernel, sparse, ending = "softmax_cross_entropy_sparse", True, "softmax"


class CategoricalCrossentropy(_FromLogits):
    """-sum of target log p. Targets: (batch, classes), one-hot or probabilities."""

    kernel, ending = "softmax_cross_entropy", "softmax"


class BinaryCrossentropy(_FromLogits):
    """-target log p - (1 - target) log(1 - p), mean over the outputs. Targets: (batch, outputs) in [0, 1]."""

    kernel, ending = "sigmoid_cross_entropy", "sigmoid"


class MeanSquaredError(Loss):
    """(y - target)^2, mean over the outputs. Targets: (batch, outputs)."""

    kernel = "mean_squared_error"


NAMES: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
}


def get(loss: str | Loss | type[Loss]) -> Loss:
    """A loss by Keras name, class or instance. ValueError if there is none."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if loss in NAMES:
        return NAMES[loss]()
    raise ValueError(f"unknown loss {loss!r}: choose one of {', '.join(sorted(NAMES))}, or a fastdl.losses object")
