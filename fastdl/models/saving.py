"""Models as files and as JSON: settings, weights, and where training stands. A file names fastdl's classes only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastdl import losses, metrics, optimizers, schedules
from fastdl.base import configured
from fastdl.base.arguments import path
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured
from fastdl.base.files import check_target
from fastdl.errors import KerasFileError
from fastdl.layers.layer import CLASSES
from fastdl.metrics import Metric
from fastdl.models import state, tensor_file
from fastdl.models.network import Network
from fastdl.models.objective import mapped

ENDINGS = ".fastdl", ".safetensors"  # the second is what they are; no other program knows what is in them
KERAS, KERAS_WEIGHTS = ".keras", ".weights.h5"
KERAS_FILES: dict[str, Callable[..., Any]] = {}  # what stands above, and makes models of files, writes and reads them


def save(
    model: Network,
    filepath: Any,
    overwrite: bool,
    zipped: bool | None,
    include_optimizer: bool = True,
    save_format: Any = None,
    **unknown: Any,
) -> None:
    """See Model.save."""
    if save_format:
        raise ValueError("save_format is deprecated, and not needed: the name's ending says what is written")
    if unknown:
        raise ValueError(f"these arguments of save are not supported: {', '.join(unknown)}")
    if zipped is False:
        raise ValueError("zipped must be True or None: fastdl writes files, not folders")
    if hasattr(filepath, "write"):
        KERAS_FILES["save"](model, filepath, include_optimizer)
        return
    text = _check_target(filepath, overwrite, (*ENDINGS, KERAS))
    if text.endswith(KERAS):
        KERAS_FILES["save"](model, text, include_optimizer)
    else:
        tensor_file.write(text, *_whole(model, include_optimizer))


def dumps(model: Network) -> bytes:
    """What `save` writes, in memory."""
    return b"".join(tensor_file.parts_of(model.name, *_whole(model, include_optimizer=True)))


def _whole(model: Network, include_optimizer: bool) -> tuple[dict[str, Array], dict[str, Any]]:
    """A model's tensors and notes."""
    with model.session.lock:
        notes: dict[str, Any] = {"model": serialize(model)}
        if include_optimizer and model.session.optimizer:
            notes["compile"] = compile_config(model)
        if columns := model.session.feeding.all_columns():
            notes["feature_names"] = columns
        if model.class_names:
            notes["class_names"] = model.class_names
        if not configured.is_fastdls(type(model)) and model.input_samples:
            notes["input_samples"] = [list(sample) for sample in model.input_samples]
        tensors, training = state.gather(model, include_optimizer)
    if tensors and not model.built:
        raise ValueError(f"{model.name} has weights, but no input shape yet: call build or fit before save")
    return tensors, {**notes, **training}


def save_weights(model: Network, filepath: Any, overwrite: bool, objects_to_skip: Iterable[Any] | None = None) -> None:
    """See Model.save_weights."""
    text = _check_target(filepath, overwrite, (*ENDINGS, KERAS_WEIGHTS))
    if text.endswith(KERAS_WEIGHTS):
        KERAS_FILES["save_weights"](model, text, objects_to_skip or ())
        return
    _only_of_keras(text, objects_to_skip=objects_to_skip)
    with model.session.lock:
        tensors, notes = state.gather(model, optimizer=False)
    tensor_file.write(text, tensors, notes)


def _check_target(filepath: Any, overwrite: bool, endings: Sequence[str]) -> str:
    target = Path(text := check_ending(filepath, endings))
    if not overwrite and target.exists():
        raise FileExistsError(f"{text} exists: choose another name, or pass overwrite=True")
    return text


def check_ending(filepath: Any, endings: Sequence[str] = (*ENDINGS, KERAS, KERAS_WEIGHTS)) -> str:
    """The path as text. ValueError for one that does not end as files do that fastdl writes."""
    text = path("filepath", filepath)
    target = Path(text)
    if target.is_dir():
        check_target(text)
    if text.endswith(tuple(endings)):
        return text
    if target.suffix == ".onnx":
        raise ValueError(f"{text}: what is saved is no ONNX file: call export, or choose another name")
    stem = target.name.removesuffix(".h5").removesuffix(".hdf5").removesuffix(KERAS).removesuffix(".weights")
    choices = " or ".join(ending for ending in endings if ending != ENDINGS[1])
    raise ValueError(f"filepath must end in {choices}, as {stem or 'model'}{ENDINGS[0]}, not be {text!r}")


