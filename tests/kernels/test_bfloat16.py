"""Products of bfloat16: rounding to nearest even, float32 sums, the same bits by instructions and by rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import _ext, config, kernels
from fastdl.base.arrays import Array

SHAPES = [
    (1, 1, 1), (1, 8, 3), (2, 37, 5), (5, 16, 16), (32, 32, 32), (33, 31, 33), (64, 100, 10), (70, 257, 49),
    (255, 20, 64), (300, 13, 2), (32, 784, 300), (31, 600, 2100), (33, 1, 17),
]  # fmt: skip


@contextmanager
def by_rounding(enabled: bool = True) -> Iterator[None]:
    config.round_to_bfloat16(enabled)
    try:
        yield
    finally:
        config.round_to_bfloat16(False)


native = pytest.mark.skipif(not config.has_bfloat16(), reason="the CPU has no products of bfloat16")


def rounded(array: Array) -> Array:
    with np.errstate(invalid="ignore"):  # of signalling NaN
        return array.astype(ml_dtypes.bfloat16).astype(np.float64)


def arrays(shape: tuple[int, int, int], seed: int = 0) -> list[Array]:
    batch, inputs, outputs = shape
    rng = np.random.default_rng(seed)
    sizes = (batch, inputs), (inputs, outputs), (batch, outputs), (outputs,)
    return [rng.standard_normal(size).astype(np.float32) for size in sizes]


def close(got: Array, expected: Array, terms: Array) -> None:
    """Off float64 by float32's rounding of the sum of these terms' sizes at most."""
    assert np.all(np.abs(got - expected) <= 1e-6 * (terms + 1e-30)), np.abs(got - expected).max()


def exact(x: Array, w: Array, dy: Array) -> dict[str, tuple[Array, Array]]:
    """What products of the rounded numbers are in float64, and the sums of their sizes."""
    x, w, dy = rounded(x), rounded(w), rounded(dy)
    pairs = {"y": (x, w), "dx": (dy, w.T), "dw": (x.T, dy)}
    return {name: (a @ b, np.abs(a) @ np.abs(b)) for name, (a, b) in pairs.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_rounded_numbers(shape: tuple[int, int, int]) -> None:
    x, w, dy, b = arrays(shape)
    of = exact(x, w, dy)
    with by_rounding():
        y = kernels.dense(x, w, b, bfloat16=True)
        close(y, of["y"][0] + b, of["y"][1] + np.abs(b))
        np.testing.assert_array_equal(kernels.dense(x, w, b, relu=True, bfloat16=True), np.maximum(y, 0))
        dx, dw, db = kernels.dense_backward(x, w, dy, bfloat16=True)
    close(dx, *of["dx"])
    close(dw, *of["dw"])
    close(db, dy.sum(0, dtype=np.float64), np.abs(dy).sum(0))


@native
@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 90), st.integers(1, 90)), st.integers(0, 2**32 - 1))
def test_instructions_and_rounding_give_the_same_bits(shape: tuple[int, int, int], seed: int) -> None:
    x, w, dy, b = arrays(shape, seed)
    results: list[list[Array]] = []
    for rounds in (False, True):
        with by_rounding(rounds):
            results.append([kernels.dense(x, w, b, bfloat16=True), *kernels.dense_backward(x, w, dy, bfloat16=True)])
    for by_instructions, rounding in zip(*results, strict=True):
        np.testing.assert_array_equal(by_instructions, rounding)


# halfway cases of both parities, the largest numbers, overflow to infinity, infinities, NaN, zeros
BITS = [
    0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000, 0xFF800000,
    0x7FC00000, 0x7F800001, 0x80000000, 0x00000000, 0x00800000, 0xBF80C000,
]  # fmt: skip


@pytest.mark.parametrize("rounds", [True, pytest.param(False, marks=native)])
@pytest.mark.parametrize("bits", BITS, ids=hex)
def test_rounding_is_to_nearest_even(bits: int, rounds: bool) -> None:
    x = np.array([[bits]], np.uint32).view(np.float32)
    with by_rounding(rounds):
        y = kernels.dense(x, np.ones((1, 1), np.float32), bfloat16=True)
    np.testing.assert_array_equal(y, rounded(x))


@pytest.mark.parametrize("rounds", [True, pytest.param(False, marks=native)])
def test_numbers_below_float32s_normal_ones_are_zero(rounds: bool) -> None:
    x = np.full((1, 1), 1e-39, np.float32)
    with by_rounding(rounds):
        assert kernels.dense(x, np.full((1, 1), 1e30, np.float32), bfloat16=True) == 0


@pytest.mark.parametrize("where", ["x", "dy"])
def test_what_is_not_finite_stays_in_its_row(where: str) -> None:
    x, w, dy, _ = arrays((40, 5, 7))
    (x if where == "x" else dy)[33] = np.inf
    with by_rounding():
        y = kernels.dense(x, w, bfloat16=True)
        dx, _, _ = kernels.dense_backward(x, w, dy, bfloat16=True)
    for result, hit in ((y, where == "x"), (dx, where == "dy")):
        assert np.isfinite(np.delete(result, 33, 0)).all()
        assert np.isfinite(result[33]).all() != hit


@pytest.mark.parametrize("call", [kernels.dense, lambda x, w, **_: kernels.dense_backward(x, w, x @ w, bfloat16=True)])
def test_float64_is_refused(call: Any) -> None:
    with by_rounding(), pytest.raises(ValueError, match="rounding of float32"):
        call(np.ones((2, 3)), np.ones((3, 2)), bfloat16=True)


def test_a_cpu_without_such_products_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ext, "multiplies_bfloat16", lambda: False)
    with pytest.raises(ValueError, match="needs a CPU with AVX512_BF16"):
        kernels.dense(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32), bfloat16=True)
