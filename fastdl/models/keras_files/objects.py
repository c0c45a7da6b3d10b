"""Objects as Keras's configs tell them, and made again: {module, class_name, config, registered_name}.

What a config may name are fastdl's own classes, by Keras's names, and those that are registered or handed over. No
module is imported and no code is run that it speaks of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import config as settings
from fastdl.base import registry
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.scopes import having
from fastdl.compiler.graph import Parameter, Tensor
from fastdl.layers import DataLayer, Layer, Operation, Wrapper
from fastdl.layers.core import InputLayer
from fastdl.models.keras_files import operations
from fastdl.models.keras_files.names import (
    FUNCTIONS,
    ONLY_ARGUMENTS,
    WITHOUT,
    built_in,
    home_of,
    options_of,
    refuse_only_here,
    registered,
    taken,
)
from fastdl.optimizers import Optimizer
from fastdl.schedules import LearningRateSchedule


@dataclass(frozen=True)
class Form:
    """How a kind of models is told and made, by the module that knows of it."""

    fits: Callable[[type[Any], Mapping[str, Any] | None], bool]  # of a class, and of a config that it is made of
    tell: Callable[[Any], dict[str, Any]]
    make: Callable[[type[Any], Mapping[str, Any]], Any]


MIXED = "mixed_bfloat16"
FORMS: list[Form] = []
AFTER: list[Callable[[Any, Mapping[str, Any]], None]] = []  # what is done to what was made: it is built, and compiled
BESIDE: list[Callable[[Any], dict[str, Any]]] = []  # what is told beside an object's config

dtype_told: ContextVar[str | None] = ContextVar("dtype_told", default=None)
_told: ContextVar[dict[int, dict[str, Any]] | None] = ContextVar("layers_told", default=None)
_made: ContextVar[dict[Any, Any] | None] = ContextVar("layers_made", default=None)
_safe: ContextVar[bool | None] = ContextVar("safe_mode", default=None)


class SafeModeScope:
    """Within, `safe_mode` is this, whatever is passed. fastdl runs no code of a file's in either mode (Keras)."""

    def __init__(self, safe_mode: bool = True) -> None:
        self.safe_mode = safe_mode

    def __enter__(self) -> None:
        self._token = _safe.set(self.safe_mode)

    def __exit__(self, *error: object) -> None:
        _safe.reset(self._token)


def policy(dtype: str | None = None) -> dict[str, Any]:
    """How Keras tells the dtype of a layer."""
    name = dtype or dtype_told.get() or settings.floatx()
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}


# -- telling ----------------------------------------------------------------------------------------------


def serialize_keras_object(obj: Any) -> Any:
    """What JSON can hold of an object, a function, a model, or of lists and mappings of such, in Keras's form.

    ValueError for a lambda, and for what Keras has no class or argument for; TypeError for an object without
    get_config. Keras: saving.serialize_keras_object.
    """
    with having(_told, {} if _told.get() is None else _told.get()):
        return _tell(obj)


def _tell(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)  # plain, of what an optimizer counts
    if isinstance(value, list | tuple):
        told = [_tell(each) for each in value]
        return tuple(told) if isinstance(value, tuple) else told
    if isinstance(value, Mapping):
        return {key: _tell(each) for key, each in value.items()}
    if isinstance(value, bytes):
        return {"class_name": "__bytes__", "config": {"value": value.decode()}}
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return value.item()
    if isinstance(value, np.ndarray | Parameter):
        array = np.asarray(value)
        return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": array.dtype.name}}
    if isinstance(value, slice):
        ends = {"start": value.start, "stop": value.stop, "step": value.step}
        return {"class_name": "__slice__", "config": _tell(ends)}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, Tensor) and not isinstance(value, Configured):
        about = {"shape": list(value.shape), "dtype": value.dtype.name, "keras_history": None}
        return {"class_name": "__keras_tensor__", "config": about}
    function = value if inspect.isroutine(value) else getattr(value, "fn", None) if is_fastdls(type(value)) else None
    return _function(function) if callable(function) else _object(value)


