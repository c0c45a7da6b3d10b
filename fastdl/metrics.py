"""Metrics: sums over samples that a program gathers beside the loss."""

from __future__ import annotations

from dataclasses import dataclass

from fastdl.graph import Tensor
from fastdl.losses import Loss
from fastdl.ops.terminal import Terminal


@dataclass(frozen=True)
class Metric:
    """A named mean over samples."""

    name: str
    terminal: Terminal


def get(name: str, loss: Loss, output: Tensor) -> Metric:
    """A metric by Keras name; "accuracy" is chosen by the loss and the output's shape, as Keras does.

    ValueError for an unknown name, or one that the loss's targets cannot serve.
    """
    logits = loss.resolve(output) is not output
    if name in ("accuracy", "acc"):
        if loss.sparse:
            return Metric(name, Terminal("accuracy_sparse", sparse=True))
        if output.features == 1:
            # sigmoid(logit) > 1/2 exactly where logit > 0
            return Metric(name, Terminal("accuracy_binary", scalars=(0.0 if logits else 0.5,)))
        return Metric(name, Terminal("accuracy"))
    kernel = ERRORS.get(name)
    if kernel is None:
        raise ValueError(f"unknown metric {name!r}: choose one of accuracy, {', '.join(ERRORS)}")
    if loss.sparse or logits:
        raise ValueError(f"metric {name!r} compares outputs with targets of the same shape; {loss.name} has none")
    return Metric(name, Terminal(kernel))


ERRORS = {
    "mse": "mean_squared_error",
    "mean_squared_error": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mean_absolute_error": "mean_absolute_error",
}
