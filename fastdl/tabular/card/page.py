"""The report of a trained table: one page without network, for whoever must decide on the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastdl.tabular.card import charts
from fastdl.tabular.card.charts import number, safe
from fastdl.tabular.card.explain import Dependence
from fastdl.tabular.card.facts import Content
from fastdl.tabular.card.findings import bins, findings, said_and_right
from fastdl.tabular.card.style import STYLE
from fastdl.tabular.judging import TOLD, Judgement

MOST_POINTS = 1500  # of a cloud
MOST_CLASSES = 12  # of a confusion matrix
MOST_NETS = 6  # in the learning curves
MOST_EPOCHS = 300  # points of a learning curve
OPEN = 24  # rows of a table that are shown at once
MOST_NOTES = 200
MOST_TEXT = 60_000  # of the example request


def page(content: Content) -> str:
    """The page as HTML text."""
    sections = [
        _head(content),
        _short(content),
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


def _short(content: Content) -> str:
    lines = "".join(f'<li class="{weight}">{safe(told)}</li>' for weight, told in findings(content))
    return f'<h2>In short</h2><ul class="findings">{lines}</ul>'


def _folded(told: str, rows: Sequence[object], table: str) -> str:
    """A long table is opened by a click."""
    return table if len(rows) <= OPEN else f"<details><summary>{safe(told)}</summary>{table}</details>"


def _share(gaps: float) -> str:
    """Of missing values, nothing where there are none."""
    return "" if not gaps else "< 0.1 %" if gaps < 5e-4 else f"{100 * gaps:.1f} %"


def _data(content: Content) -> str:
    rows = [(name, kind, _share(gaps), done) for name, kind, gaps, done in content.columns]
    table = charts.table(["column", "taken as", "missing", "encoded as"], rows)
    kinds = [kind for _, kind, _, _ in content.columns]
    counted = ", ".join(f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds))
    out = [name for name, _, _, done in content.columns if done == "left out"]
    told = (
        f"{len(rows)} columns, by kind: {counted}. Missing and unknown values are ordinary input. A flag is a column "
        "of its own for one value; a code is a row of a table of numbers that the net learns."
    )
    left = f"<p>Left out: {safe(', '.join(out[:50]))}{' …' * (len(out) > 50)}</p>" if out else ""
    notes = "".join(f"<li>{safe(note)}</li>" for note in content.notes[:MOST_NOTES])
    listed = f"<p>What was assumed:</p><ul>{notes}</ul>" if notes else ""
    return f"<h2>The data</h2><p>{safe(told)}</p>{_folded('All columns', rows, table)}{left}{listed}"


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
    told = (
        f"Judged on {judged.where}. The interval is where the score lies in 95 of 100 draws of such rows. Beside it, "
        "what "
        "answers without any column reach, and what a linear model does: a net is worth its trouble where it beats "
        "both."
    )
    return f"<h2>How good it is</h2><p>{safe(told)}</p>" + charts.table(head, rows)


def _errors(content: Content) -> str:
    judged = content.judged
    if content.class_names is None:
        return _residuals(judged)
    names, picked = content.class_names, judged.answers.argmax(axis=1)
    parts = ["<h2>Where it errs</h2>"]
    if len(names) <= MOST_CLASSES:
        counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (judged.targets, picked), 1)
        parts.append("<p>Each line is a class, each column an answer: what is not on the diagonal is wrong.</p>")
        parts.append(charts.confusion(counts, names))
    else:
        parts.append(_wrong(judged, picked, names))
    parts.append("<h2>Whether its probabilities can be believed</h2>")
    parts.append(_calibration(content, names))
    return "".join(parts)


def _wrong(judged: Judgement, picked: np.ndarray, names: Sequence[str]) -> str:
    """The worst classes, and which two are taken for each other most often."""
    there = [(k, name) for k, name in enumerate(names) if (judged.targets == k).any()]
    wrong = sorted(
        [(name, float((picked[judged.targets == k] != k).mean())) for k, name in there], key=lambda pair: -pair[1]
    )
    pairs, counts = np.unique(
        np.stack([judged.targets, picked])[:, judged.targets != picked], axis=1, return_counts=True
    )
    most = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    mixed = [(f"{names[pairs[0, i]]} as {names[pairs[1, i]]}", float(counts[i])) for i in most]
    told = f"Share of rows answered wrongly, the worst of {len(names)} classes"
    figures = f"<figure><h3>{told}</h3>{charts.bars(wrong[:MOST_CLASSES], told)}</figure>"
    if mixed:
        title = "Rows of one class that were taken for another"
        figures += f"<figure><h3>{title}</h3>{charts.bars(mixed, title)}</figure>"
    return f'<div class="pair">{figures}</div>'


def _calibration(content: Content, names: Sequence[str]) -> str:
    p, right = said_and_right(content)
    said, seen = bins(p, right)
    what = f"probability of {names[1]}" if len(names) == 2 else "probability of the answer"
    x, y = f"{what}, as said", "share, as seen"
    curve = charts.lines([("seen", said, seen)], x, y, diagonal=True, dots=True, y_range=(0, 1))
    told = (
        "Each point is a tenth of the rows. On the dashed line the model means what it says: of the rows that are "
        "given 70 %, 70 % are so. Below the line it is too sure, above it not sure enough."
        if len(names) > 2
        else "Each point is a tenth of the rows. On the dashed line the model means what it says: of the rows that are "
        "given 70 %, 70 % are so. Below the line it says too much, above it too little."
    )
    return (
        f'<p>{told}</p><div class="pair"><figure><h3>Calibration</h3>{curve}</figure>'
        f"<figure><h3>How often it says what</h3>{charts.histogram(p.tolist(), what)}</figure></div>"
    )


def _residuals(judged: Judgement) -> str:
    rows = np.random.default_rng(0).permutation(len(judged.targets))[:MOST_POINTS]
    y, p = judged.targets[rows, 0], judged.answers[rows, 0]
    return (
        "<h2>Where it errs</h2><p>Each point is a row. In the first chart, points on the dashed line are exact; in "
        "the second, the model errs more where the cloud is wider or bent. Predictions keep to the range of the target "
        'that was seen.</p><div class="pair">'
        f"<figure><h3>Actual against predicted</h3>{charts.points(p, y, 'predicted', 'actual')}</figure>"
        f"<figure><h3>What is left</h3>{charts.points(p, y - p, 'predicted', 'actual − predicted', zero=True)}</figure>"
        "</div>"
    )


def _learning(content: Content) -> str:
    if not content.learning:
        return ""
    nets, metric = content.learning[:MOST_NETS], TOLD[content.metric]
    scores = [_curve(f"net {i}", values) for i, (_, values, _) in enumerate(nets, 1)]
    losses = [_curve(f"net {i}", values) for i, (values, _, _) in enumerate(nets, 1)]
    kept = ", ".join(str(best + 1) for _, _, best in nets)
    told = (
        "An epoch is one pass over the rows. The first chart has the score on rows that a net does not learn from, the "
        f"second its loss on those it does. Of each net the epoch that was best in the first is kept: {kept}."
    )
    return (
        f'<h2>How it learned</h2><p>{told}</p><div class="pair">'
        f"<figure><h3>Held-back rows: {safe(metric)}</h3>{charts.lines(scores, 'epoch', metric)}</figure>"
        f"<figure><h3>Loss in training</h3>{charts.lines(losses, 'epoch', 'loss')}</figure></div>"
        + charts.table(["net", "share of the answer"], content.nets)
    )


def _curve(name: str, values: Sequence[float]) -> tuple[str, list[float], list[float]]:
    """Not more points than can be told apart."""
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_EPOCHS)).astype(int)).tolist()
    return name, [float(place + 1) for place in places], [values[place] for place in places]


def _influence(content: Content) -> str:
    if not content.importances:
        return ""
    title = f"How much worse {TOLD[content.metric]} gets when a column is shuffled"
    whose = "test rows" if content.tested else "rows that the nets learned from"
    told = (
        f"Shuffled among rows, a column tells nothing; what the score loses by that is its importance, here on "
        f"{content.importance_rows:,} {whose}. Columns that tell the same share theirs. It is what the model uses, no "
        "cause and effect."
    )
    shown = content.importances[:20]
    more = f" The {len(shown)} largest of {len(content.importances)}." * (len(content.importances) > len(shown))
    parts = [
        f"<h2>What it looks at</h2><p>{safe(told)}{more}</p>",
        f"<figure><h3>{safe(title)}</h3>{charts.bars(shown, title)}</figure>",
    ]
    figures = [
        f"<figure><h3>{safe(each.column)}</h3>{_dependence(each, content)}</figure>" for each in content.dependences
    ]
    if figures:
        parts.append(
            "<h2>How the answer follows a column</h2><p>The mean answer if one column had this value in all rows, and "
            "all others stayed as they are: partial dependence. Values that seldom go with the others tell little.</p>"
            f'<div class="pair">{"".join(figures)}</div>'
        )
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
    return charts.dots(told, what)


PYTHON = """import json, numpy, onnxruntime
session, request = onnxruntime.InferenceSession("model.onnx"), json.load(open("request.json"))
types = {"tensor(string)": object, "tensor(float)": "float32", "tensor(double)": "float64"}
answers = session.run(None, {i.name: numpy.array(request[i.name], types[i.type]) for i in session.get_inputs()})
"""


def _file(content: Content) -> str:
    inputs = charts.table(["input", "type", "shape"], content.inputs)
    answers = "prediction" if content.class_names is None else "label and probabilities"
    told = (
        f"model.onnx takes the raw columns and gives {answers}: it needs no fastdl, any ONNX runtime in any language "
        "runs "
        "it. Missing text is an empty string, a missing number is NaN, a date is seconds since 1970 in UTC. N rows at "
        "once."
    )
    request = content.request if len(content.request) <= MOST_TEXT else content.request[:MOST_TEXT] + " …"
    return (
        f"<h2>The file</h2><p>{told}</p>{_folded('All inputs', content.inputs, inputs)}"
        f'<p>A request of one row, request.json:</p><pre id="request">{_pre(request)}</pre>'
        f'<p>How to ask in Python:</p><pre id="python">{_pre(PYTHON)}</pre>'
        f"<p>{safe(content.proof)} between this file and the model that was trained.</p>"
    )


def _pre(text: str) -> str:
    return "\n".join(safe(line) for line in text.splitlines())


def _facts(content: Content) -> str:
    return "<h2>How it was made</h2>" + charts.table(["", ""], content.facts)
