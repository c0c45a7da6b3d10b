"""Keras's `saving`: models as files, and the names under which files know classes and functions of one's own."""

from typing import Any

from fastdl.base.registry import custom_object_scope as custom_object_scope
from fastdl.base.registry import get_custom_objects as get_custom_objects
from fastdl.base.registry import get_registered_name as get_registered_name
from fastdl.base.registry import get_registered_object as get_registered_object
from fastdl.base.registry import register_keras_serializable as register_keras_serializable
from fastdl.models import Model
from fastdl.models import load_model as load_model
from fastdl.models import save_model as save_model
from fastdl.models.keras_files.objects import SafeModeScope as SafeModeScope
from fastdl.models.keras_files.objects import deserialize_keras_object as deserialize_keras_object
from fastdl.models.keras_files.objects import serialize_keras_object as serialize_keras_object


def save_weights(model: Model, filepath: Any, overwrite: bool = True, **options: Any) -> None:
    """As model.save_weights (Keras)."""
    model.save_weights(filepath, overwrite, **options)


def load_weights(model: Model, filepath: Any, skip_mismatch: bool = False, **options: Any) -> None:
    """As model.load_weights (Keras)."""
    model.load_weights(filepath, skip_mismatch, **options)


CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "SafeModeScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