def _function(function: Any) -> dict[str, Any]:
    """ValueError for a lambda, of which a file could hold code alone."""
    name = next((name for each in FUNCTIONS.values() for name, known in each.items() if known is function), "")
    name = name or registry.function_config(function)["config"]["name"]
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def _object(value: Any) -> dict[str, Any]:
    told, kind = _told.get(), type(value)
    assert told is not None
    if isinstance(value, Layer) and id(value) in told:  # one of which two others are made
        before = told[id(value)]
        before.setdefault("shared_object_id", 1 + sum("shared_object_id" in each for each in told.values()))
        return dict(before)
    if isinstance(value, Operation):
        return operations.told(value)
    refuse_only_here(value)
    form = next((form for form in FORMS if form.fits(kind, None)), None)
    if form and is_fastdls(kind.get_config):
        config = form.tell(value)
    else:
        config = _arguments(value) if is_fastdls(getattr(kind, "get_config", _own)) else _own(value)
    home = home_of(kind)
    result = {
        "module": home or kind.__module__,
        "class_name": kind.__name__,
        "config": config,
        "registered_name": None if home else registry.get_registered_name(kind),
    }
    for more in BESIDE:
        result |= more(value)
    if isinstance(value, Layer):
        told[id(value)] = result
    return result


def _own(value: Any) -> dict[str, Any]:
    """The config of an object of one's own. TypeError if it has none."""
    if not hasattr(value, "get_config"):
        raise TypeError(f"{value!r} has no get_config, which says how to make it again: a file needs it")
    config = value.get_config()
    if not isinstance(config, Mapping):
        raise TypeError(f"get_config of {value!r} must return a mapping, not {config!r}")
    return {str(name): _tell(each) for name, each in config.items()}


def _arguments(value: Any) -> dict[str, Any]:
    """The arguments of an object of fastdl's. ValueError for one that Keras's class lacks."""
    if isinstance(value, InputLayer):
        return input_config(value.name, value.output)
    told = dict[str, Any]()
    config = value.saved_config() if isinstance(value, Layer) else value.get_config()
    for name, each in config.items():
        if (type(value).__name__, name) in WITHOUT:
            continue
        if name in ONLY_ARGUMENTS:
            if each and ONLY_ARGUMENTS[name] is None:
                raise ValueError(f"{value.name}: Keras's {type(value).__name__} has no {name}: save as .fastdl")
            continue
        inner = value.rate_or_schedule if isinstance(value, Optimizer) and name == "learning_rate" else None
        inner = getattr(value, name, None) if inner is None else inner
        if isinstance(inner, LearningRateSchedule) and name != "learning_rate":
            raise ValueError(f"{value.name}: {name} follows a schedule, which Keras does not know: save as .fastdl")
        if hasattr(inner, "get_config") and not isinstance(inner, type):
            told[name] = _tell(inner)
        elif isinstance(each, Mapping) and each.get("class_name") == "function":
            told[name] = _function(inner if inspect.isroutine(inner) else registry.function_of(each))
        else:
            told[name] = _tell(each)
    if not is_fastdls(type(value)):
        return {name: each for name, each in told.items() if name in options_of(type(value))}
    if isinstance(value, Layer) and not isinstance(value, DataLayer):
        told["dtype"] = policy(told.get("dtype"))
    return told


def input_config(name: str, tensor: Any) -> dict[str, Any]:
    """Keras's InputLayer of that name."""
    dtype = "string" if tensor.dtype.kind in "OUST" else tensor.dtype.name
    shape = [getattr(tensor, "batch_size", None), *tensor.shape[1:]]
    optional = getattr(tensor, "optional", False)
    return {"batch_shape": shape, "dtype": dtype, "sparse": False, "ragged": False, "name": name, "optional": optional}


# -- making -----------------------------------------------------------------------------------------------


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True, **unknown: Any
) -> Any:
    """What `serialize_keras_object`, here or in Keras, has told: a model is built and compiled if it was.

    custom_objects: classes and functions of one's own by name, beside those that are registered. TypeError for a class
    that is not known here, ValueError for an argument that fastdl lacks, or for the code of a lambda, which is never
    run, whatever safe_mode says. Keras: saving.deserialize_keras_object.
    """
    for name in unknown:
        raise TypeError(f"deserialize_keras_object has no argument {name!r}")
    safe = safe_mode if _safe.get() is None else _safe.get()
    shared = {} if _made.get() is None else _made.get()
    scope = registry.custom_object_scope(custom_objects)
    with having(_safe, safe), having(_made, shared), scope, settings.policy_of_files():
        made = make(config)
        if isinstance(config, Mapping) and "class_name" in config:
            for finish in AFTER:
                finish(made, config)
        return made


