"""The proof of a file of raw columns: it answers as `predict` does, on rows as in training, and on odd ones."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from fastdl.base.arrays import Array
from fastdl.base.cells import missing
from fastdl.errors import FusionError
from fastdl.fusion.files.model_file import read_model
from fastdl.fusion.runtime.session import Session
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.models import Model
from fastdl.tabular.columns.columns import Columns
from fastdl.tabular.table import Table
from fastdl.tabular.training import answers_of

BAR = 2e-6  # of probabilities; of predictions relative to the largest
WIDEST = 1e-3  # that rounding may make the bar
FACTOR = 16  # times what the last bits move
SHAKES = 4
SHAKEN_ROWS = 2000
AT_ONCE = 1024
FIRST = (1, 2, 7, 64)  # rows of the first batches


@dataclass(frozen=True)
class ColumnsProof:
    """What was compared, and how far the file was off: of probabilities, or of predictions relative to the largest.

    ties: rows whose label differs because two probabilities are nearer to each other than `bar`.
    """

    rows: int
    missing: int  # cells
    max_error: float
    ties: int
    bar: float = BAR

    def __str__(self) -> str:
        ties = f" but for {self.ties} ties" if self.ties else ""
        return (
            f"{self.rows:,} random rows, {self.missing:,} of their cells missing: largest difference "
            f"{self.max_error:.1e} (bar: {self.bar:.0e}), every label the same{ties}"
        )


def prove(
    file: str | os.PathLike[str] | bytes | ModelProto,
    columns: Columns,
    predict: Callable[[Table], Array],
    rows: int = 10_000,
    *,
    samples: Table | None = None,
    bar: float = BAR,
    seed: int = 0,
) -> ColumnsProof:
    """Run random rows through the file and through `predict`, and compare.

    The rows hold what training did, missing values, unknown ones, extreme numbers, empty and odd text; samples: rows to
    compare on as well. predict: a table → probabilities (rows, classes), or predictions (rows,). Raises FusionError
    where the two differ by more than the bar, or in a label.
    """
    model = read_model(file)
    inputs = TableInputs.of(model)
    session = Session(model.SerializeToString())
    names = [port.name for port in session.get_outputs()]
    table = columns.draw(np.random.default_rng(seed), rows)
    parts, gone = [], 0
    for part in _batches([table, *([] if samples is None else [samples])]):
        feed = inputs.feed({name: part.column(name) for name in columns.inputs})
        parts.append((dict(zip(names, session.run(None, feed), strict=True)), np.asarray(predict(part))))
        gone += sum(int(missing(part[name]).sum()) for name in part.names)
    given = {name: np.concatenate([answers[name] for answers, _ in parts]) for name in names}
    wanted = np.concatenate([answers for _, answers in parts])
    worst, ties = _compared(given, inputs, wanted, bar)
    return ColumnsProof(len(wanted), gone, worst, ties, bar)


def bar_of(model: Model, columns: Columns, relative: bool, seed: int = 0) -> float:
    """BAR, or more where rounding alone moves the answers further: no file can keep closer to `predict` than that.

    Measured by moving the last bits of all weights and inputs at random: nets of few rows or epochs may have steep
    slopes. relative: to the largest answer, as predictions are compared.
    """
    rng = np.random.default_rng(seed)
    encoded = columns.transform(columns.draw(rng, SHAKEN_ROWS)).arrays
    answers = answers_of(model, encoded).astype(np.float64)
    shaken, weights = copy.deepcopy(model), model.get_weights()
    moved = 0.0
    for _ in range(SHAKES):
        shaken.set_weights([_shaken(each, rng) for each in weights])
        others = answers_of(shaken, [*(_shaken(each, rng) for each in encoded)])
        moved = max(moved, float(np.abs(answers - others).max(initial=0)))
    scale = max(float(np.abs(answers).max(initial=0)), 1e-300) if relative else 1.0
    return float(np.clip(FACTOR * moved / scale, BAR, WIDEST))


def _shaken(values: Array, rng: np.random.Generator) -> Array:
    """Each number one bit up or down; whole numbers, as codes are, as they were."""
    moved: Array = np.nextafter(values, np.where(rng.random(values.shape) < 0.5, -np.inf, np.inf).astype(values.dtype))
    return np.where(values == np.round(values), values, moved)


def _batches(tables: list[Table]) -> list[Table]:
    parts = []
    for table in tables:
        start = 0
        for size in FIRST:
            parts.append(table.take(np.arange(start, min(start + size, len(table)))))
            start += size
        parts += [table.take(np.arange(s, min(s + AT_ONCE, len(table)))) for s in range(start, len(table), AT_ONCE)]
    return [part for part in parts if len(part)]


def _compared(given: dict[str, Array], inputs: TableInputs, wanted: Array, bar: float) -> tuple[float, int]:
    """The largest difference, and how many labels differ by a tie."""
    label = inputs.label
    ((name, scores),) = [(n, array) for n, array in given.items() if n != label]
    wanted = wanted.reshape(len(wanted), -1)
    if scores.shape != wanted.shape:
        raise FusionError(f"output {name!r} has shape {scores.shape}, predict gives {wanted.shape}")
    if not np.isfinite(scores).all():
        raise FusionError(f"output {name!r} is not finite in row {int(np.argwhere(~np.isfinite(scores))[0, 0])}")
    scale = 1.0 if label is not None else max(float(np.abs(wanted).max(initial=0)), 1e-300)
    off = np.abs(scores.astype(np.float64) - wanted) / scale
    if (worst := float(off.max(initial=0))) > bar:
        row = int(off.max(axis=1).argmax())
        raise FusionError(f"output {name!r} is off by {worst:.1e}, more than {bar:.0e}, in row {row}: please report it")
    if label is None:
        return worst, 0
    named = np.array(inputs.classes)[wanted.argmax(axis=1)]
    differ = np.flatnonzero(given[label].astype(str) != named)
    best = np.sort(wanted[differ], axis=1)
    apart = best[:, -1] - best[:, -2] if len(differ) else np.zeros(0)
    if (apart > 2 * bar).any():
        raise FusionError(f"the label of row {int(differ[apart.argmax()])} differs: please report it")
    return worst, len(differ)
