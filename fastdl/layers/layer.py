"""The base of all layers: a name, parameters, and a `call` that composes ops."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from fastdl import _configured, activations, initializers
from fastdl._configured import Configured
from fastdl.errors import ShapeError
from fastdl.graph import Array, Parameter, Shape, Tensor
from fastdl.initializers import Function, Initializer

ActivationLike = str | Callable[[Tensor], Tensor] | None
InitializerLike = str | Function | type[Initializer] | Mapping[str, Any]

CLASSES: dict[str, type[Configured]] = {}  # what a file may name: fastdl's own layers, and nothing else
values_from: ContextVar[Function | None] = ContextVar("values_from", default=None)  # a file, while one is loaded

_names: Counter[str] = Counter()


def unique_name(kind: str) -> str:
    """Keras's default names: dense, dense_1, dense_2, …"""
    base = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}_{_names[base] - 1}"


class Layer(Configured):
    """Base layer. A subclass makes its parameters in `build` and composes ops in `call`."""

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int | None] | None = None,
    ) -> None:
        self.name = name or unique_name(type(self).__name__)
        self.input_shape_argument = None if input_shape is None else tuple(input_shape)
        self._trainable = bool(trainable)
        self._parameters: list[Parameter] = []
        self._kept: set[Parameter] = set()  # never trained, as batch norm's moving averages
        self.output_shape: Shape | None = None
        self.built = False

    def build(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Make the parameters for inputs of this shape; called once."""

    def call(self, x: Tensor) -> Tensor:
        """The layer as ops."""
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{self.name} takes a symbolic tensor; to compute on arrays use model.predict")
        if not self.built:
            self.build(x.shape, x.dtype)
            self.built = True
            self.trainable = self._trainable
        elif self._parameters and self._parameters[0].dtype != x.dtype:
            raise ValueError(f"{self.name} was built for {self._parameters[0].dtype}, the input is {x.dtype}")
        output = self.call(x)
        self.output_shape = output.shape
        return output

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        initializer: Function,
        trainable: bool = True,
    ) -> Parameter:
        """Make a parameter of this layer."""
        values = (values_from.get() or initializer)(shape, dtype)
        parameter = Parameter(f"{self.name}/{name}", shape, dtype, values, trainable)
        self._parameters.append(parameter)
        if not trainable:
            self._kept.add(parameter)
        return parameter

    def adopt(self, inner: Any, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Take over the parameters of `inner`, an activation, if it is a layer."""
        if not isinstance(inner, Layer):
            return
        if not inner.built:
            inner.build(shape, dtype)
            inner.built = True
        self._parameters += inner._parameters
        self._kept |= inner._kept if inner.trainable else set(inner._parameters)

    @property
    def trainable(self) -> bool:
        """Whether `fit` changes this layer; takes effect at the next `compile`."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._parameters:
            parameter.trainable = self._trainable and parameter not in self._kept

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, in Keras's order."""
        return list(self._parameters)

    @property
    def variables(self) -> list[Parameter]:
        return self.weights

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self._parameters if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self._parameters if not parameter.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Copies of all parameters' values."""
        return [parameter.numpy() for parameter in self._parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy values into all parameters. ShapeError if they do not fit; then nothing is changed."""
        assign_all(self.name, self._parameters, weights)

    def count_params(self) -> int:
        """Numbers that all parameters hold."""
        return sum(parameter.size for parameter in self._parameters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as `from_config` takes them (Keras).

        ValueError for a function of one's own, NotImplementedError for an argument that is not kept.
        """
        shape = self.input_shape_argument
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config |= {} if shape is None else {"input_shape": list(shape)}
        for name, argument in inspect.signature(type(self)).parameters.items():
            if argument.kind is not argument.POSITIONAL_OR_KEYWORD:
                continue  # the base's, which are above, or an older name of another
            if not hasattr(self, name):
                raise NotImplementedError(f"{type(self).__name__} keeps no attribute {name!r}: override get_config")
            config[name] = self._plain(name, getattr(self, name))
        return config

    def _plain(self, name: str, value: Any) -> Any:
        """An argument as JSON can hold it."""
        if isinstance(value, Layer):
            return serialize(value)
        if _configured.is_one_of(value, initializers.NAMES):
            return initializers.serialize(value)
        if not callable(value):
            return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        known = getattr(value, "__name__", "")
        if activations.NAMES.get(known) is value:
            return known
        raise ValueError(f"{self.name}: its {name} is your own, {value!r}: only fastdl's can be told in words")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and weights of its own (Keras)."""
        inner = config.get("activation")
        return cls(**{**config, "activation": deserialize(inner)} if isinstance(inner, Mapping) else config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def serialize(layer: Layer) -> dict[str, Any]:
    """The layer's class and arguments, as `deserialize` takes them (Keras). ValueError for a layer of one's own."""
    if not _configured.is_one_of(layer, CLASSES):
        raise ValueError(f"{layer.name} is a {type(layer).__name__}, a layer of your own: only fastdl's can be saved")
    return _configured.serialize(layer)


def deserialize(config: Mapping[str, Any]) -> Configured:
    """The layer, or Input, that `serialize` described. ValueError if fastdl has none of that name."""
    return _configured.deserialize(config, CLASSES)


def assign_all(owner: str, parameters: Sequence[Parameter], weights: Sequence[Any]) -> None:
    """Copy values into parameters, all or none. ShapeError if one does not fit."""
    if len(weights) != len(parameters):
        raise ShapeError(f"{owner} has {len(parameters)} weight arrays, {len(weights)} were given")
    arrays = [np.asarray(weight) for weight in weights]
    for parameter, array in zip(parameters, arrays, strict=True):
        if array.shape != parameter.shape:
            raise ShapeError(f"{parameter.path} has shape {parameter.shape}, the new value {array.shape}")
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.assign(array)
