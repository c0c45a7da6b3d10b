"""Learning-rate schedules: values by hand, vectorised as one by one, and what an optimizer makes of them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, optimizers, schedules
from fastdl.schedules import LearningRateSchedule

Array = np.ndarray[Any, Any]

# what: (schedule, step → learning rate, by hand)
VALUES: dict[str, tuple[LearningRateSchedule, dict[int, float]]] = {
    "inverse time": (schedules.InverseTimeDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.08, 10: 0.1 / 1.5, 20: 0.05}),
    "inverse time, stairs": (
        *(schedules.InverseTimeDecay(0.1, 10, 0.5, staircase=True), {9: 0.1, 10: 0.1 / 1.5, 19: 0.1 / 1.5, 20: 0.05}),
    ),
    "exponential": (schedules.ExponentialDecay(0.1, 10, 0.25), {0: 0.1, 5: 0.05, 10: 0.025, 20: 0.00625}),
    "exponential, stairs": (
        *(schedules.ExponentialDecay(0.1, 10, 0.25, staircase=True), {9: 0.1, 10: 0.025, 19: 0.025}),
    ),
    "piecewise": (
        *(schedules.PiecewiseConstantDecay([3, 5], [1.0, 0.5, 0.1]), {0: 1, 3: 1, 4: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
    ),
    "constant": (schedules.PiecewiseConstantDecay([], [0.3]), {0: 0.3, 5: 0.3}),
    "polynomial": (schedules.PolynomialDecay(1.1, 10, 0.1, 2.0), {0: 1.1, 5: 0.35, 10: 0.1, 99: 0.1}),
    "polynomial, cycles": (
        *(schedules.PolynomialDecay(1.1, 10, 0.1, cycle=True), {0: 1.1, 5: 0.6, 10: 0.1, 11: 0.55, 15: 0.35, 20: 0.1}),
    ),
    "cosine": (schedules.CosineDecay(2.0, 12), {0: 2, 4: 1.5, 6: 1, 8: 0.5, 12: 0, 99: 0}),
    "cosine to alpha": (schedules.CosineDecay(2.0, 12, 0.1), {0: 2, 6: 1.1, 12: 0.2, 99: 0.2}),
    "cosine, warm-up": (
        schedules.CosineDecay(0.5, 12, warmup_target=2.0, warmup_steps=3),
        {0: 0.5, 1: 1, 2: 1.5, 3: 2, 9: 1, 15: 0, 99: 0},
    ),
    "cosine, warm-up of none": (schedules.CosineDecay(0.5, 12, warmup_target=2.0), {0: 2, 6: 1}),
    "restarts": (
        schedules.CosineDecayRestarts(2.0, 6, m_mul=0.5),
        {0: 2, 2: 1.5, 3: 1, 6: 1, 12: 0.5, 18: 0.5, 30: 0.25, 42: 0.25},
    ),
    "restarts, equal": (
        *(schedules.CosineDecayRestarts(2.0, 6, 1.0, 0.5, 0.1), {0: 2, 3: 1.1, 6: 1.1, 9: 0.65, 12: 0.65}),
    ),
    # log 1000 / log 10 is 2.9999999999999996
    "restarts, tenfold": (schedules.CosineDecayRestarts(2.0, 6, 10.0), {6: 2, 36: 1, 66: 2, 666: 2, 6666: 2}),
    "one cycle": (
        schedules.OneCycle(1.0, 11, pct_start=6 / 11, div_factor=20, final_div_factor=5),
        {0: 0.05, 5: 1, 10: 0.01, 11: 0.01, 99: 0.01},
    ),
    "one cycle, straight": (
        schedules.OneCycle(1.0, epochs=1, steps_per_epoch=11, pct_start=6 / 11, anneal_strategy="linear"),
        {0: 0.04, 1: 0.232, 5: 1, 6: 0.8000008, 10: 4e-6},
    ),
    "one cycle, three phases": (
        schedules.OneCycle(1.0, 10, pct_start=0.4, anneal_strategy="linear", three_phase=True),
        {0: 0.04, 3: 1, 6: 0.04, 9: 4e-6},
    ),
    "flat cosine": (schedules.FlatCosine(0.15, 8), {0: 0.15, 2: 0.15, 4: 0.15, 6: 0.075, 8: 0, 90: 0}),
    # log2(1 + 15 t) is 1, 2, 3 and 4, a whole wave each, where t is 1/15, 3/15, 7/15 and 1
    "log cosine": (schedules.LogCosine(0.04, 15), {0: 0, 1: 0, 3: 0, 7: 0, 15: 0, 99: 0}),
    "log cosine, halfway": (schedules.LogCosine(0.2, 15 / (2**0.5 - 1)), {0: 0, 1: 0.2}),
    "log cosine, one wave": (schedules.LogCosine(0.2, 3, cycles=1), {0: 0, 3: 0}),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_by_hand(name: str) -> None:
    schedule, expected = VALUES[name]
    for step, rate in expected.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15), step
        assert type(schedule(step)) is float
    np.testing.assert_allclose(schedule(np.array(list(expected))), list(expected.values()), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", VALUES)
def test_many_steps_are_each_step(name: str) -> None:
    schedule, _ = VALUES[name]
    steps = np.arange(150)
    together = schedule(steps)
    assert together.dtype == np.float64
    assert together.tolist() == [schedule(step) for step in range(150)]
    assert np.array_equal(schedule.rates(steps), together)
    assert np.array_equal(schedule(steps.reshape(3, 50)), together.reshape(3, 50))


@pytest.mark.parametrize("name", VALUES)
def test_configs(name: str) -> None:
    schedule, _ = VALUES[name]
    described = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(described)
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert np.array_equal(again(np.arange(150)), schedule(np.arange(150)))


class Halving(LearningRateSchedule):
    """Written for arrays."""

    def __call__(self, step: Any) -> Any:
        return 0.1 * 0.5 ** (step / 10)


class OneByOne(LearningRateSchedule):
    """Written for a single step, as Keras's users may."""

    def __call__(self, step: Any) -> Any:
        return 0.1 if step < 4 else max(0.1 * math.exp(-step / 10), 0.02)


