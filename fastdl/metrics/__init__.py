"""Metrics, with Keras's names: sums that a program gathers beside the loss, or `update_state` from numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastdl import losses
from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.compiler.graph import Tensor
from fastdl.losses import Loss
from fastdl.metrics.accuracy import *
from fastdl.metrics.accuracy import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from fastdl.metrics.counts import *
from fastdl.metrics.errors import *
from fastdl.metrics.errors import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastdl.metrics.metric import Metric as Metric
from fastdl.metrics.reduction import Mean as Mean
from fastdl.metrics.reduction import MeanMetricWrapper as MeanMetricWrapper
from fastdl.metrics.reduction import Sum as Sum
from fastdl.metrics.variable import Variable as Variable

CLASSES = family(Metric)
NAMES = names_of(CLASSES)


def __getattr__(name: str) -> Callable[..., Array]:
    """Losses as functions are metrics too, as in Keras: `metrics.mean_squared_error` is `losses`'s."""
    if name in losses.FUNCTIONS:
        return losses.FUNCTIONS[name]
    raise no_such(__name__, name, [*CLASSES, *losses.NAMES])


serialize = configured.serialize


def deserialize(config: Mapping[str, Any]) -> Metric:
    """The metric that `serialize` described, without its state. ValueError if there is none of that name."""
    return configured.deserialize(config, CLASSES)


def get(metric: Any, loss: Loss, output: Tensor) -> Metric:
    """A metric by Keras name, class, instance, or a function of one's own (see MeanMetricWrapper).

    "accuracy" and "crossentropy" are chosen by the loss and the shape of the output, as Keras does. ValueError for an
    unknown name, or one that the loss's targets cannot serve.
    """
    if isinstance(metric, str) and metric.lower() in ("accuracy", "acc"):
        binary = BinaryAccuracy if output.channels == 1 else CategoricalAccuracy
        return (SparseCategoricalAccuracy if loss.sparse else binary)(name=metric)
    if metric in ("crossentropy", "ce"):
        many = BinaryCrossentropy if output.channels == 1 else CategoricalCrossentropy
        return (SparseCategoricalCrossentropy if loss.sparse else many)(name=metric)
    if isinstance(metric, str) and metric in NAMES:
        made = NAMES[metric]()
        made.name = metric
    elif isinstance(metric, type) and issubclass(metric, Metric):
        made = metric()
    elif isinstance(metric, Metric):
        made = metric
    elif callable(metric):
        made = MeanMetricWrapper(metric)
    else:
        raise ValueError(unknown("metric", metric, ["accuracy", *filter(str.islower, NAMES)]))
    if made.sparse != loss.sparse and not (made.counts_itself or isinstance(made, MeanMetricWrapper)):
        wants = "integer labels" if made.sparse else "outputs with targets of the same shape"
        raise ValueError(f"metric {made.name!r} compares {wants}; {loss.name} has none")
    return made
