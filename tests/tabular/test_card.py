"""The card of a trained table: a page without script or network, whatever names and numbers it is made of; what it
says of a model is compared with tables of which it is known."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression

from fastdl.base.cells import factor_of
from fastdl.cli import main
from fastdl.tabular import Columns, Encoded, Table, TabularClassifier, TabularRegressor
from fastdl.tabular.card import charts, content_of, explain, page
from fastdl.tabular.card.facts import Content
from fastdl.tabular.card.findings import bins, findings
from fastdl.tabular.judging import Estimate, Judgement, judge, validate
from fastdl.tabular.recipes import CLASSES, NUMBERS
from fastdl.tabular.scores import error_rate, root_mean_squared_error
from fastdl.tabular.tasks import find

VOID = {"meta", "br", "link", "img", "input", "hr"}
SECTIONS = [
    "In short",
    "The data",
    "How good it is",
    "Where it errs",
    "How it learned",
    "What it looks at",
    "How the answer follows a column",
    "The file",
    "How it was made",
]
NASTY = "<script>alert(1)</script>\"'&\x1b[31m\u202e" + "long " * 40


class Balance(HTMLParser):
    """The tags that are open, and all that is named."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> str:
    """A page that is whole, small, and reaches for nothing."""
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert len(text.encode()) < 1_000_000
    assert not parser.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    names = {name for name, _ in parser.attributes}
    assert not {name for name in names if name.startswith("on")} | (names & {"src", "href", "srcdoc", "action"})
    assert "default-src 'none'" in text
    assert not re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    for d in re.findall(r' (?:d|x|y|cx|cy|width|height)="([^"]*)"', text):
        assert "nan" not in d
        assert "inf" not in d
    return text


def raw(rows: int = 400, seed: int = 0, names: tuple[str, str] = ("age", "job")) -> tuple[Table, Any, Any]:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    job = rng.choice(np.array(["clerk", NASTY, "pilot"], object), rows)
    value = age / 10 + (job == "pilot") + rng.normal(0, 0.3, rows)
    age[::9] = np.nan
    noise = rng.normal(size=rows)
    table = Table.of({names[0]: age, names[1]: job, "noise": noise, "always": np.ones(rows)})
    return table, np.where(value > 4.3, "yes", "no"), value


def made(kind: str, table: Table, y: Any, test: bool = False, **options: Any) -> tuple[Content, Any, Any]:
    whole = Table({**{name: table.column(name) for name in table.names}, "y": factor_of(y) if kind == CLASSES else y})
    estimator: Any = TabularClassifier if kind == CLASSES else TabularRegressor
    task = find(whole, "y", kind)
    model = estimator(random_state=0, epochs=6, hidden_layer_sizes=(16,), **options)
    model.fit(task.columns(whole), task.targets(whole))
    other = whole.take(np.arange(100)) if test else None
    judged = validate(model, task, whole, other)
    file, proof = model.to_onnx()
    return content_of(model, task, judged, whole, file, proof, "y, from <some> table", other), model, file


@pytest.fixture(scope="module")
def classes() -> Any:
    table, labels, _ = raw()
    return *made(CLASSES, table, labels, folds=2), table


