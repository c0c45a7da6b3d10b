"""What layers are called with: tensors, wherever they stand among arguments, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastdl import config
from fastdl.base.arrays import Dtype
from fastdl.compiler.graph import Tensor
from fastdl.errors import ShapeError


class Slot(NamedTuple):
    """Stands for a tensor or an array, by its number."""

    number: int


def _is_slot(value: Any) -> bool:
    return isinstance(value, Slot)


def mapped(value: Any, function: Callable[[Any], Any], is_one: Callable[[Any], bool] = _is_slot) -> Any:
    """The value with the function of each thing in its lists, tuples and mappings, however deep.

    is_one: of what looks like a list, whether it is such a thing.
    """
    if is_one(value):
        return function(value)
    if isinstance(value, Mapping):
        return {name: mapped(each, function, is_one) for name, each in value.items()}
    if isinstance(value, list | tuple):
        made = [mapped(each, function, is_one) for each in value]
        return made if isinstance(value, list) else getattr(type(value), "_make", tuple)(made)  # a named tuple's
    return function(value)


def gathered(value: Any, found: list[Any], kind: type) -> Any:
    """The value with a Slot in the place of each thing of the kind, which are added to those that were found."""

    def slot(each: Any) -> Any:
        if not isinstance(each, kind):
            return each
        found.append(each)
        return Slot(len(found) - 1)

    return mapped(value, slot)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of lists, tuples and mappings, however deep, in their order."""
    found: list[Tensor] = []
    gathered(value, found, Tensor)
    return found


def filled(value: Any, things: Sequence[Any]) -> Any:
    """The value with things in the place of their slots."""
    return mapped(value, lambda each: things[each.number] if isinstance(each, Slot) else each)


def told_form(form: Any, own: bool) -> tuple[bool, Any]:
    """How a model tells of a call: of several arguments, or, if it is neither that nor one tensor or a list, its form.

    own: whether the layer's `call` is one's own, and may tell a list of one from its tensor.
    """
    args, named = form
    if not named and len(args) > 1 and all(isinstance(each, Slot) for each in args):
        return True, None
    one = len(args) == 1 and not named
    plain = one and (isinstance(args[0], Slot) or not own or (isinstance(args[0], list) and _are_several(args[0])))
    return False, None if plain else form


def _are_several(values: list[Any]) -> bool:
    return len(values) > 1 and all(isinstance(each, Slot) for each in values)


def refuse_values(args: Sequence[Any]) -> None:
    """ValueError for an argument by position that is no tensor (Keras)."""

    def check(each: Any) -> None:
        if each is not None and not isinstance(each, Tensor | np.ndarray):
            raise ValueError(
                f"Only input tensors may be passed as positional arguments: pass {each!r} as a keyword argument, by "
                "its name"
            )

    mapped(args, check)


def shapes(value: Any) -> Any:
    """The shapes of arrays and tensors where they stand; None for all else."""
    return mapped(value, lambda each: tuple(each.shape) if hasattr(each, "shape") else None)


def is_shape(value: Any) -> bool:
    """Whether it is sizes, some of which are not known, and not a list of shapes."""
    sized = isinstance(value, list | tuple) and len(value) > 0
    return sized and all(size is None or isinstance(size, int | np.integer) for size in value)


def argument_of(name: str) -> str:
    """The argument of `call` whose shape an argument of `build` is."""
    return name.removesuffix("_shape")


def shapes_as_tensors(value: Any, dtype: Dtype | None) -> Any:
    """The value with a tensor in the place of each shape."""
    of = dtype or np.dtype(config.floatx())
    return mapped(value, lambda each: from_shape(each, of) if is_shape(each) else each, is_shape)


def from_shape(shape: Sequence[Any], dtype: Dtype) -> Tensor:
    """A tensor of the shape, whose first entry is the batch's size."""
    batch, *sizes = shape
    return told_batch(Tensor((None, *sizes), dtype, name="input"), batch)


def batch_of(owner: str, tensors: Sequence[Tensor]) -> int | None:
    """The batch's size, if it was told of one of the tensors. ShapeError if it was told of two, and differs."""
    told = {tensor.batch_size for tensor in tensors} - {None}
    if len(told) > 1:
        sizes = " and ".join(str(tensor.shape) for tensor in tensors)
        raise ShapeError(f"{owner}: tensors {sizes} have batches of different sizes")
    return told.pop() if told else None


def told_batch(tensor: Tensor, size: int | None) -> Tensor:
    """The tensor, which tells the batch's size from now on, as those outside of layers do."""
    if size is not None and tensor.batched:
        tensor.shape, tensor.batch_size = (size, *tensor.shape[1:]), size
    return tensor


def any_batch(tensor: Tensor) -> Tensor:
    """The tensor as layers compute with it, for batches of any size."""
    if tensor.batch_size is None:
        return tensor
    return Tensor((None, *tensor.shape[1:]), tensor.dtype, name=tensor.name)
