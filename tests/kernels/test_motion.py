"""Images moved at random: a given motion against scipy, drawn ones by their moments, gradients against differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import _ext, kernels

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
fills = pytest.mark.parametrize("fill", _ext.FILLS)
SCIPY = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}


def images(batch: int, height: int, width: int, channels: int, dtype: Any = np.float64) -> Array:
    return RNG.standard_normal((batch, height, width, channels)).astype(dtype)


def expected(x: Array, matrix: Any, fill: str, value: float = 0.0, order: int = 1) -> Array:
    """scipy's, with one map (2, 3) from an output's (row, column, 1) to the input's place for all images."""
    ndimage = pytest.importorskip("scipy.ndimage")
    matrix = np.asarray(matrix, np.float64)
    out = np.empty(x.shape)
    for image in np.ndindex(x.shape[0], x.shape[3]):
        at = image[0], slice(None), slice(None), image[1]
        out[at] = ndimage.affine_transform(
            x[at].astype(np.float64), matrix[:, :2], matrix[:, 2], order=order, mode=SCIPY[fill], cval=value
        )
    return out


def about_the_middle(matrix: Any, shape: tuple[int, ...]) -> Array:
    middle = (np.array(shape[1:3]) - 1) / 2
    return np.column_stack([matrix, middle - np.asarray(matrix) @ middle])


# the motion, its scalars with nothing left to chance, and the map that it is, by the images' shape
MOTIONS: list[tuple[str, tuple[float, ...], Any]] = [
    ("translation", (0.3, 0.3, -0.4, -0.4), lambda s: [[1, 0, -0.3 * s[1]], [0, 1, 0.4 * s[2]]]),
    ("translation", (-1, -1, 1, 1), lambda s: [[1, 0, s[1]], [0, 1, -s[2]]]),
    ("rotation", (0.1, 0.1), lambda s: about_the_middle(turned(0.1), s)),
    ("rotation", (-0.37, -0.37), lambda s: about_the_middle(turned(-0.37), s)),
    ("rotation", (1, 1), lambda s: about_the_middle(turned(1), s)),
    ("zoom", (0.5, 0.5, -0.3, -0.3), lambda s: about_the_middle([[1.5, 0], [0, 0.7]], s)),
    ("even_zoom", (-0.6, -0.6), lambda s: about_the_middle([[0.4, 0], [0, 0.4]], s)),
    ("even_zoom", (1, 1), lambda s: about_the_middle([[2, 0], [0, 2]], s)),
]


def turned(turns: float) -> list[list[float]]:
    cosine, sine = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    return [[cosine, sine], [-sine, cosine]]


@dtypes
@fills
@pytest.mark.parametrize("shape", [(3, 5, 7, 2), (33, 8, 6, 1), (2, 1, 9, 3), (1, 28, 28, 1)])
@pytest.mark.parametrize(("kind", "scalars", "matrix"), MOTIONS)
def test_a_given_motion_is_scipys(
    kind: str, scalars: tuple[float, ...], matrix: Any, shape: tuple[int, ...], fill: str, dtype: Any
) -> None:
    x = images(*shape, dtype=dtype)
    found = kernels.motion(kind, x, *scalars, fill=fill, fill_value=0.5)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11  # of places, times how steep noise is
    np.testing.assert_allclose(found, expected(x, matrix(shape), fill, 0.5), atol=tolerance)


