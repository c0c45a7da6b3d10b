"""Every optimizer and option for 100 steps as Keras takes them, from the same weights; as PyTorch where it has them."""

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import optimizers
from fastdl.compiler.graph import Parameter

from .runs import floatx, keras_model, keras_precision, torch_loss, torch_model, worst
from .table import AFTER_RTOL, FEATURES, LOSS_RTOL, NETS, Array, Dtype, numbers

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
NET = "softmax"

# name: (class, arguments)
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "sgd-decay": ("SGD", {"learning_rate": 0.05, "weight_decay": 0.1}),
    "sgd-value": ("SGD", {"learning_rate": 0.3, "clipvalue": 0.01}),
    "sgd-norm": ("SGD", {"learning_rate": 0.3, "clipnorm": 0.2}),
    "sgd-global": ("SGD", {"learning_rate": 0.3, "global_clipnorm": 0.4}),
    "sgd-ema": ("SGD", {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.9}),
    "sgd-ema-often": (
        "SGD",
        {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 7},
    ),
    "momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "momentum-norm-decay": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "clipnorm": 0.1, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    "nesterov-value": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True, "clipvalue": 0.02}),
    "adagrad": ("Adagrad", {"learning_rate": 0.05}),
    "adagrad-zero": ("Adagrad", {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-4}),
    "adagrad-global": ("Adagrad", {"learning_rate": 0.05, "global_clipnorm": 0.3, "weight_decay": 0.01}),
    "rmsprop": ("RMSprop", {"epsilon": 1e-5}),
    "rmsprop-momentum": ("RMSprop", {"momentum": 0.8, "rho": 0.95, "epsilon": 1e-4}),
    "rmsprop-centered": ("RMSprop", {"centered": True, "epsilon": 1e-4}),
    "rmsprop-both": ("RMSprop", {"centered": True, "momentum": 0.5, "epsilon": 1e-2, "weight_decay": 0.01}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0, "epsilon": 1e-5}),
    "adadelta-decay": ("Adadelta", {"learning_rate": 1.0, "epsilon": 1e-5, "weight_decay": 0.01}),
    "adam": ("Adam", {}),
    "adam-decay": ("Adam", {"weight_decay": 0.05}),
    "adam-value": ("Adam", {"clipvalue": 0.01}),
    "adam-norm": ("Adam", {"clipnorm": 0.1}),
    "adam-global": ("Adam", {"global_clipnorm": 0.2}),
    "adam-ema": ("Adam", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 10}),
    "amsgrad": ("Adam", {"amsgrad": True, "beta_2": 0.9}),
    "adamw": ("AdamW", {"weight_decay": 0.1}),
    "adamw-amsgrad": ("AdamW", {"amsgrad": True, "global_clipnorm": 0.5}),
    "adamax": ("Adamax", {"learning_rate": 0.002}),
    "adamax-value": ("Adamax", {"learning_rate": 0.002, "clipvalue": 0.01}),
    "nadam": ("Nadam", {}),
    "nadam-decay": ("Nadam", {"weight_decay": 0.05, "clipnorm": 0.1}),
    "lion": ("Lion", {"learning_rate": 1e-3}),
    "lion-decay": ("Lion", {"learning_rate": 1e-3, "weight_decay": 0.1, "clipnorm": 0.5}),
    "ftrl": ("Ftrl", {"learning_rate": 0.5}),
    "ftrl-all": (
        "Ftrl",
        {
            "learning_rate": 0.5,
            "learning_rate_power": -0.3,
            "initial_accumulator_value": 0.5,
            "l1_regularization_strength": 0.002,
            "l2_regularization_strength": 0.01,
            "l2_shrinkage_regularization_strength": 0.001,
            "beta": 0.2,
            "clipvalue": 0.05,
        },
    ),
    "lamb": ("Lamb", {"learning_rate": 0.005}),
    "lamb-decay": ("Lamb", {"learning_rate": 0.005, "beta_1": 0.8, "weight_decay": 0.1, "clipnorm": 0.2}),
    "adafactor": ("Adafactor", {"learning_rate": 0.01}),
    "adafactor-decay": (
        "Adafactor",
        {
            "learning_rate": 0.05,
            "beta_2_decay": -0.5,
            "epsilon_1": 1e-6,
            "epsilon_2": 0.3,
            "clip_threshold": 0.5,
            "weight_decay": 0.05,
            "global_clipnorm": 0.3,
        },
    ),
    "muon": ("Muon", {"learning_rate": 0.02}),
    "muon-plain": (
        "Muon",
        {
            "learning_rate": 0.005,
            "nesterov": False,
            "ns_steps": 3,
            "rms_rate": None,
            "adam_lr_ratio": 2.0,
            "weight_decay": 0.1,
            "adam_weight_decay": None,
            "exclude_layers": ["none"],
        },
    ),
    "schedule-free": ("ScheduleFreeAdamW", {}),
    "schedule-free-warm": (
        "ScheduleFreeAdamW",
        {"learning_rate": 0.01, "warmup_steps": 20, "beta_1": 0.8, "weight_decay": 0.05, "clipvalue": 0.02},
    ),
    "sgd-batches": ("SGD", {"learning_rate": 0.2, "gradient_accumulation_steps": 3}),
    "adam-batches": (
        "Adam",
        {"learning_rate": 0.005, "gradient_accumulation_steps": 4, "clipnorm": 0.1, "weight_decay": 0.05},
    ),
    "sgd-batches-ema": (
        "SGD",
        {
            "learning_rate": 0.2,
            "gradient_accumulation_steps": 3,
            "use_ema": True,
            "ema_momentum": 0.7,
            "ema_overwrite_frequency": 5,
        },
    ),
    "lamb-batches": ("Lamb", {"learning_rate": 0.02, "gradient_accumulation_steps": 2, "global_clipnorm": 0.4}),
}
# Keras computes 1 - beta^t in float32 where we do in double; and a sign turns with the last bit of a number near zero
LOOSE_32 = {"lion": 1e-3, "lion-decay": 1e-3}
LOOSE_64 = {"muon": 1e-7}  # Keras rounds the root of a matrix's longer side to float32
each_row = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def trained(api: Any, name: str, dtype: Dtype) -> tuple[Array, list[Array]]:
    """Losses of 100 steps and the weights after them, the averages in their place."""
    kind, arguments = ROWS[name]
    net = NETS[NET]
    given = numbers(net, dtype)
    model = keras_model(api, net, FEATURES)
    model.compile(getattr(api.optimizers, kind)(**arguments), net.loss)
    model.set_weights(given.weights)
    if "decay" in name and kind != "Adam":
        model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    losses = []
    for x, y in given.batches:
        if hasattr(model, "reset_metrics"):
            model.reset_metrics()
        losses.append(model.train_on_batch(x, y))
    model.optimizer.finalize_variable_values(model.trainable_weights)
    return np.array(losses, np.float64).ravel(), [np.array(array) for array in model.get_weights()]


