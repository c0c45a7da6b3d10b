"""Keras's `utils`, as far as fastdl has it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.messages import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
    set_logging_verbosity,
)
from fastdl.base.naming import no_such
from fastdl.base.random import local_random_seed, set_random_seed
from fastdl.base.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from fastdl.errors import DataError

if TYPE_CHECKING:
    from fastdl.models.py_dataset import PyDataset
    from fastdl.utils.feature_space import FeatureSpace
    from fastdl.utils.many import fit_all
    from fastdl.utils.model_picture import plot_model
    from fastdl.utils.progbar import Progbar
    from fastdl.utils.reading import read_ahead

__all__ = [
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "clear_session",
    "custom_object_scope",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "fit_all",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "is_interactive_logging_enabled",
    "local_random_seed",
    "normalize",
    "plot_model",
    "read_ahead",
    "register_keras_serializable",
    "set_logging_verbosity",
    "set_random_seed",
    "to_categorical",
]
_LATER = {  # those that need layers, or that few need
    "FeatureSpace": "utils.feature_space",
    "Progbar": "utils.progbar",
    "PyDataset": "models.py_dataset",
    "fit_all": "utils.many",
    "plot_model": "utils.model_picture",
    "read_ahead": "utils.reading",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise no_such(__name__, name, __all__, "it has what tables and training need")
    value = getattr(importlib.import_module(f"fastdl.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def clear_session(free_memory: bool = True) -> None:
    """Number the names of new layers and models from the start again. Keras: utils.clear_session.

    There is no other state: models that nobody refers to are gone anyway.
    """
    from fastdl.base.naming import number_names_anew

    number_names_anew()


def normalize(x: Any, axis: int = -1, order: int = 2) -> Array:
    """x / its norm along the axis, or x where that is zero. Keras: utils.normalize."""
    refuse_masked("x", x)
    array = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(array, order, axis, keepdims=True))
    return np.asarray(array / np.where(norm == 0, 1, norm))


def to_categorical(x: Any, num_classes: int | None = None) -> Array:
    """One-hot rows, (..., num_classes) in float32, of labels (...) or (..., 1). Keras: utils.to_categorical.

    num_classes: one more than the largest label if None. DataError unless all are whole numbers in its range.
    """
    refuse_masked("x", x)
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if not labels.size or labels.dtype.kind not in "fiub":
        raise DataError(f"x must hold labels, not {labels.dtype} of shape {labels.shape}")
    classes = int(labels.max()) + 1 if num_classes is None else num_classes
    wrong = labels[~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))]
    if wrong.size:
        raise DataError(f"x holds label {wrong[0]}; there are classes 0 to {classes - 1}")
    rows = np.zeros((labels.size, classes), np.float32)
    rows[np.arange(labels.size), labels.ravel().astype(np.int64)] = 1
    return rows.reshape(*labels.shape, classes)
