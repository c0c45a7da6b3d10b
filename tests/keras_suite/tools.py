"""What Keras's tests are written with, beside `testing` and `ops`: helpers of `backend`, random numbers, scopes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from keras_suite import arrays, case
from keras_suite.missing import Missing


def _area(instance: Any) -> Any:
    """The module of fastdl that the object is of a family of: the one whose base it has."""
    for area, base in (
        ("losses", "Loss"), ("metrics", "Metric"), ("optimizers", "Optimizer"), ("initializers", "Initializer"),
        ("regularizers", "Regularizer"), ("constraints", "Constraint"), ("layers", "Layer"),
        ("optimizers.schedules", "LearningRateSchedule"),
    ):  # fmt: skip
        module = importlib.import_module("fastdl.schedules" if "schedules" in area else f"fastdl.{area}")
        if isinstance(instance, getattr(module, base)):
            return module
    return Missing(f"serialize of a {type(instance).__name__}")


def through_json(instance: Any, carried: Any) -> Any:
    """The object made again of its config, carried as text: by Keras's functions for it, or those of its family."""
    import keras

    serialize, deserialize = keras.saving.serialize_keras_object, keras.saving.deserialize_keras_object
    if isinstance(serialize, Missing):
        family = _area(instance)
        serialize, deserialize = family.serialize, family.deserialize
    return deserialize(carried(serialize(instance)))


RANDOM = importlib.import_module("fastdl.random")


def backend(name: str) -> Any:
    return _BACKEND[name] if name in _BACKEND else arrays.find(name)


def _convert_to_numpy(x: Any) -> Any:
    return np.asarray(x)


_BACKEND: dict[str, Any] = {
    "convert_to_numpy": _convert_to_numpy,
    "convert_to_tensor": arrays.tensor,
    "standardize_dtype": arrays.standardize_dtype,
    "compute_output_spec": lambda function, *args, **options: function(*args, **options),
    "standardize_shape": tuple,
    "is_tensor": lambda x: isinstance(x, np.ndarray),
    "is_float_dtype": lambda dtype: arrays.standardize_dtype(dtype).startswith(("float", "bfloat")),
    "is_int_dtype": lambda dtype: arrays.standardize_dtype(dtype).startswith(("int", "uint")),
    "random": RANDOM,
    "image_data_format": lambda: "channels_last",
    "SUPPORTS_SPARSE_TENSORS": False,
    "SUPPORTS_RAGGED_TENSORS": False,
    "SUPPORTS_COMPLEX_DTYPES": False,
    "IS_THREAD_SAFE": True,
    **{
        name: Missing(f"backend.{name}")
        for name in ("Variable", "KerasTensor", "StatelessScope", "name_scope", "Function")
    },
}


def set_dtype_policy(name: str) -> None:
    """What tests put back after others have changed it: that of floatx."""
    importlib.import_module("fastdl.config").set_floatx(name)


def _of_fastdl(module: str, name: str) -> Any:
    """What stands elsewhere in fastdl than in Keras."""
    return getattr(importlib.import_module(f"fastdl.{module}"), name, None) or Missing(f"{module}.{name}")


TOOLS: dict[str, Any] = {
    # insides by which tests of files name members of the archive, and load weights
    "saving.saving_lib._CONFIG_FILENAME": "config.json",
    "saving.saving_lib._METADATA_FILENAME": "metadata.json",
    "saving.saving_lib.save_weights_only": _of_fastdl("saving", "save_weights"),
    "saving.saving_lib.load_weights_only": _of_fastdl("saving", "load_weights"),
    "models.Functional": _of_fastdl("models.functional", "Functional"),
    "ops.random": RANDOM,
    "trainers.trainer.Trainer": _of_fastdl("models", "Model"),  # of a Trainer and a layer tests make a model
    **{f"testing.{name}": tool for name, tool in case.TOOLS.items()},
    "ops": arrays.find,
    "backend": backend,
    "random": lambda name: getattr(RANDOM, name, None) or Missing(f"random.{name}"),
    "dtype_policies.dtype_policy": lambda: importlib.import_module("fastdl.config").floatx(),
    "dtype_policies.set_dtype_policy": set_dtype_policy,
    "backend.common.global_state.clear_session": lambda free_memory=True: importlib.import_module(
        "fastdl.utils"
    ).clear_session(),
}
