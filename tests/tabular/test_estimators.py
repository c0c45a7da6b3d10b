"""TabularClassifier and TabularRegressor: scikit-learn's contract, raw columns, files, and what they are told."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("pandas")

import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastdl import Runner
from fastdl.errors import DataError, FusionError, ModelFileError
from fastdl.tabular import Recipe, TabularClassifier, TabularRegressor, estimator, load
from fastdl.tabular.ensembles import AHEAD, greedy_weights
from fastdl.tabular.proof import BAR, prove
from fastdl.tabular.recipes import CLASSES, recipe_of

STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": "no stochastic gradient takes two rows as one of twice the weight"
}


@pytest.mark.slow
@parametrize_with_checks(
    [TabularClassifier(random_state=0, epochs=40), TabularRegressor(random_state=0, epochs=40)],
    expected_failed_checks=lambda estimator: STOCHASTIC,
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def frame(rows: int = 600, seed: int = 0) -> tuple[Any, Any, Any]:
    """Raw columns, labels that follow from them, and numbers that do: text, gaps, booleans and dates."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, rows).round()
    job = rng.choice(["clerk", "smith", "nurse", "pilot"], rows)
    town = rng.choice([f"town {k}" for k in range(30)], rows)
    member = rng.random(rows) < 0.4
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D")
    value = (age - 40) / 12 + np.array([{"clerk": -1, "smith": 0, "nurse": 1, "pilot": 2}[each] for each in job])
    value = value + member + np.array([int(each[5:]) % 3 - 1 for each in town]) + 0.3 * rng.normal(size=rows)
    table = pd.DataFrame({"age": age, "job": job, "town": town, "member": member, "since": since})
    table.loc[rng.random(rows) < 0.1, "age"] = np.nan
    table.loc[rng.random(rows) < 0.05, "job"] = None
    return table, np.where(value > 0.7, "yes", "no"), 1000 + 50 * value


TABLE, LABELS, NUMBERS = frame()
NEW = frame(200, seed=1)


@pytest.fixture(scope="module")
def classifier() -> Any:
    return TabularClassifier(random_state=0, epochs=40).fit(TABLE, LABELS)


@pytest.fixture(scope="module")
def regressor() -> Any:
    return TabularRegressor(random_state=0, epochs=60).fit(TABLE, NUMBERS)


def test_it_learns_from_raw_columns(classifier: Any, regressor: Any) -> None:
    assert classifier.score(NEW[0], NEW[1]) > 0.85
    assert regressor.score(NEW[0], NEW[2]) > 0.8
    assert list(classifier.classes_) == ["no", "yes"]
    assert classifier.columns_.kinds["town"] == "category"
    np.testing.assert_allclose(classifier.predict_proba(NEW[0]).sum(axis=1), 1, atol=1e-5)


def test_predictions_keep_to_the_range_that_was_seen(regressor: Any) -> None:
    far = TABLE.assign(age=1e9)
    assert regressor.predict(far).max() <= np.float32(NUMBERS.max())


@pytest.mark.parametrize("layout", ["columns", "matrices"])
def test_the_file_answers_as_it_does(classifier: Any, regressor: Any, layout: Any, tmp_path: Path) -> None:
    for model, name in ((classifier, "probabilities"), (regressor, None)):
        proof = model.export(tmp_path / "m.onnx", layout=layout)
        assert proof.rows == 10_000
        answers = Runner(tmp_path / "m.onnx").predict(NEW[0])
        if name:
            np.testing.assert_allclose(answers[name], model.predict_proba(NEW[0]), atol=2e-6)
            assert (np.asarray(answers["label"]) == model.predict(NEW[0])).all()
        else:
            np.testing.assert_allclose(np.ravel(answers), model.predict(NEW[0]), rtol=2e-5)


def test_a_steep_net_of_few_rows_is_proven_as_closely_as_it_rounds() -> None:
    x, y = {"x": np.array([1.0, 2.0, 3.0])}, np.array([1.5, 2.5, 3.5])
    model = TabularRegressor(epochs=2, random_state=0).fit(x, y)
    file, proof = model.to_onnx()
    assert BAR < proof.bar < 1e-3
    with pytest.raises(FusionError, match="is off by"):
        prove(file, model.columns_, lambda table: model.answers(table) * 1.002, bar=proof.bar)


