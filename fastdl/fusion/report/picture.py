"""A graph as one SVG: nodes in layers by their longest path from the inputs, long edges led around boxes.

After Sugiyama, Tagawa and Toda (1981): layers, dummy vertices on edges that span several, barycentre sweeps.
Every name is escaped, and characters that would not be seen are spelled out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from html import escape

from onnx import ModelProto

from fastdl.base.text import shown
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node

MOST = 200  # nodes that are drawn; a page of more helps nobody
BOX, HEIGHT, GAP, LANE = 196, 42, 26, 24  # pixels: width and height of a box, space between, width of a long edge
SWEEPS = 4
LETTERS = 26  # of a label that fit into a box

KINDS = {
    **dict.fromkeys(("Gemm", "MatMul", "Conv", "ConvTranspose"), "dense"),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "ai.onnx.ml:Scaler", "Normalizer"), "norm"),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), "affine"),
    **dict.fromkeys(
        ("Relu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Elu", "Selu", "Gelu", "LeakyRelu", "PRelu", "Mish",
         "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Clip", "ThresholdedRelu", "Celu", "Erf"),
        "activation",
    ),
}  # fmt: skip


@dataclass(eq=False)
class Vertex:
    """A box, or a dummy (no title) where an edge passes a layer."""

    title: str = ""
    detail: str = ""
    kind: str = "lane"
    tip: str = ""
    layer: int = 0
    x: float = 0.0
    before: list[Vertex] = field(default_factory=list)

    @property
    def width(self) -> float:
        return BOX if self.title else LANE


def svg(model: ModelProto, tips: Mapping[str, str], gone: Container[str], name: str) -> str:
    """The graph as an `<svg>`; `tips` by a node's label are shown under the pointer, `gone` nodes are dashed."""
    index = GraphIndex(model)
    nodes = [node for node in index.nodes if node.op != "Constant"]
    layers = _lay_out(index, nodes[:MOST], tips, gone)
    wide = max(sum(v.width + GAP for v in layer) for layer in layers) + GAP
    for layer in layers:
        left = (wide - sum(v.width + GAP for v in layer) + GAP) / 2
        for vertex in layer:
            vertex.x, left = left, left + vertex.width + GAP
    high = len(layers) * (HEIGHT + GAP) + GAP
    edges = "".join(_edge(source, v) for layer in layers for v in layer for source in v.before)
    boxes = "".join(_box(v) for layer in layers for v in layer if v.title)
    more = f"<p>and {len(nodes) - MOST:,} nodes more, not drawn</p>" if len(nodes) > MOST else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" height="{high}" '
        f'role="img" aria-label="{_safe(name)}">{edges}{boxes}</svg>{more}'
    )


def _lay_out(index: GraphIndex, nodes: list[Node], tips: Mapping[str, str], gone: Container[str]) -> list[list[Vertex]]:
    makers: dict[str, Vertex] = {}
    vertices: list[Vertex] = []

    def add(vertex: Vertex, inputs: list[str]) -> None:
        vertex.before = list(dict.fromkeys(makers[value] for value in inputs if value in makers))
        vertex.layer = 1 + max((source.layer for source in vertex.before), default=-1)
        vertices.append(vertex)

    for value in sorted(index.graph_inputs):
        if index.stored(value) is None:
            makers[value] = Vertex(value, _shape(index, value), "port")
            add(makers[value], [])
    for node in nodes:
        kind = KINDS.get(node.op, "other") + (" gone" if node.label in gone else "")
        vertex = Vertex(node.op, _detail(index, node), kind, f"{node.label}: {tips.get(node.label, 'left as it is')}")
        add(vertex, node.inputs)
        makers.update(dict.fromkeys(filter(None, node.outputs), vertex))
    for value in sorted(index.graph_outputs):
        if value in makers:
            add(Vertex(value, _shape(index, value), "port"), [value])
    return _order(_with_lanes(vertices))


def _with_lanes(vertices: list[Vertex]) -> list[list[Vertex]]:
    """Layers from top to bottom, in which every edge leads to the next."""
    layers: list[list[Vertex]] = [[] for _ in range(1 + max((v.layer for v in vertices), default=0))]
    for vertex in vertices:
        layers[vertex.layer].append(vertex)
        for place, source in enumerate(vertex.before):
            at = source
            for layer in range(source.layer + 1, vertex.layer):
                at = Vertex(layer=layer, before=[at])
                layers[layer].append(at)
            vertex.before[place] = at
    return layers


def _order(layers: list[list[Vertex]]) -> list[list[Vertex]]:
    """Fewer crossings: each vertex near the mean place of its neighbours, downwards and upwards in turn."""
    after: dict[Vertex, list[Vertex]] = {v: [] for layer in layers for v in layer}
    for layer in layers:
        for vertex in layer:
            for source in vertex.before:
                after[source].append(vertex)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else layers[::-1]:
            for place, vertex in enumerate(layer):
                near = vertex.before if down else after[vertex]
                vertex.x = sum(v.x for v in near) / len(near) if near else float(place)
            layer.sort(key=lambda v: v.x)
            for place, vertex in enumerate(layer):
                vertex.x = place - len(layer) / 2
    return layers


def _detail(index: GraphIndex, node: Node) -> str:
    """The shape of the parameter that says most, else of the output."""
    shapes = [array.shape for name in node.inputs[1:] if (array := index.stored(name)) is not None]
    if node.op in ("Gemm", "MatMul", "Conv", "ConvTranspose", "BatchNormalization") and shapes:
        return " × ".join(map(str, shapes[0]))
    return _shape(index, node.outputs[0]) if node.outputs else ""


def _shape(index: GraphIndex, value: str) -> str:
    shape = index.shape(value)
    return "" if shape is None else "(" + ", ".join("?" if dim is None else str(dim) for dim in shape) + ")"


def _top(vertex: Vertex) -> float:
    return GAP + vertex.layer * (HEIGHT + GAP)


def _edge(source: Vertex, vertex: Vertex) -> str:
    """From the bottom of one to the top of the other; through a dummy it runs straight down."""
    x1, x2 = source.x + source.width / 2, vertex.x + vertex.width / 2
    y1, y2 = _top(source) + HEIGHT, _top(vertex)
    bend = (y2 - y1) / 2
    lane = f"V{y2 + HEIGHT:.0f}" if not vertex.title else ""
    curve = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}{lane}"
    return f'<path class="edge" d="{curve}"/>'


def _box(vertex: Vertex) -> str:
    x, y, middle = vertex.x, _top(vertex), vertex.x + BOX / 2
    round_ = HEIGHT / 2 if vertex.kind == "port" else 6
    return (
        f'<g class="{vertex.kind}"><title>{_safe(vertex.tip or vertex.title)}</title>'
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{HEIGHT}" rx="{round_:g}"/>'
        f'<text class="op" x="{middle:.0f}" y="{y + 18:.0f}">{_safe(_short(vertex.title))}</text>'
        f'<text class="of" x="{middle:.0f}" y="{y + 33:.0f}">{_safe(_short(vertex.detail))}</text></g>'
    )


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _safe(text: str) -> str:
    return escape(shown(text))