@pytest.mark.parametrize(("across", "down"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@dtypes
def test_flips_are_numpys_to_the_bit(across: int, down: int, dtype: Any) -> None:
    x = images(400, 5, 6, 2, dtype=dtype)
    found = kernels.motion("flip", x, across, down)
    flipped = x[:, :, ::-1] if across else x
    flipped = flipped[:, ::-1] if down else flipped
    stayed = np.array([np.array_equal(a, b) for a, b in zip(found, x, strict=True)])
    moved = np.array([np.array_equal(a, b) for a, b in zip(found, flipped, strict=True)])
    assert (stayed | moved).all()
    if across or down:
        assert abs(moved.mean() - 0.5) < 5 * 0.5 / 20


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.sampled_from([*_ext.FILLS]))
@settings(deadline=None)
def test_whole_pixels_move_whole(batch: int, height: int, width: int, channels: int, fill: str) -> None:
    x = images(batch, height, width, channels)
    shift = min(2, height) / height
    found = kernels.motion("translation", x, shift, shift, fill=fill, fill_value=7.0)
    mode = {"constant": "constant", "nearest": "edge", "reflect": "symmetric", "wrap": "wrap"}[fill]
    options: dict[str, Any] = {"constant_values": 7.0} if fill == "constant" else {}
    rows = min(2, height)
    padded = np.pad(x, [(0, 0), (rows, 0), (0, 0), (0, 0)], mode, **options)  # type: ignore[call-overload]
    np.testing.assert_allclose(found, padded[:, :height], atol=1e-12)


@fills
@dtypes
def test_nearest_takes_one_pixel(fill: str, dtype: Any) -> None:
    x = images(4, 6, 7, 2, dtype=dtype)
    for kind, scalars, matrix in MOTIONS:
        if scalars[0] != 1:
            found = kernels.motion(kind, x, *scalars, fill=fill, nearest=True)
            exact = expected(x, matrix(x.shape), fill, order=0)
            assert (found == exact).mean() > 0.97  # where two are as near, rounding decides
            assert set(found.ravel()) <= {*x.ravel(), 0.0}


def drawn(kind: str, scalars: tuple[float, ...], **options: int) -> tuple[Array, Array]:
    """Where (row, column) of the images' last but one pixel come from, (samples,) both."""
    height, width, samples = 9, 11, 20_000
    ramps = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float64)
    x = np.broadcast_to(ramps, (samples, height, width, 2))
    # the middle, where nothing is filled, tells shifts; beside it turns and zooms
    found = kernels.motion(kind, x, *scalars, **options)  # type: ignore[arg-type]
    return found[:, 4, 5] - [4, 5], found[:, 5, 6] - found[:, 4, 5]


def assert_uniform(values: Array, low: float, high: float) -> None:
    assert low <= values.min()
    assert values.max() <= high
    scaled = (values - low) / (high - low)
    for power in (1, 2, 3):
        error = math.sqrt((1 / (2 * power + 1) - 1 / (power + 1) ** 2) / len(values))
        assert abs((scaled**power).mean() - 1 / (power + 1)) < 5 * error, power


def test_shifts_turns_and_zooms_are_uniform_and_independent() -> None:
    shift, _ = drawn("translation", (-0.1, 0.3, -0.2, 0.1))
    assert_uniform(-shift[:, 0] / 9, -0.1, 0.3)
    assert_uniform(-shift[:, 1] / 11, -0.2, 0.1)
    assert abs(np.corrcoef(shift.T)[0, 1]) < 5 / math.sqrt(len(shift))
    _, beside = drawn("rotation", (-0.05, 0.1))
    assert_uniform(np.arctan2(beside[:, 0] - beside[:, 1], beside.sum(1)) / (2 * math.pi), -0.05, 0.1)
    _, beside = drawn("zoom", (-0.3, 0.2, 0.1, 0.4))
    assert_uniform(beside[:, 0] - 1, -0.3, 0.2)
    assert_uniform(beside[:, 1] - 1, 0.1, 0.4)
    assert abs(np.corrcoef(beside.T)[0, 1]) < 5 / math.sqrt(len(beside))
    _, beside = drawn("even_zoom", (-0.3, 0.2))
    np.testing.assert_allclose(beside[:, 0], beside[:, 1], atol=1e-12)


