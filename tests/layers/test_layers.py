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
    (lambda: fastdl.Sequential([fastdl.Input((3, 2)), layers.PReLU(shared_axes=3)]), ValueError),
    (lambda: layers.PReLU(shared_axes=0), ValueError),
    (lambda: layers.Dropout(0.5, noise_shape=(1, 5)), ValueError),
    (lambda: layers.Dropout(0.5, noise_shape=5), ValueError),
    (lambda: through(layers.Dropout(0.5, noise_shape=(None, 3))), ShapeError),
    (lambda: through(layers.AlphaDropout(0.5, noise_shape=(None, 1, 5))), ShapeError),
    (lambda: layers.Embedding(3, 4, weights=np.ones((4, 3))), ShapeError),
    (lambda: layers.Flatten(data_format="last"), ValueError),
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


SHARED: dict[str, Callable[[], layers.Layer]] = {
    "Dropout": lambda: layers.Dropout(0.5, noise_shape=(None, 1, None)),
    "Dropout of a known batch": lambda: layers.Dropout(0.5, noise_shape=[400, 1, 4]),
    "Dropout seeded": lambda: layers.Dropout(0.5, (None, 1, 4), seed=3),
    "AlphaDropout": lambda: layers.AlphaDropout(0.5, noise_shape=(None, 1, None)),
}


@pytest.mark.parametrize("name", SHARED)
def test_one_draw_is_for_all_of_an_axis_of_size_one(name: str) -> None:
    layer, x = SHARED[name](), np.random.default_rng(0).standard_normal((400, 3, 4)) + 5.0
    found = layer(x, training=True)
    if "Alpha" in name:
        limit = -activations.SELU_ALPHA * activations.SELU_SCALE
        a = ((1 - 0.5) * (1 + 0.5 * limit**2)) ** -0.5
        b = -a * limit * 0.5
        kept, lost = a * x + b, np.full_like(x, a * limit + b)
    else:
        kept, lost = 2 * x, np.zeros_like(x)
    dropped = np.isclose(found, lost, atol=1e-5)
    np.testing.assert_allclose(found, np.where(dropped, lost, kept), rtol=1e-5)
    assert (dropped == dropped[:, :1]).all()
    assert 0.4 < dropped.mean() < 0.6
    assert (dropped[:, 0, 0] != dropped[:, 0, 1]).any()
    np.testing.assert_allclose(layer(x), x, rtol=1e-6)


def test_shared_slopes_are_trained() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3, 4)).astype(np.float32)
    layer = layers.PReLU("random_uniform", shared_axes=[1])
    model = fastdl.Sequential([fastdl.Input((3, 4)), layer, layers.Flatten(), layers.Dense(2)])
    assert layer.alpha.shape == (1, 4)
    alpha = layer.alpha.numpy()
    np.testing.assert_allclose(layer(x), np.where(x < 0, alpha * x, x), rtol=1e-6)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((50, 2)), verbose=0)
    assert (layer.alpha.numpy() != alpha).all()


def test_rms_scaling_divides_by_the_deviation_alone() -> None:
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    expected = x / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    layer = layers.LayerNormalization(rms_scaling=True)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)
    assert [weight.name for weight in layer.weights] == ["gamma"]


def spectral(kernel: Array, u: Array, iterations: int) -> tuple[Array, Array]:
    """By its definition: the power iteration, in float64."""
    for _ in range(iterations):
        v = u @ kernel.T / np.linalg.norm(u @ kernel.T)
        u = v @ kernel / np.linalg.norm(v @ kernel)
    return kernel / (v @ kernel @ u.T), u


@pytest.mark.parametrize("iterations", [1, 50])
def test_spectral_normalization(iterations: int) -> None:
    inner = layers.Dense(4, use_bias=False)
    layer = layers.SpectralNormalization(inner, iterations)
    model = fastdl.Sequential([fastdl.Input((5,)), layer], dtype="float64")
    assert [weight.name for weight in layer.weights] == ["kernel", "vector_u"]
    before = layer.get_weights()
    x, y = WIDE, np.ones((12, 4))
    np.testing.assert_allclose(model.predict(x), x @ before[0], rtol=1e-12)  # nothing in inference
    model.compile(fastdl.optimizers.SGD(0.01), "mse")
    model.fit(x, y, batch_size=12, verbose=0)
    kernel, u = spectral(*before, iterations)
    np.testing.assert_allclose(layer.vector_u.numpy(), u, rtol=1e-10)
    step = 0.01 * x.T @ (2 * (x @ kernel - y) / y.size)
    np.testing.assert_allclose(inner.kernel.numpy(), kernel - step, rtol=1e-9)
    layer(x, training=True)
    if iterations == 50:
        assert np.linalg.norm(inner.kernel.numpy(), 2) == pytest.approx(1, rel=1e-6)


class Doubling(layers.Wrapper):
    def call(self, inputs: Any, **options: Any) -> Any:
        return 2.0 * self.layer(inputs, **options)


def test_a_wrapper_of_ones_own() -> None:
    wrapper = Doubling(layers.Dense(2, activity_regularizer="l2"))
    found = wrapper(X)
    np.testing.assert_allclose(found, 2 * (X @ wrapper.get_weights()[0]), rtol=1e-5)
    assert len(wrapper.trainable_weights) == 2
    np.testing.assert_allclose(wrapper.losses, [0.01 * (found**2).sum() / 4 / 12], rtol=1e-5)
    again = Doubling.from_config(wrapper.get_config())
    assert again.get_config() == wrapper.get_config()


def test_a_lambda_as_a_layer() -> None:
    layer = layers.Lambda(lambda x, training=None: x * (0.0 if training else 2.0), output_shape=(5,))
    np.testing.assert_allclose(layer(X), 2 * X)
    np.testing.assert_allclose(layer(X, training=True), 0 * X)
    again = layers.Lambda.from_config(layer.get_config(), safe_mode=False)
    np.testing.assert_allclose(again(X), 2 * X)
    assert layers.Lambda(np.tanh, output_shape=lambda shape: (*shape, 1)).compute_output_shape((2, 3)) == (2, 3, 1)


def test_rows_to_begin_with() -> None:
    rows = np.arange(12.0).reshape(3, 4)
    for weights in (rows, [rows]):
        layer = layers.Embedding(3, 4, weights=weights)
        np.testing.assert_array_equal(layer.embeddings.numpy(), rows)
        np.testing.assert_array_equal(layer(np.array([2, 0])), rows[[2, 0]])
    assert "weights" not in layer.get_config()


def test_what_stands_for_an_input() -> None:
    with pytest.warns(UserWarning, match="`input_shape` is deprecated"):
        layer = layers.InputLayer(input_shape=(2, 3), batch_size=4)
    assert (layer.batch_shape, layer.dtype, layer.call()) == ((4, 2, 3), "float32", None)
    with pytest.warns(UserWarning, match="Use `batch_shape`"):
        assert layers.InputLayer(batch_input_shape=(None, 3), dtype="int32").dtype == "int32"


def test_channels_first_is_flattened_with_them_last() -> None:
    x = np.arange(24.0).reshape(2, 3, 2, 2).astype(np.float32)
    expected = x.transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_array_equal(layers.Flatten("channels_first")(x), expected)
