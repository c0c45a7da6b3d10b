"""Functions of fastdl.ops as layers: what arithmetic between the tensors of a functional model becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastdl.base.naming import auto_name, unknown
from fastdl.compiler.graph import Arithmetic, Tensor
from fastdl.layers.context import listed
from fastdl.layers.layer import Layer
from fastdl.layers.telling import as_json, from_json
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
        arguments, options = from_json(self.arguments, inputs), from_json(self.options, inputs)
        return KNOWN[self.function](*arguments, **options)


def _as_layer(name: str, operands: Sequence[Any], options: Mapping[str, Any]) -> Any:
    tensors: list[Tensor] = []
    arguments = [as_json(each, tensors) for each in operands]
    named = {key: as_json(each, tensors) for key, each in options.items()}
    return Operation(name, arguments, named)(listed(tensors))


Arithmetic.as_layer = staticmethod(_as_layer)
