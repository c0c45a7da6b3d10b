"""The report of a trained table: one page without network, for whoever must decide on the model."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.version import VERSION
from fastdl.tabular.card import charts
from fastdl.tabular.card.charts import number, safe
from fastdl.tabular.card.explain import Dependence
from fastdl.tabular.judging import TOLD, Judgement

MOST_POINTS = 1500  # of a cloud
MOST_CLASSES = 12  # of a confusion matrix

STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5d6b82; --line: #dbe1ea; --paper: #fff; --card: #f6f8fb;
  --c0: #1f6feb; --c1: #d97706; --c2: #15803d; --c3: #9333ea; --c4: #dc2626; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --soft: #9aa7bd; --line: #323c4e; --paper: #12161f;
  --card: #1b212d; --c0: #6ea8fe; --c1: #fbbf24; --c2: #4ade80; --c3: #c084fc; --c4: #f87171; --c5: #22d3ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.6rem 1rem 3rem; max-width: 960px; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; } h2 { margin: 2.4rem 0 .5rem; font-size: 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; } .soft { color: var(--soft); } li { overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.card { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.card span { display: block; color: var(--soft); font-size: .85rem; } .card strong { font-size: 1.35rem; }
.card em { display: block; color: var(--soft); font-style: normal; font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; border: 1px solid var(--line); border-radius: 10px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td { font-variant-numeric: tabular-nums; }
.confusion td { background: color-mix(in srgb, var(--c0) calc(var(--s) * 60%), transparent); padding: .35rem .6rem; }
.confusion i { display: block; font-style: normal; font-size: .8rem; color: var(--soft); }
svg text { font: 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--soft);
  text-anchor: middle; }
svg .end { text-anchor: end; } svg .begin { text-anchor: start; } svg .label { fill: var(--ink); }
.grid { stroke: var(--line); fill: none; } .even { stroke: var(--soft); stroke-dasharray: 4 4; fill: none; }
.line { fill: none; stroke-width: 2; } .bar { fill: var(--c0); }
.cloud { fill: none; stroke: var(--c0); stroke-width: 3.4; stroke-linecap: round; opacity: .35; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); }
.c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); } .dot { fill: var(--paper); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .3rem 0 0; font-size: .85rem; }
.key span::before { content: ""; display: inline-block; width: 1.1em; height: .28em; margin-right: .4em;
  vertical-align: .25em; background: currentColor; }
.key .c0 { color: var(--c0); } .key .c1 { color: var(--c1); } .key .c2 { color: var(--c2); }
.key .c3 { color: var(--c3); } .key .c4 { color: var(--c4); } .key .c5 { color: var(--c5); }
pre { overflow-x: auto; padding: .8rem; border-radius: 10px; background: var(--card); border: 1px solid var(--line);
  font-size: .85rem; }
"""


@dataclass
class Content:
    """What the page tells. columns: name, kind, share that is missing, and what became of it, each."""

    title: str
    target: str
    class_names: list[str] | None  # None: numbers
    rows: int
    notes: list[str]
    columns: list[tuple[str, str, float, str]]
    judged: Judgement
    metric: str
    learning: list[tuple[list[float], list[float], int]]  # losses, scores, best epoch
    importances: list[tuple[str, float]]
    dependences: list[Dependence]
    nets: list[tuple[str, str]]  # what answers: a recipe in words, and its share
    inputs: list[tuple[str, str, str]]  # of the file: name, type, shape
    example: dict[str, Any]
    proof: str
    facts: list[tuple[str, str]] = field(default_factory=list)  # time, size, seed


def page(content: Content) -> str:
    """The page as HTML text."""
    sections = [
        _head(content),
        _data(content),
        _scores(content),
        _errors(content),
        _learning(content),
        _influence(content),
        _file(content),
        _facts(content),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(content.title)}</title><style>{STYLE}</style></head>\n<body>"
        + "\n".join(sections)
        + "</body></html>\n"
    )


