"""Every loss and metric kernel against a float64 formula; gradients against its differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdl import _ext, kernels
from fastdl.errors import DataError, ShapeError

Array = np.ndarray[Any, Any]
SHAPES = [(1, 2), (3, 3), (31, 17), (32, 64), (33, 37), (100, 13), (300, 5)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
OWN, E = 0.7, 1e-7


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def clipped(x: Array) -> Array:
    return np.clip(x, E, 1 - E)


def binary(p: Array, t: Array) -> Array:
    return np.asarray(-t * np.log(p) - (1 - t) * np.log(1 - p))


def signs(t: Array) -> Array:
    return np.asarray(np.where(t > t.mean(), 1.0, -1.0))


# the draws of x and the target, from normal numbers
Draw = Callable[[Array], Array]


def real(z: Array) -> Array:
    return z


def positive(z: Array) -> Array:
    return np.exp(z / 2)


def unit(z: Array) -> Array:
    return 0.02 + 0.96 / (1 + np.exp(-z))


# element loss: (x, target, what one element counts)
ELEMENTS: dict[str, tuple[Draw, Draw, Callable[[Array, Array], Array]]] = {
    "squared": (real, real, lambda x, t: (x - t) ** 2),
    "absolute": (real, real, lambda x, t: np.abs(x - t)),
    "percentage": (real, positive, lambda x, t: 100 * np.abs(x - t) / t),
    "squared_log": (real, positive, lambda x, t: (np.log1p(np.maximum(x, E)) - np.log1p(t)) ** 2),
    "huber": (
        real,
        real,
        lambda x, t: np.where(np.abs(x - t) <= OWN, (x - t) ** 2 / 2, OWN * np.abs(x - t) - OWN**2 / 2),
    ),
    "log_cosh": (real, real, lambda x, t: np.logaddexp(x - t, t - x) - np.log(2)),
    "poisson": (positive, positive, lambda x, t: x - t * np.log(x + E)),
    "hinge": (real, signs, lambda x, t: np.maximum(1 - t * x, 0)),
    "squared_hinge": (real, signs, lambda x, t: np.maximum(1 - t * x, 0) ** 2),
    "binary": (unit, unit, lambda x, t: binary(clipped(x), t)),
    "sigmoid": (real, unit, lambda x, t: np.logaddexp(0, x) - x * t),
    "divergence": (unit, unit, lambda x, t: t * np.log(t / x)),
}


def cosine(x: Array, t: Array) -> Array:
    return np.asarray((x * t).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(t, axis=1))


def hinge_of_classes(x: Array, t: Array) -> Array:
    return np.maximum(((1 - t) * x).max(1) - (t * x).sum(1) + 1, 0)


def one_hot(z: Array) -> Array:
    return np.eye(z.shape[1])[z.argmax(1)]


# kernel: (x, target, each sample's)
KERNELS: dict[str, tuple[Draw, Draw, Callable[[Array, Array], Array]]] = {
    "softmax_cross_entropy": (real, softmax, lambda x, t: -(t * np.log(softmax(x))).sum(1)),
    "probability_cross_entropy": (
        positive,
        softmax,
        lambda x, t: -(t * np.log(x / x.sum(1, keepdims=True))).sum(1),
    ),
    "cosine_similarity": (real, real, cosine),
    "categorical_hinge": (real, one_hot, hinge_of_classes),
}
GAMMA = 1.7


def focal(p: Array, t: Array) -> Array:
    """Binary cross-entropy of p, with the weights of ones and of zeros."""
    far = t + p - 2 * t * p
    return np.asarray(((0.3 * t + 0.6 * (1 - t)) * far**GAMMA * binary(p, t)).mean(1))


def focal_of_classes(q: Array, t: Array) -> Array:
    return np.asarray(-(0.4 * t * (1 - q) ** GAMMA * np.log(q)).sum(1))


# name: (x, target, each sample's, kernel, its scale, None for 1 / features, and what only it has)
WITH_OPTIONS: dict[str, tuple[Draw, Draw, Callable[[Array, Array], Array], str, float | None, dict[str, Any]]] = {
    "focal": (unit, unit, focal, "binary_focal", None, {"logits": 0, "weights": (0.3, 0.6)}),
    "focal of logits": (
        real,
        unit,
        lambda x, t: focal(1 / (1 + np.exp(-x)), t),
        "binary_focal",
        None,
        {"logits": 1, "weights": (0.3, 0.6)},
    ),
    "focal of classes": (
        positive,
        softmax,
        lambda x, t: focal_of_classes(x / x.sum(1, keepdims=True), t),
        "categorical_focal",
        0.4,
        {"logits": 0},
    ),
    "focal of classes' logits": (
        real,
        softmax,
        lambda x, t: focal_of_classes(softmax(x), t),
        "categorical_focal",
        0.4,
        {"logits": 1},
    ),
}
Run = Callable[[Array, Array, Any], tuple[float, Array, Array]]


def cases() -> dict[str, tuple[Draw, Draw, Callable[[Array, Array], Array], Run]]:
    def element(name: str) -> Run:
        return lambda x, t, w: kernels.terminal(
            "element_loss", x, t, loss=_ext.LOSSES[name], scale=1 / x.shape[1], own=OWN, weight=w
        )

    def kernel(name: str) -> Run:
        return lambda x, t, w: kernels.terminal(name, x, t, weight=w)

    def options(name: str) -> Run:
        *_, used, scale, more = WITH_OPTIONS[name]
        return lambda x, t, w: kernels.terminal(used, x, t, scale=scale or 1 / x.shape[1], own=GAMMA, **more, weight=w)

    def mean(formula: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
        return lambda x, t: formula(x, t).mean(1)

    return {
        **{name: (a, b, mean(formula), element(name)) for name, (a, b, formula) in ELEMENTS.items()},
        **{name: (a, b, formula, kernel(name)) for name, (a, b, formula) in KERNELS.items()},
        **{name: (a, b, formula, options(name)) for name, (a, b, formula, *_) in WITH_OPTIONS.items()},
    }


CASES = cases()
names = pytest.mark.parametrize("name", CASES)


def draw(name: str, shape: tuple[int, int], dtype: Any) -> tuple[Array, Array]:
    rng = np.random.default_rng(shape[0])
    of_x, of_target = CASES[name][:2]
    return of_x(2 * rng.standard_normal(shape)).astype(dtype), of_target(rng.standard_normal(shape)).astype(dtype)


def test_every_loss_is_here() -> None:
    assert set(ELEMENTS) == set(_ext.LOSSES)


@dtypes
@shapes
@names
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_sums(name: str, shape: tuple[int, int], dtype: Any, weighted: bool) -> None:
    _, _, formula, run = CASES[name]
    x, target = draw(name, shape, dtype)
    weight = np.random.default_rng(1).random(shape[0]).astype(dtype) if weighted else None
    expected = formula(x.astype(np.float64), target.astype(np.float64))
    total, each, _ = run(x, target, weight)
    assert each.dtype == dtype
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(each, expected, rtol=0, atol=64 * np.finfo(dtype).eps * scale)
    weights = np.ones(shape[0]) if weight is None else weight.astype(np.float64)
    assert total == pytest.approx(
        expected @ weights, rel=64 * float(np.finfo(dtype).eps), abs=1e-6 * (dtype == np.float32)
    )


@shapes
@names
def test_gradients_are_differences(name: str, shape: tuple[int, int]) -> None:
    """Of the weighted sum / batch, element by element, in float64."""
    _, _, formula, run = CASES[name]
    x, target = draw(name, shape, np.float64)
    weight = np.random.default_rng(1).random(shape[0])
    gradient = run(x, target, weight)[2]
    rng, step = np.random.default_rng(2), 1e-6
    for _ in range(12):
        row, column = rng.integers(shape[0]), rng.integers(shape[1])
        sides = []
        for sign in (1, -1):
            moved = x[[row]].copy()
            moved[0, column] += sign * step
            sides.append(formula(moved, target[[row]])[0])
        slope = (sides[0] - sides[1]) / (2 * step) * weight[row] / shape[0]
        assert gradient[row, column] == pytest.approx(slope, rel=2e-5, abs=1e-8 / shape[0]), (row, column)


@names
def test_gradients_of_float32_are_those_of_float64(name: str) -> None:
    x, target = draw(name, (65, 9), np.float32)
    run = CASES[name][3]
    single, double = run(x, target, None)[2], run(x.astype(np.float64), target.astype(np.float64), None)[2]
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=0, atol=128 * np.finfo(np.float32).eps * np.abs(double).max())


@names
def test_nan_is_not_hidden(name: str) -> None:
    x, target = draw(name, (40, 5), np.float32)
    x[33, 2] = np.nan
    total, each, _ = CASES[name][3](x, target, None)
    assert np.isnan(total)
    assert np.flatnonzero(np.isnan(each)).tolist() == [33]


def test_clipped_probabilities_have_finite_losses_and_no_slope() -> None:
    x, target = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), np.array([[1, 0], [1, 0]])
    for kernel, more, outside in (
        ("element_loss", {"loss": _ext.LOSSES["binary"]}, True),
        ("element_loss", {"loss": _ext.LOSSES["divergence"]}, False),
        ("probability_cross_entropy", {}, True),
    ):
        _, each, gradient = kernels.terminal(kernel, x, target, **more)
        assert np.isfinite(each).all()
        assert each[0] > 15
        assert abs(each[1]) < 1e-5
        assert not gradient[0].any() or not outside


def test_zero_is_a_negative_for_hinges() -> None:
    x = np.array([[0.3, -2.0, 0.5]])
    for name in ("hinge", "squared_hinge"):
        assert (
            kernels.element_loss(name, x, np.array([[0, 0, 1]]))[0]
            == kernels.element_loss(name, x, np.array([[-1, -1, 1]]))[0]
        )


def test_smoothing() -> None:
    x, target = draw("softmax_cross_entropy", (20, 4), np.float64)
    smoothed = kernels.terminal("softmax_cross_entropy", x, target, smoothing=(0.9, 0.025))
    expected = kernels.terminal("softmax_cross_entropy", x, 0.9 * target + 0.025)
    for a, b in zip(smoothed, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@dtypes
@shapes
@pytest.mark.parametrize("kernel", ["softmax_cross_entropy", "probability_cross_entropy"])
def test_labels_equal_one_hot(kernel: str, dtype: Any, shape: tuple[int, int]) -> None:
    x = draw(kernel, shape, dtype)[0]
    labels = np.random.default_rng(1).integers(0, shape[1], shape[0])
    weight = np.linspace(0, 2, shape[0])
    sparse = kernels.terminal(kernel, x, labels, weight=weight)
    dense = kernels.terminal(kernel, x, np.eye(shape[1])[labels], weight=weight)
    assert sparse[0] == pytest.approx(dense[0], rel=1e-6)
    for a, b in zip(sparse[1:], dense[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=8 * np.finfo(dtype).eps * max(1, np.abs(b).max()))


@dtypes
def test_generalized_cross_entropy(dtype: Any) -> None:
    """Of the label's output alone; gradients against differences in float64."""
    x = unit(np.random.default_rng(0).standard_normal((70, 5))).astype(dtype)
    labels = np.random.default_rng(1).integers(0, 5, 70)
    total, each, gradient = kernels.terminal("generalized_cross_entropy", x, labels, own=OWN)
    right = x[np.arange(70), labels].astype(np.float64)
    expected = (1 - right**OWN) / OWN
    np.testing.assert_allclose(each, expected, rtol=0, atol=16 * np.finfo(dtype).eps)
    assert total == pytest.approx(expected.sum(), rel=1e-5 if dtype == np.float32 else 1e-13)
    slope = np.zeros((70, 5))
    slope[np.arange(70), labels] = -(right ** (OWN - 1)) / 70
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=32 * np.finfo(dtype).eps)


