"""Functions of fastdl.ops as layers: what arithmetic between the tensors of a functional model becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.naming import auto_name, unknown
from fastdl.compiler.graph import Arithmetic, Parameter, Tensor
from fastdl.layers.context import listed
from fastdl.layers.layer import Layer
from fastdl.ops.numeric import BY_NAME, get_item

KNOWN = {**BY_NAME, "get_item": get_item}


class Operation(Layer):
    """function(*arguments, **options) of fastdl.ops, by name. ValueError for one that there is not.

    Tensors stand among the arguments as {"tensor": number}, arrays as {"array": …, "dtype": …}, slices as {"slice": …}.
    """

    takes_several, unbatched = True, True

    def __init__(
        self, function: str, arguments: Sequence[Any], options: Mapping[str, Any] | None = None, **own: Any
    ) -> None:
        if function not in KNOWN:
            raise ValueError(unknown("function", function, sorted(KNOWN)))
        super().__init__(**{"name": auto_name(function), **own})
        self.function, self.arguments, self.options = function, list(arguments), dict(options or {})

    def call(self, inputs: list[Tensor]) -> Any:
        arguments, options = _filled(self.arguments, inputs), _filled(self.options, inputs)
        return KNOWN[self.function](*arguments, **options)


def _filled(value: Any, tensors: Sequence[Tensor]) -> Any:
    """What stands for tensors, arrays and slices, as what it stands for."""
    if isinstance(value, Mapping):
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "array" in value:
            return np.asarray(value["array"], value["dtype"])
        if "slice" in value:
            return slice(*value["slice"])
        if "tuple" in value:
            return tuple(_filled(each, tensors) for each in value["tuple"])
        if "ellipsis" in value:
            return ...
        return {name: _filled(each, tensors) for name, each in value.items()}
    return [_filled(each, tensors) for each in value] if isinstance(value, list) else value


def _told(value: Any, tensors: list[Tensor]) -> Any:
    """The same as JSON can hold it; tensors are gathered. TypeError for what no file could hold."""
    if isinstance(value, Tensor):
        if not any(value is each for each in tensors):
            tensors.append(value)
        return {"tensor": next(i for i, each in enumerate(tensors) if each is value)}
    if isinstance(value, Parameter):
        raise TypeError(
            f"{value.path} is a layer's weight: compute with it in a layer of your own, whose call knows it"
        )
    if isinstance(value, np.ndarray | np.generic):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, tuple):
        return {"tuple": [_told(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_told(each, tensors) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a model's tensors cannot be computed with {value!r}")


def _as_layer(name: str, operands: Sequence[Any], options: Mapping[str, Any]) -> Any:
    tensors: list[Tensor] = []
    arguments = [_told(each, tensors) for each in operands]
    named = {key: _told(each, tensors) for key, each in options.items()}
    return Operation(name, arguments, named)(listed(tensors))


Arithmetic.as_layer = staticmethod(_as_layer)
