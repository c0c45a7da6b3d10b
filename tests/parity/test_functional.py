"""Models of branches, several inputs and heads, shared layers and models of models: 100 steps as Keras takes them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl

from .runs import floatx, keras_precision
from .table import AFTER_RTOL, BATCH, LOSS_RTOL, STEPS, Array, Dtype

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]


def merged(api: Any, name: str) -> Any:
    """Two layers of one input, brought together."""
    x = api.Input((8,))
    a = api.layers.Dense(6, activation="tanh")(x)
    b = api.layers.Dense(6, activation="sigmoid")(x)
    return api.Model(x, api.layers.Dense(2)(getattr(api.layers, name)()([a, b])))


def residual(api: Any) -> Any:
    """Two blocks with skip connections and batch norm."""
    x = api.Input((8,))
    h = api.layers.Dense(12, activation="relu")(x)
    for _ in range(2):
        inner = api.layers.BatchNormalization()(api.layers.Dense(12, use_bias=False)(h))
        h = api.layers.Activation("relu")(api.layers.Add()([h, api.layers.Dense(12)(inner)]))
    return api.Model(x, api.layers.Dense(2)(h))


def wide_and_deep(api: Any) -> Any:
    """Two inputs and two heads."""
    x, z = api.Input((8,)), api.Input((5,))
    h = api.layers.Dense(12, activation="relu")(x)
    both = api.layers.Concatenate()([h, z])
    return api.Model([x, z], [api.layers.Dense(2)(both), api.layers.Dense(1)(h)])


def twins(api: Any) -> Any:
    """One stack of layers, with batch norm, for two inputs."""
    x, z = api.Input((8,)), api.Input((8,))
    stack = api.Sequential([api.layers.Dense(6, activation="tanh"), api.layers.BatchNormalization(center=False)])
    return api.Model([x, z], api.layers.Dense(2)(api.layers.Subtract()([stack(x), stack(z)])))


def frozen_inside(api: Any) -> Any:
    """A model whose inner model is frozen, as in a GAN."""
    inner = api.Sequential([api.Input((6,)), api.layers.Dense(7), api.layers.BatchNormalization(), api.layers.Dense(2)])
    inner.trainable = False
    return api.Sequential([api.Input((8,)), api.layers.Dense(6, activation="relu"), inner])


MODELS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], tuple[int, ...]]] = {
    **{
        name.lower(): (functools.partial(merged, name=name), (8,), (2,))
        for name in ("Add", "Subtract", "Average", "Multiply", "Concatenate")
    },
    "residual": (residual, (8,), (2,)),
    "wide-and-deep": (wide_and_deep, (8, 5), (2, 1)),
    "twins": (twins, (8, 8), (2,)),
    "frozen-inside": (frozen_inside, (8,), (2,)),
}


def trained(api: Any, name: str, weights: list[Array] | None, dtype: Dtype, reset: bool) -> Any:
    make, inputs, outputs = MODELS[name]
    fastdl.utils.set_random_seed(1)
    model = make(api)
    shares = [1.0, 0.25][: len(outputs)] if len(outputs) > 1 else None
    model.compile("adam", ["mse"] * len(outputs) if len(outputs) > 1 else "mse", loss_weights=shares)
    if weights is not None:
        model.set_weights(weights)
    first, rng, losses = [np.array(w) for w in model.get_weights()], np.random.default_rng(2), []
    for _ in range(STEPS):
        x = [rng.standard_normal((BATCH, size)).astype(dtype) for size in inputs]
        y = [rng.standard_normal((BATCH, size)).astype(dtype) for size in outputs]
        if reset:
            model.reset_metrics()
        losses.append(np.ravel(model.train_on_batch(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])))
    new = [rng.standard_normal((BATCH, size)).astype(dtype) for size in inputs]
    found = model.predict(new if len(new) > 1 else new[0], verbose=0)
    answers = [np.array(each) for each in (found if isinstance(found, list) else [found])]
    return first, np.array(losses, np.float64), [np.array(w) for w in model.get_weights()], answers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_it_trains_as_keras(name: str, dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    with floatx(fastdl, dtype):
        first, losses, weights, answers = trained(fastdl, name, None, dtype, False)
    with keras_precision(keras, dtype):
        _, theirs, other_weights, other_answers = trained(keras, name, first, dtype, True)
    assert losses.shape == theirs.shape
    assert np.abs(losses / theirs - 1).max() <= LOSS_RTOL[dtype]
    for ours, other in zip([*weights, *answers], [*other_weights, *other_answers], strict=True):
        assert np.abs(ours - other).max() <= AFTER_RTOL[dtype] * max(np.abs(other).max(), 1e-3)
