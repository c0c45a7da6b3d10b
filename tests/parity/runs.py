"""How a row is run: by fastdl and by Keras 3, which is one code for both, and by plain PyTorch.

Each returns the loss of every batch, taken before that batch's update.
"""

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from .table import FEATURES, Array, BatchNorm, Dense, Dtype, Net, Other, Row, numbers


@dataclass(frozen=True)
class Run:
    losses: Array
    accuracies: Array | None = None  # of each batch; classification through the Keras API only
    weights: tuple[Array, ...] = ()  # after the last step, in Keras's order; Keras API only
    predicted: Array | None = None  # in inference mode after the last step
    evaluated: Array | None = None  # likewise: loss, and accuracy where there is one


# ------------------------------------------------------------------------------- the Keras API: two libraries


@contextmanager
def floatx(api: Any, dtype: Dtype) -> Iterator[None]:
    before = api.config.floatx()
    api.config.set_floatx(dtype)
    try:
        yield
    finally:
        api.config.set_floatx(before)


def keras_model(api: Any, net: Net, features: int, **options: Any) -> Any:
    layers: list[Any] = [api.Input((features,))]
    for layer in net.layers:
        if isinstance(layer, Dense):
            layers.append(api.layers.Dense(layer.units, activation=layer.activation, use_bias=layer.use_bias))
        elif isinstance(layer, BatchNorm):
            layers.append(api.layers.BatchNormalization())
        elif isinstance(layer, Other):
            layers.append(getattr(api.layers, layer.name)(**dict(layer.options)))
        else:
            layers.append(api.layers.Activation(layer.name))
    return api.Sequential(layers, **options)


def keras_loss(api: Any, net: Net) -> Any:
    if not net.from_logits:
        return net.loss
    names = {
        "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
        "categorical_crossentropy": "CategoricalCrossentropy",
        "binary_crossentropy": "BinaryCrossentropy",
    }
    return getattr(api.losses, names[net.loss])(from_logits=True)


def compiled(api: Any, row: Row, **options: Any) -> Any:
    model = keras_model(api, row.net, FEATURES, **options)
    name, arguments = row.optimizer
    model.compile(
        optimizer=getattr(api.optimizers, name)(**arguments),
        loss=keras_loss(api, row.net),
        metrics=["accuracy"] if has_accuracy(row.net) else None,
    )
    return model


def has_accuracy(net: Net) -> bool:
    return net.target in ("class", "one-hot")


def train(model: Any, row: Row, dtype: Dtype, *, reset: bool = False) -> Run:
    """`reset`: Keras's train_on_batch returns running averages; fastdl's the batch's own."""
    given = numbers(row.net, dtype)
    model.set_weights(given.weights)
    results = []
    for x, y in given.batches:
        if reset:
            model.reset_metrics()
        results.append(model.train_on_batch(x, y))
    both = np.array(results, np.float64).reshape(len(results), -1)
    return Run(
        both[:, 0],
        both[:, 1] if has_accuracy(row.net) else None,
        tuple(np.array(array) for array in model.get_weights()),
        np.array(model.predict(given.x_new, verbose=0)),
        np.atleast_1d(model.evaluate(given.x_new, given.y_new, batch_size=24, verbose=0)),  # 24, 24 and 16
    )


@contextmanager
def keras_precision(keras: Any, dtype: Dtype) -> Iterator[None]:
    """Let Keras really compute in `dtype`; `set_floatx` alone does not, in two ways.

    The global dtype policy is made from floatx when it is first asked for, and stays. And on every backend
    but TensorFlow, float64 with float64 promotes to float32 (keras/src/backend/common/dtypes.py), so `matmul`
    and the losses round to float32; here that table gets TensorFlow's entry.
    """
    dtypes = pytest.importorskip("keras.src.backend.common.dtypes")
    if dtype == "float64" and not hasattr(dtypes, "BIT64_TO_BIT32_DTYPE"):
        pytest.skip("this Keras keeps its type promotion elsewhere: no float64 reference")
    before = keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch, floatx(keras, dtype):
        if dtype == "float64":
            patch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
        keras.config.set_dtype_policy(dtype)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)


@functools.cache
def by_keras(row: Row, dtype: Dtype) -> Run:
    keras = pytest.importorskip("keras")
    if dtype == "float64" and row.net_name == "hard_sigmoid":
        pytest.skip("the slope of PyTorch's hardsigmoid, which Keras calls, is a float32")
    with keras_precision(keras, dtype):
        return train(compiled(keras, row), row, dtype, reset=True)


@functools.cache
def by_fastdl(row: Row, dtype: Dtype) -> Run:
    import fastdl

    with floatx(fastdl, dtype):
        return train(compiled(fastdl, row), row, dtype)


# --------------------------------------------------------------------------------------------- plain PyTorch