def test_seed_and_step_draw_anew() -> None:
    one = drawn("translation", (-0.1, 0.1, 0, 0), seed=3)[0][:, 0]
    assert np.array_equal(one, drawn("translation", (-0.1, 0.1, 0, 0), seed=3)[0][:, 0])
    for other in ({"seed": 4}, {"seed": 3, "step": 1}):
        again = drawn("translation", (-0.1, 0.1, 0, 0), **other)[0][:, 0]
        assert abs(np.corrcoef(one, again)[0, 1]) < 5 / math.sqrt(len(one))


@dtypes
@fills
@pytest.mark.parametrize(("kind", "scalars"), [(kind, scalars) for kind, scalars, _ in MOTIONS] + [("flip", (1, 1))])
def test_backward_is_the_transpose(kind: str, scalars: tuple[float, ...], fill: str, dtype: Any) -> None:
    """<y(x) - y(0), dy> = <x, dx(dy)> for a map that is affine in x."""
    x, dy = images(37, 5, 6, 2, dtype=dtype), images(37, 5, 6, 2, dtype=dtype)
    y, zero = (kernels.motion(kind, each, *scalars, fill=fill, fill_value=2.0, seed=5) for each in (x, 0 * x))
    dx = kernels.motion_backward(kind, dy, *scalars, fill=fill, seed=5)
    left = ((y - zero).astype(np.float64) * dy).sum((1, 2, 3))
    right = (x.astype(np.float64) * dx).sum((1, 2, 3))
    np.testing.assert_allclose(left, right, atol=1e-4 if dtype == np.float32 else 1e-11)


# --------------------------------------------------------------------------------------------------- mixing


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0])
@dtypes
def test_weights_are_beta(alpha: float, dtype: Any) -> None:
    _, w = kernels.mix(np.zeros((40_000, 1), dtype), alpha)
    w = w.astype(np.float64)
    assert w.min() >= 0
    assert w.max() <= 1

    def moment(power: int) -> float:
        return math.prod((alpha + i) / (2 * alpha + i) for i in range(power))

    for power in (1, 2, 3, 4):
        error = math.sqrt((moment(2 * power) - moment(power) ** 2) / len(w))
        assert abs((w**power).mean() - moment(power)) < 5 * error, power
    assert abs(np.corrcoef(w[1:], w[:-1])[0, 1]) < 5 / math.sqrt(len(w))


@dtypes
@given(batch=st.integers(1, 140), features=st.integers(1, 20), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_each_row_is_mixed_with_one_other(batch: int, features: int, seed: int, dtype: Any) -> None:
    x = np.random.default_rng(seed).standard_normal((batch, features)).astype(dtype)
    y, w = kernels.mix(x, 0.7, seed=seed)
    distance = {
        d for d in range(batch) if np.allclose(y, w[:, None] * x + (1 - w[:, None]) * np.roll(x, -d, 0), atol=1e-5)
    }
    assert len(distance) == 1
    assert batch == 1 or 0 not in distance


def test_partners_change_from_step_to_step() -> None:
    x = np.arange(50.0)[:, None]
    partners = set()
    for step in range(200):
        y, w = kernels.mix(x, 1.0, step=step)
        partners.add(round(float(((y[0] - w[0] * x[0]) / (1 - w[0]))[0])))
    assert 0 not in partners
    assert len(partners) > 40


@dtypes
@pytest.mark.parametrize("batch", [1, 2, 31, 32, 33, 100])
def test_mixing_back_is_the_transpose(batch: int, dtype: Any) -> None:
    x, dy = RNG.standard_normal((2, batch, 5)).astype(dtype)
    y, _ = kernels.mix(x, 0.5, seed=9)
    dx, _ = kernels.mix(dy, 0.5, back=True, seed=9)
    left, right = (y.astype(np.float64) * dy).sum(), (x.astype(np.float64) * dx).sum()
    assert left == pytest.approx(right, abs=1e-4 if dtype == np.float32 else 1e-11)
