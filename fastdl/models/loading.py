"""Models from files and from JSON, and copies of models. Nothing is made but what fastdl's own classes make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastdl import config, losses, metrics, optimizers, tree
from fastdl.base import configured
from fastdl.base.arguments import path
from fastdl.base.arrays import Array
from fastdl.base.registry import custom_object_scope
from fastdl.base.scopes import having
from fastdl.errors import ModelFileError
from fastdl.layers.context import made, together, values_from
from fastdl.layers.layer import CLASSES, Layer
from fastdl.metrics import Metric
from fastdl.models import saving, state, tensor_file, terms
from fastdl.models.functional import Functional
from fastdl.models.keras_files import compiling, files
from fastdl.models.model import Model
from fastdl.models.sequential import Sequential
from fastdl.models.tensor_file import Content

MODELS = {name: kind for name, kind in CLASSES.items() if issubclass(kind, Model)}


def save_model(model: Model, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any) -> None:
    """As model.save. Keras: models.save_model."""
    saving.save(model, filepath, overwrite, zipped, **options)


def load_model(
    filepath: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model that `save` wrote, to the bit; training goes on as if it had never stopped. Keras: load_model.

    Or that of a .keras file, Keras's own ones too (needs h5py), or of such a file that is open. custom_objects:
    classes and functions of one's own that the file names, by name, beside those that are registered by
    saving.register_keras_serializable. compile=False leaves optimizer, loss and metrics out. No code that a file holds
    is run, whatever safe_mode says. ModelFileError for a file that is damaged, or that names what is not known here.
    """
    if isinstance(custom_objects, bool):
        raise TypeError("custom_objects must be a mapping of names; compile comes by name: load_model(file, compile=…)")
    if hasattr(filepath, "read") or path("filepath", filepath).endswith(saving.KERAS):
        return files.load(filepath, custom_objects, compile, safe_mode)
    saving.check_source(path("filepath", filepath))
    content = tensor_file.read(filepath)
    try:
        with custom_object_scope(custom_objects), config.policy_of_files():
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

    def value(draw: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        """A weight of this shape instead of an initializer's: nothing is allocated that the file does not hold. Models
        within the model are built before the layers around them; `restore` gives each weight its own values."""
        if not waiting:
            raise ModelFileError(f"{content.name}: its layers need more than the {len(keys)} weight arrays it holds")
        place = next((i for i, key in enumerate(waiting) if fits(key, shape, dtype)), 0)
        return content.take(waiting.pop(place), shape, dtype)

    with having(values_from, value):
        model = deserialize(notes["model"])
        if not model.built and (samples := notes.get("input_samples")):
            model.trace(*(tuple(sample) for sample in samples))
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


def loads(data: bytes, name: str) -> Model:
    """The model of `dumps`. ModelFileError, which names it so."""
    return _load(tensor_file.of_bytes(data, name), compile=True)


def deserialize(config: Mapping[str, Any]) -> Model:
    """The model that `serialize` described. ValueError if fastdl has none of that class."""
    return configured.deserialize(config, MODELS)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that `to_json` described, with weights of its own. Keras: models.model_from_json."""
    with custom_object_scope(custom_objects):
        return deserialize(json.loads(json_string))


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
    """What was told for one, or in a structure; a class and its arguments are a mapping too."""
    if isinstance(config, Mapping) and list(config) == ["tuple"] and isinstance(config["tuple"], list):
        return tuple(_told(make, each) for each in config["tuple"])
    if isinstance(config, Mapping) and "class_name" not in config:
        return {name: _told(make, each) for name, each in config.items()}
    if isinstance(config, list):
        return [_told(make, each) for each in config]
    return None if config is None else make(config)


def _made(metric: Any) -> Any:
    if isinstance(metric, str):
        return metric
    compiling.check(metric)
    return configured.deserialize(metric, metrics.CLASSES)


# -- copies -----------------------------------------------------------------------------------------------


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """The same layers with new weights, compiled alike if it is compiled. Keras: models.clone_model.

    input_tensors: what it is made of in place of new inputs, in the structure of model.input. clone_function: makes
    each new layer of the old one; call_function: calls each, (layer, *arguments, **named), of a model of tensors;
    recursive: those of models within it as well. ValueError for what a model of one's own cannot heed.
    """
    copy = clone_function or _copy

    def copied(layer: Layer) -> Layer:
        inner = recursive and isinstance(layer, Model)
        new = clone_model(layer, None, clone_function, call_function, True) if inner else copy(layer)  # type: ignore[arg-type]
        return made(new)  # type: ignore[no-any-return]

    cloned: Model
    if isinstance(model, Functional):
        cloned = model.with_layers(copied, call_function, input_tensors)
    elif isinstance(model, Sequential):
        _refuse(model, call_function=call_function)
        with together():
            layers = [copied(layer) for layer in model.layers]
        inputs = model.new_inputs() if input_tensors is None else tree.flatten(input_tensors)
        cloned = Sequential([*inputs, *layers], name=model.name, dtype=model.dtype)
    else:
        _refuse(model, input_tensors=input_tensors, clone_function=clone_function, call_function=call_function)
        cloned = type(model).from_config(model.get_config())
    cloned.feature_names, cloned.class_names = model.session.feeding.all_columns(), model.class_names
    _compile_alike(model, cloned)
    return cloned


def _refuse(model: Model, **arguments: Any) -> None:
    """ValueError for arguments that are given."""
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} must be None for {model.name}, which is a {type(model).__name__}: see Functional")


def _copy(layer: Layer) -> Layer:
    return clone_model(layer) if isinstance(layer, Model) else type(layer).from_config(layer.saved_config())


def _compile_alike(model: Model, cloned: Model) -> None:
    optimizer, chosen = model.session.optimizer, model.session.compiled_with
    if optimizer is None or chosen is None:
        return
    cloned.compile(
        type(optimizer).from_config(optimizer.get_config()),
        chosen.loss,
        chosen.loss_weights,
        terms.checked(_fresh, chosen.metrics),
        terms.checked(_fresh, chosen.weighted_metrics),
        steps_per_execution=model.steps_per_execution,
    )


def _fresh(metric: Any) -> Any:
    """A metric that has counted nothing; names and functions are what they are."""
    return type(metric).from_config(metric.get_config()) if isinstance(metric, Metric) else metric
