"""What whoever decides on a model must know first: how good it is in a sentence, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from fastdl.base.arrays import Array
from fastdl.tabular.card.charts import number
from fastdl.tabular.card.facts import Content
from fastdl.tabular.judging import TOLD

Weight = Literal["good", "care", "stop"]
Finding = tuple[Weight, str]

FEW_ROWS = 1000
FEW_OF_A_CLASS = 30
FREQUENT = 0.9  # share of one class from which accuracy says little
MOSTLY_MISSING = 0.5
NEARLY_THE_TARGET = 0.95  # of the target that one column tells alone
TOWERS = 5.0  # times as important as the next column
UNCALIBRATED = 0.05  # mean distance of what is said from what is seen
WORSE = 0.1  # of what a net gains over the simplest answer, that it lost again while it trained on
LARGER_IS_BETTER = ("accuracy", "roc_auc", "r2")
NAMED = 5


def findings(content: Content) -> list[Finding]:
    """Sentences, the verdict first."""
    checks = (_verdict, _validation, _leaks, _few, _one_sided, _calibration, _overfitting, _gaps, _idle)
    return [finding for check in checks for finding in check(content)]


def _better(metric: str, one: float, other: float) -> float:
    """By how much the one is better."""
    return one - other if metric in LARGER_IS_BETTER else other - one


def _verdict(content: Content) -> Iterator[Finding]:
    judged, metric = content.judged, content.metric
    estimate = judged.estimates[metric]
    name, says = TOLD[metric], number
    beaten: list[str] = []
    told = said = (
        f"On {len(judged.targets):,} {'test ' * content.tested}rows the "
        f"{name} is {says(estimate.value)}, between {says(estimate.low)} and {says(estimate.high)} with 95 % "
        "confidence."
    )
    worst = estimate.low if metric in LARGER_IS_BETTER else estimate.high
    for other, scores in judged.baselines.items():
        beside, it = scores[metric], f"the {other}" if other in ("mean", "most frequent class") else f"a {other}"
        if _better(metric, worst, beside) > 0:
            beaten.append(f"{it} ({says(beside)})")
            told = f"{said} That is clearly better than {' and '.join(beaten)}."
        elif other == "linear model":
            yield "good", told
            return (yield from _no_better(metric, estimate.value, beside))
        else:
            told += f" That is not clearly better than {it} ({says(beside)})"
            area = judged.estimates.get("roc_auc")
            if area is not None and area.low > 0.5:
                yield (
                    "care",
                    f"{told}, but it ranks rows: the area under ROC is {says(area.value)}, where 0.5 is chance.",
                )
            else:
                yield "stop", f"{told}: do not use the model."
            return
    yield "good", told


def _no_better(metric: str, value: float, linear: float) -> Iterator[Finding]:
    if _better(metric, value, linear) > 0:
        yield "care", f"A linear model reaches {number(linear)}: these rows do not show that the net is better than it."
    else:
        yield (
            "care",
            f"A linear model reaches {number(linear)}, which is no worse than the net: it is simpler, or train longer.",
        )


def _validation(content: Content) -> Iterator[Finding]:
    if not content.tested:
        yield (
            "care",
            "No test table was given. The rows that judge the model also chose its best epoch, so its scores are a "
            "little too good. Before much depends on them, judge it on rows that played no part: --test test.csv.",
        )


def _leaks(content: Content) -> Iterator[Finding]:
    near = sorted(
        (n for n, told in content.alone.items() if told >= NEARLY_THE_TARGET), key=lambda n: -content.alone[n]
    )
    if near:
        yield (
            "stop",
            f"{_named(near)} alone {'tells' if len(near) == 1 else 'tell'} nearly all of {content.target!r}. Is it "
            "known "
            f"before {content.target!r} is, when the model will be asked? If not, the scores are worth nothing: train "
            "again with --drop.",
        )
    ranked = content.importances
    if (
        len(ranked) > 1
        and not near
        and ranked[0][1] > TOWERS * max(ranked[1][1], 0)
        and _matters(content, ranked[0][1])
    ):
        yield (
            "care",
            f"The answers rest on {ranked[0][0]!r} far more than on any other column. Make sure that it is known when "
            f"the model is asked, and does not follow from {content.target!r}.",
        )


def _matters(content: Content, importance: float) -> bool:
    """Whether a column's importance is a good part of what the model gains over the simplest answer."""
    simplest = next(iter(content.judged.baselines.values()), None)
    if simplest is None:
        return False
    gain = _better(content.metric, content.judged.estimates[content.metric].value, simplest[content.metric])
    return gain > 0 and importance > gain / 3