def test_the_same_seed_gives_the_same_bits_at_any_number_of_nets_at_once() -> None:
    one, two = (
        TabularClassifier(random_state=3, epochs=4, folds=3, n_jobs=jobs).fit(TABLE, LABELS).predict_proba(NEW[0])
        for jobs in (1, 2)
    )
    assert (one == two).all()


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "mapping"])
def test_tables_of_all_kinds_are_one(classifier: Any, kind: str) -> None:
    if kind == "mapping":
        other: Any = {name: TABLE[name].to_numpy() for name in TABLE}
    elif kind == "pandas":
        other = TABLE[TABLE.columns[::-1]]  # the order of columns does not matter
    else:
        library = pytest.importorskip(kind)
        other = library.from_pandas(TABLE) if kind == "polars" else library.Table.from_pandas(TABLE)
    assert (classifier.predict_proba(other) == classifier.predict_proba(TABLE)).all()


def test_columns_that_are_missing_are_named_and_new_ones_ignored(classifier: Any) -> None:
    with pytest.raises(DataError, match="'job'"):
        classifier.predict(TABLE.drop(columns="job"))
    with pytest.warns(UserWarning, match="'more'"):
        answers = classifier.predict_proba(TABLE.assign(more=1))
    assert (answers == classifier.predict_proba(TABLE)).all()


@pytest.mark.parametrize(
    "net", ["slim", "realmlp", "realmlp-small", "tabm", Recipe(hidden_layer_sizes=(32,), members=3)]
)
def test_every_net_learns(net: Any) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    model = TabularClassifier(net, epochs=40, random_state=0).fit(x[::2], y[::2])
    assert model.score(x[1::2], y[1::2]) > 0.93


@pytest.mark.parametrize(("rows", "epochs"), [(100, 256), (4096, 256), (10_000, 104), (10**6, 64)])
def test_the_more_rows_the_fewer_epochs(rows: int, epochs: int) -> None:
    assert recipe_of("slim", CLASSES, rows).epochs == epochs


def test_it_is_a_bag_of_five_unless_told() -> None:
    model = TabularClassifier(epochs=1, random_state=0).fit(TABLE, LABELS)
    assert [member.recipe.hidden_layer_sizes for member in model.members_] == [(96, 96, 96)] * 5
    assert len(TabularRegressor(epochs=1).fit(TABLE, np.arange(len(TABLE))).members_) == 5
    assert len(TabularClassifier(folds=None, epochs=1).fit(TABLE, LABELS).members_) == 1


