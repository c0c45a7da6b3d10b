"""From a trained estimator to what its card tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto

from fastdl.base.arrays import Array
from fastdl.tabular.card.explain import dependence, importances
from fastdl.tabular.card.page import Content
from fastdl.tabular.judging import TOLD, Judgement
from fastdl.tabular.proof import ColumnsProof
from fastdl.tabular.recipes import CLASSES, Recipe
from fastdl.tabular.scores import score_of, told
from fastdl.tabular.table import Table
from fastdl.tabular.tasks import Task, missing

if TYPE_CHECKING:
    from fastdl.tabular.estimator import Tabular

SHOWN = 6  # columns with their partial dependence
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
    columns, targets = task.columns(rows), model.known_targets(task.targets(rows))
    names = [str(name) for name in model.classes_] if task.kind == CLASSES else None
    _, score = score_of(model.metric_, task.kind)
    worth = importances(model.answers, columns, targets, score, model.columns_.inputs)
    shown = [dependence(model.answers, columns, name) for name, _ in worth[:SHOWN]]
    metric = TOLD[model.metric_]
    return Content(
        title=title,
        target=task.target,
        class_names=names,
        rows=len(table),
        notes=[*table.notes, *task.notes, *model.columns_.notes],
        columns=_columns(model, task.columns(table)),
        judged=judged,
        metric=metric,
        learning=[_learning(model, member.learning, member.best_epoch) for member in model.members_],
        importances=worth,
        dependences=[each for each in shown if each is not None],
        nets=_nets(model),
        inputs=_inputs(file),
        example=_example(model, columns),
        proof=f"Proof: {proof}.",
        facts=_facts(model, file),
    )


def _learning(model: Tabular, learning: dict[str, list[float]], best: int) -> tuple[list[float], list[float], int]:
    return learning["loss"], [told(model.metric_, value) for value in learning["score"]], best


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


def _example(model: Tabular, table: Table) -> dict[str, Any]:
    """The first row."""
    return {name: _plain(table[name][0]) for name in model.columns_.inputs}


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _facts(model: Tabular, file: ModelProto) -> list[tuple[str, str]]:
    size: Array = np.array(file.ByteSize())
    return [
        ("time to train", f"{model.seconds_:.1f} seconds"),
        ("nets that answer", str(len(model.members_))),
        ("size of model.onnx", f"{size / 1e6:.2f} MB"),
        ("seed", str(model.random_state)),
    ]
