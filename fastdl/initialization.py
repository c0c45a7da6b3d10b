"""First weights that are made for the data: each unit begins with variance 1, and bends where the data are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl.base import random
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import FEEDS, X_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.errors import DataError
from fastdl.layers import Layer
from fastdl.models import Model
from fastdl.ops import Dense, MemberDense
from fastdl.ops.on_arrays import compute

OUTPUT_LAYERS = "data", "zeros", "keep"


def initialize_from_data(
    model: Model,
    x: Any,
    *,
    sample_size: int = 1024,
    bias_points: int = 5,
    output_layers: str = "data",
    exclude: Sequence[Layer] = (),
) -> None:
    """Draw the weights of all Dense and EnsembleDense layers anew, in order, for what the layers before them make of x.

    Layer-sequential unit variance (LSUV, Mishkin and Matas 2016), with biases as in Holzmüller et al. 2024. A kernel is
    drawn from N(0, 1/in), then each column is scaled so that x W has variance 1 over the rows, unless it is the same
    for all of them. A bias is minus a convex combination of `bias_points` rows' x W ("he+5"): each unit draws rows and
    weights of its own, from Exp(1) and normalised; 0 leaves biases as they are.
    x: as `predict` takes it; of more than sample_size rows so many are drawn. output_layers: those that no other such
    layer follows: "data" as all others, "zeros", or "keep". exclude: layers whose weights stay, as do those of layers
    that are not trainable. All draws follow utils.set_random_seed. Layers act as in inference. DataError for one row.
    """
    if output_layers not in OUTPUT_LAYERS:
        raise ValueError(f"output_layers must be one of {', '.join(map(repr, OUTPUT_LAYERS))}, not {output_layers!r}")
    whole("sample_size", sample_size, least=2)
    whole("bias_points", bias_points, least=0)
    feeds = model.session.feeding.inputs(x)
    graph, draw = model.trace(), random.generator()
    arrays = [feeds[X_FEED + FEEDS * i] for i in range(len(graph.inputs))]
    if len(arrays[0]) < 2:
        raise DataError("x has one row: the variance of what layers make of it needs two or more")
    if len(arrays[0]) > sample_size:
        rows = draw.choice(len(arrays[0]), sample_size, replace=False)
        arrays = [array[rows] for array in arrays]
    left = {parameter for layer in exclude for parameter in layer.weights}
    ends = _last_of(graph)
    with model.session.lock:
        for op in graph.ops:
            if not isinstance(op, Dense | MemberDense) or op.kernel in left or not op.kernel.trainable:
                continue
            left.add(op.kernel)  # another layer that shares it comes too late
            if op in ends and output_layers == "keep":
                continue
            if op in ends and output_layers == "zeros":
                for parameter in op.parameters:
                    parameter.assign(np.zeros(parameter.shape))
                continue
            (seen,) = compute(Graph(graph.inputs, op.inputs), arrays, training=False, noisy=False)
            _initialize(op, seen, bias_points, draw)


def _last_of(graph: Graph) -> set[Dense | MemberDense]:
    """The dense layers that lead to no other one."""
    before: set[Tensor] = set()  # what leads to a dense layer
    last: set[Dense | MemberDense] = set()
    for op in reversed(graph.ops):
        leads = op.output in before
        if isinstance(op, Dense | MemberDense) and not leads:
            last.add(op)
        if isinstance(op, Dense | MemberDense) or leads:
            before.update(op.inputs)
    return last


def _initialize(op: Dense | MemberDense, seen: Array, points: int, draw: np.random.Generator) -> None:
    """Draw a layer's weights for the inputs (rows, …, in). Those that members share see the inputs of all of them."""
    units, inputs = op.kernel.shape[1], seen.shape[-1]
    members = op.kernel.shape[0] // inputs
    rows = seen.astype(np.float64).reshape(-1, members, inputs).transpose(1, 0, 2)  # (members, rows, in)
    kernel = draw.standard_normal((members, inputs, units)) / math.sqrt(inputs)
    outputs = rows @ kernel
    spread = outputs.std(axis=1, keepdims=True)
    scale = 1 / np.where(spread > 1e-12 * (1 + np.abs(outputs).max(axis=1, keepdims=True)), spread, 1.0)
    _assign(op.kernel, kernel * scale)
    if op.bias is None or not points or not op.bias.trainable:
        return
    weights = draw.standard_exponential((members, points, units))
    weights /= weights.sum(axis=1, keepdims=True)
    chosen = draw.integers(rows.shape[1], size=(members, points, units))
    _assign(op.bias, -(weights * np.take_along_axis(outputs * scale, chosen, axis=1)).sum(axis=1))


def _assign(parameter: Parameter, values: Array) -> None:
    parameter.assign(values.reshape(parameter.shape))