@pytest.mark.parametrize(("limit", "expected"), [(4, AHEAD), (None, 0)])
def test_the_first_recipe_is_ahead_in_a_search_alone(
    limit: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def weights(candidates: Any, data: Any, score: Any, ahead: int) -> Any:
        told.append(ahead)
        return greedy_weights(candidates, data, score, ahead)

    monkeypatch.setattr(estimator, "greedy_weights", weights)
    TabularClassifier(time_limit=limit, epochs=1).fit(TABLE, LABELS, eval_set=(NEW[0], NEW[1]))
    assert told == [expected]


def test_a_bag_judges_every_row_by_a_net_that_did_not_learn_it() -> None:
    model = TabularClassifier(folds=3, epochs=10, random_state=0).fit(TABLE, LABELS)
    assert len(model.members_) == 3
    assert (model.validation_rows_ == np.arange(len(TABLE))).all()
    picked = model.classes_[model.validation_answers_.argmax(axis=1)]
    assert 1 - model.validation_score_ == pytest.approx(np.mean(picked == LABELS))


def test_a_limit_of_time_is_kept_and_used() -> None:
    import time

    began = time.monotonic()
    model = TabularClassifier(time_limit=6, random_state=0).fit(TABLE, LABELS)
    assert time.monotonic() - began < 9
    assert len(model.members_) > 1
    assert sum(model.shares_) == pytest.approx(1)
    assert model.score(NEW[0], NEW[1]) > 0.85


def test_eval_set_chooses_the_epoch() -> None:
    model = TabularClassifier(epochs=10, random_state=0).fit(TABLE, LABELS, eval_set=(NEW[0], NEW[1]))
    assert model.validation_score_ == pytest.approx(1 - model.score(NEW[0], NEW[1]))
    with pytest.raises(DataError, match="holds 'maybe'"):
        model.fit(TABLE, LABELS, eval_set=(NEW[0], np.full(200, "maybe")))
    with pytest.raises(ValueError, match="must be a pair"):
        model.fit(TABLE, LABELS, eval_set=NEW[0])


def test_weights_of_rows_and_classes_count() -> None:
    rare = np.where(np.arange(len(TABLE)) % 10 == 0, "yes", "no")  # nothing tells them apart
    plain = TabularClassifier(epochs=3, random_state=0).fit(TABLE, rare).predict_proba(TABLE)[:, 1].mean()
    balanced = TabularClassifier(epochs=3, class_weight="balanced", random_state=0).fit(TABLE, rare)
    heavy = TabularClassifier(epochs=3, random_state=0).fit(TABLE, rare, sample_weight=np.where(rare == "yes", 9.0, 1))
    assert plain < 0.3
    assert balanced.predict_proba(TABLE)[:, 1].mean() > 0.35
    assert heavy.predict_proba(TABLE)[:, 1].mean() > 0.35


@pytest.mark.parametrize(
    "labels", [np.array([0, 1]), np.array([True, False]), np.array([2.0, 7.0]), np.array(["é", "b"])]
)
def test_classes_of_any_type(labels: Any, tmp_path: Path) -> None:
    y = labels[np.arange(len(TABLE)) % 2]
    model = TabularClassifier(epochs=2, random_state=0).fit(TABLE, y)
    model.export(tmp_path / "m.onnx")
    answers = Runner(tmp_path / "m.onnx").predict(TABLE[:50])
    assert (np.asarray(answers["label"]) == model.predict(TABLE[:50])).all()
    assert model.predict(TABLE[:5]).dtype == labels.dtype


def test_several_numbers_at_once(tmp_path: Path) -> None:
    y = np.column_stack([NUMBERS, -NUMBERS])
    model = TabularRegressor(epochs=40, random_state=0).fit(TABLE, y)
    assert model.predict(TABLE).shape == (len(TABLE), 2)
    assert model.score(NEW[0], np.column_stack([NEW[2], -NEW[2]])) > 0.6
    model.export(tmp_path / "m.onnx")


@pytest.mark.parametrize("way", ["pickle", "file"])
def test_copies_answer_to_the_bit(classifier: Any, regressor: Any, way: str, tmp_path: Path) -> None:
    for model in (classifier, regressor, TabularClassifier("tabm", epochs=2, folds=2).fit(TABLE, LABELS)):
        if way == "pickle":
            copy = pickle.loads(pickle.dumps(model))
        else:
            model.save(tmp_path / "m.fastdl")
            copy = load(tmp_path / "m.fastdl")
        assert (copy.predict(NEW[0]) == model.predict(NEW[0])).all()
        assert copy.get_params() == model.get_params()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.fastdl").write_bytes(b"no")
    with pytest.raises(ModelFileError):
        load(tmp_path / "m.fastdl")


def test_scikit_learn_searches_and_clones_them() -> None:
    model = TabularClassifier(epochs=20, random_state=0)
    assert cross_val_score(clone(model), *load_iris(return_X_y=True), cv=3).mean() > 0.9
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    assert cross_val_score(TabularRegressor(epochs=60, random_state=0), x, y, cv=3).mean() > 0.35


@pytest.mark.parametrize(
    ("arguments", "y", "told"),
    [
        ({}, np.full(len(TABLE), "a"), "two classes"),
        ({}, np.where(np.arange(len(TABLE)) == 3, None, LABELS), "no label in row 3"),
        ({"metric": "acuracy"}, LABELS, "did you mean 'accuracy'"),
        ({"net": "realmpl"}, LABELS, "did you mean 'realmlp'"),
        ({"time_limit": -1}, LABELS, "seconds above zero"),
        ({"epochs": 0}, LABELS, "epochs"),
        ({"drop": ["jobs"]}, LABELS, "'job'"),
        ({}, LABELS[:-1], "rows"),
    ],
)
def test_what_is_wrong_is_told(arguments: dict[str, Any], y: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TabularClassifier(**{"epochs": 2, **arguments}).fit(TABLE, y)


def test_numbers_must_be_numbers() -> None:
    with pytest.raises(DataError, match="use TabularClassifier"):
        TabularRegressor(epochs=2).fit(TABLE, LABELS)
    with pytest.raises(DataError, match="NaN or Inf in row 0"):
        TabularRegressor(epochs=2).fit(TABLE, np.where(np.arange(len(TABLE)) < 2, np.nan, NUMBERS))


def test_eval_set_judges_what_a_search_finds() -> None:
    model = TabularClassifier(time_limit=4, random_state=0).fit(TABLE, LABELS, eval_set=(NEW[0], NEW[1]))
    assert (model.validation_rows_ == np.arange(len(TABLE), len(TABLE) + len(NEW[0]))).all()
    assert model.validation_score_ == pytest.approx(1 - model.score(NEW[0], NEW[1]))


def test_eval_set_judges_each_net_of_several() -> None:
    model = TabularClassifier(epochs=5, folds=2, random_state=0).fit(TABLE, LABELS, eval_set=(NEW[0], NEW[1]))
    assert len(model.candidates_) == 2
    assert model.validation_score_ == pytest.approx(1 - model.score(NEW[0], NEW[1]))