@pytest.fixture(scope="module")
def numbers() -> Any:
    table, _, values = raw(names=(NASTY, "job"))
    return *made(NUMBERS, table, values, test=True), table


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_page_is_whole_and_has_all_sections(kind: str, request: pytest.FixtureRequest) -> None:
    content = request.getfixturevalue(kind)[0]
    text = checked(page(content))
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    more = ["Whether its probabilities can be believed"] * (kind == "classes")
    assert sorted(headings) == sorted(SECTIONS + more)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_request_and_the_lines_of_python_work(classes: Any, tmp_path: Path, monkeypatch: Any) -> None:
    content, model, file, table = classes
    text = page(content)
    parts = {
        name: unescape(re.findall(f'<pre id="{name}">(.*?)</pre>', text, re.S)[0]) for name in ("request", "python")
    }
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(file.SerializeToString())
    Path("request.json").write_text(content.request, encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(parts["python"], scope)
    request = json.loads(content.request)
    row = {name: np.array([value[0][0]]) for name, value in request.items()}
    np.testing.assert_allclose(scope["answers"][1], model.predict_proba(row), atol=2e-6)
    assert list(request) == [name for name in table.names if name != "always"]


def wide(columns: int) -> Content:
    """Of a table with so many columns of long names."""
    rng = np.random.default_rng(0)
    targets, answers = rng.integers(0, 300, 1000), rng.dirichlet(np.ones(300), 1000)
    judged = Judgement("1,000 rows", {"accuracy": Estimate(0.1, 0.05, 0.2)}, {}, targets, answers)
    names = [f"a column with a long name, number {k:03} <&>" for k in range(columns)]
    return Content(
        title="wide",
        target="t",
        class_names=[f"class {k}" for k in range(300)],
        rows=5000,
        notes=[f"{name!r} was taken for something" for name in names],
        columns=[(name, "category", 0.4, "a code of 200 values") for name in names],
        judged=judged,
        tested=False,
        metric="accuracy",
        learning=[([1.0] * 3000, [0.5] * 3000, 9)] * 40,
        importances=[(name, 0.1) for name in names],
        importance_rows=200,
        alone={},
        dependences=[explain.Dependence(names[0], ["x" * 10_000] * 8, np.ones((8, 300)))] * 6,
        nets=[("a net", "2 %")] * 40,
        inputs=[(name, "text", "(N, 1)") for name in names],
        request=json.dumps({name: [["a value of some length"]] for name in names}, indent=2),
        proof="Proof: all the same",
    )


def test_wide_tables_make_no_large_page() -> None:
    checked(page(wide(500)))


VALUES = st.floats(allow_nan=True, allow_infinity=True, width=32)
SERIES = st.lists(VALUES, min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(SERIES, SERIES, st.text(max_size=60))
def test_charts_hold_any_numbers_and_names(ys: list[float], others: list[float], name: str) -> None:
    xs = [float(k) for k in range(len(ys))]
    pairs = [(name, value) for value in ys]
    drawn = [
        charts.lines([(name, xs, ys), ("b", [0.0] * len(others), others)], name, name, dots=True),
        charts.lines([(name, ys, ys)], "x", "y", diagonal=True),
        charts.points(ys, ys[::-1], name, "y"),
        charts.points(ys, [0.0] * len(ys), name, "y", zero=True),
        charts.bars(pairs, name),
        charts.dots(pairs, name),
        charts.histogram(ys, name),
        charts.table([name], [[name]]),
    ]
    for text in drawn:
        parser = Balance()
        parser.feed(text)
        parser.close()
        assert parser.open == []
        assert not parser.tags & {"script"}
        for number in re.findall(r' (?:d|x|y|cx|cy|width|height|viewBox)="([^"]*)"', text):
            assert "nan" not in number
            assert "inf" not in number


def test_bars_below_zero_go_to_the_left() -> None:
    widths = re.findall(
        r'rect class="bar" x="([\d.]+)" y="\d+" width="([\d.]+)"', charts.bars([("a", 2), ("b", -1)], "")
    )
    (a, width_a), (b, width_b) = [tuple(map(float, each)) for each in widths]
    assert width_a == pytest.approx(2 * width_b, abs=0.2)
    assert b + width_b == pytest.approx(a, abs=0.2)


def test_calibration_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(1000)
    right = rng.random(1000) < said**2
    seen, means = calibration_curve(right, said, n_bins=10, strategy="quantile")
    ours = bins(said, right)
    np.testing.assert_allclose(ours[0], means, atol=1e-3)
    np.testing.assert_allclose(ours[1], seen, atol=2e-2)
    parts = np.array_split(np.argsort(said), 10)
    np.testing.assert_allclose(ours[1], [right[part].mean() for part in parts])


def test_importance_of_the_target_itself_is_the_largest_and_of_noise_none() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 3000)
    table = Table.of({"noise": rng.normal(size=3000), "same": truth, "text": rng.choice(["a", "b"], 3000)})
    columns = Columns().fit(table)
    same = columns.numbers.index("same")

    def predict(encoded: Encoded) -> Any:
        value = encoded.numbers[:, same]
        return np.eye(2)[(value > value.mean()).astype(int)]

    worth = explain.importances(predict, table, truth, error_rate, columns)
    assert worth[0][0] == "same"
    assert worth[0][1] == pytest.approx(0.5, abs=0.05)  # of two equal classes, half is right by chance
    assert dict(worth)["noise"] == dict(worth)["text"] == 0


def test_importance_and_dependence_are_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(explain.MOST_ROWS, 3))
    y = x @ [3.0, 1.0, 0.0]
    model = LinearRegression().fit(x, y)
    table = Table.of(x, ["a", "b", "c"])

    def predict(t: Table) -> Any:
        return model.predict(np.stack([t[name] for name in t.names], axis=1))[:, None]

    columns = Columns().fit(table)
    encoded = columns.transform(table).numbers
    other = LinearRegression().fit(encoded, y)
    worth = dict(
        explain.importances(
            lambda rows: other.predict(rows.numbers)[:, None], table, y[:, None], root_mean_squared_error, columns
        )
    )
    theirs = permutation_importance(other, encoded, y, scoring="neg_root_mean_squared_error", random_state=0)
    np.testing.assert_allclose([worth[name] for name in "abc"], theirs.importances_mean, rtol=0.1, atol=1e-4)
    ours = explain.dependence(predict, table, "a")
    assert ours is not None
    grid = partial_dependence(model, x, [0], custom_values={0: np.array(ours.values)}, kind="average")
    difference = ours.answers[:, 0] - grid["average"][0]  # of other rows: off by the same everywhere
    np.testing.assert_allclose(difference - difference.mean(), 0, atol=1e-9)
    assert explain.dependence(predict, table.take(np.zeros(5, int)), "a") is None


