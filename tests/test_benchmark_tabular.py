"""The benchmark of tables: what is read, how rows are split, scores and intervals against other libraries', a run."""

import bz2
import json
import lzma
import math
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def _tools_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


# ------------------------------------------------------------------------------------------------ the data

OBJECT = b"an object of R, serialised " * 9
LZMA2 = [{"id": lzma.FILTER_LZMA2}]


@pytest.mark.parametrize(
    "stored",
    [
        zlib.compress(OBJECT),
        b"2" + bz2.compress(OBJECT),
        b"Z" + lzma.compress(OBJECT, lzma.FORMAT_RAW, filters=LZMA2),
        b"0" + OBJECT,
    ],
    ids=["zlib", "bzip2", "lzma", "plain"],
)
def test_objects_of_a_lazy_load_database(stored: bytes) -> None:
    from bench.tabular.debian import decompressed

    assert decompressed(len(OBJECT).to_bytes(4, "big") + stored) == OBJECT
    with pytest.raises(ValueError, match="an object of 7 bytes has 243"):
        decompressed((7).to_bytes(4, "big") + stored)


def test_a_package_that_is_not_there_says_where_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.tabular import debian

    monkeypatch.setitem(debian.PACKAGES, "mlbench", "r-cran-no-such-package")
    pytest.importorskip("rdata")
    with pytest.raises(FileNotFoundError, match=f"r-cran-no-such-package: put its .deb into {tmp_path}"):
        debian.read("mlbench", "Zoo", tmp_path)


def test_no_table_is_in_both_lists_and_both_have_enough() -> None:
    from bench.tabular.sets import CHOOSING, CLASSES, NUMBERS, PUBLISHED

    names = [table.name for table in (*PUBLISHED, *CHOOSING)]
    assert len(set(names)) == len(names)
    sources = [(table.package, table.source.rstrip("2")) for table in (*PUBLISHED, *CHOOSING)]
    assert len(set(sources)) == len(sources)
    tasks = [table.task for table in PUBLISHED]
    assert tasks.count(NUMBERS) >= 5
    assert tasks.count(CLASSES) >= 7
    assert len(CHOOSING) >= 8


def test_a_table_is_what_it_says(tmp_path: Path) -> None:
    import dataclasses

    from bench.tabular.sets import TABLES

    frame, target = TABLES["diabetes"].load(tmp_path)
    assert frame.shape == (442, 10)
    assert target.dtype == np.float64
    assert TABLES["digits"].load(tmp_path)[1].unique().tolist() == [str(i) for i in range(10)]
    with pytest.raises(ValueError, match=r"diabetes should be 441 × 10, and is \(442, 10\)"):
        dataclasses.replace(TABLES["diabetes"], rows=441).load(tmp_path)


@pytest.mark.slow
def test_all_tables_that_have_been_fetched() -> None:
    """Rows, columns and, where the literature tells them, means and counts; both formats of R are among them."""
    from bench.tabular import debian
    from bench.tabular.sets import CLASSES, TABLES

    folder = debian.cache_folder()
    fetched = [name for name in debian.PACKAGES.values() if (folder / name).is_dir()]
    if len(fetched) < len(debian.PACKAGES):
        pytest.skip(f"{folder} has not all of Debian's packages: run benchmark.py tabular once")
    read = {name: table.load(folder) for name, table in TABLES.items()}
    assert read["diamonds"][1].mean() == pytest.approx(3932.8, abs=0.01)
    assert read["diamonds"][0]["cut"].cat.ordered
    assert read["boston"][1].mean() == pytest.approx(22.5328, abs=1e-4)
    assert read["pima"][1].value_counts().to_dict() == {"neg": 500, "pos": 268}
    assert read["pima"][0]["insulin"].isna().sum() == 374
    assert read["spam"][1].value_counts().to_dict() == {"nonspam": 2788, "spam": 1813}
    assert str(read["chicago"][0]["date"].iloc[0].date()) == "2001-01-22"
    for name, (_, target) in read.items():
        assert target.notna().all()
        assert TABLES[name].task != CLASSES or target.value_counts().min() >= 5  # each split trains on each class


# -------------------------------------------------------------------------------------------------- splits


def test_each_row_is_tested_once_and_each_class_is_dealt_evenly() -> None:
    from bench.tabular import splits
    from bench.tabular.sets import CLASSES

    target = np.repeat(["a", "b", "c"], [8, 61, 300])
    tested = []
    for split in range(splits.PARTS):
        train, test = splits.rows(target, CLASSES, split)
        assert sorted([*train, *test]) == list(range(len(target)))
        counts = [int((target[test] == label).sum()) for label in "abc"]
        assert counts[0] in (1, 2)
        assert counts[1] in (12, 13)
        assert counts[2] == 60
        tested += list(test)
    assert sorted(tested) == list(range(len(target)))