def make(config: Any) -> Any:
    """As `deserialize_keras_object`, but neither built nor compiled."""
    if config is None or isinstance(config, bool | int | float):
        return config
    if isinstance(config, str):
        known = registered(config)
        return config if known is None else known
    if isinstance(config, list | tuple):
        return [make(each) for each in config]
    if not isinstance(config, Mapping):
        raise TypeError(f"{config!r} is no config, nor a number, a text or a list")
    if "class_name" not in config or "config" not in config:
        return {name: make(each) for name, each in config.items()}
    name, inner = config["class_name"], {} if config["config"] is None else config["config"]
    if not isinstance(name, str):
        raise TypeError(f"class_name must be a text, not {name!r}")
    if name.startswith("__"):
        return _special(name, inner)
    if name == "function":
        if not isinstance(inner, str):
            raise TypeError(f"the config of a function must be its name, not {inner!r}")
        return _found(inner, config)
    if not isinstance(inner, Mapping):
        raise TypeError(f"the config of {name} must be a mapping, not {inner!r}")
    made, shared = _made.get(), config.get("shared_object_id")
    if made is not None and shared is not None and shared in made:
        return made[shared]
    instance = _instance(_found(name, config), name, inner, config)
    if made is not None and isinstance(shared, int | str):
        made[shared] = instance
    return instance


def _special(name: str, inner: Any) -> Any:
    """What is neither a class nor a function. ValueError for code."""
    if name == "__lambda__":
        raise ValueError(
            "it holds the code of a lambda, which could do anything (arbitrary code execution) and is never run: "
            "write it as a function, with def, register it, and save again"
        )
    if not isinstance(inner, Mapping):
        raise TypeError(f"the config of {name} must be a mapping, not {inner!r}")
    if name in ("__numpy__", "__tensor__"):
        return _array(inner)
    if name == "__bytes__":
        return str(inner["value"]).encode()
    if name == "__slice__":
        return slice(*(make(inner[end]) for end in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return ...
    if name == "__keras_tensor__":
        return Tensor(tuple(inner["shape"]), np.dtype(inner["dtype"]))
    raise TypeError(f"fastdl has nothing that is told as {name}")


def _array(inner: Mapping[str, Any]) -> Array:
    dtype = np.dtype(inner["dtype"])
    if dtype.kind not in "biuf":
        raise TypeError(f"an array holds numbers, not {dtype}")
    return np.array(inner["value"], dtype)


def _found(name: str, config: Mapping[str, Any]) -> Any:
    """The class or function of that name. TypeError if it is not known here; ValueError for a built-in one under
    another's registered name."""
    told = config.get("registered_name", config["class_name"])
    function = config["class_name"] == "function"
    known = registered(name if function or told is None else str(told))
    if known is not None:
        return known
    found = built_in(config.get("module"), name) if "module" in config else built_in("keras.layers", name)
    if found is None:
        raise TypeError(
            f"fastdl has no {'function' if function else 'class'} {name!r} of {config.get('module')}. One of your own "
            "is found if it is in custom_objects, or registered by saving.register_keras_serializable"
        )
    if told and told not in (name, config["class_name"]):
        raise ValueError(f"{name} is a Keras built-in, and has no registered_name as {told!r}")
    return found


def _instance(kind: Any, name: str, inner: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    if inspect.isroutine(kind):
        return kind
    form = next((form for form in FORMS if isinstance(kind, type) and form.fits(kind, inner)), None)
    if not hasattr(kind, "from_config"):
        raise TypeError(f"{name} has no from_config, which would make it again of its config")
    if isinstance(kind, type) and kind is Operation:
        return operations.made(str(name), inner, config)
    arguments = dict(inner)
    if isinstance(kind, type) and issubclass(kind, Layer) and not issubclass(kind, InputLayer):
        dtype = arguments.pop("dtype", None)  # layers take it from their model
        if not issubclass(kind, DataLayer) and _policy_of(dtype) == MIXED:  # which encode what they are given in any
            arguments["dtype"] = MIXED
    if form and is_fastdls(kind.from_config.__func__):
        return form.make(kind, arguments)
    if is_fastdls(kind):
        return kind.from_config({key: make(each) for key, each in taken(kind, arguments).items()})
    if isinstance(kind, type) and issubclass(kind, Wrapper) and is_fastdls(kind.from_config):
        arguments["layer"] = make(arguments["layer"])
    try:
        return kind.from_config(arguments)
    except TypeError as error:
        raise TypeError(
            f"{name} cannot be made again of its config: {error}. Objects that a get_config of one's own returns come "
            "as configs, and are explicitly deserialized in from_config"
        ) from error


def _policy_of(dtype: Any) -> str | None:
    """The policy's name. ValueError for one that no layer of fastdl's has."""
    name = dtype["config"]["name"] if isinstance(dtype, Mapping) else dtype
    if name not in (None, "float32", "float64", MIXED):
        raise ValueError(f"dtype {name!r}: fastdl computes in float32, {MIXED} and float64")
    return str(name)
