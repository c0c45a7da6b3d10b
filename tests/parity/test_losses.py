"""Losses and metrics beside Keras's: values on arrays, gradients in training, weights, names and arguments."""

import inspect
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import losses, metrics

from .runs import floatx, keras_precision
from .table import Array, Dtype

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
RTOL = {"float32": 1e-5, "float64": 1e-10}
ROWS, CLASSES, FEATURES = 150, 6, 8

# name: (class, arguments, activation of the last layer, targets)
LOSSES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "mse": ("MeanSquaredError", {}, "linear", "real"),
    "mae": ("MeanAbsoluteError", {}, "linear", "real"),
    "mape": ("MeanAbsolutePercentageError", {}, "linear", "positive"),
    "msle": ("MeanSquaredLogarithmicError", {}, "relu", "positive"),
    "huber": ("Huber", {}, "linear", "real"),
    "huber-delta": ("Huber", {"delta": 0.3}, "linear", "real"),
    "log-cosh": ("LogCosh", {}, "linear", "real"),
    "poisson": ("Poisson", {}, "sigmoid", "positive"),
    "hinge": ("Hinge", {}, "tanh", "signs"),
    "hinge-bits": ("Hinge", {}, "tanh", "bits"),
    "squared-hinge": ("SquaredHinge", {}, "tanh", "bits"),
    "categorical-hinge": ("CategoricalHinge", {}, "linear", "one-hot"),
    "kl": ("KLDivergence", {}, "softmax", "shares"),
    "cosine": ("CosineSimilarity", {}, "linear", "real"),
    "binary": ("BinaryCrossentropy", {}, "sigmoid", "bits"),
    "binary-smooth": ("BinaryCrossentropy", {"label_smoothing": 0.2}, "sigmoid", "bits"),
    "binary-logits": ("BinaryCrossentropy", {"from_logits": True}, "linear", "bits"),
    "binary-softmax": ("BinaryCrossentropy", {}, "softmax", "one-hot"),
    "categorical": ("CategoricalCrossentropy", {}, "softmax", "one-hot"),
    "categorical-smooth": ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "softmax", "one-hot"),
    "categorical-logits": ("CategoricalCrossentropy", {"from_logits": True}, "linear", "shares"),
    "categorical-sigmoid": ("CategoricalCrossentropy", {}, "sigmoid", "one-hot"),
    "binary-focal": ("BinaryFocalCrossentropy", {}, "sigmoid", "bits"),
    "binary-focal-balanced": (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5, "label_smoothing": 0.1},
        "sigmoid",
        "bits",
    ),
    "binary-focal-logits": ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 0.5}, "linear", "bits"),
    "binary-focal-softmax": ("BinaryFocalCrossentropy", {}, "softmax", "one-hot"),
    "focal": ("CategoricalFocalCrossentropy", {}, "softmax", "one-hot"),
    "focal-smooth": (
        "CategoricalFocalCrossentropy",
        {"alpha": 0.5, "gamma": 1.3, "label_smoothing": 0.1},
        "softmax",
        "one-hot",
    ),
    "focal-logits": ("CategoricalFocalCrossentropy", {"from_logits": True}, "linear", "one-hot"),
    "focal-sigmoid": ("CategoricalFocalCrossentropy", {}, "sigmoid", "one-hot"),
    "generalized": ("CategoricalGeneralizedCrossEntropy", {"q": 0.5}, "softmax", "labels"),
    "generalized-q": ("CategoricalGeneralizedCrossEntropy", {"q": 0.8}, "sigmoid", "labels"),
    "dice": ("Dice", {}, "sigmoid", "bits"),
    "dice-each": ("Dice", {"axis": -1}, "sigmoid", "bits"),
    "tversky": ("Tversky", {}, "softmax", "one-hot"),
    "tversky-uneven": ("Tversky", {"alpha": 0.2, "beta": 0.8, "axis": (1,)}, "sigmoid", "bits"),
    "circle": ("Circle", {"gamma": 3.0}, "tanh", "labels"),
    "circle-diagonal": ("Circle", {"gamma": 2.0, "margin": 0.25, "remove_diagonal": False}, "tanh", "labels"),
    "sparse": ("SparseCategoricalCrossentropy", {}, "softmax", "labels"),
    "sparse-logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "linear", "labels"),
    "sparse-sigmoid": ("SparseCategoricalCrossentropy", {}, "sigmoid", "labels"),
}
each_loss = pytest.mark.parametrize("name", LOSSES)

