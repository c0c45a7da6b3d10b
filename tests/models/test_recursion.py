"""What a function of one's own may call while a model runs it, and that all else is an error, not a crash."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import layers, losses

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = X.sum(1)


class Calls(layers.NumpyLayer):
    """Calls `hook` with what it reads."""

    hook: Callable[[Any], Any] = staticmethod(lambda x: None)

    def forward(self, x: Any, *weights: Any) -> Any:
        self.hook(x)
        return x

    def backward(self, x: Any, y: Any, dy: Any, *weights: Any) -> Any:
        return dy


def net() -> tuple[keras.Sequential, Calls]:
    layer = Calls()
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, layer


HOOKS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "predict": lambda model, layer, x: model.predict(x),
    "predict fewer": lambda model, layer, x: model.predict(x[1:] if len(x) > 1 else x),
    "predict more": lambda model, layer, x: model.predict(np.concatenate([x, x[:1]])),
    "predict as one": lambda model, layer, x: model(x, training=True),
    "evaluate": lambda model, layer, x: model.evaluate(x, x[:, 0]),
    "the layer": lambda model, layer, x: layer(x),
    "fit": lambda model, layer, x: model.fit(x, x[:, 0], verbose=0),
    "train_on_batch": lambda model, layer, x: model.train_on_batch(x, x[:, 0]),
    "recalibrate": lambda model, layer, x: model.recalibrate_batch_norm(x),
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "predict": lambda model: model.predict(X),
    "evaluate": lambda model: model.evaluate(X, Y),
    "fit": lambda model: model.fit(X, Y, verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_layer_that_calls_its_own_model_is_an_error(hook: str, call: str) -> None:
    model, layer = net()
    expected = model.predict(X)
    weights = model.get_weights()
    layer.hook = lambda x: HOOKS[hook](model, layer, x)
    with pytest.raises((RecursionError, RuntimeError), match=r"calls a model that calls it|is being|used by another"):
        CALLS[call](model)
    layer.hook = lambda x: None
    model.set_weights(weights)
    assert np.array_equal(model.predict(X), expected)
    model.fit(X, Y, verbose=0)


def test_it_is_a_recursion_error_in_any_thread() -> None:
    model, layer = net()
    layer.hook = lambda x: model.predict(np.concatenate([x, x[:1]]))
    caught: list[BaseException] = []

    def run() -> None:
        try:
            model.predict(X)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [RecursionError]


def test_two_models_that_call_each_other() -> None:
    (one, first), (two, second) = net(), net()
    first.hook, second.hook = two.predict, one.predict
    with pytest.raises(RecursionError):
        one.predict(X)


def test_a_layer_may_call_another_model_that_does_not_call_back() -> None:
    (model, layer), (other, _) = net(), net()
    seen: list[Any] = []
    layer.hook = lambda x: seen.append(other.predict(x))
    model.fit(X, Y, verbose=0)
    assert len(seen) == 2


def test_a_loss_may_ask_its_model_for_predictions() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])

    def loss(y_true: Any, y_pred: Any) -> Any:
        model.predict(X)
        return np.square(y_pred - y_true)[:, 0], 2 * (y_pred - y_true)

    model.compile("sgd", losses.Function(loss))
    twin = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    twin.compile("sgd", "mse")
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.fit(X, Y, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_it_does_not_crash_the_process() -> None:
    code = (
        "import numpy as np, fastdl as f\n"
        "class L(f.layers.NumpyLayer):\n"
        "    def forward(self, x): return m.predict(np.concatenate([x, x[:1]]))[: len(x)]\n"
        "m = f.Sequential([f.Input((3,)), L()])\n"
        "try: m.predict(np.zeros((2, 3)))\n"
        "except RecursionError: print('refused')\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "refused\n"), run.stderr
