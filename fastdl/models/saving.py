"""Models as files and as JSON: settings, weights, and where training stands. A file names fastdl's classes only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastdl import losses, metrics, optimizers, schedules
from fastdl.base import configured
from fastdl.base.arguments import path
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured
from fastdl.base.files import check_target
from fastdl.layers.layer import CLASSES
from fastdl.metrics import Metric
from fastdl.models import state, tensor_file
from fastdl.models.network import Network
from fastdl.models.objective import mapped

ENDINGS = ".fastdl", ".safetensors"  # the second is what they are; no other program knows what is in them


def save(model: Network, filepath: str | os.PathLike[str], overwrite: bool, include_optimizer: bool) -> None:
    """See Model.save."""
    _check_target(filepath, overwrite)
    tensor_file.write(filepath, *_whole(model, include_optimizer))


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


def save_weights(model: Network, filepath: str | os.PathLike[str], overwrite: bool) -> None:
    """See Model.save_weights."""
    _check_target(filepath, overwrite)
    with model.session.lock:
        tensors, notes = state.gather(model, optimizer=False)
    tensor_file.write(filepath, tensors, notes)


def _check_target(filepath: str | os.PathLike[str], overwrite: bool) -> None:
    target = Path(check_ending(filepath))
    if not overwrite and target.exists():
        raise FileExistsError(f"{os.fspath(filepath)} exists: choose another name, or pass overwrite=True")


def check_ending(filepath: str | os.PathLike[str]) -> str:
    """The path as text. ValueError for one that does not end as fastdl's files do, above all if as others' do."""
    text = path("filepath", filepath)
    target = Path(text)
    if target.is_dir():
        check_target(text)
    if target.suffix == ".onnx":
        raise ValueError(f"{text}: what is saved is no ONNX file: call export, or choose another name")
    if target.suffix in (".keras", ".h5", ".hdf5"):
        right = target.name.removesuffix(target.suffix).removesuffix(".weights") + ENDINGS[0]
        raise ValueError(f"filepath must end in {ENDINGS[0]}, as {right}: fastdl writes no {target.suffix} files")
    if target.suffix not in ENDINGS:
        raise ValueError(f"filepath must end in {ENDINGS[0]}, as {target.name}{ENDINGS[0]}, not be {text!r}")
    return text


def load_weights(model: Network, filepath: str | os.PathLike[str]) -> None:
    """See Model.load_weights."""
    content = tensor_file.read(filepath)
    model.trace()
    with model.session.lock:
        for parameter, value in state.take_weights(state.weights(model), content):
            parameter.assign(value)


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
