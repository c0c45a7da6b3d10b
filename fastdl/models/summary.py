"""The table that Model.summary prints."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fastdl.models.network import Network

if TYPE_CHECKING:
    from fastdl.layers.layer import Layer


def summary(model: Network) -> str:
    """Layers with output shapes, parameters and forward FLOPs a sample, and the totals."""
    from rich.console import Console
    from rich.table import Table

    graph = model.trace()
    table = Table(title=f'Model: "{model.name}"', title_justify="left")
    table.add_column("Layer (type)")
    table.add_column("Output shape")
    table.add_column("Param #", justify="right")
    table.add_column("FLOPs", justify="right")
    owned = {op.name: 0 for op in graph.ops}
    for op in graph.ops:
        owned[op.name] += op.flops
    for layer in model.layers:
        table.add_row(
            f"{layer.name} ({type(layer).__name__})",
            str(layer.output_shape),
            f"{layer.count_params():,}",
            f"{sum(owned.get(name, 0) for name in _names(layer)):,}",
        )
    trainable = sum(p.size for p in model.trainable_weights)
    kept = sum(p.size for p in model.non_trainable_weights)
    text = io.StringIO()
    console = Console(file=text, width=100)
    console.print(table)
    console.print(f" Total params: {trainable + kept:,}", highlight=False)
    console.print(f" Trainable params: {trainable:,}", highlight=False)
    console.print(f" Non-trainable params: {kept:,}", highlight=False)
    console.print(f" FLOPs per sample: {graph.flops:,}", highlight=False)
    return text.getvalue().rstrip()


def _names(layer: Layer) -> set[str]:
    """The layer's, and those of the layers that it is made of: ops bear the innermost."""
    inner = layer.layers if isinstance(layer, Network) else layer._inner_layers()
    return {layer.name}.union(*map(_names, inner))
