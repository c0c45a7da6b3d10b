"""Node and browsers: every form of file gives there what fastdl computes, and examples/browser shows it.

npm packages are those of tests/engines/package.json, in the folder $NODE_MODULES.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastdl
from fastdl import layers
from fastdl.tabular import TabularClassifier, TabularRegressor

from . import forms, guide, javascript
from .conftest import customers
from .forms import Array, Form

pytestmark = pytest.mark.engine
HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples/browser"
NODE, WEB, BROWSER = "onnxruntime-node", "onnxruntime-web", "Chromium"
RUNTIMES = NODE, WEB, BROWSER
# most that an answer may be off what fastdl computes, over the largest of its answers, or over 1: what the proof allows
CLOSE = {"float32": 2e-6, "float64": 1e-14}
CUT = np.array([["a"], ["a\0b"], ["b"]], object)  # texts, one with a NUL
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Form]:
    """Those of all families, and what is refused."""
    javascript.require(NODE)
    folder, asked = tmp_path_factory.mktemp("forms"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastdl.fusion.pipeline.measure_latency", lambda *models: {})
        for family, make in forms.FAMILIES.items():
            asked |= {f"{family}: {name}": form for name, form in make(folder)}
    asked["maps"], asked["maps: label"] = forms.maps()
    asked["cut"] = Form(*cut(folder))
    return asked


def cut(folder: Path) -> tuple[bytes, dict[str, Array], dict[str, Array]]:
    lookup = layers.StringLookup(vocabulary=["a", "b", "a\0b"], output_mode="one_hot")
    model = fastdl.Sequential([fastdl.Input((1,), dtype="string"), lookup])
    model.export(folder / "cut.onnx")
    return (folder / "cut.onnx").read_bytes(), {"input": CUT}, {"output": model.predict(CUT)}


@pytest.fixture(scope="module")
def answers(questions: dict[str, Form], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answers]:
    """What a runtime answers to all questions; it is asked once."""
    known: dict[str, Answers] = {}

    def ask(runtime: str) -> Answers:
        if runtime not in known:
            folder = tmp_path_factory.mktemp("asked")
            (folder / "questions.json").write_text(javascript.questions(questions), encoding="utf-8")
            known[runtime] = in_browser(folder) if runtime == BROWSER else in_node(runtime, folder)
        return known[runtime]

    return ask


def in_node(package: str, folder: Path) -> Answers:
    packages, given = javascript.require(package), folder / "answers.json"
    javascript.run(HERE / "ask.mjs", package, str(packages), str(folder / "questions.json"), str(given))
    return dict(json.loads(given.read_text(encoding="utf-8")))


def in_browser(folder: Path) -> Answers:
    javascript.put_runtime(folder)
    shutil.copy(HERE / "ask.mjs", folder)
    (folder / "index.html").write_text("<!doctype html>", encoding="utf-8")
    (answers,) = javascript.visited(folder, {"address": "index.html"})
    return dict(answers)


def unlike(form: Form, answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer; None where it is right."""
    if "error" in answer:
        return str(answer["error"])
    for name, want in form.expected.items():
        got = javascript.array_of(answer["outputs"][name])
        if got.shape != want.shape:
            return f"{name} has shape {got.shape}, not {want.shape}"
        if want.dtype.kind != "f" or name == "label":
            if got.tolist() != want.tolist():
                return f"{name} differs in {(got != want).sum()} of {got.size}"
        elif got.dtype != want.dtype or not np.isfinite(got).all() or off(got, want) > CLOSE[want.dtype.name]:
            return f"{name}, {got.dtype}, is off by {off(got, want):.1e}"
    return None


def off(got: Array, want: Array) -> float:
    return float(np.abs(got - want).max(initial=0) / max(1.0, np.abs(want).max(initial=0)))