def load_weights(
    model: Network,
    filepath: Any,
    skip_mismatch: bool,
    objects_to_skip: Iterable[Any] | None = None,
    by_name: Any = None,
    **unknown: Any,
) -> None:
    """See Model.load_weights."""
    if by_name is not None:
        raise ValueError("by_name is for Keras's old .h5 files, which fastdl does not read")
    if unknown:
        raise ValueError(f"load_weights has no argument {next(iter(unknown))!r}")
    text = path("filepath", filepath)
    if text.endswith((KERAS, KERAS_WEIGHTS)):
        if text.endswith(KERAS) and objects_to_skip is not None:
            raise ValueError(f"objects_to_skip is for {KERAS_WEIGHTS} files, not for {text}")
        KERAS_FILES["load_weights"](model, text, skip_mismatch, objects_to_skip or ())
        return
    check_source(text)
    _only_of_keras(text, objects_to_skip=objects_to_skip, skip_mismatch=skip_mismatch or None)
    content = tensor_file.read(text)
    model.trace()
    with model.session.lock:
        for parameter, value in state.take_weights(state.weights(model), content):
            parameter.assign(value)


def check_source(text: str) -> None:
    """KerasFileError, a ValueError, for a name that no model file can have."""
    if text.endswith((".h5", ".hdf5")):
        raise KerasFileError(f"{text}: an old file of Keras's: load it in Keras, and save it as {KERAS} there")
    if not text.endswith(ENDINGS) and not Path(text).exists():
        choices = ", ".join((*ENDINGS, KERAS, KERAS_WEIGHTS))
        raise KerasFileError(f"{text}: no such file, and not the name of one that fastdl reads, in {choices}")


def _only_of_keras(text: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} is for {KERAS_WEIGHTS} files, not for {text}")


# -- settings ---------------------------------------------------------------------------------------------


def serialize(model: Network) -> dict[str, Any]:
    """The model's class and layers, as `deserialize` takes them. ValueError for a class of one's own."""
    if not configured.is_one_of(model, CLASSES):
        raise ValueError(
            f"{model.name} is a {type(model).__name__} of your own, and a file would mean fastdl's class of that name: "
            "rename the class, or use save_weights"
        )
    return configured.serialize(model)


def to_json(model: Network) -> str:
    """See Model.to_json."""
    return json.dumps(serialize(model), default=tensor_file.plain)


def compile_config(model: Network) -> dict[str, Any]:
    """What `compile` was given. ValueError for functions and classes of one's own."""
    optimizer, chosen = model.session.optimizer, model.session.compiled_with
    assert optimizer is not None
    assert chosen is not None
    for each in (optimizer.rate_or_schedule, optimizer.weight_decay):
        if isinstance(each, schedules.LearningRateSchedule):
            _known(each, schedules.CLASSES)
        elif callable(each):
            _known(each, {})
    excluded = [name for name, p in state.weights(model).items() if optimizer.keeps(p)]
    return {
        "optimizer": optimizers.serialize(_known(optimizer, optimizers.CLASSES)),
        "loss": mapped(lambda loss: losses.serialize(_known(loss, losses.CLASSES)), chosen.loss),
        "loss_weights": chosen.loss_weights,
        "metrics": mapped(_metric, chosen.metrics),
        "weighted_metrics": mapped(_metric, chosen.weighted_metrics),
        "keeps_weights": excluded,
    }


def _known(value: Any, classes: Mapping[str, type[Configured]]) -> Any:
    if configured.is_one_of(value, classes):
        return value
    raise ValueError(
        f"{getattr(value, 'name', value)} is your own, and has no name that a file could hold: write it as a function, "
        "with def, or save with include_optimizer=False, and compile after loading"
    )


def _metric(metric: Any) -> Any:
    """A metric's name, or its class and arguments."""
    if isinstance(metric, str):
        return metric
    made = metric() if isinstance(metric, type) and issubclass(metric, Metric) else metric
    if configured.is_named_function(made) and not isinstance(made, Metric):
        return configured.serialize(made)
    return configured.serialize(_known(made, metrics.CLASSES))
