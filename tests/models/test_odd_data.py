"""Data that numpy would read as something else than was meant are refused, where they come in, by row and column."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import kernels, layers, losses, metrics, utils
from fastdl.errors import DataError, DataWarning, ShapeError
from fastdl.pretraining import RBM

rng = np.random.default_rng(0)
X = rng.standard_normal((20, 3))
Y = np.arange(20) % 2
MASK = np.arange(20) == 7
MASKED = np.ma.array(X, mask=MASK[:, None] & [True, False, False])
ENDS = {
    "mse": None,
    "hinge": "tanh",
    "poisson": "exponential",
    "msle": "relu",
    "binary_crossentropy": "sigmoid",
    "categorical_crossentropy": "softmax",
    "sparse_categorical_crossentropy": "softmax",
}


def model(loss: str = "mse", outputs: int = 1) -> keras.Sequential:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(outputs, ENDS[loss])])
    model.compile("sgd", loss)
    return model


# -- masks ------------------------------------------------------------------------------------------------

ENTRANCES: dict[str, Callable[[], Any]] = {
    "fit x": lambda: model().fit(MASKED, Y, verbose=0),
    "fit y": lambda: model().fit(X, np.ma.array(Y, mask=MASK), verbose=0),
    "fit labels": lambda: model("sparse_categorical_crossentropy", 2).fit(X, np.ma.array(Y, mask=MASK), verbose=0),
    "fit weights": lambda: model().fit(X, Y, sample_weight=np.ma.array(np.ones(20), mask=MASK), verbose=0),
    "fit unchecked": lambda: model().fit(MASKED, Y, check_input=False, verbose=0),
    "fit batches": lambda: model().fit([(MASKED, Y)], verbose=0),
    "validation": lambda: model().fit(X, Y, validation_data=(MASKED, Y), verbose=0),
    "train_on_batch": lambda: model().train_on_batch(MASKED, Y),
    "evaluate": lambda: model().evaluate(MASKED, Y),
    "predict": lambda: model().predict(MASKED),
    "predict rows": lambda: model().predict(list(MASKED)),
    "call": lambda: model()(MASKED),
    "adapt": lambda: layers.Normalization().adapt(MASKED),
    "a layer": lambda: layers.Dense(2)(MASKED),
    "set_weights": lambda: model().set_weights([np.ma.array(np.ones((3, 1)), mask=np.eye(3, 1)), np.zeros(1)]),
    "a loss": lambda: losses.MeanSquaredError()(MASKED, X),
    "a loss's prediction": lambda: losses.MeanSquaredError()(X, MASKED),
    "a metric": lambda: metrics.MeanSquaredError()(X, MASKED),
    "a metric's weights": lambda: metrics.MeanSquaredError()(X, X, np.ma.array(np.ones(20), mask=MASK)),
    "a kernel": lambda: kernels.matmul(MASKED, X.T),
    "an RBM": lambda: RBM(2, "gaussian").fit(MASKED),
    "to_categorical": lambda: utils.to_categorical(np.ma.array(Y, mask=MASK)),
    "normalize": lambda: utils.normalize(MASKED),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_masked_entries_are_refused_wherever_data_come_in(entrance: str) -> None:
    with pytest.raises(DataError, match=r"masked in row [07]"):
        ENTRANCES[entrance]()


def test_an_array_of_which_nothing_is_masked_is_an_array() -> None:
    net = model()
    assert np.array_equal(net.predict(np.ma.array(X)), net.predict(X))
    net.fit(np.ma.array(X), np.ma.array(Y), sample_weight=np.ma.array(np.ones(20)), verbose=0)


# -- numbers that a dtype cannot hold ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda x: model().predict(x),
        lambda x: model().fit(x, Y, verbose=0, check_input=False),
        lambda x: model().fit(X, x[:, :1], verbose=0),
        lambda x: layers.Dense(2)(x),
        lambda x: RBM(2, "gaussian").fit(x),
    ],
    ids=["predict", "fit unchecked", "targets", "a layer", "an RBM"],
)
@pytest.mark.parametrize("number", [1e39, np.longdouble("-1e4000")])
def test_numbers_beyond_float32_are_refused_by_row(use: Callable[[Any], Any], number: Any) -> None:
    x = X.astype(type(number))
    x[3] = number
    with pytest.raises(DataError, match=r"too large for float32, in row 3 \(1 of 20 rows\)"):
        use(x)


# -- labels, targets, weights ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("binary_crossentropy", Y + 1, "y holds 2 in row 1: binary_crossentropy takes targets from 0 to 1"),
        ("binary_crossentropy", 2 * Y - 1, "y holds -1 in row 0"),
        ("hinge", Y + 1, "y holds 2 in row 1: hinge takes targets from -1 to 1"),
        ("poisson", Y - 1, "y holds -1 in row 0: poisson takes targets of 0 or more"),
        ("msle", Y - 1, "y holds -1 in row 0"),
        ("categorical_crossentropy", 2 * np.eye(2)[Y], "y holds 2 in row 0"),
    ],
)
def test_targets_that_a_loss_is_not_defined_for_are_refused(loss: str, targets: Any, message: str) -> None:
    net = model(loss, targets.shape[1] if targets.ndim == 2 else 1)
    for call in (
        lambda: net.fit(X, targets, verbose=0),
        lambda: net.evaluate(X, targets),
        lambda: net.train_on_batch(X, targets),
    ):
        with pytest.raises(DataError, match=message):
            call()
    net.fit(X, targets, verbose=0, check_input=False)


def test_rows_that_are_no_distribution_are_warned_of() -> None:
    with pytest.warns(DataWarning, match="do not sum to 1: categorical_crossentropy") as caught:
        model("categorical_crossentropy", 2).fit(X, np.ones((20, 2)), verbose=0)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model("categorical_crossentropy", 2).fit(X, np.eye(2)[Y], verbose=0)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1, 2], TypeError, "class_weight must be a mapping"),
        ("balanced", TypeError, "class_weight must be a mapping"),
        ({2: 1.0}, DataError, "class_weight names the class 2: the classes are 0 to 1"),
        ({"0": 1.0}, DataError, "names the class '0'"),
        ({0.5: 1.0}, DataError, "names the class 0.5"),
        ({0: -1.0}, DataError, r"class_weight\[0\] must be a finite number, zero or more, not -1"),
        ({1: np.nan}, DataError, r"class_weight\[1\] must be"),
        ({1: "2"}, DataError, r"class_weight\[1\] must be"),
        ({1: None}, DataError, r"class_weight\[1\] must be"),
    ],
)
@pytest.mark.parametrize("loss", ["binary_crossentropy", "sparse_categorical_crossentropy"])
def test_class_weights_are_numbers_by_class(weights: Any, error: type[Exception], message: str, loss: str) -> None:
    with pytest.raises(error, match=message):
        model(loss, 1 + loss.startswith("sparse")).fit(X, Y, class_weight=weights, verbose=0)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.where(MASK, -1.0, 1.0), DataError, "sample_weight holds -1 in row 7"),
        (np.where(MASK, np.nan, 1.0), DataError, "sample_weight has NaN or Inf in row 7"),
        (np.ones((20, 3)), ShapeError, "sample_weight has shape"),
        (np.ones(19), DataError, "sample_weight has 19"),
    ],
)
def test_weights_of_samples_are_one_number_each(weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model().fit(X, Y, sample_weight=weights, verbose=0)
    with pytest.raises(error, match="validation " + message):
        model().fit(X, Y, validation_data=(X, Y, weights), verbose=0)


@pytest.mark.parametrize("label", [7, 1.5, np.nan, -1])
def test_losses_and_metrics_on_arrays_know_their_classes(label: float) -> None:
    with pytest.raises(DataError, match="y_true holds label"):
        losses.sparse_categorical_crossentropy([label], [[0.2, 0.3, 0.5]])
    with pytest.raises(DataError, match="y_true holds label"):
        metrics.SparseCategoricalCrossentropy()([label], [[0.2, 0.3, 0.5]])


# -- columns and matrices of other kinds -------------------------------------------------------------------


def test_columns_that_are_no_numbers_are_refused_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc"))
    for column in (
        pandas.Timestamp("2020-01-01"),
        pandas.Categorical(["u"] * 20),
        [None] * 20,
        pandas.Series([True, pandas.NA] * 10, dtype="boolean"),
        frame["a"].astype(str),
    ):
        with pytest.raises(DataError, match=r"^x must hold real numbers: encode or drop its column 'b' "):
            model().predict(frame.assign(b=column))
    missing = frame.astype("Float64")
    missing.loc[4, "a"] = pandas.NA
    assert np.array_equal(np.flatnonzero(np.isnan(model().predict(missing))), [4])
    with pytest.raises(DataError, match="NaN or Inf in row 4"):
        model().fit(missing, Y, verbose=0)


def test_a_date_is_no_number_of_days() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [datetime.date(2020, 1, 1)] * 2, "b": [1, 2], "c": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"its column 'a' \(datetime64"):
        model().predict(frame)
    gaps = frame.with_columns(a=polars.Series([1, None]))
    assert np.array_equal(np.isnan(model().predict(gaps)[:, 0]), [False, True])


def test_sparse_matrices_are_told_how_to_be_dense() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match=r"x is a sparse matrix: pass x.toarray\(\)"):
        model().predict(sparse.csr_array(X))