@pytest.mark.parametrize("family", forms.FAMILIES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_form_answers_as_fastdl_does(
    runtime: str, family: str, questions: dict[str, Form], answers: Callable[[str], Answers]
) -> None:
    given = answers(runtime)
    names = [name for name in questions if name.startswith(f"{family}: ")]
    assert len(names) >= 7
    assert {name: told for name in names if (told := unlike(questions[name], given[name]))} == {}


# What runs nowhere in JavaScript, and what is done instead: docs/beyond.md says so.
REFUSED = {
    NODE: "Non tensor type is temporarily not supported",
    WEB: "Reading data from non-tensor typed value is not supported",
    BROWSER: "Reading data from non-tensor typed value is not supported",
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_maps_are_refused_and_the_label_is_not(
    runtime: str, questions: dict[str, Form], answers: Callable[[str], Answers]
) -> None:
    given = answers(runtime)
    assert REFUSED[runtime] in given["maps"]["error"]
    assert unlike(questions["maps: label"], given["maps: label"]) is None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_text_ends_at_nul(runtime: str, questions: dict[str, Form], answers: Callable[[str], Answers]) -> None:
    first, whole, _ = javascript.array_of(answers(runtime)["cut"]["outputs"]["output"])
    expected = questions["cut"].expected["output"]
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_array_equal(whole, expected[0])
    assert not np.array_equal(expected[0], expected[1])


def test_the_pages_block_of_node_answers(here: Path) -> None:
    """docs/beyond.md's, as it stands there."""
    (here / "node_modules").symlink_to(javascript.require(NODE))
    (block,) = re.findall(r"^```javascript node\n(.*?)^```", guide.PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (here / "ask.mjs").write_text(block, encoding="utf-8")
    label, *shares = javascript.run(here / "ask.mjs").split()
    row = {"since": "2024-01-31", "plan": "gold", "visits": 3, "spent": None}
    expected = fastdl.Runner("churn/model.onnx").predict([row])
    assert label == expected["label"][0]
    np.testing.assert_allclose(np.array(shares, float), expected["probabilities"][0], atol=CLOSE["float32"])


# -- the page ---------------------------------------------------------------------------------------------

NUMBERS, TEXTS = ("visits", "spent"), ("plan", "rating")
ROWS: list[dict[str, str]] = [  # what is typed
    {"since": "2022-02-28", "plan": "free", "visits": "9", "spent": "1e3", "member": "false", "rating": "low"},
    {"since": "", "plan": "", "visits": "", "spent": "", "member": "", "rating": ""},
    {"since": "2024-02-29", "since time": "17:30", "plan": "платина", "visits": "-1.5", "rating": "high"},
    {"since": "2023-05-06", "since time": "", "plan": "gold", "visits": "3", "spent": "12.5", "member": "true"},
]


def cells(typed: list[dict[str, str]]) -> dict[str, list[Any]]:
    """Rows as Python has them: a field keeps what it holds until something else is typed."""
    held, rows = {"since time": ""}, []
    for row in typed:
        held |= row
        since = f"{held['since']}T{held['since time'] or '00:00'}" if held["since"] else None
        member = {"": None, "true": True, "false": False}[held["member"]]
        numbers = {name: float(held[name]) if held[name] else None for name in NUMBERS}
        rows.append({"since": since, "member": member} | {name: held[name] or None for name in TEXTS} | numbers)
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], Array, Array, Path]:
    """What the page shows of each file, at first and for each row; the answers to the rows; a picture."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("index.html", "page.js"):
        shutil.copy(EXAMPLE / name, folder)
    javascript.put_runtime(folder)
    frame = pd.read_csv(io.StringIO(customers()))
    labels, rows = frame.pop("churn"), np.arange(len(frame))
    frame["member"] = rows % 3 == 0
    levels = ["low", "mid", "high"]
    frame["rating"] = pd.Categorical(np.array(levels)[rows % 7 % 3], levels, ordered=True)
    classifier = TabularClassifier(epochs=2, random_state=0).fit(frame, labels)
    regressor = TabularRegressor(epochs=2, random_state=0).fit(frame, rows * 1000.0)
    for layout, options in forms.LAYOUTS.items():
        classifier.export(folder / f"{layout}.onnx", **options)
    regressor.export(folder / "numbers.onnx")
    fastdl.Sequential([fastdl.Input((3,)), layers.Dense(2)]).export(folder / "net.onnx")
    (folder / "page.onnx").write_bytes((folder / "index.html").read_bytes())
    asked, others = [*forms.LAYOUTS, "numbers"], ["net", "page", "nothing"]
    visits = [{"address": f"?model={name}.onnx", "rows": ROWS if name in asked else []} for name in asked + others]
    picture = folder / "page.png"
    visits[0]["picture"] = str(picture)
    texts = dict(zip(asked + others, javascript.visited(folder, *visits), strict=True))
    table = cells(ROWS)
    return texts, classifier.predict_proba(table), regressor.predict(table), picture


@pytest.mark.parametrize("layout", forms.LAYOUTS)
def test_the_page_shows_label_and_probabilities(layout: str, shown: Any) -> None:
    (first, *told), probabilities = shown[0][layout], shown[1]
    assert first == "Fill in what is known, and ask."
    assert len({*told}) == len(ROWS)
    for text, shares in zip(told, probabilities, strict=True):
        label, *bars = text.split("\n")
        likely = np.argsort(-shares)
        assert [label, *bars[::2]] == [("no", "yes")[each] for each in (likely[0], *likely)]
        percents = [float(each.removesuffix(" %")) for each in bars[1::2]]
        np.testing.assert_allclose(percents, 100 * shares[likely], atol=0.006)  # two digits are shown


def test_the_page_shows_a_number(shown: Any) -> None:
    told = shown[0]["numbers"][1:]
    assert len({*told}) > 2
    np.testing.assert_allclose(np.array(told, float), shown[2], rtol=1e-5)


def test_the_page_says_what_it_cannot_ask(shown: Any) -> None:
    for name in ("net", "page"):
        assert shown[0][name][0].startswith(f"{name}.onnx is no file of a table, as fastdl train or")
    assert shown[0]["nothing"] == ["nothing.onnx: 404 File not found"]


def test_a_picture_of_the_page_is_taken(shown: Any) -> None:
    assert shown[3].read_bytes()[:4] == b"\x89PNG"
