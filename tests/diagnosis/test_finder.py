"""The learning-rate finder: what it finds, and that it leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import datasets, layers, optimizers, schedules
from fastdl.diagnosis.finder import LearningRateSearch, find_learning_rate
from fastdl.errors import DataError, ShapeError
from fastdl.models.session import Session

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    (x, y), _ = datasets.digits()
    return x.reshape(len(x), -1).astype(np.float32) / 16, y


def net(optimizer: Any = "sgd", activation: str = "relu") -> fastdl.Sequential:
    fastdl.utils.set_random_seed(3)
    model = fastdl.Sequential(
        [
            fastdl.Input((64,)),
            layers.Dense(48, activation=activation),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(("optimizer", "low", "high"), [("sgd", 0.05, 1.0), ("adam", 0.005, 0.2)])
def test_what_it_finds(optimizer: str, low: float, high: float, digits: Any) -> None:
    """Rates between which this net learns the digits well; ten times more or less is worse."""
    found = fastdl.find_learning_rate(net(optimizer), *digits)
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 10, 100)[: len(found.rates)])
    assert found.suggestion is not None
    assert low <= found.suggestion <= high
    assert found.smoothed.min() < 0.5 * found.losses[0]
    assert np.isclose(found.smoothed[0], found.losses[0])


def test_losses_are_those_of_training_step_by_step(digits: Any) -> None:
    x, y = digits[0][:40], digits[1][:40]  # one batch, whose rows may come in any order
    plain = fastdl.Sequential([fastdl.Input((64,)), layers.Dense(10, activation="softmax")])
    plain.compile("sgd", "sparse_categorical_crossentropy")
    found = find_learning_rate(plain, x, y, min=1e-3, max=1.0, steps=20, batch_size=100)
    for rate, loss in zip(found.rates, found.losses, strict=True):
        assert plain.optimizer is not None
        plain.optimizer.learning_rate = rate
        assert plain.train_on_batch(x, y) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("rate", [1e-3, schedules.CosineDecay(1e-3, 100)], ids=["number", "schedule"])
def test_it_leaves_no_trace(rate: Any, trained: bool, digits: Any) -> None:
    """Training after a search is, to the bit, training without one: shuffles, dropout and Adam's state too."""
    model, other = net(optimizers.Adam(rate)), net(optimizers.Adam(rate))
    x, y = digits[0][:500], digits[1][:500]
    for m in (model, other):
        fastdl.utils.set_random_seed(4)
        if trained:
            m.fit(x, y, epochs=2, verbose=0)
        if m is model:
            find_learning_rate(m, x, y, steps=30)
        m.fit(x, y, epochs=2, verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.iterations == 16 * (4 if trained else 2)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_an_interrupted_search_leaves_no_trace_either(monkeypatch: pytest.MonkeyPatch, digits: Any) -> None:
    model = net()
    before, optimizer = model.get_weights(), model.optimizer
    original, steps = Session.train, []

    def train(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        steps.append(1)
        if len(steps) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "train", train)
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(model, *digits)
    assert model.optimizer is optimizer
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.fit(*digits, verbose=0)


def test_it_stops_where_the_loss_breaks(digits: Any) -> None:
    x, y = digits
    model = fastdl.Sequential([fastdl.Input((64,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    found = find_learning_rate(model, x, y.astype(float), max=1e6, steps=200)
    assert len(found.rates) < 180
    assert found.smoothed[-1] > 4 * found.smoothed.min() or not np.isfinite(found.losses[-1])
    assert found.smoothed[-2] <= 4 * found.smoothed.min()


def test_where_nothing_is_learnt_nothing_is_suggested(digits: Any) -> None:
    assert find_learning_rate(net(), *digits, min=1e-9, max=1e-7).suggestion is None


def test_the_picture(tmp_path: Path, digits: Any) -> None:
    pytest.importorskip("matplotlib")
    nothing = LearningRateSearch(np.array([1.0]), np.array([np.nan]), np.array([np.nan]), None)
    for found in (find_learning_rate(net(), *digits), nothing):
        found.plot(tmp_path / "rates.png")
        assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"


X, Y = np.zeros((5, 64)), np.zeros(5, int)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "rates": (lambda: find_learning_rate(net(), X, Y, min=1.0, max=0.1), ValueError, "0 < min < max"),
    "zero": (lambda: find_learning_rate(net(), X, Y, min=0.0), ValueError, "0 < min < max"),
    "steps": (lambda: find_learning_rate(net(), X, Y, steps=1), ValueError, "steps must be an integer of 2 or more"),
    "batch": (
        lambda: find_learning_rate(net(), X, Y, batch_size=0),
        ValueError,
        "batch_size must be a positive integer",
    ),
    "shape": (lambda: find_learning_rate(net(), X[:, :3], Y), ShapeError, r"x has shape \(5, 3\)"),
    "labels": (lambda: find_learning_rate(net(), X, Y + 10), DataError, "label 10"),
    "not compiled": (
        lambda: find_learning_rate(fastdl.Sequential([layers.Dense(2)]), X, Y),
        RuntimeError,
        "not compiled",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
