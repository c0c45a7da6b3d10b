"""The calls of layers that lead from some tensors to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastdl.base.order import in_order
from fastdl.compiler.graph import Tensor
from fastdl.layers.layer import Call


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
