"""Every activation and its gradient, number by number, in fastdl, Keras 3 and PyTorch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import _ext, activations, kernels, layers

from .runs import keras_precision
from .table import Array, Dtype

pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("one_torch_thread")]
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
RTOL = {"float32": 2e-6, "float64": 1e-14}
SELU_ALPHA, SELU_SCALE = activations.SELU_ALPHA, activations.SELU_SCALE

# row of the kernel table, and a name for it: its scalars, and the function of torch.nn.functional
Peer = Callable[[Any, Any], Any]
ROWS: dict[str, tuple[str, tuple[float, ...], Peer]] = {
    "cos": ("cos", (), lambda f, x: x.cos()),
    "sin": ("sin", (), lambda f, x: x.sin()),
    "relu": ("relu", (), lambda f, x: f.relu(x)),
    "relu6": ("relu6", (6,), lambda f, x: f.relu6(x)),
    "leaky_relu": ("leaky_relu", (0.2,), lambda f, x: f.leaky_relu(x, 0.2)),
    "rectify": ("rectify", (0, np.inf, 1), lambda f, x: f.threshold(x, 1, 0)),
    "sigmoid": ("sigmoid", (), lambda f, x: x.sigmoid()),
    "hard_sigmoid": ("hard_sigmoid", (), lambda f, x: f.relu6(x + 3) / 6),  # f.hardsigmoid's slope is a float32
    "tanh": ("tanh", (), lambda f, x: x.tanh()),
    "exponential": ("exponential", (), lambda f, x: x.exp()),
    "softplus": ("softplus", (), lambda f, x: f.softplus(x)),
    "softsign": ("softsign", (), lambda f, x: f.softsign(x)),
    "elu": ("elu", (0.7, 1), lambda f, x: f.elu(x, 0.7)),
    "selu": ("elu", (SELU_ALPHA, SELU_SCALE), lambda f, x: f.selu(x)),
    "rescale": ("rescale", (2, 0.5), lambda f, x: x * 2 + 0.5),
    "silu": ("silu", (), lambda f, x: f.silu(x)),
    "hard_silu": ("hard_silu", (), lambda f, x: f.hardswish(x)),
    "mish": ("mish", (), lambda f, x: f.mish(x)),
    "gelu": ("gelu", (), lambda f, x: f.gelu(x)),
    "gelu_tanh": ("gelu_tanh", (), lambda f, x: f.gelu(x, approximate="tanh")),
}


def grid(dtype: Dtype) -> Array:
    """Without the points where a slope jumps, for there the peers do not agree either."""
    x = np.linspace(-15, 15, 6002)
    return x[~np.isin(x.round(6), [-3, 0, 1, 3, 6])].astype(dtype)


def test_every_row_is_in_this_table() -> None:
    assert {row for row, *_ in ROWS.values()} == set(_ext.ACTIVATIONS)


@each_dtype
@pytest.mark.parametrize("name", ROWS)
def test_value_and_gradient_as_torch(name: str, dtype: Dtype) -> None:
    torch = pytest.importorskip("torch")
    row, scalars, peer = ROWS[name]
    x = grid(dtype)
    given = torch.from_numpy(x.copy()).requires_grad_()
    theirs = peer(torch.nn.functional, given)
    theirs.sum().backward()
    ours = kernels.activation(row, x[:, None], *scalars)
    saved = x[:, None] if _ext.ACTIVATIONS[row][1] else ours
    slopes = kernels.activation_backward(row, saved, np.ones_like(ours), *scalars)
    np.testing.assert_allclose(ours[:, 0], theirs.detach().numpy(), rtol=RTOL[dtype], atol=RTOL[dtype])
    np.testing.assert_allclose(slopes[:, 0], given.grad.numpy(), rtol=2 * RTOL[dtype], atol=2 * RTOL[dtype])


@each_dtype
@pytest.mark.parametrize("name", activations.NAMES)
def test_value_as_keras(name: str, dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    x = grid(dtype)[:6000].reshape(-1, 8)
    model = fastdl.Sequential([fastdl.Input((8,)), layers.Activation(name)], dtype=dtype)
    with keras_precision(keras, dtype):
        own = {
            "gelu_tanh": partial(keras.activations.gelu, approximate=True),
            "cos": keras.ops.cos,
            "sin": keras.ops.sin,
        }
        function = own[name] if name in own else keras.activations.get(name)
        theirs = np.asarray(function(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(model.predict(x), theirs, rtol=RTOL[dtype], atol=RTOL[dtype])


@each_dtype
def test_relu_options_as_keras(dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    x = grid(dtype)[:6000].reshape(-1, 8)
    for slope in (0.0, 0.3):
        for top in (None, 2.0, 6.0):
            for threshold in (0.0, 0.5):
                model = fastdl.Sequential([fastdl.Input((8,)), layers.ReLU(top, slope, threshold)], dtype=dtype)
                with keras_precision(keras, dtype):
                    layer = keras.layers.ReLU(top, slope, threshold)
                    theirs = np.asarray(layer(keras.ops.convert_to_tensor(x)))
                np.testing.assert_allclose(model.predict(x), theirs, rtol=RTOL[dtype], atol=RTOL[dtype])
