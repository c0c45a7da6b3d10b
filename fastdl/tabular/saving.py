"""Trained estimators as files: settings, columns and weights, in the format of models. Nothing in a file is run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fastdl.base.arguments import path as checked_path
from fastdl.base.arrays import Array
from fastdl.base.files import write_atomically
from fastdl.errors import ModelFileError
from fastdl.models import tensor_file
from fastdl.models.tensor_file import Content
from fastdl.tabular import nets
from fastdl.tabular.columns import Columns
from fastdl.tabular.nets import Inputs
from fastdl.tabular.recipes import CLASSES, Recipe
from fastdl.tabular.training import Member

SETTINGS = "settings"  # an array of the bytes of a JSON text: vocabularies are longer than notes may be


class Saved(Protocol):
    """What files know of an estimator."""

    task: str
    random_state: Any
    columns_: Columns
    inputs_: Inputs
    members_: list[Member]
    shares_: list[float]

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...
    def fitted(self) -> dict[str, Any]: ...
    def take_fitted(self, told: Mapping[str, Any]) -> None: ...
    def finish(self) -> None: ...


def save(estimator: Saved, filepath: str | os.PathLike[str]) -> None:
    """Write a fitted estimator, whole or not at all. OSError, ValueError for settings that are no plain values."""
    write_atomically(Path(checked_path("filepath", filepath)), to_bytes(estimator))


def to_bytes(estimator: Saved) -> bytes:
    """What `save` writes."""
    columns: dict[str, Array] = {}
    for i, member in enumerate(estimator.members_):
        for j, weight in enumerate(member.model.get_weights()):
            columns[f"{i}/{j}"] = weight
    text = json.dumps(_settings(estimator), default=tensor_file.plain).encode()
    tensors = {SETTINGS: np.frombuffer(text, np.uint8).astype(np.float32), **columns}
    return b"".join(tensor_file.parts_of("the estimator", tensors, {"estimator": type(estimator).__name__}))


def _settings(estimator: Saved) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    if isinstance(parameters["net"], Recipe):
        parameters["net"] = parameters["net"].get_config()
    if estimator.random_state is not None and not isinstance(estimator.random_state, int | np.integer):
        parameters["random_state"] = None  # a generator, which has moved on
    return {
        "parameters": parameters,
        "columns": estimator.columns_.get_config(),
        "inputs": [estimator.inputs_.numbers, estimator.inputs_.flags, list(estimator.inputs_.sizes)],
        "recipes": [member.recipe.get_config() for member in estimator.members_],
        "best_epochs": [member.best_epoch for member in estimator.members_],
        "scores": [member.score for member in estimator.members_],
        "learning": [member.learning for member in estimator.members_],
        "shares": estimator.shares_,
        "fitted": estimator.fitted(),
    }


def load(filepath: str | os.PathLike[str], kinds: Mapping[str, type[Any]]) -> Any:
    """The estimator that `save` wrote. kinds: by name, which a file may hold. ModelFileError for any other file."""
    content = tensor_file.read(filepath)
    kind = kinds.get(str(content.notes.get("estimator")))
    if kind is None:
        raise ModelFileError(f"{content.name}: it is no saved {' or '.join(kinds)}")
    try:
        return _restored(kind, content)
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:
        raise ModelFileError(f"{content.name}: its settings cannot be used: {error}") from error


def _restored(kind: type[Any], content: Content) -> Any:
    settings = json.loads(content.tensors[SETTINGS].astype(np.uint8).tobytes())
    parameters = settings["parameters"]
    for name in ("numeric_features", "date_features", "drop"):
        parameters[name] = tuple(parameters[name])
    if isinstance(parameters["net"], dict):
        parameters["net"] = Recipe.from_config(parameters["net"])
    estimator = kind(**parameters)
    estimator.columns_ = Columns.from_config(settings["columns"])
    numbers, flags, sizes = settings["inputs"]
    estimator.inputs_ = Inputs(numbers, flags, tuple(sizes))
    estimator.take_fitted(settings["fitted"])
    fitted = settings["fitted"]
    outputs = len(fitted["classes"] if estimator.task == CLASSES else fitted["units"][0])
    members = []
    for i, config in enumerate(settings["recipes"]):
        recipe = Recipe.from_config(config)
        model = nets.make(recipe, estimator.inputs_, estimator.task, outputs, 1).model
        model.set_weights([content.tensors[f"{i}/{j}"] for j in range(len(model.weights))])
        none = np.zeros(0, np.int64)
        learning, score, best = (settings[name][i] for name in ("learning", "scores", "best_epochs"))
        members.append(Member(recipe, model, none, np.zeros((0, outputs)), score, best, learning))
    estimator.members_, estimator.shares_ = members, settings["shares"]
    estimator.finish()
    return estimator
