"""What a card tells of a trained table, before it is a page."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastdl.tabular.card.explain import Dependence
from fastdl.tabular.judging import Judgement


@dataclass
class Content:
    """What the page tells.

    columns: name, kind, share that is missing, and what became of it, each. tested: whether the judged rows are a test
    table's, of which nothing was learned. metric: by its short name. learning: losses, scores and the best epoch of
    each net, counted from 0. importances: how much worse the score gets, by column, measured on so many rows. alone:
    how much of the target each column tells by itself, 0 to 1. nets: a recipe in words, and its share in the answer.
    inputs of the file: name, type, shape. request: one row as the file takes it, in JSON. facts: time, size, versions.
    """

    title: str
    target: str
    class_names: list[str] | None  # None: numbers
    rows: int
    notes: list[str]
    columns: list[tuple[str, str, float, str]]
    judged: Judgement
    tested: bool
    metric: str
    learning: list[tuple[list[float], list[float], int]]
    importances: list[tuple[str, float]]
    importance_rows: int
    alone: dict[str, float]
    dependences: list[Dependence]
    nets: list[tuple[str, str]]
    inputs: list[tuple[str, str, str]]
    request: str
    proof: str
    facts: list[tuple[str, str]] = field(default_factory=list)