def _head(content: Content) -> str:
    judged, cards = content.judged, []
    simplest = next(iter(judged.baselines.items()), None)
    for metric, estimate in judged.estimates.items():
        beside = f"{simplest[0]}: {number(simplest[1][metric])}" if simplest else ""
        interval = f"{number(estimate.low)} to {number(estimate.high)}"
        cards.append(
            f'<div class="card"><span>{TOLD[metric]}</span><strong>{number(estimate.value)}</strong>'
            f"<em>{interval}</em><em>{safe(beside)}</em></div>"
        )
    kinds = "numbers" if content.class_names is None else f"{len(content.class_names)} classes"
    return (
        f"<h1>{safe(content.title)}</h1>"
        f'<p class="soft">Predicts <b>{safe(content.target)}</b> ({kinds}) from {len(content.columns)} columns, '
        f"learned from {content.rows:,} rows. Scores are on {safe(judged.where)}; below each its 95 % interval, and "
        f'what the simplest answer reaches.</p><div class="cards">{"".join(cards)}</div>'
    )


def _data(content: Content) -> str:
    rows = [(n, kind, f"{100 * gaps:.1f} %" if gaps else "", done) for n, kind, gaps, done in content.columns]
    notes = "".join(f"<li>{safe(note)}</li>" for note in content.notes)
    listed = f"<ul>{notes}</ul>" if notes else ""
    return "<h2>The data</h2>" + charts.table(["column", "taken as", "missing", "encoded as"], rows) + listed


def _scores(content: Content) -> str:
    judged = content.judged
    names = list(judged.baselines)
    rows = [
        [
            TOLD[m],
            number(e.value),
            f"{number(e.low)} to {number(e.high)}",
            *(number(judged.baselines[n][m]) for n in names),
        ]
        for m, e in judged.estimates.items()
    ]
    head = ["score", "this model", "95 % interval", *names]
    return f"<h2>How good it is</h2><p>Judged on {safe(judged.where)}.</p>" + charts.table(head, rows)


def _errors(content: Content) -> str:
    judged = content.judged
    if content.class_names is None:
        return _residuals(judged)
    names, answers = content.class_names, judged.answers
    picked = answers.argmax(axis=1)
    parts = ["<h2>Where it errs</h2>"]
    if len(names) <= MOST_CLASSES:
        counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (judged.targets, picked), 1)
        parts.append(charts.confusion(counts, names))
    else:
        wrong = [
            (name, float((picked[judged.targets == k] != k).mean()))
            for k, name in enumerate(names)
            if (judged.targets == k).any()
        ]
        wrong.sort(key=lambda pair: -pair[1])
        told = "Share of rows answered wrongly, the worst classes first"
        parts.append(f"<figure><h3>{told}</h3>{charts.bars(wrong[:MOST_CLASSES], told)}</figure>")
    parts.append("<h2>Whether its probabilities can be believed</h2>")
    parts.append(_calibration(judged, names))
    return "".join(parts)


def _calibration(judged: Judgement, names: Sequence[str]) -> str:
    binary = len(names) == 2
    p = judged.answers[:, 1] if binary else judged.answers.max(axis=1)
    right = judged.targets == 1 if binary else judged.answers.argmax(axis=1) == judged.targets
    said, seen = _bins(p, right)
    what = f"probability of {names[1]}" if binary else "probability of the answer"
    x, y = f"{what}, as said", "share, as seen"
    curve = charts.lines([("seen", said, seen)], x, y, diagonal=True, dots=True, y_range=(0, 1))
    told = "Points on the dashed line: of the rows that are given 70 %, 70 % are so."
    return (
        f'<p>{told}</p><div class="pair"><figure><h3>Calibration</h3>{curve}</figure>'
        f"<figure><h3>How sure it is</h3>{charts.histogram(p.tolist(), what)}</figure></div>"
    )


