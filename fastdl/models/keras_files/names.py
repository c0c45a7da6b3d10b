"""Which class of fastdl's a name in Keras's configs stands for, and what either side lacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastdl import activations, constraints, initializers, losses, metrics, optimizers, regularizers, schedules
from fastdl.base import registry
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.random import SeedGenerator
from fastdl.layers import CLASSES

# Keras's public modules, and what of them fastdl has; models are added by those who make them
FAMILIES: dict[str, Mapping[str, type[Any]]] = {
    "keras": {},
    "keras.src.models.functional": {},
    "keras.layers": CLASSES,
    "keras.losses": losses.CLASSES,
    "keras.metrics": metrics.CLASSES,
    "keras.optimizers.schedules": schedules.CLASSES,
    "keras.optimizers": optimizers.CLASSES,
    "keras.initializers": initializers.CLASSES,
    "keras.regularizers": regularizers.CLASSES,
    "keras.constraints": constraints.CLASSES,
    "keras.random": {"SeedGenerator": SeedGenerator},
}
FUNCTIONS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "keras.activations": activations.NAMES | activations.COMPOSED,
    "keras.losses": losses.FUNCTIONS,
    "keras.metrics": losses.FUNCTIONS,
}

OPERATIONS = "keras.src.ops."  # modules of classes that stand for functions of tensors

# what Keras has no class for
ONLY_HERE = {
    *("CategoryEmbedding", "DenseTranspose", "EnsembleDense", "EnsembleScale", "FlatCosine", "LogCosine"),
    *("MinMaxScaling", "NumpyLayer", "OneCycle", "ParametricActivation", "PeriodicEmbedding"),
    *("PiecewiseLinearEncoding", "RReLU", "RandomSign", "Scale", "Values", "Whitening"),
}
# arguments that Keras's classes lack: what they are where they do nothing
ONLY_ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("learning_rate_factors", "shares", "weight_decay_factors")),
    "input_shape": ...,  # what the model's own input says too
}
WITHOUT = {("Discretization", "trainable")}  # of layers that have no weights: left out
# arguments that fastdl's classes lack: the values that ask for nothing; None for any
NEUTRAL: dict[str, tuple[Any, ...] | None] = {
    **dict.fromkeys(("optional", "ragged", "renorm", "rms_scaling", "sparse", "synchronized"), (False,)),
    **dict.fromkeys(("activity_regularizer", "batch_size", "input_axes", "lora_rank", "output_axes"), (None,)),
    **dict.fromkeys(("loss_scale_factor", "quantization_config", "renorm_clipping", "shared_axes"), (None,)),
    **dict.fromkeys(("jit_compile", "lora_alpha", "renorm_momentum", "vocabulary_size"), None),
    "data_format": (None, "channels_last"),
    "oov_method": ("floormod",),  # of texts, which are hashed either way
}


def home_of(kind: type) -> str | None:
    """Keras's public module of the class; None for one of a user's own."""
    return next((module for module, classes in FAMILIES.items() if kind in classes.values()), None)


def refuse_only_here(value: Any) -> None:
    """ValueError for an object whose class Keras does not have."""
    kind = type(value)
    if is_fastdls(kind) and kind.__name__ in ONLY_HERE:
        named = getattr(value, "name", "")
        raise ValueError(
            f"{f'{named}: ' if named else ''}Keras has no {kind.__name__}: save as .fastdl, or load in Keras what "
            "`export` writes"
        )


def _family(module: str) -> str:
    """The public module of one that may be of Keras's insides, as keras.src.optimizers.adam."""
    if module in FAMILIES:
        return module
    parts = module.split(".")
    if "schedules" in parts or "learning_rate_schedule" in parts:
        return "keras.optimizers.schedules"
    return next((f"keras.{part}" for part in parts if f"keras.{part}" in FAMILIES), "")


def built_in(module: Any, name: str) -> Any:
    """fastdl's class or function of what Keras's module has under that name; None if there is none."""
    if not isinstance(module, str) or module.partition(".")[0] not in ("keras", "builtins"):
        return None
    if module == "builtins":
        return next((functions[name] for functions in FUNCTIONS.values() if name in functions), None)
    if module.startswith(OPERATIONS):
        return CLASSES["Operation"]
    family = _family(module)
    return FAMILIES.get(family, {}).get(name) or FUNCTIONS.get(family, {}).get(name)


def options_of(kind: type) -> set[str]:
    """The names of all arguments that the class takes, those of its bases among them."""
    names = set[str]()
    for each in kind.__mro__:
        if (make := vars(each).get("__init__")) is None:
            continue
        parameters = inspect.signature(make).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
        if issubclass(kind, optimizers.Optimizer):
            names |= set(optimizers.base.Options.__annotations__)
    return names - {"self", "args"}


def taken(kind: type[Configured], config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that fastdl's class takes. ValueError for one that it lacks, unless it asks for nothing."""
    known, own = options_of(kind), dict[str, Any]()
    for name, value in config.items():
        if name in known:
            own[name] = value
            continue
        neutral = NEUTRAL.get(name, ())
        if neutral is not None and not any(value is each or value == each for each in neutral):
            named = config.get("name", kind.__name__)
            raise ValueError(f"{named}: {name}={value!r} of Keras's {kind.__name__} is an argument that fastdl lacks")
    return own


def registered(name: str | None) -> Any:
    """The class or function that is known under the name: registered, in the scope, or handed over."""
    return registry.get_registered_object(name) if name else None