def test_focal_losses_of_certain_predictions_are_finite() -> None:
    sure, target = np.array([[80.0, -80.0], [-80.0, 80.0]], np.float32), np.array([[1.0, 0.0], [1.0, 0.0]])
    for gamma in (0.0, 0.5, 2.0):
        for kernel, more in (("binary_focal", {"weights": (1.0, 1.0)}), ("categorical_focal", {})):
            for logits, x in ((1, sure), (0, (sure > 0) * 1.0)):
                _, each, gradient = kernels.terminal(kernel, x, target, own=gamma, logits=logits, **more)
                assert np.isfinite(each).all()
                assert np.isfinite(gradient).all()
                assert each[1] > 15 > 0.1 > each[0] >= 0


def test_cross_entropy_of_confident_logits_is_finite() -> None:
    x = np.array([[500.0, -500.0], [-500.0, 500.0]], np.float32)
    loss, gradient = kernels.softmax_cross_entropy(x, np.array([0, 0]))
    assert loss == 500
    assert np.array_equal(gradient, [[0, 0], [-0.5, 0.5]])
    assert kernels.element_loss("sigmoid", x, np.array([[1, 1], [0, 1]]))[0] == pytest.approx(125)


def test_cosine_of_nothing_is_zero() -> None:
    total, _, gradient = kernels.terminal("cosine_similarity", np.zeros((1, 3)), np.ones((1, 3)))
    assert total == 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_cross_entropy_refuses_labels_out_of_range(labels: list[int]) -> None:
    with pytest.raises(DataError):
        kernels.softmax_cross_entropy(np.zeros((2, 3), np.float32), np.array(labels))


def test_terminal_refuses() -> None:
    with pytest.raises(ShapeError, match="target has shape"):
        kernels.terminal("cosine_similarity", np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="integer labels"):
        kernels.terminal("accuracy", np.zeros((2, 3)), np.array([0.0, 1.0]))