@functools.cache
def by_keras(name: str, dtype: Dtype) -> tuple[Array, list[Array]]:
    keras = pytest.importorskip("keras")
    with keras_precision(keras, dtype), values_of_their_own(keras):
        return trained(keras, name, dtype)


@contextmanager
def values_of_their_own(keras: Any) -> Iterator[None]:
    """ScheduleFreeAdamW keeps a variable's value while it assigns to the variable: on JAX and TensorFlow it keeps the
    old one, on PyTorch, which assigns in place, the new. Here PyTorch's optimizer variables get new tensors as well."""
    if keras.backend.backend() != "torch":
        yield
        return
    variable = keras.src.backend.Variable
    in_place = variable._direct_assign

    def assign(self: Any, value: Any) -> None:
        if self.trainable:
            in_place(self, value)
        else:
            self._value = value.detach().clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variable, "_direct_assign", assign)
        yield


@functools.cache
def by_fastdl(name: str, dtype: Dtype) -> tuple[Array, list[Array]]:
    with floatx(fastdl, dtype):
        return trained(fastdl, name, dtype)


@each_dtype
@each_row
def test_losses_and_weights_as_keras(name: str, dtype: Dtype) -> None:
    (losses, weights), (expected, after) = by_fastdl(name, dtype), by_keras(name, dtype)
    loose = LOOSE_32.get(name, 1e-5) / 1e-5 if dtype == "float32" else LOOSE_64.get(name, 1e-10) / 1e-10
    assert worst(losses, expected) <= LOSS_RTOL[dtype] * loose
    for ours, theirs in zip(weights, after, strict=True):
        assert np.abs(ours - theirs).max() <= AFTER_RTOL[dtype] * loose * np.abs(theirs).max()


@each_row
def test_each_row_is_its_own(name: str) -> None:
    """No two rows give the same weights, so an option that does nothing is found; and each learns."""
    losses, weights = by_fastdl(name, "float64")
    assert losses[-10:].mean() < 0.95 * losses[:10].mean()
    others = [by_fastdl(other, "float64")[1] for other in ROWS if other != name]
    for other in others:
        assert not all(np.allclose(a, b, rtol=1e-5) for a, b in zip(weights, other, strict=True))


