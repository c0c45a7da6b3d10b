"""Weights of samples on arrays, of every shape: what Keras makes of them, or a refusal where Keras fails as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from metrics.cases import LOSSES, METRICS, OUTPUTS, STEPS, WEIGHTS, N, predicted, targets, weight

import fastdl
from fastdl.errors import ShapeError

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]

# Keras fails at these, or computes what nobody means (weights of (n, 1) become (n, n)): here they weigh samples
MORE = {("f1", "scalar"), ("f1", "one"), ("f1", "column")}
SHAPES = {"matrix": (N, OUTPUTS), "vector": (N,), "time": (N, STEPS, OUTPUTS)}


def outcome(call: Any) -> Any:
    try:
        return np.asarray(call())
    except Exception as error:
        return error


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [None, *WEIGHTS])
@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str, weights: str | None, shape: str) -> None:
    keras = pytest.importorskip("keras")
    kind, arguments, wanted = METRICS[name]
    if shape == "vector" and wanted in ("labels", "one-hot"):
        pytest.skip("not of this shape")
    y, t = predicted(SHAPES[shape], wanted), targets(wanted, SHAPES[shape])
    more = () if weights is None else (weight(weights),)
    ours, theirs = (getattr(api.metrics, kind)(**arguments) for api in (fastdl, keras))

    def told(metric: Any) -> Any:
        metric.update_state(t, y, *more)
        metric.update_state(t[:4], y[:4] * 0.9)
        return metric.result()

    expected, got = outcome(lambda: told(theirs)), outcome(lambda: told(ours))
    if isinstance(expected, Exception) or not np.isfinite(expected).all() or (name, weights) in MORE:
        assert not isinstance(got, Exception) or isinstance(got, ShapeError | ValueError), got
        return
    if isinstance(got, Exception):
        raise got
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [None, *WEIGHTS])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, weights: str | None, shape: str) -> None:
    keras = pytest.importorskip("keras")
    kind, arguments, wanted = LOSSES[name]
    if shape == "vector" and wanted in ("labels", "one-hot"):
        pytest.skip("not of this shape")
    y, t = predicted(SHAPES[shape], wanted), targets(wanted, SHAPES[shape])
    more = () if weights is None else (weight(weights),)
    expected = outcome(lambda: getattr(keras.losses, kind)(**arguments)(t, y, *more))
    got = outcome(lambda: getattr(fastdl.losses, kind)(**arguments)(t, y, *more))
    if isinstance(expected, Exception):
        assert isinstance(got, ShapeError), got
        return
    if isinstance(got, Exception):
        raise got
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [None, "scalar", "samples", "column"])
@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name: str, weights: str | None, reduction: str | None) -> None:
    keras = pytest.importorskip("keras")
    kind, _, wanted = LOSSES[name]
    y, t = predicted((N, OUTPUTS), wanted), targets(wanted, (N, OUTPUTS))
    more = () if weights is None else (weight(weights),)
    got, expected = (getattr(api.losses, kind)(reduction=reduction)(t, y, *more) for api in (fastdl, keras))
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_label_that_does_not_count(reduction: str | None, weighted: bool) -> None:
    keras = pytest.importorskip("keras")
    y, t, more = predicted((N, OUTPUTS), "labels"), np.array([0, -1, 2, 3, -1, 1]), (weight("samples"),) * weighted
    got, expected = (
        api.losses.SparseCategoricalCrossentropy(ignore_class=-1, reduction=reduction)(t, y, *more)
        for api in (fastdl, keras)
    )
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-5)
    got, expected = (api.metrics.SparseCategoricalCrossentropy(ignore_class=-1)(t, y, *more) for api in (fastdl, keras))
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-5)


@pytest.mark.parametrize("kind", ["CategoricalCrossentropy", "CosineSimilarity", "BinaryCrossentropy"])
def test_another_axis(kind: str) -> None:
    keras = pytest.importorskip("keras")
    y, t = (
        np.swapaxes(each, 1, 2) for each in (predicted(SHAPES["time"], "one-hot"), targets("one-hot", SHAPES["time"]))
    )
    got, expected = (getattr(api.losses, kind)(axis=1)(t, y) for api in (fastdl, keras))
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
def test_reductions_in_training(reduction: str, weighted: bool) -> None:
    """Over batches of unequal size, a sum as well."""
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    x, y, kernel = rng.random((10, 3)), rng.random((10, 2)), rng.random((3, 2))
    options = {"sample_weight": np.linspace(0.5, 2, 10)} if weighted else {}
    told: list[Any] = []
    for api in (fastdl, keras):
        model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
        model.set_weights([kernel, np.zeros(2)])
        model.compile(api.optimizers.SGD(0.01), api.losses.MeanSquaredError(reduction, "mine"))
        if weighted and reduction == "mean_with_sample_weight" and api is fastdl:
            with pytest.raises(ValueError, match="mine: reduction='mean_with_sample_weight' is for arrays"):
                model.fit(x, y, verbose=0, **options)
            return
        history = model.fit(x, y, 4, epochs=2, shuffle=False, verbose=0, validation_data=(x, y), **options).history
        tested = model.evaluate(x, y, batch_size=3, verbose=0)
        told.append([*history["loss"], *history["val_loss"], tested, *model.get_weights()[0].ravel()])
    np.testing.assert_allclose(*told, rtol=1e-4)


def test_a_loss_of_each_sample_trains_nothing() -> None:
    model = fastdl.Sequential([fastdl.Input((3,)), fastdl.layers.Dense(2)])
    model.compile("sgd", fastdl.losses.Huber(reduction="none"))
    with pytest.raises(ValueError, match="huber_loss must be one number to be trained by"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="reduction must be one of"):
        fastdl.losses.Huber(reduction="total")
    model.compile("sgd", fastdl.losses.CosineSimilarity(axis=0))
    with pytest.raises(ValueError, match="axis must be the last one"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)))
