"""fastdl.sklearn: scikit-learn's own checks of estimators, pipelines, searches in processes, and the net behind it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import callbacks, config, layers, optimizers

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastdl.sklearn import FastdlClassifier, FastdlRegressor

IRIS: tuple[Any, Any] = load_iris(return_X_y=True)
SCALED = StandardScaler().fit_transform(IRIS[0])
BATCHES = {"check_sample_weight_equivalence_on_dense_data": "which rows share a batch depends on their number"}


@pytest.mark.slow
@parametrize_with_checks(
    [
        FastdlClassifier(random_state=0),
        FastdlRegressor(random_state=0),
        FastdlClassifier((8, 8), "selu", dropout=0.1, batch_norm=True, optimizer="nadam", epochs=150),
    ],
    expected_failed_checks=lambda estimator: BATCHES,
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_it_learns_in_a_pipeline() -> None:
    net = make_pipeline(StandardScaler(), FastdlClassifier((20,), learning_rate=0.01, epochs=60, random_state=0))
    assert cross_val_score(net, *IRIS, cv=3).mean() > 0.93
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    regressor = make_pipeline(StandardScaler(), FastdlRegressor((20,), weight_decay=0.1, epochs=60, random_state=0))
    assert cross_val_score(regressor, x, y, cv=3).mean() > 0.35


def threads_of(estimator: Any, x: Any, y: Any) -> float:
    """A scorer that tells how many threads the process uses."""
    return float(config.get_num_threads())


def test_searches_in_processes_of_one_thread_each() -> None:
    from joblib import cpu_count
    from scipy.stats import loguniform

    net = make_pipeline(StandardScaler(), FastdlClassifier(epochs=10, random_state=1))
    grid = {
        "fastdlclassifier__learning_rate": loguniform(1e-4, 1e-1),
        "fastdlclassifier__hidden_layer_sizes": [(8,), (16, 8)],
    }
    scoring = {"accuracy": "accuracy", "threads": threads_of}
    search = RandomizedSearchCV(net, grid, n_iter=4, n_jobs=2, cv=2, random_state=0, scoring=scoring, refit="accuracy")
    search.fit(*IRIS)
    assert search.best_score_ > 0.7
    assert set(search.cv_results_["mean_test_threads"]) == {max(1, cpu_count() // 2)}
    rates = search.cv_results_["param_fastdlclassifier__learning_rate"]
    assert max(rates) / min(rates) > 3
    again = clone(search).set_params(n_jobs=1, scoring="accuracy", refit=True).fit(*IRIS)
    np.testing.assert_array_equal(search.cv_results_["mean_test_accuracy"], again.cv_results_["mean_test_score"])


def test_a_grid_over_optimizers_and_activations() -> None:
    grid = {"optimizer": ["sgd", "adam"], "activation": ["relu", "selu"], "batch_norm": [False, True]}
    search = GridSearchCV(FastdlClassifier((8,), learning_rate=0.02, epochs=15, random_state=0), grid, cv=2).fit(
        SCALED, IRIS[1]
    )
    assert len(search.cv_results_["params"]) == 8
    assert search.score(SCALED, IRIS[1]) > 0.8


def test_the_net_behind_it_is_the_one_that_was_asked_for() -> None:
    net = FastdlClassifier((9, 7), "selu", dropout=0.2, batch_norm=True, optimizer="sgd", learning_rate=0.3, epochs=1)
    model = net.fit(SCALED, IRIS[1]).model_
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Normalization", *["Dense", "BatchNormalization", "Activation", "AlphaDropout"] * 2, "Dense"]
    assert [w.shape for w in model.weights if len(w.shape) == 2] == [(4, 9), (9, 7), (7, 3)]
    assert isinstance(model.layers[1].kernel_initializer, fastdl.initializers.LecunNormal)
    assert model.optimizer.learning_rate == 0.3
    assert len(net.history_.epoch) == net.n_iter_ == 1


def test_it_is_the_same_training_as_by_hand() -> None:
    plain = {"weight_decay": None, "scale": False, "patience": None, "dropout": 0.0}
    net = FastdlRegressor((5,), "tanh", epochs=4, batch_size=16, optimizer="sgd", **plain)
    fastdl.utils.set_random_seed(3)
    net.fit(SCALED, IRIS[1].astype(float))
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(5), layers.Activation("tanh"), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(SCALED, IRIS[1].astype(float), batch_size=16, epochs=4, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(net.model_.get_weights(), model.get_weights(), strict=True))
    assert np.array_equal(net.predict(SCALED.astype(np.float32)), model.predict(SCALED)[:, 0])


@pytest.mark.parametrize("state", [7, np.random.RandomState(7)], ids=["number", "RandomState"])
def test_random_state_decides_all_draws_and_disturbs_none(state: Any) -> None:
    net = FastdlClassifier((6,), dropout=0.3, epochs=3, patience=2, random_state=pickle.loads(pickle.dumps(state)))
    other = clone(net)
    fastdl.utils.set_random_seed(1)
    first = net.fit(SCALED, IRIS[1]).predict_proba(SCALED)
    drawn = fastdl.initializers.RandomUniform(0, 1)((4,), np.dtype(np.float32))
    fastdl.utils.set_random_seed(1)
    assert np.array_equal(drawn, fastdl.initializers.RandomUniform(0, 1)((4,), np.dtype(np.float32)))
    assert np.array_equal(first, other.fit(SCALED, IRIS[1]).predict_proba(SCALED))
    assert not np.array_equal(first, other.set_params(random_state=8).fit(SCALED, IRIS[1]).predict_proba(SCALED))


def test_two_classes_are_one_sigmoid() -> None:
    names = np.array(["no", "yes"])[IRIS[1][:100]]
    net = FastdlClassifier((8,), learning_rate=0.02, epochs=20, random_state=0).fit(SCALED[:100], names)
    p = net.predict_proba(SCALED[:100])
    assert net.model_.output_shape == (None, 1)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    assert list(net.classes_) == ["no", "yes"]
    assert net.score(SCALED[:100], names) > 0.95
    assert np.array_equal(net.predict(SCALED[:100]), net.classes_[p.argmax(1)])
    np.testing.assert_array_equal(net.predict_log_proba(SCALED[:5]), np.log(p[:5]))


def test_weights_of_samples_count() -> None:
    x, y = np.zeros((90, 1)), np.repeat([0, 1, 2], 30)
    weights = np.repeat([1.0, 1.0, 2.0], 30)
    net = FastdlClassifier((2,), epochs=150, learning_rate=0.02, random_state=0).fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(net.predict_proba(x[:1])[0], [0.25, 0.25, 0.5], atol=0.03)


def test_patience_ends_training_with_the_best_weights() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 5)), rng.integers(0, 2, 200)  # nothing to learn but by heart
    noted = callbacks.History()
    net = FastdlClassifier((64,), learning_rate=0.02, epochs=300, patience=4, callbacks=[noted], random_state=0)
    net.fit(x, y)
    losses = noted.history["val_loss"]
    assert net.n_iter_ == len(losses) < 300
    assert int(np.argmin(losses)) == net.n_iter_ - 5


def test_a_model_of_ones_own() -> None:
    def make(features: int, outputs: int) -> fastdl.Model:
        x = fastdl.Input((features,))
        h = layers.Dense(12, "relu")(x)
        return fastdl.Model(x, layers.Dense(outputs, "softmax")(layers.Concatenate()([x, h])))

    net = FastdlClassifier(model=make, optimizer=optimizers.Adam(0.02), epochs=30, random_state=0)
    assert net.fit(SCALED, IRIS[1]).score(SCALED, IRIS[1]) > 0.93

    def compiled(features: int, outputs: int) -> fastdl.Model:
        model = make(features, outputs)
        model.compile(optimizers.SGD(0.123), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    net = FastdlClassifier(model=compiled, epochs=1).fit(SCALED, IRIS[1])
    assert net.model_.optimizer.learning_rate == 0.123
    assert "accuracy" in net.history_.history


def test_several_targets_and_dtypes() -> None:
    targets = IRIS[0][:, :2]
    net = FastdlRegressor((16,), learning_rate=0.02, epochs=100, random_state=0).fit(SCALED, targets)
    assert net.predict(SCALED).shape == targets.shape
    assert net.score(SCALED, targets) > 0.9
    assert net.predict(SCALED).dtype == np.float64
    assert net.predict(SCALED.astype(np.float32)).dtype == np.float32


def test_fitted_estimators_are_pickled_and_exported(tmp_path: Any) -> None:
    net = FastdlClassifier((8,), epochs=5, random_state=0).fit(SCALED, IRIS[1])
    expected = net.predict_proba(SCALED)
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(SCALED), expected)
    net.model_.export(tmp_path / "net.onnx")
    served = fastdl.Runner(tmp_path / "net.onnx").predict(SCALED.astype(np.float32))
    np.testing.assert_allclose(served, expected, atol=1e-6)


def test_inputs_and_targets_are_scaled_inside() -> None:
    x, y = load_diabetes(return_X_y=True)
    far = x * np.array([1e-3, 1, 1e4, 1, 1, 1e6, 1, 1, 1, 1]) + 7
    plain = FastdlRegressor(epochs=60, random_state=0).fit(x, y)
    moved = FastdlRegressor(epochs=60, random_state=0).fit(far, 5e5 + 1e3 * y)
    assert plain.score(x, y) > 0.5
    assert moved.score(far, 5e5 + 1e3 * y) == pytest.approx(plain.score(x, y), abs=0.03)
    assert np.array_equal(
        moved.model_.predict(far)[:, 0], moved.predict(far.astype(np.float32))
    )  # model_ takes X as it is
    assert FastdlRegressor(epochs=20, scale=False, random_state=0).fit(far, 5e5 + 1e3 * y).score(far, 5e5 + 1e3 * y) < 0
    weights = np.where(np.arange(len(x)) < 100, 1.0, 0.0)
    some = FastdlRegressor(epochs=1, random_state=0).fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(some.model_.layers[0].mean[0], x[:100].mean(0), atol=1e-6)
    np.testing.assert_allclose(some.model_.layers[-1].mean, y[:100].mean(), rtol=1e-6)


def test_a_column_that_does_not_vary_stays_small_where_it_does() -> None:
    x = np.column_stack([SCALED, np.zeros(150)])
    net = FastdlClassifier(epochs=20, random_state=0).fit(x, IRIS[1])
    x[:, -1] = 1
    assert net.predict_proba(x).max() < 1


def test_a_loss_in_the_units_of_y_is_trained_on_them() -> None:
    net = FastdlRegressor(loss="huber", epochs=2, random_state=0)
    assert net.fit(SCALED, IRIS[1] + 1.0).model_.layers[-1].__class__ is layers.Dense


def test_rows_are_held_back_in_the_classes_shares() -> None:
    seen: list[Any] = []

    class Sees(callbacks.Callback):
        def set_validation_data(self, feeds: Any) -> None:
            seen.append(None if feeds is None else feeds[1].ravel())

    y = np.repeat([0, 1, 2], [90, 59, 1])
    FastdlClassifier(epochs=1, patience=3, validation_fraction=0.2, callbacks=[Sees()], random_state=0).fit(SCALED, y)
    assert np.bincount(seen[0].astype(int)).tolist() == [18, 12]  # and the one row of the third class is trained on
    FastdlClassifier(epochs=1, callbacks=[Sees()], random_state=0).fit(SCALED, y)
    assert seen[1] is None  # so few rows are better trained on
    with pytest.raises(ValueError, match="validation_fraction must lie between 0 and 1"):
        FastdlClassifier(patience=3, validation_fraction=1.0).fit(SCALED, y)


def test_training_goes_on() -> None:
    warm = FastdlClassifier((16,), epochs=5, dropout=0, learning_rate=0.01, warm_start=True, random_state=0)
    first, later = (warm.fit(*IRIS).score(*IRIS) for _ in range(2))
    assert later > first
    assert warm.set_params(warm_start=False).fit(*IRIS).score(*IRIS) == first
    parts = FastdlClassifier(random_state=0, learning_rate=0.01)
    for _ in range(10):
        for label in range(3):  # classes that a part does not hold
            rows = (IRIS[1] == label) | (np.arange(150) % 2 == 0)
            parts.partial_fit(IRIS[0][rows], IRIS[1][rows], classes=[0, 1, 2])
    assert parts.score(*IRIS) > 0.9
    with pytest.raises(ValueError, match="y holds the label 7"):
        parts.partial_fit(IRIS[0], IRIS[1] + 7)
    numbers = FastdlRegressor(random_state=0)
    errors = [numbers.partial_fit(SCALED, IRIS[0]).score(SCALED, IRIS[0]) for _ in range(30)]
    assert errors[-1] > errors[0]


def test_several_labels_a_row() -> None:
    x = np.random.default_rng(0).standard_normal((300, 6))
    y = (x[:, :3] > 0).astype(int)
    net = FastdlClassifier((32,), epochs=60, learning_rate=0.01, random_state=0).fit(x, y)
    assert net.predict(x).shape == net.predict_proba(x).shape == (300, 3)
    assert (net.predict(x) == y).mean() > 0.95
    with pytest.raises(ValueError, match="class_weight is for labels that exclude each other"):
        FastdlClassifier(class_weight="balanced").fit(x, y)


def test_class_weights() -> None:
    x, y = np.zeros((90, 1)), np.repeat([0, 1], [60, 30])
    net = FastdlClassifier((2,), dropout=0, epochs=150, learning_rate=0.02, class_weight="balanced", random_state=0)
    np.testing.assert_allclose(net.fit(x, y).predict_proba(x[:1])[0], [0.5, 0.5], atol=0.03)
    for weights in ({7: 1.0}, {0: -1.0}, {0: np.nan}, [1, 2], "even"):
        with pytest.raises(ValueError, match="class_weight"):
            clone(net).set_params(class_weight=weights).fit(x, y)


def test_divergence_is_told_and_no_answer_is_given() -> None:
    for net, y in ((FastdlClassifier(), IRIS[1]), (FastdlRegressor(), IRIS[1])):
        net.set_params(optimizer="sgd", learning_rate=1e30, epochs=3, random_state=0)
        with pytest.warns(ConvergenceWarning, match="diverged: loss became") as caught:
            net.fit(SCALED, y)
        assert [each.category for each in caught] == [ConvergenceWarning]
        with pytest.raises(ValueError, match=f"this {type(net).__name__} cannot predict: kernel of .* holds NaN"):
            net.predict(SCALED)


@pytest.mark.parametrize("classes", [2, 3])
def test_names_of_features_and_classes_are_kept(classes: int, tmp_path: Any) -> None:
    pandas = pytest.importorskip("pandas")
    rows = slice(50 * classes)
    names = ["age", "size", "mass", "time"]
    x, y = pandas.DataFrame(IRIS[0], columns=names)[rows], np.array(["no", "yes", "maybe"])[IRIS[1]][rows]
    net = FastdlClassifier(epochs=40, random_state=0).fit(x, y)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(x[names[::-1]])
    assert np.array_equal(net.model_.predict(x[names[::-1]]), net.model_.predict(x))
    net.export(tmp_path / "net.onnx")
    runner = fastdl.Runner(tmp_path / "net.onnx")
    assert runner.class_names == list(net.classes_)
    assert np.array_equal(runner.predict_labels(x.to_numpy(np.float32)), net.predict(x))
    net.model_.save(tmp_path / "net.safetensors")
    loaded = fastdl.models.load_model(tmp_path / "net.safetensors")
    assert (loaded.class_names, loaded.feature_names) == (list(net.classes_), names)


def test_copies_go_on_as_the_estimator_would() -> None:
    for kind, y in ((FastdlClassifier, IRIS[1]), (FastdlRegressor, IRIS[1].astype(float))):
        net = kind((8,), epochs=3, warm_start=True, random_state=0).fit(SCALED, y)
        other = pickle.loads(pickle.dumps(net))
        assert isinstance(net.__getstate__()["_trained"], bytes)  # plain types, as skops asks for
        assert np.array_equal(other.predict(SCALED), net.predict(SCALED))
        assert np.array_equal(other.fit(SCALED, y).predict(SCALED), net.fit(SCALED, y).predict(SCALED))


def test_skops_takes_a_fitted_estimator() -> None:
    skops = pytest.importorskip("skops.io")
    net = FastdlClassifier((8,), epochs=3, random_state=0).fit(SCALED, IRIS[1])
    data = skops.dumps(net)
    assert np.array_equal(
        skops.loads(data, trusted=skops.get_untrusted_types(data=data)).predict(SCALED), net.predict(SCALED)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FastdlClassifier().fit(SCALED, np.zeros(150)), "one class"),
        (lambda: FastdlClassifier().fit(SCALED, IRIS[0][:, 0]), "continuous"),
        (lambda: FastdlClassifier(activation="rellu").fit(SCALED, IRIS[1]), "unknown activation 'rellu'"),
        (lambda: FastdlClassifier(optimizer="adm").fit(SCALED, IRIS[1]), "unknown optimizer 'adm'"),
        (lambda: FastdlClassifier(epochs=0).fit(SCALED, IRIS[1]), "epochs must be a positive integer"),
        (lambda: FastdlRegressor((0,)).fit(SCALED, IRIS[1]), "units must be a positive integer"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import fastdl; fastdl.layers; import fastdl.sklearn"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'fastdl[sklearn]'" in run.stderr.splitlines()[-1]


def test_fastdl_itself_does_not_load_it() -> None:
    code = "import sys, fastdl; fastdl.layers; fastdl.models; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_eval_set_says_when_to_stop() -> None:
    x, y = load_diabetes(return_X_y=True)
    net = FastdlRegressor((20,), epochs=40, patience=3, random_state=0)
    net.fit(x[:300], y[:300], eval_set=(x[300:], y[300:]))
    losses = net.history_.history["val_loss"]
    spread = np.var(y[:300])
    assert min(losses) * spread == pytest.approx(np.mean((net.predict(x[300:]) - y[300:]) ** 2), rel=1e-4)
    assert len(losses) == 40 or len(losses) == np.argmin(losses) + 4


def test_eval_set_holds_labels_that_are_known() -> None:
    x, y = IRIS
    known = FastdlClassifier((8,), epochs=3, random_state=0)
    names = np.array(["a", "b", "c"])[y]
    known.fit(x[::2], names[::2], eval_set=[(x[1::2], names[1::2])])
    assert "val_loss" in known.history_.history
    cases: dict[str, Any] = {
        "labels": ((x, np.full(len(x), "d")), "y of eval_set holds the label 'd'"),
        "no pair": (x, "must be a pair"),
        "lengths": ((x, names[:-1]), "inconsistent numbers of samples"),
    }
    for wrong, told in cases.values():
        with pytest.raises(ValueError, match=told):
            known.fit(x, names, eval_set=wrong)
