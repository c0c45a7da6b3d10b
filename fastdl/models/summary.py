"""The table that Model.summary prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastdl.base.text import rendered
from fastdl.compiler.graph import Graph, Op
from fastdl.layers.calls import calls_between
from fastdl.layers.layer import Layer


def summary(name: str, graph: Graph, layers: Sequence[Layer]) -> str:
    """Layers with output shapes, parameters and forward FLOPs a sample, and the totals."""
    from rich.table import Table

    flops = _flops(name, graph)
    table = Table(title=f'Model: "{name}"', title_justify="left")
    table.add_column("Layer (type)")
    table.add_column("Output shape")
    table.add_column("Param #", justify="right")
    table.add_column("FLOPs", justify="right")
    for layer in layers:
        table.add_row(
            f"{layer.name} ({type(layer).__name__})",
            str(layer.output_shape),
            f"{layer.count_params():,}",
            f"{flops[layer]:,}",
        )
    weights = dict.fromkeys(parameter for layer in layers for parameter in layer.weights)
    trainable = sum(p.size for p in weights if p.trainable)
    fixed = sum(p.size for p in weights if not p.trainable)
    totals = [
        f" Total params: {trainable + fixed:,}",
        f" Trainable params: {trainable:,}",
        f" Non-trainable params: {fixed:,}",
        f" FLOPs per sample: {graph.flops:,}",
    ]
    return rendered(table, *totals, width=100)


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