class Still(LearningRateSchedule):
    """No function of the step."""

    def __call__(self, step: Any) -> Any:
        return 0.07


OWN: dict[str, tuple[LearningRateSchedule, Any]] = {
    "arrays": (Halving(), lambda step: 0.1 * 0.5 ** (step / 10)),
    "one by one": (OneByOne(), OneByOne()),
    "still": (Still(), lambda step: 0.07),
}


@pytest.mark.parametrize("name", OWN)
def test_schedules_of_ones_own(name: str) -> None:
    schedule, expected = OWN[name]
    for steps in (np.arange(40), np.arange(17, 18)):
        np.testing.assert_allclose(schedule.rates(steps), [expected(step) for step in steps.tolist()], rtol=1e-14)


def small(learning_rate: Any, optimizer: Any) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((6,)), layers.Dense(5, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer(learning_rate), "mse")
    return model


@pytest.mark.parametrize("optimizer", [optimizers.SGD, optimizers.Adam])
@pytest.mark.parametrize("schedule", [schedules.ExponentialDecay(0.1, 10, 0.5), OneByOne()], ids=["arrays", "single"])
def test_fit_with_a_schedule_is_each_step_with_its_rate(schedule: LearningRateSchedule, optimizer: Any) -> None:
    """To the bit, through a second fit, and with a last batch that is smaller."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((70, 6)), rng.standard_normal((70, 1))
    scheduled, by_hand = small(schedule, optimizer), small(1.0, optimizer)
    for _ in range(2):
        scheduled.fit(x, y, batch_size=16, shuffle=False, verbose=0, epochs=2)
    step = 0
    for _ in range(4):
        for i in range(0, 70, 16):
            assert by_hand.optimizer is not None
            by_hand.optimizer.learning_rate = schedule(step)
            by_hand.train_on_batch(x[i : i + 16], y[i : i + 16])
            step += 1
    assert scheduled.optimizer is not None
    assert (scheduled.optimizer.iterations, scheduled.optimizer.learning_rate) == (20, schedule(20))
    for a, b in zip(scheduled.get_weights(), by_hand.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_the_learning_rate_of_an_optimizer() -> None:
    plain = optimizers.SGD(lr=0.5)
    plain.learning_rate = np.float32(0.25)
    assert plain.learning_rate == 0.25
    assert isinstance(plain.learning_rate, float)
    plain.learning_rate = schedules.CosineDecay(0.1, 10)
    assert plain.learning_rate == 0.1
    plain.iterations = 5
    assert plain.learning_rate == pytest.approx(0.05)
    with pytest.raises(TypeError, match="follows CosineDecay"):
        plain.learning_rate = 0.1
    plain.learning_rate = Still()
    assert plain.learning_rate == 0.07
    assert optimizers.schedules is schedules is fastdl.schedules


class Wild(LearningRateSchedule):
    """A learning rate that is none from step 30 on."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, step: Any) -> Any:
        return np.where(step < 30, 0.01, self.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
def test_a_rate_that_is_none_ends_training_before_it_is_used(value: float) -> None:
    model = small(Wild(value), optimizers.SGD)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=rf"Wild gives the learning rate {value} at step 30"):
        model.fit(rng.standard_normal((50, 6)), rng.standard_normal((50, 1)), batch_size=1, epochs=2, verbose=0)
    assert all(np.isfinite(array).all() for array in model.get_weights())


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "decay steps": (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), ValueError, "decay_steps must be positive"),
    "first steps": (lambda: schedules.CosineDecayRestarts(0.1, -1), ValueError, "first_decay_steps must be positive"),
    "shorter waves": (lambda: schedules.CosineDecayRestarts(0.1, 5, 0.5), ValueError, "t_mul must be 1 or more"),
    "values": (lambda: schedules.PiecewiseConstantDecay([1], [1]), ValueError, "one more value than boundaries"),
    "boundaries": (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), ValueError, "must increase"),
    "no steps": (lambda: schedules.OneCycle(0.1, epochs=3), ValueError, "needs total_steps"),
    "total steps": (lambda: schedules.OneCycle(0.1, 0), ValueError, "total_steps must be positive"),
    "start": (lambda: schedules.OneCycle(0.1, 10, pct_start=1.5), ValueError, "pct_start must lie"),
    "strategy": (lambda: schedules.OneCycle(0.1, 10, anneal_strategy="exp"), ValueError, "must be cos or linear"),
    "unfinished": (lambda: LearningRateSchedule()(3), NotImplementedError, "must override __call__"),
    "config": (lambda: schedules.deserialize({"class_name": "Halving"}), ValueError, "unknown class 'Halving'"),
    "optimizer": (lambda: optimizers.SGD(math.nan), ValueError, "learning_rate must be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()