# name: (class, arguments, predictions, targets)
METRICS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "mse": ("MeanSquaredError", {}, "real", "real"),
    "rmse": ("RootMeanSquaredError", {}, "real", "real"),
    "mae": ("MeanAbsoluteError", {}, "real", "real"),
    "mape": ("MeanAbsolutePercentageError", {}, "real", "positive"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive", "positive"),
    "log-cosh": ("LogCoshError", {}, "real", "real"),
    "kl": ("KLDivergence", {}, "shares", "shares"),
    "poisson": ("Poisson", {}, "positive", "positive"),
    "categorical-hinge": ("CategoricalHinge", {}, "real", "one-hot"),
    "cosine": ("CosineSimilarity", {}, "real", "real"),
    "hinge": ("Hinge", {}, "real", "signs"),
    "squared-hinge": ("SquaredHinge", {}, "real", "bits"),
    "binary-crossentropy": ("BinaryCrossentropy", {"label_smoothing": 0.1}, "unit", "bits"),
    "crossentropy": ("CategoricalCrossentropy", {}, "shares", "one-hot"),
    "crossentropy-logits": ("CategoricalCrossentropy", {"from_logits": True}, "real", "one-hot"),
    "sparse-crossentropy": ("SparseCategoricalCrossentropy", {}, "shares", "labels"),
    "true-positives": ("TruePositives", {}, "unit", "bits"),
    "false-positives": ("FalsePositives", {"thresholds": [0.2, 0.7]}, "unit", "bits"),
    "true-negatives": ("TrueNegatives", {"thresholds": 0.4}, "unit", "bits"),
    "false-negatives": ("FalseNegatives", {}, "unit", "bits"),
    "sensitivity": ("SensitivityAtSpecificity", {"specificity": 0.8}, "unit", "bits"),
    "specificity": ("SpecificityAtSensitivity", {"sensitivity": 0.7, "num_thresholds": 1}, "unit", "bits"),
    "precision-at": ("PrecisionAtRecall", {"recall": 0.6, "num_thresholds": 50}, "unit", "bits"),
    "recall-at": ("RecallAtPrecision", {"precision": 0.9, "class_id": 1}, "unit", "bits"),
    "r2": ("R2Score", {}, "near", "real"),
    "r2-each": ("R2Score", {"class_aggregation": None}, "near", "real"),
    "r2-weighted": ("R2Score", {"class_aggregation": "variance_weighted_average"}, "near", "real"),
    "pearson": ("PearsonCorrelation", {}, "near", "real"),
    "concordance": ("ConcordanceCorrelation", {}, "near", "real"),
    "binary": ("BinaryAccuracy", {}, "unit", "bits"),
    "binary-third": ("BinaryAccuracy", {"threshold": 0.3}, "unit", "bits"),
    "categorical": ("CategoricalAccuracy", {}, "shares", "one-hot"),
    "sparse": ("SparseCategoricalAccuracy", {}, "shares", "labels"),
    "top": ("TopKCategoricalAccuracy", {"k": 3}, "shares", "one-hot"),
    "top-default": ("TopKCategoricalAccuracy", {}, "shares", "one-hot"),
    "sparse-top": ("SparseTopKCategoricalAccuracy", {"k": 2}, "shares", "labels"),
    "precision": ("Precision", {}, "unit", "bits"),
    "precision-several": ("Precision", {"thresholds": [0.2, 0.5, 0.9]}, "unit", "bits"),
    "precision-class": ("Precision", {"class_id": 2}, "unit", "bits"),
    "recall": ("Recall", {}, "unit", "bits"),
    "recall-high": ("Recall", {"thresholds": 0.8}, "unit", "bits"),
    "auc": ("AUC", {}, "unit", "bits"),
    "auc-few": ("AUC", {"num_thresholds": 11}, "unit", "bits"),
    "auc-minoring": ("AUC", {"summation_method": "minoring"}, "unit", "bits"),
    "auc-pr": ("AUC", {"curve": "PR"}, "unit", "bits"),
    "auc-pr-majoring": ("AUC", {"curve": "PR", "summation_method": "majoring"}, "unit", "bits"),
    "auc-thresholds": ("AUC", {"thresholds": [0.1, 0.6, 0.7]}, "unit", "bits"),
    "auc-gains": ("AUC", {"curve": "PRGAIN"}, "unit", "bits"),
    "auc-gains-minoring": ("AUC", {"curve": "PRGAIN", "summation_method": "minoring"}, "unit", "bits"),
    "auc-each": ("AUC", {"multi_label": True, "num_thresholds": 20}, "unit", "bits"),
    "auc-logits": ("AUC", {"from_logits": True}, "real", "bits"),
    "f1": ("F1Score", {}, "shares", "one-hot"),
    "f1-macro": ("F1Score", {"average": "macro", "threshold": 0.4}, "unit", "bits"),
    "f1-micro": ("F1Score", {"average": "micro"}, "shares", "one-hot"),
    "fbeta": ("FBetaScore", {"beta": 2.0, "average": "weighted", "threshold": 0.5}, "unit", "bits"),
}
COUNTS = {"Precision", "Recall", "AUC"} | {kind for kind, *_ in METRICS.values() if "At" in kind or "tives" in kind}
each_metric = pytest.mark.parametrize("name", METRICS)