def test_splits_stay_the_same() -> None:
    from bench.tabular import splits
    from bench.tabular.sets import CLASSES, NUMBERS

    assert splits.parts(np.arange(12.0), NUMBERS).tolist() == [1, 2, 0, 4, 1, 0, 3, 0, 1, 4, 2, 3]
    assert splits.parts(np.array(list("ababababaaaa")), CLASSES).tolist() == [4, 3, 3, 1, 4, 2, 2, 0, 0, 1, 0, 1]


# -------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classes_are_those_of_scikit_learn(classes: int) -> None:
    from bench.tabular import scores
    from sklearn import metrics

    rng = np.random.default_rng(0)
    codes = rng.integers(classes, size=300)
    p = np.round(rng.dirichlet(np.ones(classes), 300), 1) + 0.05  # with ties
    p /= p.sum(1, keepdims=True)
    told = scores.classification(codes, p)
    assert told["accuracy"] == metrics.accuracy_score(codes, p.argmax(1))
    assert told["log_loss"] == pytest.approx(metrics.log_loss(codes, p))
    auc = metrics.roc_auc_score(codes, p[:, 1] if classes == 2 else p, multi_class="ovr")
    assert told["auc"] == pytest.approx(auc)


def test_a_class_that_is_not_among_the_test_rows_has_no_auc_and_a_sure_mistake_costs_a_bounded_loss() -> None:
    from bench.tabular import scores

    told = scores.classification(np.array([0, 1, 1]), np.eye(3)[[0, 1, 0]])
    assert told["auc"] == pytest.approx(0.75)
    assert told["log_loss"] == pytest.approx(-math.log(scores.LEAST) / 3, rel=1e-3)


def test_scores_of_numbers() -> None:
    from bench.tabular import scores
    from sklearn import metrics

    rng = np.random.default_rng(0)
    y, told = rng.normal(5, 3, 99), rng.normal(5, 3, 99)
    found = scores.regression(y, told)
    assert found["nrmse"] == pytest.approx(math.sqrt(1 - metrics.r2_score(y, told)))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, told))


# ------------------------------------------------------------------------------------------------- figures


def test_intervals_and_ranks_are_those_of_scipy() -> None:
    from bench.tabular import figures
    from scipy import stats

    values = [0.81, 0.84, 0.79, 0.90]
    mean, half = figures.interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == (pytest.approx(low), pytest.approx(high))
    assert math.isnan(figures.interval([1.0])[1])
    ranked = figures.ranks({"a": 3.0, "b": 1.0, "c": 3.0, "d": 7.0})
    assert list(ranked.values()) == stats.rankdata([-3, -1, -3, -7]).tolist()


@pytest.mark.parametrize(
    ("differences", "ahead"),
    [
        ([0.02, 0.021, 0.019, 0.02, 0.02], 1),
        ([-0.02, -0.021, -0.019, -0.02, -0.02], -1),
        ([0.02, 0.05, -0.03, 0.01, 0.0], 0),
        ([0.5], 0),  # one split says nothing of noise
    ],
)
def test_ahead_behind_and_noise(differences: list[float], ahead: int) -> None:
    from bench.tabular import figures

    theirs = {split: 0.7 + 0.1 * split for split in range(5)}
    ours = {split: theirs[split] + off for split, off in enumerate(differences)}
    found = figures.difference(ours, theirs)
    assert found is not None
    assert found.mean == pytest.approx(np.mean(differences))
    assert found.ahead == ahead
    assert figures.difference({0: 1.0}, {1: 1.0}) is None


def test_a_difference_counts_the_rows_that_splits_share() -> None:
    from bench.tabular import figures
    from scipy import stats

    off = [0.1, 0.3, 0.2]
    found = figures.difference(dict(enumerate(off)), dict.fromkeys(range(3), 0.0))
    assert found is not None
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * np.std(off, ddof=1) * math.sqrt(1 / 3 + 0.2 / 0.8))


# ------------------------------------------------------------------------------------------------ encoders


def frames() -> tuple[Any, Any]:
    learn = pd.DataFrame(
        {
            "number": [1.0, np.nan, 3.0, 5.0],
            "text": ["a", "b", None, "a"],
            "size": pd.Categorical(["S", "L", "S", None], ["S", "M", "L"], ordered=True),
            "when": pd.to_datetime(["2020-01-31", "2021-02-01", "2021-02-01", "2021-03-07"]),
        }
    )
    unseen = learn.iloc[:2].assign(text=["z", "b"])
    return learn, unseen


