"""Integers that a graph computes from shapes: what each of them is, as far as the shapes tell.

Exporters write a Flatten as Shape, Gather, Unsqueeze, Concat, Reshape. An integer here is a number, or a `Size`: a dim
that is not known, but known to be the same wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.inference import Dim
from fastdl.fusion.graph.node import Node, subgraphs

MOST = 64  # integers of one value
NODES = 256  # at most so many nodes are followed for one value
LARGEST = 2**31  # no size is larger, so that no product overflows


@dataclass(frozen=True)
class Size:
    """The dim `axis` of a value, or, with axis −1, the dim that a graph input calls by this name."""

    value: str
    axis: int


Integer = int | Size


@dataclass(frozen=True)
class Integers:
    """A vector of integers, or one of rank 0."""

    members: tuple[Integer, ...]
    scalar: bool = False

    @property
    def numbers(self) -> list[int] | None:
        """The numbers, where all are known."""
        numbers = [member for member in self.members if isinstance(member, int)]
        return numbers if len(numbers) == len(self.members) else None


def dims(index: GraphIndex, value: str) -> tuple[Integer, ...] | None:
    """The shape of a value, each dim that is not known by a name of its own; None where the rank is unknown."""
    shape = index.shape(value)
    if shape is None:
        return None
    names = index.derived(("names of dims",), lambda: _names(index))
    return tuple(_size(value, axis, dim, names) for axis, dim in enumerate(shape))


def _size(value: str, axis: int, dim: Dim, names: Mapping[str, int]) -> Integer:
    if isinstance(dim, int):
        return dim
    return Size(dim, -1) if dim is not None and names.get(dim) == 1 else Size(value, axis)


def _names(index: GraphIndex) -> Mapping[str, int]:
    """How often inputs bear each name of a dim. One that stands once is one size; two of one name may be two sizes.

    A subgraph or a function may claim such a name for what it gives: then none is believed.
    """
    proto = index.lean.proto
    counts: dict[str, int] = {}
    if proto.functions or any(True for node in proto.graph.node for _ in subgraphs(node)):
        return counts
    for name in index.graph_inputs:
        for dim in index.shape(name) or ():
            if isinstance(dim, str):
                counts[dim] = counts.get(dim, 0) + 1
    return counts


def integers(index: GraphIndex, value: str) -> Integers | None:
    """What a value of int64 or int32 holds; None where it is no vector of few integers that follow from shapes."""
    return _Reader(index).read(value)


class _Reader:
    def __init__(self, index: GraphIndex) -> None:
        self.index, self.left = index, NODES

    def read(self, value: str) -> Integers | None:
        node = self.index.producer(value)
        self.left -= 1
        if self.left < 0 or self.index.overridable(value):
            return None
        if node is None or node.op == "Constant":
            return self._stored(value)
        known = OPERATORS.get(node.op)
        try:
            result = known(self, node) if known is not None else None
        except (ValueError, IndexError, KeyError, TypeError):  # what does not fit together
            return None
        if result is None or len(result.members) > MOST:
            return None
        small = all(abs(member) <= LARGEST for member in result.members if isinstance(member, int))
        return result if small else None

    def all(self, node: Node) -> list[Integers]:
        """What all inputs of a node hold; ValueError where that is not known of one."""
        members = [self.read(name) for name in node.inputs]
        known = [member for member in members if member is not None]
        if len(known) < len(members):
            raise ValueError
        return known

    def numbers(self, node: Node, slot: int) -> list[int] | None:
        """The numbers of an input; None where it is left out, ValueError where they are not known."""
        if slot >= len(node.inputs) or not node.inputs[slot]:
            return None
        found = self.read(node.inputs[slot])
        if found is None or found.numbers is None:
            raise ValueError
        return found.numbers

    def axes(self, node: Node) -> list[int] | None:
        """An attribute, and an input from opset 13 on."""
        stated = node.attribute("axes", None)
        return self.numbers(node, 1) if stated is None else list(stated)

    def _stored(self, value: str) -> Integers | None:
        array = self.index.stored(value)
        if array is None or array.dtype.name not in ("int64", "int32") or array.ndim > 1 or array.size > MOST:
            return None
        return Integers(tuple(int(number) for number in array.reshape(-1)), array.ndim == 0)


def _shape(reader: _Reader, node: Node) -> Integers | None:
    known = dims(reader.index, node.inputs[0])
    if known is None:
        return None
    return Integers(known[slice(node.attribute("start", 0), node.attribute("end", None))])


def _size_of(reader: _Reader, node: Node) -> Integers | None:
    known = dims(reader.index, node.inputs[0])
    numbers = None if known is None else Integers(known).numbers
    return None if numbers is None else Integers((prod(numbers),), scalar=True)


def _gather(reader: _Reader, node: Node) -> Integers | None:
    vector, places = reader.all(node)
    if vector.scalar or node.attribute("axis", 0) not in (0, -1) or places.numbers is None:
        return None
    return Integers(tuple(vector.members[place] for place in places.numbers), places.scalar)


def _slice(reader: _Reader, node: Node) -> Integers | None:
    vector = reader.read(node.inputs[0])
    if vector is None or vector.scalar or len(node.inputs) < 3:  # before opset 10 its ends were attributes
        return None
    starts, ends, axes, steps = (reader.numbers(node, slot) for slot in (1, 2, 3, 4))
    if starts is None or ends is None or len(starts) != 1 or (axes or [0]) not in ([0], [-1]) or (steps or [1]) != [1]:
        return None
    return Integers(vector.members[starts[0] : ends[0]])


def _concat(reader: _Reader, node: Node) -> Integers | None:
    parts = reader.all(node)
    if node.attribute("axis", None) not in (0, -1) or any(part.scalar for part in parts):
        return None
    return Integers(tuple(member for part in parts for member in part.members))


def _unsqueeze(reader: _Reader, node: Node) -> Integers | None:
    value = reader.read(node.inputs[0])
    return Integers(value.members) if value is not None and value.scalar and reader.axes(node) in ([0], [-1]) else None


def _squeeze(reader: _Reader, node: Node) -> Integers | None:
    value = reader.read(node.inputs[0])
    if value is None or value.scalar or len(value.members) != 1 or reader.axes(node) not in (None, [0], [-1]):
        return None
    return Integers(value.members, scalar=True)


def _reshape(reader: _Reader, node: Node) -> Integers | None:
    value, target = reader.all(node)
    numbers = target.numbers
    if numbers is None or len(numbers) > 1 or (numbers and numbers[0] not in (-1, len(value.members))):
        return None
    return Integers(value.members, scalar=not numbers) if numbers or len(value.members) == 1 else None


def _same(reader: _Reader, node: Node) -> Integers | None:
    return reader.read(node.inputs[0])


def _cast(reader: _Reader, node: Node) -> Integers | None:
    kind = reader.index.type(node.outputs[0])
    return reader.read(node.inputs[0]) if kind is not None and kind.name in ("int64", "int32") else None


def _arithmetic(operation: Callable[[int, int], int]) -> Callable[[_Reader, Node], Integers | None]:
    def evaluate(reader: _Reader, node: Node) -> Integers | None:
        first, second = reader.all(node)
        count = max(len(first.members), len(second.members))
        if (
            first.numbers is None
            or second.numbers is None
            or not {len(first.members), len(second.members)} <= {1, count}
        ):
            return None
        pairs = zip(_repeated(first.numbers, count), _repeated(second.numbers, count), strict=True)
        return Integers(tuple(operation(a, b) for a, b in pairs), first.scalar and second.scalar)

    return evaluate


def _repeated(numbers: Sequence[int], count: int) -> Sequence[int]:
    return numbers if len(numbers) == count else [*numbers] * count


def _quotient(a: int, b: int) -> int:
    """ONNX's Div of integers ends towards zero; ValueError by zero."""
    if b == 0:
        raise ValueError
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _product(reader: _Reader, node: Node) -> Integers | None:
    value = reader.read(node.inputs[0])
    if value is None or value.numbers is None or value.scalar or reader.axes(node) not in (None, [0], [-1]):
        return None
    return Integers((prod(value.numbers),), scalar=not node.attribute("keepdims", 1))


OPERATORS: dict[str, Callable[[_Reader, Node], Any]] = {
    "Add": _arithmetic(lambda a, b: a + b),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _arithmetic(_quotient),
    "Gather": _gather,
    "Identity": _same,
    "Max": _arithmetic(max),
    "Min": _arithmetic(min),
    "Mul": _arithmetic(lambda a, b: a * b),
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size_of,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _arithmetic(lambda a, b: a - b),
    "Unsqueeze": _unsqueeze,
}
