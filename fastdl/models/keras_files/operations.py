"""Functions between the tensors of a model: fastdl's Operation layers, and Keras's operations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fastdl.layers.operation import KNOWN, Operation
from fastdl.models.keras_files.names import OPERATIONS

# where Keras has them, if not in its numpy
MODULES = {
    **dict.fromkeys(("erf", "logsumexp", "rsqrt"), "math"),
    **dict.fromkeys(("cast", "convert_to_tensor", "stop_gradient"), "core"),
    **dict.fromkeys(("celu", "glu", "hard_shrink", "hard_tanh", "log_sigmoid", "log_softmax", "normalize"), "nn"),
    **dict.fromkeys(("one_hot", "relu", "sigmoid", "soft_shrink", "softmax", "softplus", "sparse_plus"), "nn"),
    **dict.fromkeys(("sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink", "threshold"), "nn"),
    "norm": "linalg",
}
OPERANDS = {"operands", "x", "x1", "x2", "xs", "key", "indices"}  # what a call is given; the rest is config
RENAMED = {("reshape", "shape"): "newshape"}
BY_CLASS = {"".join(part.capitalize() for part in name.split("_")): name for name in KNOWN}


def module_of(function: str) -> str:
    return f"{OPERATIONS}{MODULES.get(function, 'numpy')}"


def told(layer: Operation) -> dict[str, Any]:
    """Keras's operation, as its configs tell it; what it is called with, `call` tells."""
    name = "".join(part.capitalize() for part in layer.function.split("_"))
    config = {"name": layer.name, **{key: plain(value) for key, value in _bound(layer)[1].items()}}
    return {"module": module_of(layer.function), "class_name": name, "config": config, "registered_name": name}


def call(layer: Operation, tensors: Sequence[Any]) -> list[Any]:
    """The arguments of its call; tensors: as its configs tell its inputs."""
    return [plain(value, tensors) for value in _bound(layer)[0]]


def _bound(layer: Operation) -> tuple[list[Any], dict[str, Any]]:
    """What of its arguments are operands, and what are settings by name."""
    operands, settings = list[Any](), dict[str, Any]()
    bound = inspect.signature(KNOWN[layer.function]).bind(*layer.arguments, **layer.options)
    bound.apply_defaults()  # which are not all Keras's
    for name, value in bound.arguments.items():
        if name == "operands":
            operands += value
        elif name in OPERANDS or layer.function == "matmul":
            operands.append(value)
        else:
            settings[RENAMED.get((layer.function, name), name)] = value
    return operands, settings


def plain(value: Any, tensors: Sequence[Any] = ()) -> Any:
    """An argument as Keras's configs tell it."""
    if isinstance(value, Mapping):
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "array" in value:
            return {"class_name": "__numpy__", "config": {"value": value["array"], "dtype": value["dtype"]}}
        if "slice" in value:
            ends = dict(zip(("start", "stop", "step"), value["slice"], strict=True))
            return {"class_name": "__slice__", "config": ends}
        if "mapping" in value:
            return {name: plain(each, tensors) for name, each in value["mapping"].items()}
        if "tuple" in value:
            return [plain(each, tensors) for each in value["tuple"]]
        return {"class_name": "__ellipsis__", "config": {}}
    return [plain(each, tensors) for each in value] if isinstance(value, list | tuple) else value


def made(name: str, config: Mapping[str, Any], whole: Mapping[str, Any]) -> Operation:
    """fastdl's layer of Keras's operation, without the arguments that its calls give. TypeError if there is none."""
    function = BY_CLASS.get(name, "")
    if whole.get("module") != module_of(function) or not function:
        raise TypeError(f"fastdl has no function as {whole.get('module')}.{name} of Keras's")
    back = {new: old for (of, old), new in RENAMED.items() if of == function}
    known = inspect.signature(KNOWN[function]).parameters
    options = {back.get(key, key): value for key, value in config.items() if key != "name"}
    unknown = [key for key, value in options.items() if key not in known and value not in (None, False)]
    if unknown:
        raise ValueError(f"{name}: {unknown[0]}={options[unknown[0]]!r} of Keras's is an argument that fastdl lacks")
    return Operation(function, [], {k: v for k, v in options.items() if k in known}, name=config.get("name"))


def used(layer: Operation, arguments: Sequence[Any], tensors: list[Any]) -> Operation:
    """The layer with the arguments of a call, in which the tensors stand by number."""
    function, options = layer.function, dict(layer.options)
    names = [name for name in inspect.signature(KNOWN[function]).parameters if name not in options]
    told = [_told(value, tensors, key=function == "get_item" and i == 1) for i, value in enumerate(arguments)]
    if options and names:  # settings may stand between operands
        return Operation(function, [], {**options, **dict(zip(names, told, strict=False))}, name=layer.name)
    return Operation(function, told, options, name=layer.name)


def _told(value: Any, tensors: list[Any], key: bool = False) -> Any:
    """An argument, of Keras's configs with tensors in their places, as Operation takes it."""
    if isinstance(value, list | tuple):
        inner = [_told(each, tensors) for each in value]
        return {"tuple": inner} if key else inner
    if isinstance(value, Mapping):
        kind, config = value.get("class_name"), value.get("config") or {}
        if kind in ("__numpy__", "__tensor__"):
            return {"array": config["value"], "dtype": config["dtype"]}
        if kind == "__slice__":
            return {"slice": [config["start"], config["stop"], config["step"]]}
        if kind == "__ellipsis__":
            return {"ellipsis": True}
        raise TypeError(f"an operation's argument cannot be {value!r}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if not any(value is each for each in tensors):
        tensors.append(value)
    return {"tensor": next(i for i, each in enumerate(tensors) if each is value)}
