"""Activations that are composed of fastdl.ops: values by other formulas, gradients, training and ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fastdl
from fastdl import activations, layers
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
X = (3 * np.random.default_rng(0).standard_normal((40, 6))).astype(np.float32)


def projected(x: Array) -> Array:
    """Sparsemax by sorting, as its paper has it."""
    ordered = np.sort(x, -1)[..., ::-1]
    sums, ranks = np.cumsum(ordered, -1), np.arange(1, x.shape[-1] + 1)
    count = (1 + ranks * ordered > sums).sum(-1, keepdims=True)
    return np.maximum(x - (np.take_along_axis(sums, count - 1, -1) - 1) / count, 0)


EXPECTED: dict[str, Callable[[Array], Array]] = {
    "celu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "glu": lambda x: x[:, :3] / (1 + np.exp(-x[:, 3:])),
    "hard_shrink": lambda x: x * (np.abs(x) > 0.5),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "sparse_plus": lambda x: np.select([x <= -1, x < 1], [0 * x, (x + 1) ** 2 / 4], x),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparsemax": projected,
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "tanh_shrink": lambda x: x - np.tanh(x),
}
names = pytest.mark.parametrize("name", EXPECTED)


def test_the_table_has_every_one() -> None:
    assert set(EXPECTED) == set(activations.COMPOSED)


@names
def test_values(name: str) -> None:
    wanted = EXPECTED[name](X.astype(np.float64))
    np.testing.assert_allclose(activations.get(name)(X), wanted, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(layers.Activation(name)(X), wanted, rtol=2e-5, atol=2e-6)
    assert activations.serialize(activations.get(name)) == name


@names
def test_gradients_equal_finite_differences(name: str) -> None:
    source = fastdl.Input((6,), dtype="float64")
    model = fastdl.Model(source, layers.Activation(name)(layers.Scale()(source)))
    model.compile(fastdl.optimizers.SGD(1.0), "mse")
    x = X.astype(np.float64)
    y = np.zeros_like(EXPECTED[name](x))
    model.train_on_batch(x, y)
    step = 1e-6

    def loss(i: int, by: float) -> float:
        scale = np.ones(6)
        scale[i] += by
        return float((EXPECTED[name](x * scale) ** 2).mean())

    slopes = [(loss(i, step) - loss(i, -step)) / (2 * step) for i in range(6)]
    np.testing.assert_allclose(1 - model.get_weights()[0], slopes, rtol=1e-5, atol=1e-7)


@names
def test_export(name: str, tmp_path: Path) -> None:
    model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(8, name), layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], verbose=0)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (result,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(result, model.predict(X), rtol=1e-4, atol=1e-5)


def test_arguments() -> None:
    np.testing.assert_allclose(activations.threshold(X, 1.0, -7.0), np.where(X > 1, X, -7))
    np.testing.assert_allclose(activations.celu(X, 2.0), np.where(X > 0, X, 2 * np.expm1(X / 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(activations.softmax(X, axis=0).sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(activations.log_softmax(X, axis=(0, 1))).sum(), 1, rtol=1e-5)
    with pytest.raises(ShapeError, match="not even"):
        activations.glu(X[:, :5])