def drawn(kind: str, dtype: Dtype, seed: int) -> Array:
    """Numbers of a kind, the same for the same seed: so that "near" lies near "real"."""
    z = np.random.default_rng(seed).normal(size=(ROWS, CLASSES))
    noise = np.random.default_rng(seed + 1).normal(size=z.shape)
    score = z + noise
    e = np.exp(score)
    made: dict[str, Array] = {
        "real": score,
        "near": score + 0.3 * z,
        "positive": np.exp(score / 2),
        "unit": 1 / (1 + np.exp(-score)),
        "shares": e / e.sum(1, keepdims=True),
        "signs": np.where(score > 0, 1.0, -1.0),
        "bits": (score > 0.3) * 1.0,
        "one-hot": np.eye(CLASSES)[score.argmax(1)],
        "labels": score.argmax(1),
    }
    return made[kind].astype(np.int64 if kind == "labels" else dtype)


def weights(dtype: Dtype) -> Array:
    return np.random.default_rng(9).integers(0, 4, ROWS).astype(dtype)


def predictions(activation: str, dtype: Dtype) -> Array:
    kinds = {"linear": "real", "relu": "positive", "tanh": "real", "sigmoid": "unit", "softmax": "shares"}
    return drawn(kinds[activation], dtype, 1)


