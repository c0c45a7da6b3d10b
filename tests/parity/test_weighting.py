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
