"""A picture of a model: its layers and what goes from one to the next, as SVG. Nothing is needed to draw it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from fastdl.base.files import write_atomically
from fastdl.base.text import shown
from fastdl.compiler.graph import Tensor
from fastdl.layers.calls import calls_between
from fastdl.layers.context import Call
from fastdl.models import Model

WIDTH, LINE, GAP, ROW = 190, 15, 26, 34  # of a box; of a line in it; between boxes side by side; between rows


def plot_model(
    model: Model,
    to_file: str | Path = "model.svg",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Path:
    """Draw the model's layers from its inputs down to its outputs; returns the file (Keras: utils.plot_model).

    ValueError for a model whose shape is not known yet, and for a file that does not end in .svg.
    """
    path = Path(to_file)
    if path.suffix != ".svg":
        raise ValueError(f"{path}: a model is drawn as SVG, which every browser shows: choose a name that ends in .svg")
    graph = model.trace()
    calls = list(calls_between(model.name, graph.sources, graph.outputs))
    shown_parts = {
        "shapes": show_shapes,
        "dtype": show_dtype,
        "names": show_layer_names,
        "activations": show_layer_activations,
        "trainable": show_trainable,
    }
    nodes: dict[Any, list[str]] = {
        tensor: [tensor.name, "Input", *([str(tensor.shape)] if show_shapes else [])] for tensor in graph.columns
    }
    nodes |= {call: _lines(call, shown_parts) for call in calls}
    write_atomically(path, _svg(nodes, {call: _makers(call, graph.columns) for call in calls}).encode())
    return path


def _makers(call: Call, columns: tuple[Tensor, ...]) -> list[Any]:
    """What a call reads: other calls, and inputs."""
    found: dict[Any, None] = {}
    waiting = list(call.inputs)
    while waiting:
        tensor = waiting.pop(0)
        if tensor.made_by is not None:
            found[tensor.made_by] = None
        elif tensor in columns:
            found[tensor] = None
        elif tensor.op is not None:
            waiting += tensor.op.inputs
        else:
            waiting += getattr(tensor, "sources", ())
    return list(found)


def _lines(call: Call, parts: Mapping[str, bool]) -> list[str]:
    """What a layer's box says."""
    layer = call.layer
    lines = [layer.name] if parts["names"] else []
    lines.append(type(layer).__name__)
    activation = getattr(layer, "activation", None)
    if parts["activations"] and activation is not None:
        lines.append(str(getattr(activation, "__name__", None) or getattr(activation, "name", "activation")))
    if parts["shapes"]:
        lines.append(f"{_told(call.inputs)} → {_told(call.outputs)}")
    if parts["dtype"]:
        lines.append(str(call.outputs[0].dtype))
    if parts["trainable"] and layer.weights:
        lines.append("trainable" if layer.trainable else "frozen")
    return lines


def _told(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(str(tensor.shape) for tensor in tensors)


def _svg(nodes: Mapping[Any, list[str]], sources: Mapping[Any, list[Any]]) -> str:
    """Boxes in rows, each below all that it reads, with a curve from each of these."""
    rows: dict[Any, int] = {}
    for node in nodes:
        rows[node] = 1 + max((rows[source] for source in sources.get(node, []) if source in rows), default=-1)
    by_row = [[node for node in nodes if rows[node] == row] for row in range(max(rows.values(), default=0) + 1)]
    widest = max(WIDTH, *(7 * len(line) + 20 for lines in nodes.values() for line in lines))
    width = max(len(row) for row in by_row) * (widest + GAP) + GAP
    places: dict[Any, tuple[float, float, float]] = {}
    top = float(GAP)
    for row in by_row:
        heights = [LINE * len(nodes[node]) + 14 for node in row]
        left = (width - len(row) * (widest + GAP) + GAP) / 2
        for number, (node, height) in enumerate(zip(row, heights, strict=True)):
            places[node] = left + number * (widest + GAP), top, height
        top += max(heights) + ROW
    parts = [_edge(places[source], places[node], widest) for node in sources for source in sources[node]]
    parts += [_box(*places[node], widest, lines, node not in sources) for node, lines in nodes.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top:.0f}" width="{width:.0f}" '
        f'height="{top:.0f}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _box(x: float, y: float, height: float, width: float, lines: list[str], is_input: bool) -> str:
    fill = "#eef4ff" if is_input else "#f6f8fa"
    texts = "".join(
        f'<text x="{x + width / 2:.1f}" y="{y + 18 + LINE * i:.1f}" text-anchor="middle" '
        f'fill="{"#222222" if i == 0 else "#5b6670"}">{escape(shown(line))}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{fill}" '
        f'stroke="#9aa5b1"/>{texts}'
    )


def _edge(source: tuple[float, float, float], target: tuple[float, float, float], width: float) -> str:
    x1, y1 = source[0] + width / 2, source[1] + source[2]
    x2, y2 = target[0] + width / 2, target[1]
    middle = (y1 + y2) / 2
    return (
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="#9aa5b1"/><path d="M{x2 - 4:.1f} {y2 - 7:.1f}L{x2:.1f} {y2:.1f}L{x2 + 4:.1f} {y2 - 7:.1f}" '
        'fill="none" stroke="#9aa5b1"/>'
    )
