"""What a fold is to the pipeline: its rule with a name, an order, a direction; and the record of one that happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node


@dataclass(frozen=True)
class Rule:
    """fold(index, node) changes the graph at the node and gives the label of what took it in, or None.

    None: the node is not of its kind. It raises Refused where it must not fold. order: rules run from the lowest to the
    highest, again and again until none applies. forward: nodes are taken from the last to the first, for such a fold
    moves them on. lossy: float32 may lose digits by it that it had before; only measuring tells whether it does.
    shapes: what it does may tell shapes that were not known, so they are inferred anew.
    """

    name: str
    fold: Callable[[GraphIndex, Node], str | None]
    order: int
    forward: bool = False
    lossy: bool = False
    shapes: bool = False


@dataclass(frozen=True)
class Fold:
    """One fold that happened: `node` went into `into` by the fold called `name`."""

    name: str
    node: str
    into: str


@dataclass(frozen=True)
class Refusal:
    """One fold that did not happen, and why."""

    node: str
    fold: str
    reason: str
