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
        for tensor in tensors:
            if tensor in sources:
                continue
            if tensor.made_by is None:
                raise ValueError(
                    f"{name}: {tensor.name!r} of shape {tensor.shape} is needed, but is not among the inputs"
                )
            yield tensor.made_by

    return in_order(makers(outputs), lambda call: makers(call.inputs))