@each_dtype
@each_loss
def test_losses_on_arrays(name: str, dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    kind, arguments, activation, targets = LOSSES[name]
    y_true, y_pred = drawn(targets, dtype, 5), predictions(activation, dtype)
    with keras_precision(keras, dtype), floatx(fastdl, dtype):
        theirs = getattr(keras.losses, kind)(**arguments)
        assert getattr(losses, kind)(**arguments)(y_true, y_pred).dtype == dtype
        for options in ({}, {"sample_weight": weights(dtype)}):
            expected = float(theirs(y_true, y_pred, **options))
            assert getattr(losses, kind)(**arguments)(y_true, y_pred, **options) == pytest.approx(
                expected, rel=RTOL[dtype]
            )
        function = losses.snake_case(kind)
        tensor = keras.ops.convert_to_tensor(y_pred)
        each = np.asarray(getattr(keras.losses, function)(y_true, tensor, **arguments))
    ours = getattr(losses, function)(y_true, y_pred, **arguments)
    assert ours.shape == each.shape
    np.testing.assert_allclose(ours, each, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(each).max())


def model_of(api: Any, activation: str) -> Any:
    return api.Sequential([api.Input((FEATURES,)), api.layers.Dense(9, "tanh"), api.layers.Dense(CLASSES, activation)])


def steps(api: Any, name: str, dtype: Dtype, weighting: str) -> tuple[Array, list[Array]]:
    """The losses and weights of three steps whose gradients are seen well."""
    kind, arguments, activation, targets = LOSSES[name]
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(ROWS, FEATURES)).astype(dtype), drawn(targets, dtype, 5)
    model = model_of(api, activation)
    model.set_weights([rng.normal(0, 0.4, array.shape).astype(dtype) for array in model.get_weights()])
    model.compile(api.optimizers.SGD(0.05), getattr(api.losses, kind)(**arguments))
    options: dict[str, Any] = {
        "sample": {"sample_weight": weights(dtype)},
        "class": {"class_weight": {0: 2.0, 1: 0.25}},
    }
    got = []
    for _ in range(3):
        if hasattr(model, "reset_metrics"):
            model.reset_metrics()
        got.append(model.train_on_batch(x, y, **options.get(weighting, {})))
    got.append(model.evaluate(x, y, verbose=0, **options.get(weighting if weighting == "sample" else "", {})))
    return np.array(got, np.float64).ravel(), [np.array(array) for array in model.get_weights()]


WEIGHTED = [(name, how) for name in LOSSES for how in ("none", "sample")]
WEIGHTED += [(name, "class") for name, row in LOSSES.items() if row[3] in ("one-hot", "labels")]


@each_dtype
@pytest.mark.parametrize(("name", "weighting"), WEIGHTED)
def test_training_steps(name: str, dtype: Dtype, weighting: str) -> None:
    keras = pytest.importorskip("keras")
    with keras_precision(keras, dtype):
        expected, after = steps(keras, name, dtype, weighting)
    with floatx(fastdl, dtype):
        got, ours = steps(fastdl, name, dtype, weighting)
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=RTOL[dtype])
    for a, b in zip(ours, after, strict=True):
        assert np.abs(a - b).max() <= 3 * RTOL[dtype] * np.abs(b).max()


def test_training_moves_the_weights() -> None:
    """No loss of the table has a gradient of nothing, which would agree with anything."""
    for name in LOSSES:
        losses_of, _ = steps(fastdl, name, "float64", "none")
        assert abs(losses_of[-1] - losses_of[0]) > 1e-4 * abs(losses_of[0]), name


@each_dtype
@each_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_on_arrays(name: str, dtype: Dtype, weighted: bool) -> None:
    """In two unequal updates; and nothing is left after a reset."""
    keras = pytest.importorskip("keras")
    kind, arguments, predicted, targets = METRICS[name]
    y_true, y_pred = drawn(targets, dtype, 5), drawn(predicted, dtype, 5 if predicted == "near" else 6)
    results = []
    with keras_precision(keras, dtype):
        for api in (fastdl, keras):
            metric = getattr(api.metrics, kind)(**arguments)
            metric.update_state(y_true, y_pred)
            metric.reset_state()
            for part in (slice(0, 40), slice(40, None)):
                weight = (weights(dtype)[part] + 1,) if weighted else ()
                # Keras broadcasts weights over the last axis: for counts it wants one of each element
                if weight and api is keras and targets == "bits" and kind in COUNTS:
                    weight = (np.repeat(weight[0][:, None], 1 if "class_id" in arguments else CLASSES, 1),)
                metric.update_state(y_true[part], y_pred[part], *weight)
            results.append(np.asarray(metric.result()))
    # counts of Keras's are float32's, whatever the dtype
    np.testing.assert_allclose(results[0], results[1], rtol=2e-5 if dtype == "float32" else 1e-6)