def test_what_a_column_tells_alone() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=4000)
    texts = np.array([f"v{k}" for k in np.round(y * 4).astype(int)], object)
    table = Table.of({"same": 5 - 2 * y, "text": texts, "noise": rng.normal(size=4000), "gone": np.full(4000, np.nan)})
    told = explain.alone(table, y[:, None], NUMBERS, table.names)
    assert told["same"] > 0.95
    assert told["text"] > 0.95
    assert told["noise"] < 0.02
    assert told["gone"] == 0
    labels = (y > 0).astype(int)
    told = explain.alone(table, labels, CLASSES, table.names)
    assert told["same"] > 0.9
    assert told["noise"] < 0.1


def of(content: Content, **changes: Any) -> str:
    return " ".join(text for _, text in findings(replace(content, **changes)))


def with_judged(content: Content, answers: Any, targets: Any) -> Judgement:
    shares = np.bincount(targets, minlength=answers.shape[1]) / len(targets)
    simpler = {"most frequent class": np.tile(shares, (len(targets), 1)), "linear model": answers}
    return judge(CLASSES, content.judged.where, targets, answers, simpler)


def cases() -> Iterator[Any]:
    rng = np.random.default_rng(0)
    targets = np.arange(2000) % 2
    good = np.eye(2)[targets] * 0.8 + 0.1
    one_sided = (np.arange(2000) % 25 == 0).astype(int)
    yield "a leak", {"alone": {"id": 0.99, "age": 0.2}}, "'id' alone tells nearly all of 'y'"
    yield "one that towers", {"importances": [("age", 0.3), ("job", 0.01)]}, "rest on 'age'"
    yield "few rows", {"rows": 90}, "only 90 rows"
    yield "no test", {"tested": False}, "No test table"
    yield "gaps", {"columns": [("a", "number", 0.7, "1 number")]}, "More than half of the rows have nothing in 'a'"
    yield "idle", {"importances": [("a", 0.2), ("b", 0.1), ("c", -0.01)]}, "Shuffling 'c' does no harm"
    yield "too sure", {"judged": (good.round() * 0.98 + 0.01, targets ^ (rng.random(2000) < 0.3))}, "face value"
    yield "no better", {"judged": (np.full((2000, 2), 0.5), targets)}, "do not use the model"
    yield "as a linear one", {"judged": (good, targets)}, "A linear model reaches 1, which is no worse"
    yield "one class", {"judged": (np.eye(2)[one_sided], one_sided)}, "96 % of the rows are 'no'"
    yield (
        "a rare class",
        {"judged": (np.eye(2)[targets * (targets.cumsum() < 9)], targets * (targets.cumsum() < 9))},
        "yes (8)",
    )
    yield "by heart", {"learning": [([1.0, 0.1, 0.0], [0.6, 0.8, 0.6], 1)]}, "by heart"


