"""Batch normalization of any rank and renormalization: beside float64 formulas, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((50, 3, 2, 4)) * [1, 5, 0.1, 2] + [0, 3, 1, -2]
EPSILON = 1e-3


def normal(x: Array, mean: Array, variance: Array) -> Array:
    return (x - mean) / np.sqrt(variance + EPSILON)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [X, X[:, 0], X[:, 0, 0]], ids=["rank 4", "rank 3", "rank 2"])
def test_statistics_are_those_of_the_last_axis(x: Array, dtype: str) -> None:
    axes, tolerance = tuple(range(x.ndim - 1)), 1e-4 if dtype == "float32" else 1e-10
    layer = layers.BatchNormalization(momentum=0.8)
    model = fastdl.Sequential([fastdl.Input(x.shape[1:]), layer], dtype=dtype)
    np.testing.assert_allclose(model.predict(x), normal(x, 0, 1), rtol=tolerance, atol=tolerance)
    mean, variance = x.mean(axes), x.var(axes)
    np.testing.assert_allclose(model(x, training=True), normal(x, mean, variance), rtol=tolerance, atol=tolerance)
    model.compile(fastdl.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=len(x), epochs=2, verbose=0)
    kept = 0.8**2
    np.testing.assert_allclose(layer.moving_mean.numpy(), (1 - kept) * mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer.moving_variance.numpy(), kept + (1 - kept) * variance, rtol=tolerance)
    expected = normal(x, layer.moving_mean.numpy(), layer.moving_variance.numpy())
    np.testing.assert_allclose(model.predict(x), expected, rtol=tolerance, atol=tolerance)


def test_averages_move_on_arrays_in_training_alone() -> None:
    for x in (X[:, 0, 0].astype(np.float32), X.astype(np.float32)):
        layer = layers.BatchNormalization(momentum=0.5)
        layer(x)
        assert (layer.moving_mean.numpy() == 0).all()
        layer(x, training=True)
        axes = tuple(range(x.ndim - 1))
        np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(axes) / 2, rtol=1e-5, atol=1e-6)
        layer.trainable = False
        before = layer.get_weights()
        np.testing.assert_allclose(layer(x, training=True), layer(x), rtol=1e-6)
        assert all((a == b).all() for a, b in zip(before, layer.get_weights(), strict=True))


@pytest.mark.parametrize("clipping", [None, {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}])
@pytest.mark.parametrize("x", [X, X[:, 0, 0]], ids=["rank 4", "rank 2"])
def test_renormalization_is_the_formula(x: Array, clipping: dict[str, float] | None) -> None:
    """Ioffe 2017, with Keras's averages of the deviation; two steps, so that the second one meets the first one's."""
    axes = tuple(range(x.ndim - 1))
    layer = layers.BatchNormalization(momentum=0.9, renorm=True, renorm_clipping=clipping, renorm_momentum=0.7)
    model = fastdl.Sequential([fastdl.Input(x.shape[1:]), layer], dtype="float64")
    rng = np.random.default_rng(1)
    first = [rng.uniform(0.5, 1.5, 4) for _ in layer.weights]
    layer.set_weights(first)
    names = [weight.name for weight in layer.weights]
    assert names == [
        *("gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev")
    ]
    state = dict(zip(names, first, strict=True))
    model.compile(fastdl.optimizers.SGD(0.0), "mse")
    limits = clipping or {"rmax": np.inf, "rmin": 0.0, "dmax": np.inf}
    mean, variance = x.mean(axes), x.var(axes)
    deviation = np.sqrt(variance + EPSILON)
    for _ in range(2):
        r = np.clip(deviation / state["renorm_stddev"], limits["rmin"], limits["rmax"])
        d = np.clip((mean - state["renorm_mean"]) / state["renorm_stddev"], -limits["dmax"], limits["dmax"])
        expected = (normal(x, mean, variance) * r + d) * state["gamma"] + state["beta"]
        np.testing.assert_allclose(model(x, training=True), expected, rtol=1e-10, atol=1e-10)
        model.fit(x, x, batch_size=len(x), verbose=0)
        for name, value, momentum in (
            ("renorm_mean", mean, 0.7),
            ("renorm_stddev", deviation, 0.7),
            ("moving_mean", mean, 0.9),
            ("moving_stddev", deviation, 0.9),
        ):
            state[name] = momentum * state[name] + (1 - momentum) * value
        state["moving_variance"] = state["moving_stddev"] ** 2 - EPSILON
        for name, weight in zip(names, layer.get_weights(), strict=True):
            np.testing.assert_allclose(weight, state[name], rtol=1e-10, err_msg=name)


def test_the_correction_has_no_gradient() -> None:
    """r and d are constants of a step: the slope is that of (y r + d) gamma + beta with both held."""
    x = X[:, 0, 0]
    layer = layers.BatchNormalization(renorm=True)
    model = fastdl.Sequential([fastdl.Input((4,)), layer], dtype="float64")
    rng = np.random.default_rng(2)
    layer.set_weights([rng.uniform(0.5, 1.5, 4) for _ in layer.weights])
    gamma, beta, *_, renorm_mean, renorm_stddev = layer.get_weights()
    y = normal(x, x.mean(0), x.var(0))
    corrected = y * np.sqrt(x.var(0) + EPSILON) / renorm_stddev + (x.mean(0) - renorm_mean) / renorm_stddev
    model.compile(fastdl.optimizers.SGD(1.0), "mse")
    model.fit(x, np.zeros_like(x), batch_size=len(x), verbose=0)
    slope = 2 * (corrected * gamma + beta) / x.size
    np.testing.assert_allclose(layer.gamma.numpy(), gamma - (slope * corrected).sum(0), rtol=1e-9)
    np.testing.assert_allclose(layer.beta.numpy(), beta - slope.sum(0), rtol=1e-9)


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 4), (4,)])
def test_the_file_has_the_moving_averages(renorm: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = X.reshape(-1, *shape)[:50].astype(np.float32)
    stack = [layers.BatchNormalization(renorm=renorm), layers.Flatten(), layers.Dense(2)]
    model = fastdl.Sequential([fastdl.Input(shape), layers.Dense(4), *stack])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((50, 2)), epochs=2, verbose=0)
    report = model.export(tmp_path / "model.onnx", verify=x)
    assert report.proof is not None
    np.testing.assert_allclose(
        fastdl.Runner(tmp_path / "model.onnx").predict(x), model.predict(x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    def trained(count: int) -> list[Array]:
        before = fastdl.get_num_threads()
        fastdl.set_num_threads(count)
        try:
            fastdl.utils.set_random_seed(3)
            stack = [layers.Dense(48), layers.BatchNormalization(renorm=True), layers.Flatten(), layers.Dense(2)]
            model = fastdl.Sequential([fastdl.Input((2, 6)), *stack])
            model.compile("adam", "mse")
            rng = np.random.default_rng(0)
            model.fit(rng.standard_normal((600, 2, 6)), rng.standard_normal((600, 2)), batch_size=300, verbose=0)
            return model.get_weights()
        finally:
            fastdl.set_num_threads(before)

    assert all(np.array_equal(a, b) for a, b in zip(trained(1), trained(threads), strict=True))


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmix": 1}), ValueError, "'rmix' is none"),
    (
        lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 0, "rmin": 1}),
        ValueError,
        "rmax must not",
    ),
    (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), ValueError, "dmax"),
    (lambda: layers.BatchNormalization(renorm_momentum=2.0), ValueError, "renorm_momentum"),
    (lambda: layers.BatchNormalization(0), ValueError, "axis must be"),
    (lambda: layers.BatchNormalization(1)(np.ones((2, 3, 4))), ShapeError, "last axis"),
    (lambda: layers.BatchNormalization()(fastdl.Input((3, None))), ShapeError, "last axis"),
]


@pytest.mark.parametrize(("make", "error", "words"), REFUSED)
def test_refuses(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