def torch_model(torch: types.ModuleType, net: Net, weights: list[Array]) -> Any:
    """The same net from torch.nn's modules; the last activation is left to the loss."""
    nn, left = torch.nn, iter(weights)
    activations = torch_activations(torch)

    def next_tensor() -> Any:
        return torch.from_numpy(next(left).copy())

    modules: list[Any] = []
    for layer in net.layers:
        name = ""
        if isinstance(layer, Dense):
            kernel = next_tensor()
            linear = nn.Linear(*kernel.shape, bias=layer.use_bias, dtype=kernel.dtype)
            linear.weight.data = kernel.T.contiguous()
            if layer.use_bias:
                linear.bias.data = next_tensor()
            modules.append(linear)
            name = layer.activation if layer is not net.layers[-1] else ""
        elif isinstance(layer, BatchNorm):
            gamma, beta = next_tensor(), next_tensor()
            norm = nn.BatchNorm1d(len(gamma), eps=1e-3, momentum=0.01, dtype=gamma.dtype)
            norm.weight.data, norm.bias.data = gamma, beta
            next(left), next(left)  # moving mean and variance: 0 and 1, as in torch
            modules.append(norm)
        elif layer == Other("PReLU"):
            slopes = next_tensor()
            modules.append(nn.PReLU(len(slopes), dtype=slopes.dtype))
            modules[-1].weight.data = slopes
        elif layer == Other("LayerNormalization"):
            gamma, beta = next_tensor(), next_tensor()
            modules.append(nn.LayerNorm(len(gamma), eps=1e-3, dtype=gamma.dtype))
            modules[-1].weight.data, modules[-1].bias.data = gamma, beta
        else:
            name = layer.name
        if name not in ("", "linear", "softmax"):
            modules.append(torch_function(torch, activations[name]))
    return nn.Sequential(*modules)


def torch_activations(torch: types.ModuleType) -> dict[str, Callable[[Any], Any]]:
    """The activations of the table, and its layers that have no weights, as functions of PyTorch's."""
    f = torch.nn.functional
    return {
        "relu": f.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "relu6": f.relu6,
        "leaky_relu": lambda x: f.leaky_relu(x, 0.2),
        "elu": f.elu,
        "selu": f.selu,
        "gelu": f.gelu,
        "silu": f.silu,
        "swish": f.silu,
        "mish": f.mish,
        "softplus": f.softplus,
        "softsign": f.softsign,
        "hard_sigmoid": lambda x: f.relu6(x + 3) / 6,  # the slope of f.hardsigmoid is a float32
        "hard_silu": f.hardswish,
        "exponential": torch.exp,
        "log_softmax": lambda x: f.log_softmax(x, 1),
        "ReLU": lambda x: torch.where(x > 0.2, x.clamp(max=1.5), 0.1 * (x - 0.2)),
        "LeakyReLU": lambda x: f.leaky_relu(x, 0.3),
        "ELU": lambda x: f.elu(x, 0.7),
        "Rescaling": lambda x: x * 0.7 + 0.2,
    }


def torch_function(torch: types.ModuleType, function: Callable[[Any], Any]) -> Any:
    """A function as a module."""
    module = torch.nn.Module()
    module.forward = function
    return module


def torch_loss(torch: types.ModuleType, net: Net) -> Any:
    """From logits always, which is what probabilities come to unless they reach Keras's clip at 1e-7."""
    f = torch.nn.functional
    if net.loss == "mse":
        return f.mse_loss
    if net.loss == "binary_crossentropy":
        return f.binary_cross_entropy_with_logits
    return f.cross_entropy  # takes classes and, one-hot, probabilities


def torch_optimizer(torch: types.ModuleType, row: Row, parameters: Any) -> Any:
    name, arguments = row.optimizer
    if name == "SGD":
        return torch.optim.SGD(
            parameters,
            lr=arguments["learning_rate"],
            momentum=arguments.get("momentum", 0.0),
            nesterov=arguments.get("nesterov", False),
        )
    return torch.optim.Adam(
        parameters,
        lr=arguments["learning_rate"],
        betas=(arguments.get("beta_1", 0.9), arguments.get("beta_2", 0.999)),
        eps=keras_epsilon(row),
    )


def keras_epsilon(row: Row) -> float:
    return float(row.optimizer[1].get("epsilon", 1e-7))


def set_adam_epsilon(optimizer: Any, epsilon: float, step: int) -> None:
    """Make PyTorch's Adam Keras's, for the step (from 1) that comes.

    PyTorch: lr / (1-b1^t) · m / (√v / s + eps) with s = √(1-b2^t).
    Keras:   lr · s / (1-b1^t) · m / (√v + epsilon). The same for eps = epsilon / s.
    """
    for group in optimizer.param_groups:
        group["eps"] = epsilon / np.sqrt(1 - group["betas"][1] ** step)


@functools.cache
def by_torch(row: Row, dtype: Dtype) -> Run:
    torch = pytest.importorskip("torch")
    given = numbers(row.net, dtype)
    model, loss_of = torch_model(torch, row.net, given.weights), torch_loss(torch, row.net)
    optimizer = torch_optimizer(torch, row, model.parameters())
    losses = []
    for step, (x, y) in enumerate(given.batches, 1):
        if row.optimizer[0] == "Adam":
            set_adam_epsilon(optimizer, keras_epsilon(row), step)
        optimizer.zero_grad()
        loss = loss_of(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Run(np.array(losses))


def worst(a: Array, b: Array) -> float:
    """The largest relative difference of two rows of losses."""
    return float(np.max(np.abs(a - b) / np.abs(b)))
