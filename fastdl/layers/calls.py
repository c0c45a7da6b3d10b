"""The calls of layers that lead from some tensors to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastdl.compiler.graph import Tensor
from fastdl.layers.layer import Call


def calls_between(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[Call]:
    """The calls that lead from inputs to outputs, each after those it needs; without recursion."""
    sources, done = set(inputs), set[Call]()
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        call = tensor.made_by
        if tensor in sources or call in done:
            continue
        if call is None:
            raise ValueError(f"{name}: {tensor.name!r} of shape {tensor.shape} is needed, but is not among the inputs")
        if ready:
            done.add(call)
            yield call
        else:
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(call.inputs))
