"""Factors of the learning rate and of the weight decay, weight by weight: what they do to steps, how they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, models, optimizers
from fastdl.models import engine

Array = np.ndarray[Any, Any]
Layers = Callable[..., list[Any]]

RATE, DECAY = 0.25, 0.5
FACTORS: dict[str, Any] = {
    "learning_rate_factors": {"kernel": 0.5, "bias": 0.1},
    "weight_decay_factors": {"kernel": 2.0, "bias": 0.0},
}
FAR = {"global_clipnorm": 1e9}  # keeps gradient and step apart


def net(optimizer: Any, dtype: str = "float64", **options: Any) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    first = layers.Dense(40, "tanh", bias_initializer="normal", **options)
    model = fastdl.Sequential([fastdl.Input((9,)), first, layers.Dense(3, "softmax")], dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def data(rows: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 9))
    return x, (x @ rng.standard_normal((9, 3))).argmax(1)


def moves(model: fastdl.Sequential, rows: int) -> tuple[list[Array], list[Array]]:
    """The weights before a step, and how far it moves them."""
    before = model.get_weights()
    model.train_on_batch(*data(rows))
    return before, [new - old for new, old in zip(model.get_weights(), before, strict=True)]


BY_WEIGHTS = (
    "Adafactor",
    "Ftrl",
    "Lamb",
    "Muon",
    "ScheduleFreeAdamW",
)  # where decayed weights take another step, or two decay


@pytest.mark.parametrize("name", optimizers.CLASSES)
def test_a_factor_is_that_of_the_rate(name: str) -> None:
    kind, no_decay = optimizers.CLASSES[name], dict[str, Any](weight_decay=0.0)
    if name == "Muon":
        no_decay["adam_weight_decay"] = None
    _, scaled = moves(net(kind(RATE, **no_decay), learning_rate_factors={"kernel": 0.5, "bias": 0.5}), 20)
    _, slower = moves(net(kind(RATE / 2, **no_decay)), 20)
    for ours, same in zip(scaled[:2], slower[:2], strict=True):
        np.testing.assert_allclose(ours, same, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("apart", [{}, FAR], ids=["fused", "apart"])
@pytest.mark.parametrize("rows", [1, 20, 200, 2000])
@pytest.mark.parametrize("name", [name for name in optimizers.CLASSES if name not in BY_WEIGHTS])
def test_step_and_decay(name: str, rows: int, apart: dict[str, Any]) -> None:
    """step factor × the rule's step - rate × decay × decay factor × w: each factor touches its own part alone."""
    kind = optimizers.CLASSES[name]
    _, plain = moves(net(kind(RATE, weight_decay=0.0, **apart)), rows)
    old, scaled = moves(net(kind(RATE, weight_decay=DECAY, **apart), **FACTORS), rows)
    for i, (step, decay) in enumerate([(0.5, 2.0), (0.1, 0.0), (1.0, 1.0), (1.0, 1.0)]):
        np.testing.assert_allclose(scaled[i], step * plain[i] - RATE * DECAY * decay * old[i], rtol=1e-9, atol=1e-12)


def test_momentum_is_of_steps_that_have_the_factor() -> None:
    """v = momentum v - factor × rate × g and w += v, in numpy; g is 1 all along."""
    x, y = np.ones((8, 1)), np.full((8, 1), -100.0)
    model = fastdl.Sequential(
        [fastdl.Input((1,)), layers.Dense(1, learning_rate_factors={"bias": 0.1})], dtype="float64"
    )
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mae")
    model.set_weights([np.full((1, 1), 2.0), np.zeros(1)])
    expected, velocity = np.array([2.0, 0.0]), np.zeros(2)
    for _ in range(4):
        model.train_on_batch(x, y)
        velocity = 0.9 * velocity - 0.1 * np.array([1.0, 0.1])
        expected = expected + velocity
    np.testing.assert_allclose(np.ravel(model.get_weights()[0])[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[1][0], expected[1], rtol=1e-12)


@pytest.mark.parametrize("batch", [20, 400, 1100])
def test_factors_of_one_change_no_bit(batch: int) -> None:
    ones = {"kernel": 1.0, "bias": 1.0}
    one, plain = (
        net("adamw", "float32", **options)
        for options in ({"learning_rate_factors": ones, "weight_decay_factors": ones}, {})
    )
    for model in (one, plain):
        fastdl.utils.set_random_seed(5)
        model.fit(*data(3 * batch), batch_size=batch, epochs=2, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), plain.get_weights(), strict=True))


