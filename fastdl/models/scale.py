"""Says before training that inputs or targets are far from unit scale, where nothing in the model brings them there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastdl import losses
from fastdl.base.arrays import Array
from fastdl.compiler.feeds import FEEDS, X_FEED, Y_FEED
from fastdl.compiler.graph import Graph, Op
from fastdl.errors import DataWarning, warn
from fastdl.models.feeding import Feeds
from fastdl.models.objective import Objective
from fastdl.ops import Activation, Affine, BatchNorm, Embedding, LayerNorm, PiecewiseLinear, Reshape

LOOKED_AT = 1000  # rows
# Measured on digits, 20 epochs: features up to 13 are as good as up to 1; up to 77, Adam 0.965 → 0.92; up to 206, as
# pixels from 0 to 255 are, SGD 0.95 → 0.2.
FAR, TINY = 100.0, 1e-3  # root mean squares of a feature, or of targets, at which steps of a usual size no longer fit
IN_UNITS = (losses.MeanSquaredError, losses.MeanAbsoluteError, losses.Huber, losses.LogCosh)


def warn_of_scale(graph: Graph, input_names: Sequence[str], objective: Objective, feeds: Feeds) -> None:
    """DataWarning for inputs, and for targets of losses that depend on their unit, with what brings them to unit scale.

    Of at most LOOKED_AT rows: it takes no time that anybody notices.
    """
    findings = list[str]()
    if not any(map(_scales, graph.ops)):
        for i, source in enumerate(graph.inputs):
            codes = any(isinstance(op, Embedding) for op in graph.consumers.get(source, ()))
            if source in graph.columns and not codes and (finding := _far(feeds[X_FEED + FEEDS * i])):
                name = input_names[graph.columns.index(source)]
                findings.append(f"{'x' if len(input_names) == 1 else f'x[{name!r}]'} {finding}")
    for i in objective.outputs:
        in_units = isinstance(objective.losses[i], IN_UNITS) and not _ends_scaled(graph.outputs[i].op)
        if in_units and (finding := _far(feeds[Y_FEED + FEEDS * i])):
            findings.append(f"{'y' if len(objective.names) == 1 else f'y[{objective.names[i]!r}]'} {finding}")
    if findings:
        warn(
            f"{' and '.join(findings)}, far from unit scale: a net then learns slowly or not at all. Begin the model "
            "with Normalization (adapt it first) or Rescaling, and train on (y - mean) / std",
            DataWarning,
        )


def _far(rows: Array) -> str | None:
    """In words, the scale of the feature that is the largest, if that is far from one."""
    some = rows[:: -(-len(rows) // LOOKED_AT)].astype(np.float64)
    sizes = np.sqrt(np.einsum("ij,ij->j", some, some) / len(some))
    place = int(sizes.argmax())
    if not (sizes[place] > FAR or 0 < sizes[place] < TINY):
        return None
    where = f" in feature {place}" if rows.shape[1] > 1 else ""
    return f"is about {some[:, place].mean():.1g} ± {some[:, place].std():.1g}{where}"


def _scales(op: Op) -> bool:
    return isinstance(op, Affine | BatchNorm | LayerNorm | PiecewiseLinear) or (
        isinstance(op, Activation) and op.kind == "rescale"
    )


def _ends_scaled(op: Op | None) -> bool:
    """Whether the output's last op, reshaping looked through, brings it to another scale."""
    while isinstance(op, Reshape):
        op = op.inputs[0].op
    return op is not None and _scales(op)
