"""Names of metrics, of their keys in logs, of optimizers and layers: Keras's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]


def squared(y_true: Any, y_pred: Any) -> Any:
    return ((y_true - y_pred) ** 2).mean(-1)


# name: (metrics, weighted_metrics, loss, outputs), as an API makes them
CASES: dict[str, Any] = {
    "once": lambda k: (["mse"], ["mse"], "mse", 1),
    "twice": lambda k: (["mse", "mse", "MSE", k.metrics.MeanSquaredError()], ["mse", "mae", "mae"], "mse", 1),
    "own function": lambda k: ([squared, squared], None, "mse", 1),
    "named": lambda k: ([k.metrics.MeanSquaredError(name="x"), k.metrics.Mean(name="loss")][:1] * 2, None, "mse", 1),
    "instances": lambda k: ([k.metrics.Precision(), k.metrics.AUC(), k.metrics.Precision()], None, "bce", 1),
    "snake case": lambda k: (["f1_score", "f_beta_score", "FBetaScore", "r2_score", "AUC", "auc"], None, "bce", 1),
    "fbeta": lambda k: ([k.metrics.FBetaScore(), k.metrics.LogCoshError(), k.metrics.KLDivergence()], None, "bce", 1),
    "accuracy": lambda k: (["accuracy", "acc", "Accuracy", "ACC"], None, "bce", 1),
    "several outputs": lambda k: ([["mse"], ["mse"]], [["mse"], ["mse"]], "mse", 2),
    "more of one": lambda k: ([["mse", "mse"], None], [["mse", "mse", "mse"], "mae"], ["mse", "mae"], 2),
    "by name": lambda k: ({"a": "mse"}, {"b": ["mse"]}, "mse", 2),
    "instances by name": lambda k: ({"a": "accuracy", "b": k.metrics.FBetaScore(average="macro")}, None, "mse", 2),
}


def fitted(api: Any, name: str) -> Any:
    metrics, weighted, loss, outputs = CASES[name](api)
    source = api.Input((3,), name="x")
    heads = [api.layers.Dense(2, "sigmoid", name=each)(source) for each in "ab"[:outputs]]
    model = api.Model(source, heads if outputs > 1 else heads[0])
    rng = np.random.default_rng(0)
    for weight, value in zip(model.get_weights(), model.get_weights(), strict=True):
        value[...] = rng.standard_normal(weight.shape)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    model.compile(api.optimizers.SGD(0.01), loss, metrics=metrics, weighted_metrics=weighted)
    x, y = rng.random((12, 3)).astype(np.float32), rng.integers(0, 2, (12, 2)).astype(np.float32)
    targets = [y] * outputs if outputs > 1 else y
    history = model.fit(x, targets, validation_data=(x, targets), verbose=0).history
    return model, history, model.evaluate(x, targets, verbose=0)


@pytest.mark.parametrize("name", CASES)
def test_keys_of_logs(name: str) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    fastdl.utils.clear_session()
    (ours, got, _), (theirs, expected, _) = fitted(fastdl, name), fitted(keras, name)
    assert set(got) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(np.asarray(got[key]), np.asarray(values), rtol=2e-4, atol=1e-6, err_msg=key)
    assert ours.metrics_names == theirs.metrics_names


@pytest.mark.parametrize("name", ["fbeta", "several outputs", "by name", "instances by name"])
def test_values_of_evaluate_stand_in_keras_order(name: str) -> None:
    keras = pytest.importorskip("keras")
    (_, _, got), (_, _, expected) = fitted(fastdl, name), fitted(keras, name)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-4, atol=1e-6)


NUMBERED = ["SGD", "Adam", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"]
LAYERS = ["Dense", "Dense", "PReLU", "ReLU", "ELU", "BatchNormalization", "GlobalAveragePooling1D", "Flatten"]


def test_names_of_optimizers_and_layers() -> None:
    keras = pytest.importorskip("keras")
    told = []
    for api in (fastdl, keras):
        api.utils.clear_session()
        made = [getattr(api.optimizers, kind)().name for kind in NUMBERED]
        made += [(getattr(api.layers, kind)(*([1] * (kind == "Dense")))).name for kind in LAYERS]
        made += [
            getattr(api.metrics, kind)().name for kind in ("AUC", "AUC", "Precision", "Recall", "F1Score", "F1Score")
        ]
        told.append([*made, getattr(api.metrics.MeanSquaredError(), "name", None)])
    assert told[0] == told[1]


def test_metrics_of_a_model() -> None:
    keras = pytest.importorskip("keras")
    for api in (fastdl, keras):
        model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
        assert model.metrics_names == []
        model.compile("sgd", "mse", metrics=["mae"])
        assert model.metrics_names == ["loss", "compile_metrics"]
        x = np.ones((5, 3), np.float32)
        logs = model.evaluate(x, np.zeros((5, 2)), verbose=0, return_dict=True)
        loss, compiled = model.metrics
        assert float(loss.result()) == pytest.approx(logs["loss"], rel=1e-6)
        assert {name: float(value) for name, value in compiled.result().items()} == pytest.approx({"mae": logs["mae"]})
        assert [metric.name for metric in compiled.metrics] == ["mae"]
        model.reset_metrics()
        assert float(loss.result()) == 0


def test_inputs_stand_among_layers() -> None:
    keras = pytest.importorskip("keras")
    for api in (fastdl, keras):
        source = api.Input((3,), name="x")
        model = api.Model(source, api.layers.Dense(2, name="d")(source))
        first = model.layers[0]
        assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Dense"]
        assert (first.name, first.count_params(), tuple(first.output.shape)) == ("x", 0, (None, 3))
        assert model.get_layer("x") is first
        stack = api.Sequential([api.layers.InputLayer((3,)), api.layers.Dense(2)])
        assert [type(layer).__name__ for layer in stack.layers] == ["Dense"]


def test_tuples_stay_tuples() -> None:
    keras = pytest.importorskip("keras")
    for api in (fastdl, keras):
        assert api.layers.Reshape([2, 3]).get_config()["target_shape"] == (2, 3)
        assert api.layers.RandomZoom((-0.1, 0.2)).get_config()["height_factor"] == (-0.1, 0.2)
        assert api.constraints.MaxNorm(axis=(0, 1)).get_config()["axis"] == (0, 1)

        class Two(api.layers.Layer):  # type: ignore[misc]
            def call(self, x: Any) -> Any:
                return x, x

        assert isinstance(Two()(api.Input((3,))), tuple)
        assert isinstance(Two()(np.ones((2, 3), np.float32)), tuple)
