"""Keras's `saving`: models as files, and the names under which files know classes and functions of one's own."""

from fastdl.base.registry import custom_object_scope as custom_object_scope
from fastdl.base.registry import get_custom_objects as get_custom_objects
from fastdl.base.registry import get_registered_name as get_registered_name
from fastdl.base.registry import get_registered_object as get_registered_object
from fastdl.base.registry import register_keras_serializable as register_keras_serializable
from fastdl.models import load_model as load_model
from fastdl.models import save_model as save_model

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "register_keras_serializable",
    "save_model",
]
