"""How a model was compiled, as Keras's configs tell it, and what its optimizer has kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.configured import is_fastdls
from fastdl.compiler.graph import Parameter
from fastdl.errors import warn
from fastdl.metrics import Metric
from fastdl.models.keras_files import objects
from fastdl.models.keras_files.hdf5 import Groups
from fastdl.models.keras_files.objects import serialize_keras_object
from fastdl.models.model import Model
from fastdl.optimizers import Adafactor, Nadam

OPTIMIZER = "optimizer"  # the path of its group
MOST = 2**16  # thresholds or classes that a metric in a file may ask for, before anything is allocated for them


def tell(model: Any) -> dict[str, Any]:
    """What `compile` was given, beside the model's config."""
    if not isinstance(model, Model) or not model.compiled:
        return {}
    if not is_fastdls(type(model)) and hasattr(model, "get_compile_config"):
        return {"compile_config": model.get_compile_config()}
    chosen = model.session.compiled_with
    assert chosen is not None
    told: dict[str, Any] = {"optimizer": serialize_keras_object(model.optimizer)}
    told["loss"] = serialize_keras_object(chosen.loss)
    told["loss_weights"] = serialize_keras_object(chosen.loss_weights)
    told["metrics"] = serialize_keras_object(_plain(chosen.metrics))
    told["weighted_metrics"] = serialize_keras_object(_plain(chosen.weighted_metrics))
    others = {"run_eagerly": False, "steps_per_execution": model.steps_per_execution, "jit_compile": False}
    return {"compile_config": {**told, **others}}


def _plain(chosen: Any) -> Any:
    """Metrics with objects in the place of classes."""
    if isinstance(chosen, Mapping):
        return {name: _plain(each) for name, each in chosen.items()}
    if isinstance(chosen, list | tuple):
        return [_plain(each) for each in chosen]
    return chosen() if isinstance(chosen, type) and issubclass(chosen, Metric) else chosen


def finish(model: Any, config: Mapping[str, Any]) -> None:
    """Compile the model as it was. ValueError for what fastdl lacks."""
    told = config.get("compile_config")
    if not isinstance(model, Model) or not isinstance(told, Mapping):
        return
    if not is_fastdls(type(model)) and hasattr(model, "compile_from_config"):
        model.compile_from_config(told)
        return
    if not is_fastdls(type(model).compile):
        warn(
            f"{model.name} was not compiled: {type(model).__name__} has a compile of its own, but no "
            "compile_from_config",
            UserWarning,
        )
        return
    check(told.get("metrics"))
    check(told.get("weighted_metrics"))
    names = "optimizer", "loss", "loss_weights", "metrics", "weighted_metrics"
    given = {name: objects.make(told.get(name)) for name in names}
    if unknown := set(told) - {*names, "run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss"}:
        raise ValueError(f"compile_config has {unknown.pop()!r}, which fastdl's compile does not take")
    model.compile(**given, steps_per_execution=told.get("steps_per_execution") or 1)


def check(metrics: Any) -> None:
    """ValueError for a metric that asks for more room than any needs."""
    if isinstance(metrics, Mapping) and "class_name" in metrics and isinstance(metrics.get("config"), Mapping):
        if any(isinstance(n, int | float) and n > MOST for n in metrics["config"].values()):
            raise ValueError(f"metric {metrics['class_name']} asks for more than {MOST}")
    elif isinstance(metrics, Mapping | list):
        for each in metrics.values() if isinstance(metrics, Mapping) else metrics:
            check(each)


def _kept(model: Model, begun: bool) -> list[Parameter | Array]:
    """What Keras's optimizer keeps of all weights that are trained, in its order: what fastdl's keeps, made where it is
    not there yet, and arrays in the place of what fastdl's computes, or has no need of."""
    optimizer, trained = model.optimizer, model.trainable_weights
    if optimizer is None or not begun:
        return []
    optimizer.build_more(trained)
    state, kept = optimizer.state, list[Parameter | Array]()
    for each in (state.averages, state.accumulated):
        kept += [each[parameter] for parameter in trained if parameter in each]
    for parameter in trained:
        slots: list[Any] = state.slots[parameter]
        if isinstance(optimizer, Adafactor):
            unused = np.zeros(parameter.shape if len(slots) > 1 else (), np.float32)
            slots = [*slots, unused] if len(slots) > 1 else [unused, unused, *slots]
        kept += slots
    if isinstance(optimizer, Nadam):
        momenta = optimizer.beta_1 * (1 - 0.5 * 0.96 ** np.arange(1.0, optimizer.iterations + 1))
        kept.append(np.asarray(momenta.prod(), np.float32))
    return kept


def gather(model: Model) -> dict[str, Array]:
    """What the optimizer counts and keeps, by number, as Keras orders it."""
    if (optimizer := model.optimizer) is None:
        return {}
    counts = [np.asarray(optimizer.batches, np.int32)]
    if not callable(optimizer.rate_or_schedule):
        counts.append(np.asarray(optimizer.learning_rate, np.float32))
    kept = [np.asarray(each) for each in _kept(model, bool(optimizer.state.slots))]
    return {str(i): array for i, array in enumerate([*counts, *kept])}


def restore(model: Model, groups: Groups, name: str) -> None:
    """Give the optimizer what it had counted and kept; a warning, as Keras's, where that is not of this model's
    weights, and it begins anew."""
    optimizer, store = model.optimizer, groups.get(OPTIMIZER, {})
    if optimizer is None or not store:
        return
    counts = 1 if callable(optimizer.rate_or_schedule) else 2
    kept = _kept(model, begun=len(store) > counts)
    stored = [store.get(str(i)) for i in range(counts + len(kept))]
    values = [np.asarray(value) for value in stored if value is not None]
    shapes = [*[()] * counts, *(each.shape for each in kept)]
    if len(store) != len(shapes) or [value.shape for value in values] != shapes:
        warn(f"{name}: what the optimizer had kept is not of this model's weights: it begins anew", UserWarning)
        return
    for each, value in zip(kept, values[counts:], strict=True):
        if isinstance(each, Parameter):
            each.assign(value)
    optimizer.batches = int(values[0].item())
    if counts > 1 and np.float32(values[1].item()) != np.float32(optimizer.learning_rate):
        optimizer.learning_rate = float(values[1].item())
