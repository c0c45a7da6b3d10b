"""The table that Model.summary prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from fastdl.base.text import rendered
from fastdl.compiler.graph import Graph, Op
from fastdl.layers.calls import calls_between
from fastdl.layers.layer import Layer

WIDTH = 100


class Keeper(Protocol):
    """What of an optimizer a summary counts: what it keeps beside the parameters."""

    @property
    def variables(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Manner:
    """How a summary is drawn: Keras's arguments of Model.summary.

    positions: the right ends of the columns, in letters, or as shares of the line's length.
    """

    line_length: int | None = None
    positions: Sequence[float] | None = None
    expand_nested: bool = False
    show_trainable: bool = False
    layer_range: Sequence[str] | None = None


PLAIN = Manner()


def summary(name: str, graph: Graph, layers: Sequence[Layer], manner: Manner, optimizer: Keeper | None) -> str:
    """Layers with output shapes, parameters and forward FLOPs a sample, and the totals. ValueError."""
    from rich.table import Table

    flops = _flops(name, graph)
    titles = ["Layer (type)", "Output shape", "Param #", "FLOPs", *(["Trainable"] if manner.show_trainable else [])]
    table = Table(title=f'Model: "{name}"', title_justify="left")
    for title, width in zip(titles, _widths(manner, len(titles)), strict=True):
        table.add_column(title, justify="right" if title in ("Param #", "FLOPs") else "left", width=width)
    for layer, depth in _rows(_within(layers, manner.layer_range), manner.expand_nested):
        row = [
            f"{'  ' * depth}{layer.name} ({type(layer).__name__})",
            "?" if layer.output_shape is None else str(layer.output_shape),
        ]
        row += [f"{layer.count_params():,}", f"{flops[layer]:,}" if not depth else ""]
        if manner.show_trainable:
            row.append("-" if not layer.weights else "Y" if layer.trainable else "N")
        table.add_row(*row)
    weights = dict.fromkeys(parameter for layer in layers for parameter in layer.weights)
    trainable = sum(p.size for p in weights if p.trainable)
    fixed = sum(p.size for p in weights if not p.trainable)
    kept = sum(int(np.size(variable.value)) for variable in optimizer.variables) if optimizer else 0
    totals = [
        f" Total params: {trainable + fixed + kept:,}",
        f" Trainable params: {trainable:,}",
        f" Non-trainable params: {fixed:,}",
        *([f" Optimizer params: {kept:,}"] if kept else []),
        f" FLOPs per sample: {graph.flops:,}",
    ]
    return rendered(table, *totals, width=manner.line_length or WIDTH)


def _widths(manner: Manner, columns: int) -> list[int | None]:
    """Of each column; None where it is as wide as what stands in it. ValueError for positions that do not fit."""
    if manner.positions is None:
        return [None] * columns
    ends = list(manner.positions)
    if len(ends) != columns or ends != sorted(ends) or ends[0] <= 0:
        raise ValueError(f"positions must be {columns} growing numbers, the right ends of the columns, not {ends}")
    whole = manner.line_length or WIDTH
    letters = [0, *(round(end * whole) if ends[-1] <= 1 else round(end) for end in ends)]
    return [max(end - begin - 3, 1) for begin, end in pairwise(letters)]


def _within(layers: Sequence[Layer], names: Sequence[str] | None) -> Sequence[Layer]:
    """The layers from the first whose name the first pattern fits to the last that the second does. ValueError."""
    if names is None:
        return layers
    if not isinstance(names, list | tuple) or len(names) != 2:
        raise ValueError(f"layer_range must be the names of two layers, or patterns of them, not {names!r}")
    first, last = ([i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in names)
    if not first or not last:
        raise ValueError(f"layer_range={list(names)}: there are the layers {', '.join(each.name for each in layers)}")
    begin, end = sorted((min(first), max(last)))
    return layers[begin : end + 1]


def _rows(layers: Sequence[Layer], nested: bool, depth: int = 0) -> Iterator[tuple[Layer, int]]:
    """Each layer, and those of models among them, with how deep they stand."""
    for layer in layers:
        yield layer, depth
        if nested and isinstance(inner := getattr(layer, "layers", None), list):
            yield from _rows(inner, nested, depth + 1)


def _flops(name: str, graph: Graph) -> Counter[Layer]:
    """Of each layer: the ops that its calls added to what came before. All of them together are the graph's."""
    flops, counted = Counter[Layer](), set[Op]()
    for call in calls_between(name, graph.sources, graph.outputs):
        waiting = [tensor.op for tensor in call.outputs]
        while waiting:
            op = waiting.pop()
            if op is not None and op not in counted:
                counted.add(op)
                flops[call.layer] += op.flops
                waiting += [tensor.op for tensor in op.inputs]
    return flops
