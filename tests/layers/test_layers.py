"""Layers around activations and noise: their arguments, what they refuse, and training against inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import activations, layers
from fastdl.errors import ShapeError

Array = np.ndarray[Any, Any]
X = np.linspace(-4, 4, 60, dtype=np.float32).reshape(12, 5)
WIDE = X.astype(np.float64)


def through(*stack: layers.Layer) -> fastdl.Sequential:
    return fastdl.Sequential([fastdl.Input((5,)), *stack])


# layer: what it computes in inference
FORMULAS: list[tuple[Callable[[], layers.Layer], Array]] = [
    (layers.ReLU, np.maximum(WIDE, 0)),
    (lambda: layers.ReLU(2), np.clip(WIDE, 0, 2)),
    (lambda: layers.ReLU(negative_slope=0.1), np.where(WIDE < 0, 0.1 * WIDE, WIDE)),
    (lambda: layers.ReLU(2, 0.1, 0.5), np.where(WIDE > 0.5, np.minimum(WIDE, 2), 0.1 * (WIDE - 0.5))),
    (layers.LeakyReLU, np.where(WIDE < 0, 0.3 * WIDE, WIDE)),
    (lambda: layers.LeakyReLU(alpha=0.1), np.where(WIDE < 0, 0.1 * WIDE, WIDE)),
    (layers.PReLU, np.maximum(WIDE, 0)),
    (lambda: layers.PReLU(fastdl.initializers.Constant(0.25)), np.where(WIDE < 0, 0.25 * WIDE, WIDE)),
    (layers.RReLU, np.where(WIDE < 0, 11 / 48 * WIDE, WIDE)),
    (lambda: layers.ELU(0.5), np.where(WIDE < 0, 0.5 * np.expm1(WIDE), WIDE)),
    (lambda: layers.Rescaling(0.5, -1), WIDE / 2 - 1),
    (lambda: layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0], np.full(5, 0.5)), WIDE * [1, 2, 3, 4, 5] + 0.5),
    (layers.Identity, WIDE),
    (lambda: layers.GaussianNoise(0.1), WIDE),
    (lambda: layers.GaussianDropout(0.1), WIDE),
    (lambda: layers.AlphaDropout(0.1), WIDE),
    (lambda: layers.Activation(layers.LeakyReLU(0.2)), np.where(WIDE < 0, 0.2 * WIDE, WIDE)),
]


@pytest.mark.parametrize(("make", "expected"), FORMULAS)
def test_inference_is_the_formula(make: Callable[[], layers.Layer], expected: Array) -> None:
    np.testing.assert_allclose(through(make()).predict(X), expected, rtol=1e-6, atol=1e-6)


REFUSED: list[tuple[Callable[[], Any], type[Exception]]] = [
    (lambda: layers.ReLU(max_value=-1), ValueError),
    (lambda: layers.ReLU(negative_slope=-0.1), ValueError),
    (lambda: layers.ReLU(threshold=float("nan")), ValueError),
    (lambda: layers.LeakyReLU(None), ValueError),  # type: ignore[arg-type]
    (lambda: layers.ELU(-1), ValueError),
    (lambda: layers.RReLU(0.5, 0.1), ValueError),
    (lambda: layers.Rescaling("no"), ValueError),
    (lambda: through(layers.Rescaling([1.0, 2.0])), ShapeError),
    (lambda: through(layers.Rescaling(np.ones((3, 5)))), ShapeError),
    (lambda: layers.GaussianNoise(-1), ValueError),
    (lambda: layers.GaussianDropout(1), ValueError),
    (lambda: layers.AlphaDropout(1), ValueError),
    (lambda: layers.LayerNormalization(axis="last"), TypeError),
    (lambda: layers.LayerNormalization(epsilon=0), ValueError),
    (lambda: layers.Softmax(axis=0), ValueError),
    (lambda: layers.Activation("no such"), ValueError),
    (lambda: fastdl.Sequential([fastdl.Input((3, 2)), layers.PReLU()]), ShapeError),
    (lambda: fastdl.Sequential([fastdl.Input((2,)), layers.LayerNormalization(axis=2)]), ValueError),
]


@pytest.mark.parametrize(("make", "error"), REFUSED)
def test_refuses(make: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_a_dense_layer_owns_the_weights_of_its_activation() -> None:
    model = through(layers.Dense(3, activation=layers.PReLU()), layers.Dense(2))
    assert [weight.path.rpartition("/")[2] for weight in model.layers[0].weights] == ["kernel", "bias", "alpha"]
    assert model.layers[0].count_params() == 5 * 3 + 3 + 3
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, np.ones((12, 2)), verbose=0)
    assert not np.array_equal(model.get_weights()[2], before[2])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, np.ones((12, 2)), verbose=0)
    assert np.array_equal(model.get_weights()[2], before[2])


def test_a_layer_without_weights_may_be_many_layers_activation() -> None:
    leaky = layers.LeakyReLU(alpha=0.2)
    model = through(layers.Dense(3, activation=leaky), layers.Dense(2, activation=leaky))
    model.compile("sgd", "mse")
    model.fit(X, np.ones((12, 2)), verbose=0)


def test_activations_with_arguments_are_functions_of_tensors() -> None:
    model = through(layers.Activation(lambda x: activations.gelu(x, approximate=True)))
    z = np.sqrt(2 / np.pi) * (WIDE + 0.044715 * WIDE**3)
    np.testing.assert_allclose(model.predict(X), WIDE / 2 * (1 + np.tanh(z)), rtol=1e-5, atol=1e-6)


NOISY: dict[str, Callable[[], layers.Layer]] = {
    "GaussianNoise": lambda: layers.GaussianNoise(0.5),
    "GaussianDropout": lambda: layers.GaussianDropout(0.3),
    "AlphaDropout": lambda: layers.AlphaDropout(0.3),
    "RReLU": layers.RReLU,
}


def trained(make: Callable[[], layers.Layer], threads: int, rows: int, copies: int = 1) -> list[Array]:
    before = fastdl.get_num_threads()
    fastdl.set_num_threads(threads)
    try:
        fastdl.utils.set_random_seed(3)
        stack = [layer for _ in range(copies) for layer in (layers.Dense(40, "tanh"), make())]
        model = fastdl.Sequential([fastdl.Input((5,)), *stack, layers.Dense(2)])
        model.compile("adam", "mse")
        rng = np.random.default_rng(0)
        model.fit(rng.standard_normal((rows, 5)), rng.standard_normal((rows, 2)), batch_size=rows // 2, verbose=0)
        return model.get_weights()
    finally:
        fastdl.set_num_threads(before)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("rows", [70, 3000])
def test_noise_does_not_depend_on_threads_and_is_there(name: str, rows: int) -> None:
    one = trained(NOISY[name], 1, rows)
    for threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(one, trained(NOISY[name], threads, rows), strict=True))
    quiet = trained(layers.Identity, 1, rows)
    assert not np.array_equal(one[0], quiet[0])


@pytest.mark.parametrize("name", NOISY)
def test_two_layers_have_noise_of_their_own(name: str) -> None:
    """Each op's stream is its own, and none is that of a Dropout layer."""
    from fastdl.compiler.builder import Builder

    model = through(layers.Dropout(0.1), NOISY[name](), NOISY[name]())
    graph = model.trace()
    build = Builder(graph, 5, True, None)
    streams = {build.stream(op) for op in graph.ops if op.randomness is not None}
    assert len(streams) == 3


def test_layer_normalization_with_one_feature_is_beta() -> None:
    model = fastdl.Sequential([fastdl.Input((1,)), layers.LayerNormalization()])
    assert np.array_equal(model.predict(X.reshape(-1, 1)), np.zeros((60, 1)))
