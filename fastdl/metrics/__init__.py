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
from fastdl.metrics import accuracy
from fastdl.metrics.accuracy import *
from fastdl.metrics.accuracy import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from fastdl.metrics.area import *
from fastdl.metrics.correlation import *
from fastdl.metrics.correlation import concordance_correlation as concordance_correlation
from fastdl.metrics.correlation import pearson_correlation as pearson_correlation
from fastdl.metrics.counts import *
from fastdl.metrics.errors import *
from fastdl.metrics.errors import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastdl.metrics.f_scores import *
from fastdl.metrics.metric import Metric as Metric
from fastdl.metrics.reduction import Mean as Mean
from fastdl.metrics.reduction import MeanMetricWrapper as MeanMetricWrapper
from fastdl.metrics.reduction import Sum as Sum
from fastdl.metrics.variable import Variable as Variable

CLASSES = family(Metric)
NAMES = names_of(CLASSES)


def __getattr__(name: str) -> Callable[..., Array]:
    """Accuracies as functions, and losses as functions too, as in Keras: `metrics.mean_squared_error` is `losses`'s."""
    if name in accuracy.FUNCTIONS:
        return accuracy.FUNCTIONS[name]
    if name in losses.FUNCTIONS:
        return losses.FUNCTIONS[name]
    raise no_such(__name__, name, [*CLASSES, *accuracy.FUNCTIONS, *losses.NAMES])


serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Metric:
    """The metric that `serialize` described, without its state. ValueError if there is none of that name."""
    return configured.deserialize(config, CLASSES, custom_objects)


def get(identifier: Any) -> Any:
    """A metric by Keras name, class, instance or config; a function, and None, as they are. ValueError if none (Keras).

    "accuracy" is Accuracy: `compile` chooses by the loss and the output (see `metric_for`).
    """
    if isinstance(identifier, str) and identifier in NAMES:
        return NAMES[identifier]()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if identifier is None or callable(identifier):
        return identifier
    raise ValueError(unknown("metric", identifier, filter(str.islower, NAMES)))


def metric_for(metric: Any, loss: Loss, output: Tensor) -> Metric:
    """What `compile` takes for a metric: as `get`, or a function of one's own (see MeanMetricWrapper).

    "accuracy" and "crossentropy" are chosen by the loss and the shape of the output, as Keras does. ValueError for an
    unknown name, or one that the loss's targets cannot serve.
    """
    if isinstance(metric, str) and metric.lower() in ("accuracy", "acc"):
        binary = BinaryAccuracy if output.channels == 1 else CategoricalAccuracy
        return (SparseCategoricalAccuracy if loss.sparse else binary)(name=metric)
    if metric in ("crossentropy", "ce"):
        many = BinaryCrossentropy if output.channels == 1 else CategoricalCrossentropy
        return (SparseCategoricalCrossentropy if loss.sparse else many)(name=metric)
    if metric is None:
        raise ValueError(unknown("metric", metric, ["accuracy", *filter(str.islower, NAMES)]))
    found = get(getattr(metric, "__name__", None) if metric in accuracy.FUNCTIONS.values() else metric)
    made: Metric = found if isinstance(found, Metric) else MeanMetricWrapper(found)
    if isinstance(metric, str):
        made.name = metric
    if made.sparse != loss.sparse and not (made.counts_itself or isinstance(made, MeanMetricWrapper)):
        wants = "integer labels" if made.sparse else "outputs with targets of the same shape"
        raise ValueError(f"metric {made.name!r} compares {wants}; {loss.name} has none")
    return made