def _few(content: Content) -> Iterator[Finding]:
    if content.rows < FEW_ROWS:
        yield (
            "care",
            f"There were only {content.rows:,} rows to learn from: another sample may give other answers. The "
            "intervals say how far scores can be off by chance.",
        )
    if content.class_names is not None:
        counts = np.bincount(content.judged.targets, minlength=len(content.class_names))
        rare = [
            f"{name} ({count})"
            for name, count in zip(content.class_names, counts.tolist(), strict=True)
            if count < FEW_OF_A_CLASS
        ]
        if rare:
            more = f" and {len(rare) - NAMED} more" * (len(rare) > NAMED)
            yield (
                "care",
                f"Some classes have too few judged rows for a word on how well they are told: "
                f"{', '.join(rare[:NAMED])}{more}.",
            )


def _one_sided(content: Content) -> Iterator[Finding]:
    if content.class_names is None:
        return
    counts = np.bincount(content.judged.targets, minlength=len(content.class_names))
    share = float(counts.max() / max(counts.sum(), 1))
    if share >= FREQUENT:
        yield (
            "care",
            f"{100 * share:.0f} % of the rows are {content.class_names[int(counts.argmax())]!r}, so accuracy says "
            "little: look at the area under ROC, and at the other classes' lines of the confusion matrix.",
        )


def _calibration(content: Content) -> Iterator[Finding]:
    if content.class_names is None:
        return
    said, seen = bins(*said_and_right(content))
    off = np.asarray(said) - np.asarray(seen)
    if len(off) and float(np.abs(off).mean()) > UNCALIBRATED:
        yield (
            "care",
            f"The probabilities are off by {100 * np.abs(off).mean():.0f} percentage points on average: rank by them, "
            "but do not take them at face value.",
        )


def said_and_right(content: Content) -> tuple[Array, Array]:
    """Of two classes the second's probability, and whether it was that; of more the answer's, and if it was right."""
    judged = content.judged
    if judged.answers.shape[1] == 2:
        return judged.answers[:, 1], judged.targets == 1
    return judged.answers.max(axis=1), judged.answers.argmax(axis=1) == judged.targets


def bins(said: Array, right: Array, count: int = 10) -> tuple[list[float], list[float]]:
    """Means of what was said and seen, in bins of like numbers of rows."""
    parts = [part for part in np.array_split(np.argsort(said, kind="stable"), count) if len(part)]
    return [float(said[part].mean()) for part in parts], [float(right[part].mean()) for part in parts]


def _overfitting(content: Content) -> Iterator[Finding]:
    simplest = next(iter(content.judged.baselines.values()), None)
    if simplest is None or not content.learning:
        return
    lost, gained = [], []
    for _, scores, best in content.learning:
        if best < len(scores):
            lost.append(_better(content.metric, scores[best], scores[-1]))
            gained.append(_better(content.metric, scores[best], simplest[content.metric]))
    if lost and np.median(lost) > WORSE * max(float(np.median(gained)), 1e-12):
        yield (
            "care",
            "After its best epoch the nets became worse on rows that were held back: they began to learn rows by "
            "heart. The best epoch was kept; more rows, or fewer epochs, would help.",
        )


def _gaps(content: Content) -> Iterator[Finding]:
    empty = [name for name, _, gaps, done in content.columns if gaps > MOSTLY_MISSING and done != "left out"]
    if empty:
        yield "care", f"More than half of the rows have nothing in {_named(empty)}."


def _idle(content: Content) -> Iterator[Finding]:
    """Columns whose shuffling changes the score by less than chance would."""
    ranked = content.importances
    if len(ranked) < 3 or ranked[0][1] <= 0:
        return
    idle = [name for name, worse in ranked if worse <= 0]
    if idle:
        yield (
            "good",
            f"Shuffling {_named(idle)} does no harm: the model may do without {'it' if len(idle) == 1 else 'them'}.",
        )


def _named(names: list[str]) -> str:
    listed = [repr(name) for name in names[:NAMED]]
    if len(names) > NAMED:
        return f"{', '.join(listed)} and {len(names) - NAMED} more"
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