def _bins(said: Array, right: Array) -> tuple[list[float], list[float]]:
    """Means of what was said and seen, in ten bins of like numbers of rows."""
    parts = [part for part in np.array_split(np.argsort(said, kind="stable"), 10) if len(part)]
    return [float(said[part].mean()) for part in parts], [float(right[part].mean()) for part in parts]


def _residuals(judged: Judgement) -> str:
    rows = np.random.default_rng(0).permutation(len(judged.targets))[:MOST_POINTS]
    y, p = judged.targets[rows, 0], judged.answers[rows, 0]
    return (
        '<h2>Where it errs</h2><div class="pair">'
        f"<figure><h3>Actual against predicted</h3>{charts.points(p, y, 'predicted', 'actual')}</figure>"
        f"<figure><h3>What is left</h3>{charts.points(p, y - p, 'predicted', 'actual − predicted', zero=True)}</figure>"
        "</div>"
    )


def _learning(content: Content) -> str:
    if not content.learning:
        return ""
    scores = [(f"net {i}", list(range(1, len(s) + 1)), s) for i, (_, s, _) in enumerate(content.learning[:6], 1)]
    losses = [(f"net {i}", list(range(1, len(l) + 1)), l) for i, (l, _, _) in enumerate(content.learning[:6], 1)]
    nets = charts.table(["net", "share of the answer"], content.nets)
    metric = content.metric
    return (
        '<h2>How it learned</h2><div class="pair">'
        f"<figure><h3>Held-out rows: {safe(metric)}</h3>{charts.lines(scores, 'epoch', metric)}</figure>"
        f"<figure><h3>Loss in training</h3>{charts.lines(losses, 'epoch', 'loss')}</figure></div>{nets}"
    )


def _influence(content: Content) -> str:
    if not content.importances:
        return ""
    told = f"How much worse {content.metric} is when a column is shuffled"
    parts = [
        "<h2>What it looks at</h2>",
        f"<figure><h3>{safe(told)}</h3>{charts.bars(content.importances[:20], told)}</figure>",
        '<p class="soft">Columns that tell the same share their importance; this is no cause and effect.</p>',
    ]
    figures = [
        f"<figure><h3>{safe(each.column)}</h3>{_dependence(each, content)}</figure>" for each in content.dependences
    ]
    if figures:
        parts.append(f'<h3>The mean answer as one column changes</h3><div class="pair">{"".join(figures)}</div>')
    return "".join(parts)


def _dependence(each: Dependence, content: Content) -> str:
    names = content.class_names
    columns = [0] if names is None else [1] if len(names) == 2 else list(range(min(len(names), 4)))
    what = content.target if names is None else f"probability of {names[1]}" if len(names) == 2 else "probability"
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in each.values):
        named = [names[k] if names else content.target for k in columns]
        x = [float(value) for value in each.values]
        series = [(name, x, each.answers[:, k].tolist()) for name, k in zip(named, columns, strict=True)]
        return charts.lines(series, each.column, what, dots=len(x) <= 10)
    told = [
        (str(value), float(answer)) for value, answer in zip(each.values, each.answers[:, columns[-1]], strict=True)
    ]
    return charts.bars(told, what)


def _file(content: Content) -> str:
    example = json.dumps(content.example, indent=2, default=str, ensure_ascii=False)
    return (
        "<h2>The file</h2><p>model.onnx takes the raw columns; missing text is an empty string, a missing number is "
        "NaN.</p>"
        + charts.table(["input", "type", "shape"], content.inputs)
        + f"<p>A request, one row:</p><pre>{_pre(example)}</pre><p>{safe(content.proof)}</p>"
    )


def _pre(text: str) -> str:
    return "\n".join(safe(line) for line in text.splitlines())


def _facts(content: Content) -> str:
    facts = [*content.facts, ("fastdl", VERSION), ("Python", platform.python_version()), ("numpy", np.__version__)]
    return "<h2>How it was made</h2>" + charts.table(["", ""], facts)