def test_columns_of_each_kind_of_library() -> None:
    from bench.tabular import encoders

    learn, unseen = frames()
    made = {}
    for name in ("Native", "FewValues", "Strings", "Filled", "Matrix"):
        columns = getattr(encoders, name)()
        columns.fit(learn)
        made[name] = columns.transform(learn), columns.transform(unseen), columns.categories
    native = made["Native"][1]
    assert native["text"].isna().tolist() == [True, False]  # not seen: missing
    assert native["size"].tolist() == [0, 2]
    assert native["when since 1970"].tolist() == [18_292, 18_659]
    assert native[["when year", "when day", "when day_of_week"]].to_numpy().tolist() == [[2020, 31, 4], [2021, 1, 0]]
    assert made["Strings"][0]["text"].tolist() == ["a", "b", "(missing)", "a"]
    assert made["Strings"][2] == ("text",)
    filled = made["Filled"][0]
    assert filled["number"].tolist() == [1, 3, 3, 5]
    assert filled["number is missing"].tolist() == ["no", "yes", "no", "no"]
    assert filled["size is missing"].tolist() == ["no", "no", "no", "yes"]
    matrix = made["Matrix"][0]
    assert matrix.shape == (4, 2 + 5 + 2 + 3)
    assert np.isfinite(matrix).all()
    assert matrix[:, :2].mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert matrix[:, -3:].sum(1).tolist() == [1, 1, 1, 1]
    assert made["Matrix"][1][0, -3:].tolist() == [0, 0, 0]


def test_a_category_of_more_values_than_the_library_takes_is_a_number() -> None:
    from bench.tabular import encoders

    learn = pd.DataFrame({"code": [f"v{i:03d}" for i in range(300)]})
    columns = encoders.FewValues()
    columns.fit(learn)
    assert columns.transform(learn)["code"].tolist() == list(range(300))
    assert columns.categories == ()


# -------------------------------------------------------------------------------------------------- files


def test_how_far_files_are_from_the_model_is_told() -> None:
    from bench.tabular import report, runs, worker
    from bench.tabular.sets import TABLES

    from fastdl.tabular import TabularClassifier

    model = TabularClassifier(epochs=1, random_state=0).fit(
        {"a": list("xyz") * 20, "b": np.arange(60) % 7}, [0, 1] * 30
    )
    files = worker.proofs(model)
    assert 0 <= files["columns"]["max_error"] <= files["columns"]["bar"]
    lines = {
        runs.Key("pima", split, 0, "fastdl", 1): {
            "files": {n: {"max_error": e, "bar": 2e-6, "bytes": 5000} for n in files}
        }
        for split, e in enumerate((1e-7, 3e-7))
    }
    results = report.Results(lines, [TABLES["pima"], TABLES["spam"]], ["fastdl"], 1)
    assert report.file_table(results, "fastdl").splitlines()[2:] == [
        "| pima | 3.0e-07 (2e-06), 5 | 3.0e-07 (2e-06), 5 |"
    ]
    assert report.file_table(results, "hist") == ""


def test_what_each_ingredient_is_worth(tmp_path: Path) -> None:
    """On the splits that both have run; the error of classes is log-loss, not accuracy."""
    from bench.tabular import cli, peers, runs

    scores = {  # split, table, who: nrmse or log-loss
        (0, "boston", "fastdl-realmlp"): 0.4, (1, "boston", "fastdl-realmlp"): 9.0, (0, "boston", "plain"): 0.5,
        (0, "vowel", "fastdl-realmlp"): 0.02, (0, "vowel", "plain"): 0.03, (0, "vowel", "without-waves"): 0.01,
    }  # fmt: skip
    out = tmp_path / "out.jsonl"
    with out.open("w") as file:
        for (split, table, peer), score in scores.items():
            key = runs.Key(table, split, 0, peer, 1)
            told = {"nrmse": score} if table == "boston" else {"log_loss": score, "accuracy": 0.5}
            file.write(json.dumps({**vars(key), "scores": told}) + "\n")
    done = run("--ablation", "--table", "--json", str(out))
    assert done.stdout.splitlines() == [
        "| error against that of fastdl-realmlp | boston | vowel | mean |",
        "| --- | ---: | ---: | ---: |",
        "| without-waves | – | -50 % | -50 % |",
        "| plain | +25 % | +50 % | +38 % |",
    ]
    assert set(peers.WITHOUT) <= set(peers.EVERY)
    assert cli.parser().parse_args([]).peers is None


# -------------------------------------------------------------------------------------------------- a run


