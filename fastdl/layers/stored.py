"""What of a layer Keras's files hold: its own variables by number, and how it is built again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, MutableMapping
from typing import Any, Self

import numpy as np

from fastdl.base.configured import is_fastdls
from fastdl.compiler.graph import Parameter
from fastdl.errors import ShapeError
from fastdl.layers.building import arguments_of_method
from fastdl.layers.weighted import Weighted


def arguments_of(kind: type[Any]) -> Mapping[str, inspect.Parameter]:
    """Of a layer's constructor. inspect.signature(kind) tells those of a __new__ instead before Python 3.11.5, where a
    class has neither of its own."""
    return arguments_of_method(kind.__init__)


class Stored(Weighted):
    """Base of Layer. Its methods may be overridden, for a layer that keeps more than its weights."""

    nameable = False
    _made_with: Mapping[str, Any] = {}  # what one of one's own was made with

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        layer = super().__new__(cls)
        if not is_fastdls(cls):
            bound = inspect.signature(cls.__init__).bind_partial(layer, *arguments, **options)
            layer._made_with = dict(list(bound.arguments.items())[1:])
        return layer

    def made_of(self) -> dict[str, Any]:
        """The constructor's arguments: attributes of their names, or what one of one's own was given. Where get_config
        is overridden, those of the class of fastdl's that it is made of. NotImplementedError for one not kept."""
        kind = type(self)
        told = kind if is_fastdls(kind.get_config) else next(each for each in kind.__mro__ if is_fastdls(each))
        made_of = {}
        for name, argument in arguments_of(told).items():
            if argument.kind is not argument.POSITIONAL_OR_KEYWORD:
                continue  # the base's, or an older name of another
            if hasattr(self, name):
                made_of[name] = getattr(self, name)
            elif name in self._made_with:
                made_of[name] = self._made_with[name]
            elif is_fastdls(kind) or argument.default is argument.empty:
                raise NotImplementedError(f"{kind.__name__} keeps no attribute {name!r}: override get_config")
        return made_of

    @property
    def own_variables(self) -> list[Parameter]:
        """Its weights without those of layers within it, those that are never trained last, as Keras numbers them."""
        inner = {parameter for layer in self._adopted for parameter in layer.weights}
        own = [parameter for parameter in self._tracked() if parameter not in inner]
        return [*(p for p in own if p not in self._kept), *(p for p in own if p in self._kept)]

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put arrays into the store, by name: its own weights by number. Keras: Layer.save_own_variables."""
        store.update({str(i): parameter.numpy() for i, parameter in enumerate(self.own_variables)})

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Take back what `save_own_variables` stored. ValueError if it is not of these weights; then all stay as they
        were. Keras: Layer.load_own_variables."""
        own = self.own_variables
        if len(store) != len(own) or not all(str(i) in store for i in range(len(own))):
            raise ValueError(f"{self.name} has {len(own)} weight arrays, the file has {len(store)} for it")
        values = [np.asarray(store[str(i)]) for i in range(len(own))]
        for parameter, value in zip(own, values, strict=True):
            if value.shape != parameter.shape:
                raise ShapeError(f"{parameter.path} has shape {parameter.shape}, the file has {value.shape} for it")
        for parameter, value in zip(own, values, strict=True):
            parameter.assign(value)