@pytest.mark.parametrize("batch", [50, 300, 1100])
def test_threads_change_no_bit(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Pace, "plan", lambda self, left, **_: engine.Plan(fastdl.get_num_threads(), left))
    results = []
    for threads in (1, 2, 3):
        fastdl.set_num_threads(threads)
        model = net("adamw", "float32", **FACTORS)
        model.fit(*data(2 * batch), batch_size=batch, epochs=1, verbose=0)
        results.append(model.get_weights())
    fastdl.set_num_threads(None)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_factor_of_zero_leaves_a_weight_where_it_is() -> None:
    model = net("adam", learning_rate_factors={"kernel": 0.0})
    _, moved = moves(model, 50)
    assert [bool(each.any()) for each in moved] == [False, True, True, True]


KINDS: dict[str, tuple[Any, dict[str, float]]] = {
    "Dense": (lambda **o: layers.Dense(3, **o), {"kernel": 0.5, "bias": 0.0}),
    "DenseNoBias": (lambda **o: layers.Dense(3, use_bias=False, **o), {"kernel": 0.5}),
    "BatchNormalization": (lambda **o: layers.BatchNormalization(**o), {"gamma": 6.0, "beta": 0.5}),
    "LayerNormalization": (lambda **o: layers.LayerNormalization(**o), {"gamma": 6.0, "beta": 0.5}),
    "PReLU": (lambda **o: layers.PReLU(**o), {"alpha": 0.1}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_has_its_factor_and_the_config_keeps_it(kind: str) -> None:
    make, factors = KINDS[kind]
    layer = make(learning_rate_factors=factors, weight_decay_factors=factors)
    again = type(layer).from_config(layer.get_config())
    for each in (layer, again):
        fastdl.Sequential([fastdl.Input((4,)), each]).build((None, 4))
        found = {p.name: (p.learning_rate_factor, p.weight_decay_factor) for p in each.trainable_weights}
        assert found == {name: (factor, factor) for name, factor in factors.items()}
    assert again.get_config() == layer.get_config()
    assert "learning_rate_factors" not in make().get_config()


def test_an_activation_has_its_own() -> None:
    slopes = layers.PReLU(learning_rate_factors={"alpha": 0.1})
    layer = layers.Dense(3, activation=slopes, learning_rate_factors={"bias": 0.5})
    fastdl.Sequential([fastdl.Input((4,)), layer]).build((None, 4))
    assert {p.name: p.learning_rate_factor for p in layer.weights} == {"kernel": 1.0, "bias": 0.5, "alpha": 0.1}


def test_training_goes_on_with_them_after_loading(tmp_path: Path) -> None:
    model = net(optimizers.AdamW(RATE, DECAY), "float32", **FACTORS)
    model.train_on_batch(*data(50))
    model.save(tmp_path / "model.fastdl")
    again = models.load_model(tmp_path / "model.fastdl")
    for each in (model, again):
        each.train_on_batch(*data(50))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (
        {"learning_rate_factors": {"kernle": 1}},
        "names 'kernle', which is no weight of this layer: it trains",
    ),
    "not there": ({"use_bias": False, "weight_decay_factors": {"bias": 0}}, "names 'bias'.*it trains kernel$"),
    "negative": (
        {"learning_rate_factors": {"kernel": -1}},
        r"learning_rate_factors\['kernel'\] must be a finite number",
    ),
    "infinite": ({"weight_decay_factors": {"bias": np.inf}}, r"weight_decay_factors\['bias'\] must be a finite number"),
    "text": ({"weight_decay_factors": {"bias": "1"}}, r"weight_decay_factors\['bias'\] must be a finite number"),
    "number": ({"learning_rate_factors": 0.1}, "must be numbers by the names of weights"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_factors_say_what_is_wrong(case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        fastdl.Sequential([fastdl.Input((4,)), layers.Dense(3, **options)]).build((None, 4))


def test_what_is_not_trained_has_none() -> None:
    norm = layers.BatchNormalization(learning_rate_factors={"moving_mean": 0.5})
    with pytest.raises(
        ValueError, match="names 'moving_mean', which is no weight of this layer: it trains gamma, beta"
    ):
        fastdl.Sequential([fastdl.Input((4,)), norm]).build((None, 4))