@pytest.mark.parametrize("columns", ["Raw", "Native"])
def test_labels_and_probabilities_meet_whatever_the_labels_are(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.tabular import peers, scores, splits, worker
    from bench.tabular.sets import TABLES
    from sklearn import metrics
    from sklearn.tree import DecisionTreeClassifier

    class Backwards(DecisionTreeClassifier):  # type: ignore[misc]
        """Its classes are in an order of its own."""

        def fit(self, x: Any, y: Any) -> Any:
            super().fit(x, y)
            self.order = np.argsort(self.classes_)[::-1]
            self.classes_ = self.classes_[self.order]
            return self

        def predict_proba(self, x: Any) -> Any:
            return super().predict_proba(x)[:, self.order]

    def make(case: peers.Case) -> Any:
        return Backwards(min_samples_leaf=5, random_state=0)

    monkeypatch.setitem(peers.EVERY, "backwards", peers.Peer(("sklearn",), columns, make))
    job = {"set": "digits", "peer": "backwards", "split": 1, "seed": 0, "threads": 1, "folder": "."}
    told = worker.measure(job)
    frame, target = TABLES["digits"].load(Path("."))
    train, test = splits.rows(target, TABLES["digits"].task, 1)
    model = DecisionTreeClassifier(min_samples_leaf=5, random_state=0).fit(frame.iloc[train], target.iloc[train])
    assert told["scores"]["accuracy"] == model.score(frame.iloc[test], target.iloc[test]) > 0.8
    p = np.clip(model.predict_proba(frame.iloc[test]), scores.LEAST, 1)
    loss = metrics.log_loss(target.iloc[test], p / p.sum(1, keepdims=True))
    assert told["scores"]["log_loss"] == pytest.approx(loss)
    assert told["rows"] == len(train)
    assert told["fit_mb"] >= 0


def test_what_the_file_holds_is_not_run_again_and_what_failed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.tabular import runs
    from bench.tabular.sets import TABLES

    asked: list[dict[str, Any]] = []

    def child(job: dict[str, Any], python: str) -> dict[str, Any]:
        asked.append(job)
        if job["peer"] == "hist":
            return {"skip": "sklearn not installed"}
        if job["peer"] == "linear" and job["split"] == 1:
            return {"error": "ValueError: no"}
        return {"version": "1", "scores": {"nrmse": 0.5}, "fit_cpu_seconds": 2.0}

    monkeypatch.setattr(runs, "child", child)
    path = tmp_path / "results.jsonl"
    peers = ["hist", "linear", "catboost", "fastdl-search"]
    keys = list(runs.wanted([TABLES["ozone"]], 2, 1, peers, 1))
    assert runs.run(keys, {}, path, "python", tmp_path) == {"hist": "sklearn not installed"}
    assert [(job["peer"], job["split"]) for job in asked] == [
        ("hist", 0), ("linear", 0), ("catboost", 0), ("fastdl-search", 0),
        ("linear", 1), ("catboost", 1), ("fastdl-search", 1),
    ]  # fmt: skip
    assert asked[-1]["limit"] == 6  # three times CatBoost's CPU seconds
    with open(path, "a") as file:
        file.write('{"set": "ozone", "sp')  # a line that was cut off
    held = runs.read(path)
    assert len(held) == 5
    asked.clear()
    runs.run(keys, held, path, "python", tmp_path)
    assert [(job["peer"], job["split"]) for job in asked] == [("hist", 0), ("linear", 1)]
    assert runs.run(runs.wanted([TABLES["ozone"]], 1, 1, ["fastdl-search"], 1), {}, None, "python", tmp_path) == {
        "fastdl-search": "needs the times of catboost first"
    }


def test_peers_that_are_not_installed_say_so() -> None:
    from bench.tabular.peers import PEERS, Peer

    assert Peer(("sys", "no_such_package_1.sub"), "Raw", lambda case: None).missing() == (
        "no_such_package_1.sub not installed"
    )
    assert PEERS["linear"].missing() is None


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOOLS / "benchmark.py"), "tabular", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_from_command_line_to_markdown(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ("--sets", "diabetes", "--splits", "2", "--json", str(out), "--folder", str(tmp_path))
    done = run(*arguments, "--peers", "linear", "fastdl-plain", "--against", "fastdl-plain")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    assert [(line["peer"], line["split"], line["rows"]) for line in lines] == [
        ("linear", 0, 353), ("fastdl-plain", 0, 353), ("linear", 1, 353), ("fastdl-plain", 1, 353)
    ]  # fmt: skip
    for line in lines:
        assert 0.5 < line["scores"]["nrmse"] < 0.9
        assert line["fit_cpu_seconds"] > 0
        assert line["version"]
    for heading in ("| nrmse | linear | fastdl-plain |", "mean rank", "fastdl-plain against", "seconds (CPU), MB"):
        assert heading in done.stdout
    again = run(*arguments, "--peers", "linear", "fastdl-plain", "--against", "fastdl-plain", "--table")
    assert again.stdout == done.stdout
    assert len(out.read_text().splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--threads", "100000"), "--threads must be from 1"),
        (("--table",), "--table prints a file of results: name it by --json"),
        (("--splits", "6"), "--splits"),
        (("--sets", "nothing"), "invalid choice: 'nothing'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], word: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert word in done.stderr
