"""Each optimizer's rule against a float64 formula, and what stands before it: decay and clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdl import _ext, kernels
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
Rule = Callable[[Array, Array, list[Array]], Array]  # (weights, gradient, slots, which it changes) → weights
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
shapes = pytest.mark.parametrize("shape", [(1,), (37,), (5, 33), (30, 64), (700, 20)], ids=str)

RATES = (0.1, 0.03, 1.7, 0.6)
KEEP_1, KEEP_2, EPSILON, MOMENTUM = 0.1, 0.02, 1e-3, 0.9


def add(slot: Array, value: Array) -> Array:
    """Changes the slot in place."""
    slot += value
    return slot


def put(slot: Array, value: Array) -> Array:
    slot[...] = value
    return slot


def mean(slot: Array, value: Array, share: float) -> Array:
    return add(slot, (value - slot) * share)


def rmsprop(g: Array, v: Array) -> Array:
    return 0.1 * g / np.sqrt(mean(v, g * g, KEEP_2) + EPSILON)


def centered(g: Array, v: Array, m: Array) -> Array:
    return 0.1 * g / np.sqrt(mean(v, g * g, KEEP_2) - mean(m, g, KEEP_2) ** 2 + EPSILON)


def adadelta(g: Array, v: Array, u: Array) -> Array:
    step = g * np.sqrt(u + EPSILON) / np.sqrt(mean(v, g * g, KEEP_2) + EPSILON)
    mean(u, step * step, KEEP_2)
    return step


def lion(w: Array, g: Array, m: Array) -> Array:
    w = w - 0.1 * np.sign(m + (g - m) * KEEP_1)
    mean(m, g, KEEP_2)
    return w


def adam(g: Array, s: list[Array], amsgrad: bool = False) -> Array:
    m, v = mean(s[0], g, KEEP_1), mean(s[1], g * g, KEEP_2)
    v = put(s[2], np.maximum(s[2], v)) if amsgrad else v
    return 0.1 * m / (np.sqrt(v) + EPSILON)


def ftrl(w: Array, g: Array, n: Array, z: Array) -> Array:
    """Power 0.3, l1 0.05, 2 l2 0.2, 2 shrinkage 0.02, and 1.7 for beta."""
    before = n**0.3
    add(n, g * g)
    add(z, g + 0.02 * w - (n**0.3 - before) / 0.1 * w)
    return (np.clip(z, -0.05, 0.05) - z) / ((n**0.3 + RATES[2]) / 0.1 + 0.2)


def schedule_free(w: Array, g: Array, z: Array, v: Array) -> Array:
    x = (w - (1 - MOMENTUM) * z) / MOMENTUM
    add(z, -0.1 * g / (np.sqrt(mean(v, g * g, KEEP_2)) * RATES[2] + EPSILON))
    return (1 - MOMENTUM) * z + MOMENTUM * (x + (z - x) * RATES[3])


# rule: (its scalars, one step in float64)
RULES: dict[str, tuple[tuple[float, ...], Rule]] = {
    "sgd": ((), lambda w, g, s: w - 0.1 * g),
    "momentum": ((MOMENTUM,), lambda w, g, s: w + put(s[0], MOMENTUM * s[0] - 0.1 * g)),
    "nesterov": (
        (MOMENTUM,),
        lambda w, g, s: w + MOMENTUM * put(s[0], MOMENTUM * s[0] - 0.1 * g) - 0.1 * g,
    ),
    "adagrad": ((EPSILON,), lambda w, g, s: w - 0.1 * g / np.sqrt(add(s[0], g * g) + EPSILON)),
    "rmsprop": ((KEEP_2, EPSILON), lambda w, g, s: w - rmsprop(g, s[0])),
    "rmsprop_momentum": (
        (KEEP_2, EPSILON, MOMENTUM),
        lambda w, g, s: w - put(s[1], MOMENTUM * s[1] + rmsprop(g, s[0])),
    ),
    "rmsprop_centered": ((KEEP_2, EPSILON), lambda w, g, s: w - centered(g, *s)),
    "rmsprop_centered_momentum": (
        (KEEP_2, EPSILON, MOMENTUM),
        lambda w, g, s: w - put(s[1], MOMENTUM * s[1] + centered(g, s[0], s[2])),
    ),
    "adadelta": ((KEEP_2, EPSILON), lambda w, g, s: w - 0.1 * adadelta(g, *s)),
    "ftrl": ((0.3, 0.05, 0.2, 0.02), lambda w, g, s: ftrl(w, g, *s)),
    "adafactor": ((EPSILON,), lambda w, g, s: w - 0.1 * g / np.sqrt(mean(s[0], g * g + EPSILON, RATES[3]))),
    "lamb": (
        (KEEP_1, KEEP_2, EPSILON),
        lambda w, g, s: (
            w - 0.1 * RATES[2] * mean(s[0], g, KEEP_1) / (RATES[3] * np.sqrt(mean(s[1], g * g, KEEP_2)) + EPSILON)
        ),
    ),
    "schedule_free": ((MOMENTUM, KEEP_2, EPSILON), lambda w, g, s: schedule_free(w, g, *s)),
    "adam": ((KEEP_1, KEEP_2, EPSILON), lambda w, g, s: w - adam(g, s)),
    "amsgrad": ((KEEP_1, KEEP_2, EPSILON), lambda w, g, s: w - adam(g, s, amsgrad=True)),
    "adamax": (
        (KEEP_1, 1 - KEEP_2, EPSILON),
        lambda w, g, s: (
            w - 0.1 * mean(s[0], g, KEEP_1) / (put(s[1], np.maximum(np.abs(g), (1 - KEEP_2) * s[1])) + EPSILON)
        ),
    ),
    "nadam": (
        (KEEP_1, KEEP_2, EPSILON),
        lambda w, g, s: (
            w - (0.1 * mean(s[0], g, KEEP_1) + RATES[1] * g) / (RATES[2] * np.sqrt(mean(s[1], g * g, KEEP_2)) + EPSILON)
        ),
    ),
    "lion": ((KEEP_1, KEEP_2), lambda w, g, s: lion(w, g, s[0])),
}
rules = pytest.mark.parametrize("rule", RULES)

# what stands before the rule: (arguments of kernels.step, the same in float64)
TAMED: dict[str, tuple[dict[str, float], Callable[[Array, Array], tuple[Array, Array]]]] = {
    "plain": ({}, lambda w, g: (w, g)),
    "decay": ({"decay": 0.02}, lambda w, g: (w - 0.02 * w, g)),
    "clip": ({"limit": 0.5}, lambda w, g: (w, np.clip(g, -0.5, 0.5))),
    "norm above": ({"limit": 2.0, "norm": 5.0}, lambda w, g: (w, g * 0.4)),
    "norm below": ({"limit": 2.0, "norm": 1.5}, lambda w, g: (w, g)),
    "decay and norm": ({"limit": 2.0, "norm": 8.0, "decay": 0.1}, lambda w, g: (0.9 * w, g / 4)),
}


def draw(shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got: Array, expected: Array, dtype: Any, ulps: float) -> None:
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=ulps * np.finfo(dtype).eps * max(1, np.abs(expected).max()))


def test_every_rule_is_here() -> None:
    assert set(RULES) == set(_ext.RULES)


@dtypes
@shapes
@rules
@pytest.mark.parametrize("tamed", TAMED)
def test_rule(rule: str, shape: tuple[int, ...], dtype: Any, tamed: str) -> None:
    scalars, formula = RULES[rule]
    options, before = TAMED[tamed]
    w = draw(shape, dtype, 0)
    # squares that a gradient's own may add to: roots of them, and v - mean², are no rounding
    slots = [np.full(shape, value, dtype) for value in (2, 0.5, 0.25)[: _ext.RULES[rule][1]]]
    expected, kept = w.astype(np.float64), [slot.astype(np.float64) for slot in slots]
    for seed in (1, 2, 3):
        gradient = draw(shape, dtype, seed)
        kernels.step(rule, w, gradient, slots, scalars, RATES, **options)
        expected, tame = before(expected, gradient.astype(np.float64))
        expected = formula(expected, tame, kept)
    close(w, expected, dtype, 32)
    for slot, array in zip(slots, kept, strict=True):
        close(slot, array, dtype, 16)


@dtypes
@rules
def test_rate_factor_is_that_of_both_rates(rule: str, dtype: Any) -> None:
    results, rates = [], (RATES[0] * 0.25, RATES[1] * 0.25, *RATES[2:])
    for given, factor in ((RATES, 0.25), (rates, 1.0)):
        w, slots = draw((5, 33), dtype, 0), [np.full((5, 33), 0.5, dtype) for _ in range(_ext.RULES[rule][1])]
        for seed in (1, 2, 3):
            kernels.step(rule, w, draw((5, 33), dtype, seed), slots, RULES[rule][0], given, rate_factor=factor)
        results.append([w, *slots])
    assert all(map(np.array_equal, *results))


@dtypes
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("ftrl", "schedule_free")])
@pytest.mark.parametrize("factor", [0.0, 0.1, 6.0])
def test_rate_factor(rule: str, dtype: Any, factor: float) -> None:
    """For the same gradients a weight comes `factor` times as far, whatever the rule remembers of steps: its momentum
    is of steps that have the factor, what it divides by is of gradients alone. The factor 1 changes no bit."""
    scalars, formula = RULES[rule]
    moving = {"momentum": 0, "nesterov": 0, "rmsprop_momentum": 1, "rmsprop_centered_momentum": 1}.get(rule)
    fresh = [np.full((5, 33), value, dtype) for value in (2, 0.5, 0.25)[: _ext.RULES[rule][1]]]
    if moving is not None:
        fresh[moving][...] = 0  # the slot that holds steps, not gradients
    start = draw((5, 33), dtype, 0)
    one, plain, scaled = start.copy(), start.copy(), start.copy()
    slots = [[slot.copy() for slot in fresh] for _ in range(3)]
    expected, kept = start.astype(np.float64), [slot.astype(np.float64) for slot in fresh]
    for seed in (1, 2, 3):
        gradient = draw((5, 33), dtype, seed)
        kernels.step(rule, plain, gradient, slots[0], scalars, RATES)
        kernels.step(rule, one, gradient, slots[1], scalars, RATES, rate_factor=1.0)
        kernels.step(rule, scaled, gradient, slots[2], scalars, RATES, rate_factor=factor)
        expected = formula(expected, gradient.astype(np.float64), kept)
    assert np.array_equal(one, plain)
    close(scaled, start + factor * (expected - start.astype(np.float64)), dtype, 64)
    for i, slot in enumerate(slots[2]):
        assert np.array_equal(slot, slots[0][i]) == (i != moving)


@rules
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_hidden(rule: str, bad: float) -> None:
    """In the gradient of one weight: that weight, no other."""
    w, gradient = np.ones(20, np.float32), np.ones(20, np.float32)
    gradient[7] = bad
    slots = [np.full(20, 0.5, np.float32) for _ in range(_ext.RULES[rule][1])]
    for _ in range(2):
        kernels.step(rule, w, gradient, slots, RULES[rule][0], RATES)
    assert np.isfinite(np.delete(w, 7)).all()
    lost = {"lion", "adagrad"} if np.isinf(bad) else set()  # a sign; g / inf
    assert (rule in lost) or not np.isfinite(w[7])


def test_centered_variance_that_rounding_took_below_zero() -> None:
    w, gradient = np.zeros(8, np.float32), np.full(8, 1e3, np.float32)
    slots = [np.zeros(8, np.float32), np.zeros(8, np.float32)]
    for _ in range(400):
        kernels.step("rmsprop_centered", w, gradient, slots, (0.1, 1e-7), (1e-3,))
    assert np.isfinite(w).all()


def test_padding_stays_as_it_is() -> None:
    """No rule may move a weight that is zero by a gradient that is zero: strips are padded with both."""
    for rule, (scalars, _) in RULES.items():
        w = np.zeros(3, np.float32)
        slots = [np.zeros(3, np.float32) for _ in range(_ext.RULES[rule][1])]
        kernels.step(rule, w, np.zeros(3, np.float32), slots, scalars, RATES, decay=0.1)
        assert not w.any(), rule


@dtypes
@shapes
def test_sum_squares(dtype: Any, shape: tuple[int, ...]) -> None:
    gradient = draw(shape, dtype, 4)
    assert kernels.sum_squares(gradient) == pytest.approx(float((gradient.astype(np.float64) ** 2).sum()), rel=1e-13)


def test_sum_squares_is_exact_far_beyond_float32() -> None:
    assert kernels.sum_squares(np.full((3, 5), 1e30, np.float32)) == pytest.approx(15e60, rel=1e-6)


@dtypes
@pytest.mark.parametrize("frequency", [0, 3])
def test_average_weights(dtype: Any, frequency: int) -> None:
    w, average = np.zeros(21, dtype), np.full(21, 7, dtype)
    expected, kept = np.zeros(21), np.zeros(21)
    for step in range(7):
        move = draw((21,), dtype, step)
        w += move
        expected = expected + move
        kernels.average_weights(w, average, step, 0.8, frequency)
        kept = expected if step == 0 else 0.8 * kept + 0.2 * expected
        if frequency and (step + 1) % frequency == 0:
            expected = kept
    close(average, kept, dtype, 8)
    close(w, expected, dtype, 8)


def test_step_refuses() -> None:
    w = np.zeros((3, 2), np.float32)
    with pytest.raises(ShapeError, match="one shape"):
        kernels.step("sgd", w, np.zeros((2, 3)), [], (), (0.1,))
    with pytest.raises(DataError, match="float32 or float64"):
        kernels.step("sgd", w.astype(int), w, [], (), (0.1,))
