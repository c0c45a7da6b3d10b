"""Monte-Carlo dropout (Gal and Ghahramani 2016): how sure a model is, from predictions with dropout left on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastdl.base.arrays import Array
from fastdl.models.model import Model


class MCPrediction(NamedTuple):
    """Mean and standard deviation of the samples, each (rows, *output shape); lists of them with several outputs."""

    mean: Any
    std: Any


def mc_predict(model: Model, x: Any, samples: int = 100) -> MCPrediction:
    """Mean and standard deviation of `samples` predictions with dropout and other noise as in training.

    Batch norm works as in inference. ValueError for fewer than one sample, or a model in which nothing is random.
    """
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, not {samples}")
    feeds = model.session.feeding.inputs(x)
    if not model.trace().draws:
        raise ValueError(f"{model.name} has no dropout or other noise: all its predictions are the same")
    means: list[Array] = []
    squares: list[Array] = []
    for i in range(samples):
        drawn = [np.asarray(each, np.float64) for each in model.session.predict(dict(feeds), noisy=True)]
        if not means:
            means, squares = [np.zeros_like(each) for each in drawn], [np.zeros_like(each) for each in drawn]
        for mean, square, each in zip(means, squares, drawn, strict=True):  # Welford 1962
            off = each - mean
            mean += off / (i + 1)
            square += off * (each - mean)
    stds = [np.sqrt(square / samples).astype(model.dtype) for square in squares]
    means = [mean.astype(model.dtype) for mean in means]
    return MCPrediction(means[0], stds[0]) if len(means) == 1 else MCPrediction(means, stds)