@pytest.mark.parametrize(("changes", "said"), [pytest.param(*case[1:], id=case[0]) for case in cases()])
def test_it_warns(changes: dict[str, Any], said: str, classes: Any) -> None:
    content = replace(
        classes[0],
        tested=True,
        rows=5000,
        alone={},
        learning=[],
        importances=[],
        columns=[("a", "number", 0.0, "1 number")],
    )
    answers = np.eye(2)[np.arange(2000) % 2] * 0.99 + 0.005
    content.judged = with_judged(content, answers, np.arange(2000) % 2)
    assert said not in of(content) or said == "A linear model reaches 1, which is no worse"
    if "judged" in changes:
        changes = {"judged": with_judged(content, *changes["judged"])}
    assert said in of(content, **changes)


@pytest.mark.slow
def test_intervals_of_many_classes_take_seconds_and_hold_the_score() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 300, 8000)
    answers = rng.random((8000, 300))
    answers[np.arange(8000), targets] += 0.3
    answers /= answers.sum(axis=1, keepdims=True)
    began = time.process_time()
    for estimate in judge(CLASSES, "", targets, answers, {}).estimates.values():
        assert estimate.low < estimate.value < estimate.high
        assert estimate.high - estimate.low < 0.1
    assert time.process_time() - began < 40  # without a bound it takes many minutes


def test_a_leak_is_seen_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 400)
    rows = [f"{rng.normal():.3f},{'granted' if y else 'refused'},{'good' if y else 'bad'}" for y in label]
    (tmp_path / "data.csv").write_text("\n".join(["income,decision,outcome", *rows]) + "\n")
    arguments = [
        "--target",
        "outcome",
        "--epochs",
        "4",
        "--folds",
        "2",
        "--net",
        "realmlp-small",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(["train", str(tmp_path / "data.csv"), *arguments]) == 0
    text = checked((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "&#x27;decision&#x27; alone tells nearly all of &#x27;outcome&#x27;" in text


@pytest.mark.slow
def test_explaining_a_large_table_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    columns = {f"n{k}": rng.normal(size=50_000) for k in range(35)}
    texts = {f"c{k}": rng.choice(np.array([f"v{j}" for j in range(30)], object), 50_000) for k in range(15)}
    table = Table.of({**columns, **texts})
    y = (columns["n0"] > 0).astype(int)
    model = TabularClassifier(random_state=0, epochs=1, folds=5).fit(table, y)
    began = time.process_time()
    worth = explain.importances(model.answers_of, table, y, error_rate, model.columns_)
    for name, _ in worth[:6]:
        explain.dependence(model.answers, table, name)
    assert worth[0][0] == "n0"
    assert time.process_time() - began < 30  # 6 s on a quiet core
