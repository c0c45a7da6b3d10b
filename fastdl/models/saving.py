"""Models as files and as JSON: settings, weights, and where training stands. A file names fastdl's classes only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastdl import losses, metrics, optimizers, schedules
from fastdl.base import configured
from fastdl.base.arguments import path
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured
from fastdl.errors import ModelFileError
from fastdl.layers.core import Input
from fastdl.layers.layer import CLASSES, Layer, made, together, values_from
from fastdl.metrics import Metric
from fastdl.models import state, tensor_file
from fastdl.models.functional import Functional
from fastdl.models.model import Model
from fastdl.models.objective import mapped
from fastdl.models.sequential import Sequential
from fastdl.models.tensor_file import Content

MODELS: dict[str, type[Model]] = {"Sequential": Sequential, "Functional": Functional}
CLASSES |= MODELS  # models stand in models as layers do
MOST = 2**16  # thresholds or classes that a metric in a file may ask for, before anything is allocated for them


def save(model: Model, filepath: str | os.PathLike[str], overwrite: bool, include_optimizer: bool) -> None:
    """See Model.save."""
    _check_target(filepath, overwrite)
    tensor_file.write(filepath, *_whole(model, include_optimizer))


def dumps(model: Model) -> bytes:
    """What `save` writes, in memory."""
    return b"".join(tensor_file.parts_of(model.name, *_whole(model, include_optimizer=True)))


def loads(data: bytes, name: str) -> Model:
    """The model of `dumps`. ModelFileError, which names it so."""
    return _load(tensor_file.of_bytes(data, name), compile=True)


def _whole(model: Model, include_optimizer: bool) -> tuple[dict[str, Array], dict[str, Any]]:
    """A model's tensors and notes."""
    with model._lock:
        notes: dict[str, Any] = {"model": serialize(model)}
        if include_optimizer and model.optimizer:
            notes["compile"] = compile_config(model)
        if columns := model._all_columns():
            notes["feature_names"] = columns
        if model.class_names:
            notes["class_names"] = model.class_names
        tensors, training = state.gather(model, include_optimizer)
    if tensors and not model.built:
        raise ValueError(f"{model.name} has weights, but no input shape yet: call build or fit before save")
    return tensors, {**notes, **training}


