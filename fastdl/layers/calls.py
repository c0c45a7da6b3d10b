"""The calls of layers that lead from some tensors to others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

from fastdl.base.order import in_order
from fastdl.compiler.graph import Tensor
from fastdl.layers.context import Call
from fastdl.layers.layer import Layer

T = TypeVar("T", bound=Hashable)


def calls_between(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[Call]:
    """The calls that lead from inputs to outputs, each after those it needs. ValueError if one needs another input."""
    sources = set(inputs)

    def makers(tensors: Sequence[Tensor]) -> Iterator[Call]:
        waiting, seen = list(reversed(tensors)), set[Tensor]()
        while waiting:
            tensor = waiting.pop()
            if tensor in sources or tensor in seen:
                continue
            seen.add(tensor)
            if tensor.made_by is not None:
                yield tensor.made_by
            elif tensor.op is not None:  # what a model's own `call` has composed between layers
                waiting += reversed(tensor.op.inputs)
            else:
                raise ValueError(
                    f"{name}: {tensor.name!r} of shape {tensor.shape} is needed, but is not among the inputs"
                )

    return in_order(makers(outputs), lambda call: makers(call.inputs))


def by_depth(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Layer | Tensor]:
    """Keras's order of a model's layers, its inputs among them, and so of its weights: the furthest from the outputs
    first, those of one distance as they are met on the way back from the outputs."""
    sources = set(inputs)

    def nodes(tensors: Sequence[Tensor]) -> list[Call | Tensor]:
        found: list[Call | Tensor] = []
        for tensor in tensors:
            if tensor in sources:
                found.append(tensor)
            elif tensor.made_by is not None:
                found.append(tensor.made_by)
            elif tensor.op is not None:  # what a model's own `call` has composed between layers
                found += nodes(tensor.op.inputs)
        return found

    def needs(each: Call | Tensor) -> list[Call | Tensor]:
        return nodes(each.inputs) if isinstance(each, Call) else []

    ends = nodes(outputs)
    met = dict.fromkeys(_owner(each) for each in _as_met(ends, needs))
    places = {owner: place for place, owner in enumerate(met)}
    depths: dict[Call | Tensor, int] = {}
    owners: dict[Layer | Tensor, int] = {tensor: 0 for tensor in inputs if tensor not in met}
    for each in reversed(list(in_order(ends, needs))):
        owner = _owner(each)
        depth = owners[owner] = max(depths.get(each, 0), owners.get(owner, 0))
        for needed in needs(each):
            depths[needed] = max(depth + 1, depths.get(needed, 0))
    return sorted(owners, key=lambda owner: (-owners[owner], places.get(owner, -1)))


def _owner(each: Call | Tensor) -> Layer | Tensor:
    return each.layer if isinstance(each, Call) else each


def _as_met(ends: Sequence[T], needs: Callable[[T], Sequence[T]]) -> Iterator[T]:
    """The ends and all that they need, each once, before what it needs itself: depth first, without recursion."""
    met, waiting = set[T](), list(reversed(ends))
    while waiting:
        each = waiting.pop()
        if each not in met:
            met.add(each)
            yield each
            waiting.extend(reversed(needs(each)))