@each_metric
def test_metrics_in_fit_and_evaluate_are_those_on_arrays(name: str) -> None:
    """Whichever tensor they read, over batches of unequal size; weighted_metrics heed the weights."""
    kind, arguments, predicted, targets = METRICS[name]
    if predicted == "near":
        predicted = "real"
    activation = {"real": "linear", "positive": "relu", "unit": "sigmoid", "shares": "softmax"}[predicted]
    loss = {"labels": "sparse_categorical_crossentropy", "one-hot": "categorical_crossentropy", "bits": "bce"}.get(
        targets, "mse"
    )
    if activation in ("linear", "relu"):
        loss = "mse"
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(ROWS, FEATURES)), drawn(targets, "float64", 5)
    model, weight = model_of(fastdl, activation), weights("float64") + 1
    plain, other = (getattr(metrics, kind)(**arguments, name=n) for n in ("plain", "weighted"))
    model.compile("sgd", loss, metrics=[plain], weighted_metrics=[other])
    got = model.evaluate(x, y, sample_weight=weight, return_dict=True)
    y_pred = model.predict(x)
    for metric, key in ((plain, "plain"), (other, "weighted")):
        np.testing.assert_array_equal(metric.result(), got[key])  # it stays, as in Keras
        metric.reset_state()
    near = {"rtol": 1e-6, "atol": 1e-7 if "Correlation" in kind else 0}  # of float32 numbers of both signs
    np.testing.assert_allclose(got["plain"], plain(y, y_pred), **near)
    np.testing.assert_allclose(got["weighted"], other(y, y_pred, weight), **near)
    logs = model.fit(x, y, batch_size=64, epochs=1, shuffle=False, verbose=2, sample_weight=weight)
    frozen = model.fit(x, y, epochs=1, verbose=0, validation_data=(x, y, weight)).history
    assert np.isfinite(logs.history["plain"][0]).all()
    np.testing.assert_allclose(
        frozen["val_weighted"][0], other.__class__(**arguments)(y, model.predict(x), weight), **near
    )


@each_metric
def test_metrics_count_in_keras_variables(name: str) -> None:
    """Their names, order, shapes and values, also of what a program counts."""
    keras = pytest.importorskip("keras")
    kind, arguments, predicted, targets = METRICS[name]
    y_true, y_pred = drawn(targets, "float32", 5), drawn(predicted, "float32", 5 if predicted == "near" else 6)
    ours, theirs = (getattr(api.metrics, kind)(**arguments) for api in (fastdl, keras))
    for metric in (ours, theirs):
        metric.update_state(y_true, y_pred)
    assert [each.name for each in ours.variables] == [each.name for each in theirs.variables]
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(np.asarray(mine), other.numpy(), rtol=1e-5, atol=1e-5, err_msg=mine.name)
    counted = [each.numpy() for each in ours.variables]
    model = fastdl.Sequential([fastdl.Input(y_pred.shape[1:]), fastdl.layers.Rescaling(1.0)])
    loss = {"labels": "categorical_generalized_cross_entropy"}.get(targets, "mse")
    metric = getattr(metrics, kind)(**arguments)
    model.compile("sgd", loss, metrics=[metric])
    model.evaluate(y_pred, y_true, batch_size=64, verbose=0)
    for mine, expected in zip(metric.variables, counted, strict=True):
        np.testing.assert_allclose(np.asarray(mine), expected, rtol=1e-5, atol=1e-5, err_msg=mine.name)