def save_model(model: Model, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """As model.save. Keras: models.save_model."""
    save(model, filepath, overwrite, include_optimizer=True)


def save_weights(model: Model, filepath: str | os.PathLike[str], overwrite: bool) -> None:
    """See Model.save_weights."""
    _check_target(filepath, overwrite)
    with model._lock:
        tensors, notes = state.gather(model, optimizer=False)
    tensor_file.write(filepath, tensors, notes)


def _check_target(filepath: str | os.PathLike[str], overwrite: bool) -> None:
    target = Path(path("filepath", filepath))
    if target.suffix == ".onnx":
        raise ValueError(f"{target}: what is saved is no ONNX file: call export, or choose another name")
    if not overwrite and target.exists():
        raise FileExistsError(f"{os.fspath(filepath)} exists: choose another name, or pass overwrite=True")


def load_weights(model: Model, filepath: str | os.PathLike[str]) -> None:
    """See Model.load_weights."""
    content = tensor_file.read(filepath)
    model.trace()
    with model._lock:
        for parameter, value in state.take_weights(state.weights(model), content):
            parameter.assign(value)


def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Any:
    """The model that `save` wrote, to the bit; training goes on as if it had never stopped. Keras: load_model.

    compile=False leaves optimizer, loss and metrics out. ModelFileError for a file that is damaged, or not fastdl's.
    """
    content = tensor_file.read(filepath)
    try:
        return _load(content, compile)
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:  # settings that no layer, loss or optimizer takes
        raise ModelFileError(f"{content.name}: its settings cannot be used: {error}") from error


def _load(content: Content, compile: bool) -> Model:
    notes = content.notes
    keys = notes.get("weights")
    if not isinstance(keys, list) or "model" not in notes:
        raise ModelFileError(f"{content.name}: it holds weights only: make the model, then call its load_weights")
    waiting, tensors = list(keys), dict(content.tensors)

    def fits(key: Any, shape: tuple[int, ...], dtype: Any) -> bool:
        array = content.tensors.get(key) if isinstance(key, str) else None
        return array is not None and array.shape == shape and array.dtype == np.dtype(dtype)

    def value(shape: tuple[int, ...], dtype: Any) -> Array:
        """A weight of this shape instead of an initializer's: nothing is allocated that the file does not hold. Models
        within the model are built before the layers around them; `restore` gives each weight its own values."""
        if not waiting:
            raise ModelFileError(f"{content.name}: its layers need more than the {len(keys)} weight arrays it holds")
        place = next((i for i, key in enumerate(waiting) if fits(key, shape, dtype)), 0)
        return content.take(waiting.pop(place), shape, dtype)

    token = values_from.set(value)
    try:
        model = deserialize(notes["model"])
    finally:
        values_from.reset(token)
    if not all(isinstance(name, str) for name in (model.name, *(layer.name for layer in model.layers))):
        raise ModelFileError(f"{content.name}: a name in it is not a text")
    content.tensors = tensors
    model.feature_names, model.class_names = notes.get("feature_names"), notes.get("class_names")
    if compile and notes.get("compile") is not None:
        _compile(model, notes["compile"])
        state.restore(model, content)
        if content.tensors:
            raise ModelFileError(f"{content.name}: nothing needs its array {next(iter(content.tensors))!r}")
    else:
        state.restore(model, Content(content.name, tensors, {**notes, "optimizer": None}))
    return model


# -- settings ---------------------------------------------------------------------------------------------


def serialize(model: Model) -> dict[str, Any]:
    """The model's class and layers, as `deserialize` takes them. ValueError for a class of one's own."""
    if not configured.is_one_of(model, MODELS):
        raise ValueError(
            f"{model.name} is a {type(model).__name__}, a model of your own: a file can only name Sequential and Model("
            "inputs, outputs); use save_weights"
        )
    return configured.serialize(model)


def deserialize(config: Mapping[str, Any]) -> Model:
    """The model that `serialize` described. ValueError if fastdl has none of that class."""
    return configured.deserialize(config, MODELS)


def model_from_json(json_string: str) -> Any:
    """The model that `to_json` described, with weights of its own. Keras: models.model_from_json."""
    return deserialize(json.loads(json_string))


def to_json(model: Model) -> str:
    """See Model.to_json."""
    return json.dumps(serialize(model), default=tensor_file.plain)


def compile_config(model: Model) -> dict[str, Any]:
    """What `compile` was given. ValueError for functions and classes of one's own."""
    optimizer, given = model.optimizer, model._given
    assert optimizer is not None
    assert given is not None
    rate = optimizer._learning_rate
    if isinstance(rate, schedules.LearningRateSchedule):
        _known(rate, schedules.CLASSES)
    kept = [name for name, p in state.weights(model).items() if optimizer.weight_decay and not optimizer.decay(p)]
    return {
        "optimizer": optimizers.serialize(_known(optimizer, optimizers.CLASSES)),
        "loss": mapped(lambda loss: losses.serialize(_known(loss, losses.CLASSES)), given.loss),
        "loss_weights": given.loss_weights,
        "metrics": mapped(_metric, given.metrics),
        "weighted_metrics": mapped(_metric, given.weighted_metrics),
        "keeps_weights": kept,
    }


def _compile(model: Model, config: Mapping[str, Any]) -> None:
    optimizer = optimizers.deserialize(config["optimizer"])
    if kept := config["keeps_weights"]:
        named = dict(zip(state.weights(model), model.weights, strict=True))
        optimizer.exclude_from_weight_decay([named[name] for name in kept])
    model.compile(
        optimizer,
        _told(losses.deserialize, config["loss"]),
        config.get("loss_weights"),
        *(_told(_made, config[key]) for key in ("metrics", "weighted_metrics")),
    )


def _told(make: Callable[[Any], Any], config: Any) -> Any:
    """What was told for one, for a list, or by name; a class and its arguments are a mapping too."""
    if isinstance(config, Mapping) and "class_name" not in config:
        return {name: _told(make, each) for name, each in config.items()}
    if isinstance(config, list):
        return [_told(make, each) for each in config]
    return None if config is None else make(config)


def _known(value: Any, classes: Mapping[str, type[Configured]]) -> Any:
    if configured.is_one_of(value, classes):
        return value
    raise ValueError(
        f"{getattr(value, 'name', value)} is your own: a file can name fastdl's classes only. Save with "
        "include_optimizer=False, and compile after loading"
    )


def _metric(metric: Any) -> Any:
    """A metric's name, or its class and arguments."""
    if isinstance(metric, str):
        return metric
    made = metric() if isinstance(metric, type) and issubclass(metric, Metric) else metric
    return configured.serialize(_known(made, metrics.CLASSES))


def _made(metric: Any) -> Any:
    if isinstance(metric, str):
        return metric
    if any(isinstance(n, int | float) and n > MOST for n in metric["config"].values()):
        raise ValueError(f"metric {metric['class_name']} asks for more than {MOST}")
    return configured.deserialize(metric, metrics.CLASSES)


# -- copies -----------------------------------------------------------------------------------------------


def clone_model(model: Model, clone_function: Callable[[Layer], Layer] | None = None) -> Any:
    """The same layers with new weights, not compiled. Keras: models.clone_model.

    clone_function: makes each new layer of the old one.
    """
    copy = clone_function or _copy
    if not isinstance(model, Functional | Sequential):
        raise ValueError(f"{model.name} is a {type(model).__name__}, a model of your own: make a new one by its class")
    cloned: Functional | Sequential
    if isinstance(model, Functional):
        cloned = model.with_layers(lambda layer: made(copy(layer)))
    else:
        with together():
            layers = [made(copy(layer)) for layer in model.layers]
        cloned = Sequential([*map(Input, model._samples or []), *layers], model.name, model.dtype)
    cloned._feature_names, cloned._class_names = model._all_columns(), model._class_names
    return cloned


def _copy(layer: Layer) -> Layer:
    return clone_model(layer) if isinstance(layer, Model) else type(layer).from_config(layer.get_config())
