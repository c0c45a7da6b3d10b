"""What layers are called with as JSON, and back: for files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.compiler.graph import Parameter, Tensor
from fastdl.layers.given import Slot


def as_json(value: Any, tensors: list[Tensor]) -> Any:
    """The arguments of a call as JSON can hold them; tensors are gathered. TypeError for what no file could hold.

    Tensors stand among them as {"tensor": number}, arrays as {"array": …, "dtype": …}, slices as {"slice": …}.
    """
    if isinstance(value, Slot):
        return {"tensor": value.number}
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
    if isinstance(value, Mapping):
        return {"mapping": {str(name): as_json(each, tensors) for name, each in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [as_json(each, tensors) for each in value]}
    if isinstance(value, list):
        return [as_json(each, tensors) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a model's tensors cannot be computed with {value!r}")


def from_json(value: Any, tensors: Sequence[Any]) -> Any:
    """The arguments that `as_json` has told, of other tensors."""
    if isinstance(value, Mapping):
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "mapping" in value:
            return {name: from_json(each, tensors) for name, each in value["mapping"].items()}
        if "array" in value:
            return np.asarray(value["array"], value["dtype"])
        if "slice" in value:
            return slice(*value["slice"])
        if "tuple" in value:
            return tuple(from_json(each, tensors) for each in value["tuple"])
        if "ellipsis" in value:
            return ...
        return {name: from_json(each, tensors) for name, each in value.items()}
    return [from_json(each, tensors) for each in value] if isinstance(value, list) else value