@pytest.mark.parametrize("kind", ["PearsonCorrelation", "ConcordanceCorrelation", "CosineSimilarity"])
@pytest.mark.parametrize("shape", [(12, 5), (4, 3, 5)])
def test_metrics_along_other_axes(kind: str, shape: tuple[int, ...]) -> None:
    keras = pytest.importorskip("keras")
    y_true, y_pred = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    for axis in (0, len(shape) - 2, -1):
        ours, theirs = (getattr(api.metrics, kind)(axis=axis) for api in (fastdl, keras))
        assert ours(y_true, y_pred) == pytest.approx(float(theirs(y_true, y_pred)), rel=1e-5)
    functions = {"PearsonCorrelation": "pearson_correlation", "ConcordanceCorrelation": "concordance_correlation"}
    if kind in functions:
        each = [np.asarray(getattr(api.metrics, functions[kind])(y_true, y_pred, axis=0)) for api in (fastdl, keras)]
        np.testing.assert_allclose(*each, rtol=1e-5, atol=1e-6)
    model = fastdl.Sequential([fastdl.Input(shape[1:]), fastdl.layers.Rescaling(1.0)])
    model.compile("sgd", "mse", metrics=[getattr(metrics, kind)(axis=0)])
    expected = float(getattr(keras.metrics, kind)(axis=0)(y_true, y_pred))
    assert model.evaluate(y_pred, y_true, verbose=0)[1] == pytest.approx(expected, rel=1e-5)


def test_sorted_ids() -> None:
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    labels, ids = rng.integers(0, 9, 40), np.argsort(rng.random((40, 9)))[:, :4]
    for k in (1, 3):
        results = []
        for api in (fastdl, keras):
            metric = api.metrics.SparseTopKCategoricalAccuracy(k=k, from_sorted_ids=True)
            metric.update_state(labels, ids)
            metric.update_state(labels, ids, np.arange(40.0))
            results.append(float(metric.result()))
        assert results[0] == pytest.approx(results[1], rel=1e-6)
    with pytest.raises(fastdl.errors.ShapeError, match="takes labels \\(samples,\\) and 5 or more ids"):
        metrics.SparseTopKCategoricalAccuracy(from_sorted_ids=True)(labels, ids)


def test_functions_take_keras_arguments() -> None:
    keras = pytest.importorskip("keras")
    for api, theirs in ((losses, keras.losses), (metrics, keras.metrics)):
        for name, function in inspect.getmembers(theirs, inspect.isfunction):
            expected = inspect.signature(function).parameters
            if name in ("get", "serialize", "deserialize", "ctc"):
                continue
            found = inspect.signature(getattr(api, name)).parameters
            assert list(found) == list(expected), name
            for argument, parameter in expected.items():
                if name != "categorical_generalized_cross_entropy":  # Keras's has no default of q
                    assert found[argument].default == parameter.default, (name, argument)


@pytest.mark.parametrize(
    ("name", "arguments", "targets", "predicted"),
    [
        ("binary_accuracy", {}, "bits", "unit"),
        ("binary_accuracy", {"threshold": 0.3}, "bits", "unit"),
        ("categorical_accuracy", {}, "one-hot", "shares"),
        ("sparse_categorical_accuracy", {}, "labels", "shares"),
        ("top_k_categorical_accuracy", {"k": 2}, "one-hot", "shares"),
        ("sparse_top_k_categorical_accuracy", {"k": 3}, "labels", "shares"),
    ],
)
def test_accuracies_as_functions(name: str, arguments: Any, targets: str, predicted: str) -> None:
    keras = pytest.importorskip("keras")
    y_true, y_pred = drawn(targets, "float32", 5), drawn(predicted, "float32", 6)
    expected = np.asarray(getattr(keras.metrics, name)(y_true, y_pred, **arguments))
    found = getattr(metrics, name)(y_true, y_pred, **arguments)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1


def test_an_accuracy_as_a_function_is_compiled() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, FEATURES)), drawn("one-hot", "float32", 5)[:40]
    model = model_of(fastdl, "softmax")
    model.compile("sgd", "categorical_crossentropy", metrics=[metrics.categorical_accuracy, metrics.mean_squared_error])
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    y_pred = model.predict(x)
    assert logs["categorical_accuracy"] == pytest.approx(metrics.categorical_accuracy(y, y_pred).mean())
    assert logs["mean_squared_error"] == pytest.approx(((y - y_pred) ** 2).mean(), rel=1e-6)


