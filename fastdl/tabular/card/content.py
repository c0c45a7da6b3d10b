"""From a trained estimator to what its card tells."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto

from fastdl.base.arrays import Array
from fastdl.base.cells import Factor, as_numbers, as_seconds, missing
from fastdl.base.version import VERSION
from fastdl.fusion.runtime.session import Feed, Session
from fastdl.fusion.runtime.tables import TableInputs
from fastdl.tabular.card.explain import alone, dependence, importances, rows_for
from fastdl.tabular.card.facts import Content
from fastdl.tabular.judging import Judgement
from fastdl.tabular.proof import ColumnsProof
from fastdl.tabular.recipes import CLASSES, Recipe
from fastdl.tabular.scores import score_of, told
from fastdl.tabular.table import Table
from fastdl.tabular.tasks import Task

if TYPE_CHECKING:
    from fastdl.tabular.estimator import Tabular

SHOWN = 6  # columns with their partial dependence
LOOKED_AT = 200  # rows of which one is the example
TIMED = 200  # answers
TYPES = {TensorProto.STRING: "text", TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}


def content_of(
    model: Tabular,
    task: Task,
    judged: Judgement,
    table: Table,
    file: ModelProto,
    proof: ColumnsProof,
    title: str,
    test: Table | None = None,
) -> Content:
    """What the card tells. table: what was learned from; test: rows that explanations are measured on, if any."""
    rows = task.rows(table if test is None else test)
    columns, targets = _as_taken(model, task.columns(rows)), model.known_targets(task.targets(rows))
    names = [str(name) for name in model.classes_] if task.kind == CLASSES else None
    _, score = score_of(model.metric_, task.kind)
    worth = importances(model.answers_of, columns, targets, score, model.columns_)
    shown = [dependence(model.answers, columns, name) for name, _ in worth[:SHOWN]]
    request = _request(model, file, columns)
    return Content(
        title=title,
        target=task.target,
        class_names=names,
        rows=len(table),
        notes=[*table.notes, *task.notes, *model.columns_.notes],
        columns=_columns(model, _as_taken(model, task.columns(table))),
        judged=judged,
        tested=test is not None,
        metric=model.metric_,
        learning=_learning(model, _unit(task, table)),
        importances=worth,
        importance_rows=min(len(rows), rows_for(len(worth))),
        alone=alone(columns, targets, task.kind, model.columns_.inputs),
        dependences=[each for each in shown if each is not None],
        nets=_nets(model),
        inputs=_inputs(file),
        request=_as_json(request),
        proof=f"Proof: {proof}.",
        facts=_facts(model, file, request),
    )


def _as_taken(model: Tabular, table: Table) -> Table:
    """Text that was taken for numbers or dates as such: cells that are none are missing, here as in the net."""
    kinds, columns = model.columns_.kinds, {name: table.column(name) for name in table.names}
    for name, column in columns.items():
        if isinstance(column, Factor) and kinds.get(name) == "number":
            columns[name] = as_numbers(column)
        elif isinstance(column, Factor) and kinds.get(name) == "date":
            with np.errstate(invalid="ignore"):  # beyond all dates
                columns[name] = as_seconds(column).astype("datetime64[s]")
    return Table(columns)


def _learning(model: Tabular, unit: float) -> list[tuple[list[float], list[float], int]]:
    """Of each net, in the units of the target: losses stay in those that nets learn in."""
    told_of = []
    for member in model.members_:
        scores = [told(model.metric_, value) * unit for value in member.learning["score"]]
        told_of.append((member.learning["loss"], scores, member.best_epoch))
    return told_of


def _unit(task: Task, table: Table) -> float:
    """What a score of 1 of nets, which learn numbers in units of their deviation, is in the target's own."""
    if task.kind == CLASSES:
        return 1.0
    targets, weights = task.targets(table), task.weights(table)
    mean = np.average(targets, weights=weights)
    return float(np.sqrt(np.average((targets - mean) ** 2, weights=weights))) or 1.0


def _columns(model: Tabular, table: Table) -> list[tuple[str, str, float, str]]:
    encoded = model.columns_
    rows = []
    for name, kind in encoded.kinds.items():
        gaps = float(missing(table[name]).mean()) if name in table else 0.0
        rows.append((name, kind, gaps, encoded.described(name)))
    return rows


def _nets(model: Tabular) -> list[tuple[str, str]]:
    told_of: dict[str, float] = {}
    for member, share in zip(model.members_, model.shares_, strict=True):
        words = in_words(member.recipe)
        told_of[words] = told_of.get(words, 0.0) + share
    return [(words, f"{100 * share:.0f} %") for words, share in sorted(told_of.items(), key=lambda pair: -pair[1])]


def in_words(recipe: Recipe) -> str:
    """A recipe in a line."""
    sizes = " × ".join(map(str, recipe.hidden_layer_sizes))
    encoding = "numbers as waves" if recipe.numeric_encoding else "numbers as they are"
    members = f", {recipe.members} members" if recipe.members > 1 else ""
    return (
        f"{sizes} {recipe.activation}, {encoding}, rate {recipe.learning_rate:.3g}, dropout {recipe.dropout:g}, "
        f"{recipe.epochs} epochs{members}"
    )


def _inputs(file: ModelProto) -> list[tuple[str, str, str]]:
    rows = []
    for port in file.graph.input:
        tensor = port.type.tensor_type
        shape = ", ".join(str(size.dim_value) if size.dim_value else size.dim_param for size in tensor.shape.dim)
        rows.append((port.name, TYPES.get(tensor.elem_type, "number"), f"({shape})"))
    return rows


def _request(model: Tabular, file: ModelProto, table: Table) -> Feed:
    """The file's inputs of one row: of the first rows that with fewest gaps."""
    names = model.columns_.inputs
    few = table.select(names).take(np.arange(min(len(table), LOOKED_AT)))
    row = few.take(np.array([np.sum([missing(few[name]) for name in names], axis=0).argmin()]))
    return TableInputs.of(file).feed({name: row.column(name) for name in names})


def _as_json(feed: Feed) -> str:
    """A line an input."""
    lines = [f"{json.dumps(name, ensure_ascii=False)}: {_cells(array)}" for name, array in feed.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}"


def _cells(array: Array) -> str:
    """JSON, float32 in the digits that it has."""
    values = array if array.dtype == object else np.array([float(str(x)) for x in array.flat]).reshape(array.shape)
    return json.dumps(values.tolist(), ensure_ascii=False)


def _microseconds(file: ModelProto, feed: Feed) -> float:
    """The median time of one row through onnxruntime on one thread."""
    session, times = Session(file.SerializeToString()), []
    for _ in range(TIMED):
        began = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - began)
    return 1e6 * float(np.median(times))


def _facts(model: Tabular, file: ModelProto, request: Feed) -> list[tuple[str, str]]:
    return [
        ("time to train", f"{model.seconds_:.1f} seconds"),
        ("nets that answer", str(len(model.members_))),
        ("size of model.onnx", f"{file.ByteSize() / 1e6:.2f} MB"),
        ("time to answer one row", f"{_microseconds(file, request):.0f} µs in onnxruntime on one thread"),
        ("machine", f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores"),
        ("seed", str(model.random_state)),
        ("fastdl", VERSION),
        ("Python", platform.python_version()),
        *((name, _version(name)) for name in ("numpy", "scikit-learn", "onnx", "onnxruntime")),
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
