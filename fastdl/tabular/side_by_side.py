"""The nets of a bag side by side: where their answers are added up, what each computes by an operator of its own is
computed by one for all, with an axis of nets in front. What an answer to one row takes is by the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.fusion.folds import unused
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node, Refused

LEAST_OPSET = 13  # ReduceSum takes its axes as an input, Softmax is along one axis
ELEMENTWISE = frozenset(
    [
        *("Abs", "Add", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish"),
        *("LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "Relu", "Selu", "Sigmoid", "Sin", "Softplus", "Softsign"),
        *("Sqrt", "Sub", "Tanh"),
    ]
)


@dataclass(frozen=True)
class _Part:
    """What stands for a value of each net: one that all share, or one with an axis of nets in front of its own.

    rank: without that axis. constants: of each net, where it is no more than that.
    """

    name: str
    rank: int
    shared: bool = False
    constants: tuple[Array, ...] = ()


def join(index: GraphIndex) -> None:
    """Put nets of one form side by side, if answers of such are added up. The answers are the same but for rounding."""
    if index.opset < LEAST_OPSET:
        return
    signatures = _Signatures(index)
    for root in reversed(index.nodes):
        groups: dict[int, list[str]] = {}
        for value in _summands(index, root) if root.op == "Add" else []:
            groups.setdefault(signatures.of(value), []).append(value)
        if any(len(group) > 1 for group in groups.values()):
            _join(index, root, list(groups.values()))
            for node in reversed(index.nodes):
                unused.fold(index, node)
            return


def _summands(index: GraphIndex, root: Node) -> list[str]:
    """What a tree of additions adds up."""
    found = []
    for value in root.inputs:
        node = index.producer(value)
        inner = node is not None and node.op == "Add" and len(index.uses(value)) == 1
        constant = node is not None and any(index.is_constant(each) for each in node.inputs)
        found += _summands(index, node) if node is not None and inner and not constant else [value]
    return found


class _Signatures:
    """A number for each value: the same for values that the same operators make in the same way, of other constants."""

    def __init__(self, index: GraphIndex) -> None:
        self._index = index
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[str, int] = {}

    def of(self, value: str) -> int:
        if value not in self._known:
            self._known[value] = self._numbers.setdefault(self._form(value), len(self._numbers))
        return self._known[value]

    def _form(self, value: str) -> tuple[object, ...]:
        stored, node = self._index.stored(value), self._index.producer(value)
        if stored is not None:
            return "constant", stored.shape, stored.dtype
        if node is None:
            return "input", value
        told = tuple(sorted(each.SerializeToString(deterministic=True) for each in node.proto.attribute))
        return node.op, told, node.outputs.index(value), *(self.of(each) for each in node.inputs)


def _join(index: GraphIndex, root: Node, groups: Sequence[Sequence[str]]) -> None:
    """Add up the values of each group by one ReduceSum where its nets can stand side by side."""
    found: list[str] = []
    for group in groups:
        try:
            part = _Nets(index, root, len(group)).part(tuple(group)) if len(group) > 1 else None
        except Refused:
            part = None
        if part is None or part.shared:
            found += group
        else:
            found.append(index.insert(root, "ReduceSum", [part.name, _whole(index, [0])], keepdims=0))
    while len(found) > 2:
        found = [index.insert(root, "Add", found[:2]), *found[2:]]
    if len(found) == 2:
        index.set_inputs(root, found)
    else:
        index.bypass(root, found[0])


def _whole(index: GraphIndex, values: Sequence[int]) -> str:
    return index.add_tensor("shape", np.array(values, np.int64))


class _Nets:
    """Makes parts of the values of `count` nets, by nodes in front of `before`."""

    def __init__(self, index: GraphIndex, before: Node, count: int) -> None:
        self._index, self._before, self._count = index, before, count
        self._known: dict[tuple[str, ...], _Part] = {}

    def part(self, values: tuple[str, ...]) -> _Part:
        """Of values of the same signature, one of each net. Refused if an operator has no form for several nets."""
        if values not in self._known:
            self._known[values] = self._made(values)
        return self._known[values]

    def _made(self, values: tuple[str, ...]) -> _Part:
        index = self._index
        constants = [array for array in map(index.stored, values) if array is not None]
        if constants:
            same = all(np.array_equal(each, constants[0], equal_nan=each.dtype.kind == "f") for each in constants)
            return _Part(values[0], constants[0].ndim, same, tuple(constants))
        if len(set(values)) == 1:
            return self._shared(values[0])
        nodes = [node for node in map(index.producer, values) if node is not None]
        parts = [self.part(each) if each[0] else None for each in zip(*(node.inputs for node in nodes), strict=True)]
        given = [part for part in parts if part is not None]
        if all(part.shared for part in given):
            return self._shared(values[0])
        if len(given) < len(parts) or len(nodes[0].outputs) > 1:
            raise Refused(f"{nodes[0].op} of several nets has inputs that are left out, or several outputs")
        make = {"Gemm": self._gemm, "MatMul": self._matmul, "Concat": self._concat, "Gather": self._gather}
        make |= {"Softmax": self._softmax, "Transpose": self._transpose, "Flatten": self._flatten}
        if nodes[0].op in ELEMENTWISE:
            return self._elementwise(nodes[0], given)
        if nodes[0].op not in make:
            raise Refused(f"{nodes[0].op} has no form for several nets")
        return make[nodes[0].op](nodes[0], given)

    def _shared(self, value: str) -> _Part:
        shape = self._index.shape(value)
        if shape is None:
            raise Refused(f"how many axes {value!r} has is not known")
        return _Part(value, len(shape), shared=True)

    def _add(self, op: str, inputs: Sequence[str], rank: int, **attributes: Any) -> _Part:
        name = self._index.insert(self._before, op, inputs, **attributes)
        self._index.resize(name, (self._count, *[None] * rank))
        return _Part(name, rank)

    def _aligned(self, part: _Part, rank: int) -> str:
        """The part's name, for an operator that broadcasts to so many axes of each net."""
        if part.shared:
            return part.name  # axes that are missing are in front
        if part.constants:
            stacked = np.stack(part.constants)
            ones = [1] * (rank - part.rank)
            return self._index.add_tensor(part.name, stacked.reshape(self._count, *ones, *stacked.shape[1:]))
        if part.rank < rank:
            raise Refused(f"{part.name!r} has fewer axes than what it is joined with")
        return part.name

    def _elementwise(self, node: Node, parts: Sequence[_Part]) -> _Part:
        rank = max(part.rank for part in parts)
        if node.op == "Clip" and not all(part.shared for part in parts[1:]):
            raise Refused("Clip has the same bounds for all")
        attributes = {each.name: node.attribute(each.name, None) for each in node.proto.attribute}
        return self._add(node.op, [self._aligned(part, rank) for part in parts], rank, **attributes)

    def _matmul(self, node: Node, parts: Sequence[_Part]) -> _Part:
        rank = max(part.rank for part in parts)
        if min(part.rank for part in parts) < 2:
            raise Refused("a product with a vector")
        return self._add("MatMul", [self._aligned(part, rank) for part in parts], rank)

    def _gemm(self, node: Node, parts: Sequence[_Part]) -> _Part:
        if node.proto.attribute:
            raise Refused("a Gemm that transposes or scales")
        product = self._matmul(node, parts[:2])
        return self._add("Add", [product.name, self._aligned(parts[2], 2)], 2) if len(parts) > 2 else product

    def _concat(self, node: Node, parts: Sequence[_Part]) -> _Part:
        rank, axis = parts[0].rank, int(node.attribute("axis", 0))
        axis += rank if axis < 0 else 0
        names: list[str] = []
        shared: list[str] = []
        for part in [*parts, None]:
            if part is not None and part.shared:
                shared.append(part.name)
                continue
            if shared:
                one = shared[0] if len(shared) == 1 else self._add("Concat", shared, rank - 1, axis=axis).name
                names.append(self._add("Expand", [one, _whole(self._index, [self._count, *[1] * rank])], rank).name)
                shared = []
            if part is not None:
                names.append(self._aligned(part, rank))
        return self._add("Concat", names, rank, axis=axis + 1)

    def _gather(self, node: Node, parts: Sequence[_Part]) -> _Part:
        table, places = parts
        if node.attribute("axis", 0) != 0 or not table.constants or not places.shared:
            raise Refused("a Gather of what is computed")
        rows = self._aligned(table, table.rank)
        return self._add("Gather", [rows, places.name], table.rank + places.rank - 1, axis=1)

    def _softmax(self, node: Node, parts: Sequence[_Part]) -> _Part:
        if node.attribute("axis", -1) not in (-1, parts[0].rank - 1):
            raise Refused("a Softmax along another axis than the last")
        return self._add("Softmax", [parts[0].name], parts[0].rank, axis=-1)

    def _transpose(self, node: Node, parts: Sequence[_Part]) -> _Part:
        order = [0, *(1 + axis for axis in node.attribute("perm", range(parts[0].rank)[::-1]))]
        return self._add("Transpose", [parts[0].name], parts[0].rank, perm=order)

    def _flatten(self, node: Node, parts: Sequence[_Part]) -> _Part:
        shape = self._index.shape(node.outputs[0])
        width = shape[1] if shape is not None and len(shape) == 2 else None
        if node.attribute("axis", 1) != 1 or not isinstance(width, int):
            raise Refused("a Flatten to a width that is not known")
        return self._add("Reshape", [parts[0].name, _whole(self._index, [0, 0, width])], 2)