# name of a row: what PyTorch calls it
TORCH: dict[str, Any] = {
    "sgd": lambda torch, p: torch.optim.SGD(p, lr=0.05),
    "sgd-value": lambda torch, p: torch.optim.SGD(p, lr=0.3),
    "sgd-norm": lambda torch, p: torch.optim.SGD(p, lr=0.3),
    "sgd-global": lambda torch, p: torch.optim.SGD(p, lr=0.3),
    "nesterov-value": lambda torch, p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adadelta": lambda torch, p: torch.optim.Adadelta(p, lr=1.0, rho=0.95, eps=1e-5),
    "amsgrad": lambda torch, p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.9), eps=1e-7, amsgrad=True),
    "adam-decay": lambda torch, p: torch.optim.AdamW(p, lr=1e-3, eps=1e-7, weight_decay=0.05),
}


@each_dtype
@pytest.mark.parametrize("name", TORCH)
def test_losses_as_torch(name: str, dtype: Dtype) -> None:
    torch = pytest.importorskip("torch")
    net, options = NETS[NET], ROWS[name][1]
    given = numbers(net, dtype)
    model, loss_of = torch_model(torch, net, given.weights), torch_loss(torch, net)
    parameters = list(model.parameters())
    optimizer, clip = TORCH[name](torch, parameters), torch.nn.utils
    losses = []
    for step, (x, y) in enumerate(given.batches, 1):
        for group in optimizer.param_groups:
            if "betas" in group:  # see runs.set_adam_epsilon
                group["eps"] = 1e-7 / np.sqrt(1 - group["betas"][1] ** step)
        optimizer.zero_grad()
        loss = loss_of(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        if "clipvalue" in options:
            clip.clip_grad_value_(parameters, options["clipvalue"])
        if "global_clipnorm" in options:
            clip.clip_grad_norm_(parameters, options["global_clipnorm"])
        for parameter in parameters if "clipnorm" in options else ():
            clip.clip_grad_norm_([parameter], options["clipnorm"])
        optimizer.step()
        losses.append(loss.item())
    rtol = max(LOSS_RTOL[dtype], 1e-5 if "norm" in str(options) else 0)  # PyTorch divides by the norm + 1e-6
    assert worst(by_fastdl(name, dtype)[0], np.array(losses)) <= rtol


SHAPES = (40, 7), (7, 40), (5, 5), (33,), ()


@pytest.mark.parametrize("name", ROWS)
def test_gradients_that_are_given_as_keras(name: str) -> None:
    """`apply` on arrays, 13 times, with a matrix of each form, a vector and a number."""
    keras = pytest.importorskip("keras")
    kind, arguments = ROWS[name]
    rng = np.random.default_rng(5)
    start = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    gradients = [[rng.standard_normal(shape).astype(np.float32) for shape in SHAPES] for _ in range(13)]
    ours = [Parameter(f"v/{i}", value.shape, value.dtype, value) for i, value in enumerate(start)]
    theirs = [keras.Variable(value, name=f"v{i}") for i, value in enumerate(start)]
    with values_of_their_own(keras):
        for api, variables in ((fastdl, ours), (keras, theirs)):
            optimizer = getattr(api.optimizers, kind)(**arguments)
            for gradient in gradients:
                optimizer.apply([keras.ops.array(g) for g in gradient] if api is keras else gradient, variables)
            assert int(optimizer.iterations) == 13 // arguments.get("gradient_accumulation_steps", 1)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.numpy(), np.array(their), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", optimizers.CLASSES)
def test_arguments_and_defaults(name: str) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = (inspect.signature(getattr(api.optimizers, name)).parameters for api in (fastdl, keras))
    optional = {n: p.default for n, p in inspect.signature(optimizers.Optimizer).parameters.items()}
    named = {n: p.default for n, p in ours.items() if n != "options"}
    ordered = [n for n in named if ours[n].kind is not inspect.Parameter.KEYWORD_ONLY]
    assert ordered == list(theirs)[: len(ordered)], "the same order"
    for argument, parameter in theirs.items():
        if argument != "kwargs":
            assert {**optional, **named}[argument] == parameter.default, argument


@pytest.mark.parametrize("name", ["sgd-ema", "sgd-ema-often"])
def test_fit_ends_with_the_averages(name: str) -> None:
    keras = pytest.importorskip("keras")
    kind, arguments = ROWS[name]
    net, given = NETS[NET], numbers(NETS[NET], "float32")
    x, y = given.batches[0]
    after = []
    for api in (fastdl, keras):
        model = keras_model(api, net, FEATURES)
        model.compile(getattr(api.optimizers, kind)(**arguments), net.loss)
        model.set_weights(given.weights)
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        after.append([np.array(array) for array in model.get_weights()])
    for ours, theirs in zip(*after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