def test_names_of_keras_are_here() -> None:
    keras = pytest.importorskip("keras")
    left_out = {"CTC"}  # of sequences
    for name, kind in inspect.getmembers(keras.losses, inspect.isclass):
        if issubclass(kind, keras.losses.Loss) and name != "Loss" and name not in left_out:
            assert name in losses.CLASSES, name
    for kind_name in losses.CLASSES:
        assert losses.get(kind_name).name == losses.loss_for(losses.snake_case(kind_name)).name
        assert callable(getattr(losses, losses.snake_case(kind_name)))


@pytest.mark.parametrize("kind", [*losses.CLASSES, *metrics.CLASSES])
def test_defaults_are_keras(kind: str) -> None:
    keras = pytest.importorskip("keras")
    for ours, theirs in ((losses, keras.losses), (metrics, keras.metrics)):
        if hasattr(ours, kind) and hasattr(theirs, kind):
            named = inspect.signature(getattr(theirs, kind)).parameters
            for argument, parameter in inspect.signature(getattr(ours, kind)).parameters.items():
                assert argument in named, argument
                if argument != "name":
                    assert parameter.default == named[argument].default, argument


@pytest.mark.parametrize("name", ["accuracy", "acc"])
@pytest.mark.parametrize("targets", ["labels", "one-hot", "bits"])
def test_accuracy_is_chosen_as_keras_does(name: str, targets: str) -> None:
    keras = pytest.importorskip("keras")
    loss = {"labels": "sparse_categorical_crossentropy", "one-hot": "categorical_crossentropy", "bits": "mse"}[targets]
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(ROWS, FEATURES)).astype("float32"), drawn(targets, "float32", 5)
    start, results = None, []
    for api in (fastdl, keras):
        model = model_of(api, "softmax")
        start = start or [rng.normal(0, 0.5, array.shape) for array in model.get_weights()]
        model.set_weights(start)
        model.compile("sgd", loss, metrics=[name, "mse"] if targets != "labels" else [name])
        results.append(model.evaluate(x, y, verbose=0, return_dict=True))
    assert set(results[0]) == set(results[1])
    for key, value in results[0].items():
        assert value == pytest.approx(results[1][key], rel=1e-5), key


# PyTorch's, where it has the loss by the same formula
TORCH: dict[str, Any] = {
    "mse": lambda f, x, t: f.mse_loss(x, t),
    "mae": lambda f, x, t: f.l1_loss(x, t),
    "huber-delta": lambda f, x, t: f.huber_loss(x, t, delta=0.3),
    "binary": lambda f, x, t: f.binary_cross_entropy(x, t),
    "binary-logits": lambda f, x, t: f.binary_cross_entropy_with_logits(x, t),
    "categorical-logits": lambda f, x, t: f.cross_entropy(x, t),
    "sparse-logits": lambda f, x, t: f.cross_entropy(x, t),
    "kl": lambda f, x, t: f.kl_div(x.log(), t, reduction="batchmean"),
    "poisson": lambda f, x, t: f.poisson_nll_loss(x, t, log_input=False, eps=1e-7),
    "cosine": lambda f, x, t: -f.cosine_similarity(x, t).mean(),
}


@each_dtype
@pytest.mark.parametrize("name", TORCH)
def test_losses_as_torch(name: str, dtype: Dtype) -> None:
    torch = pytest.importorskip("torch")
    kind, arguments, activation, targets = LOSSES[name]
    y_true, y_pred = drawn(targets, dtype, 5), predictions(activation, dtype)
    expected = TORCH[name](torch.nn.functional, torch.from_numpy(y_pred), torch.from_numpy(y_true)).item()
    assert getattr(losses, kind)(**arguments, dtype=dtype)(y_true, y_pred) == pytest.approx(expected, rel=RTOL[dtype])
