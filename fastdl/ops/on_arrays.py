"""Graphs on whole arrays, for layers and activations that are called on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastdl.base import random
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import FEEDS, OUT_FEED, X_FEED
from fastdl.compiler.graph import Graph
from fastdl.compiler.program import Program


def compute(
    graph: Graph, arrays: Sequence[Array], training: bool, noisy: bool, moves: bool | None = None
) -> list[Array]:
    """The graph's outputs for whole arrays (batch, ...) of its dtype. training: by the batch's statistics, by which
    moving averages move if `moves` is true."""
    rows = [array.reshape(len(array), -1) for array in arrays]
    for source, each in zip(graph.inputs, rows, strict=True):
        for op in graph.consumers.get(source, ()):
            op.check_rows("its input", each)
    feeds = {X_FEED + FEEDS * i: each for i, each in enumerate(rows)}
    results = [np.empty((len(rows[0]), tensor.features), tensor.dtype) for tensor in graph.outputs]
    feeds |= {OUT_FEED + FEEDS * i: each for i, each in enumerate(results)}
    seed = random.draw_seed() if graph.draws else 0
    Program(graph, len(rows[0]), training=training, noisy=noisy, moves=moves, output=True).run(feeds, seed=seed)
    shapes = [(-1, *(size or 0 for size in tensor.shape[1:])) for tensor in graph.outputs]
    return [result.reshape(shape) for result, shape in zip(results, shapes, strict=True)]
