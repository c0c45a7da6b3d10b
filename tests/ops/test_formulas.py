"""Formulas drawn at random of functions, sums, slices, broadcasts: compiled they give numpy's values, and the gradients
that differences show."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import layers, models, ops, optimizers

ROWS = 4
UNARY = ["tanh", "sigmoid", "sin", "cos", "softplus", "erf", "square", "negative", "floor"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]


def smooth(x: Any) -> Any:
    """Within (-2, 2), so that nothing grows beyond what differences can see."""
    return 2.0 * ops.tanh(x)


@st.composite
def formulas(draw: Any, depth: int = 4) -> Any:
    """(description, function of x (batch, 2, 3) that gives (batch, a, b)) with a in {1, 2}, b in {1, 3}."""
    if depth == 0 or draw(st.integers(0, 6)) == 0:
        number = draw(st.sampled_from([0.3, -0.7]))
        return draw(st.sampled_from([("x", lambda x: x), (f"x + {number}", lambda x: x + number)]))
    kind = draw(
        st.sampled_from(["unary", "binary", "binary", "sum", "mean", "max", "slice", "softmax", "where", "cumsum"])
    )
    told, f = draw(formulas(depth - 1))
    axis = draw(st.sampled_from([1, 2]))
    if kind == "unary":
        name = draw(st.sampled_from(UNARY))
        return f"{name}({told})", lambda x: getattr(ops, name)(smooth(f(x)))
    if kind in ("binary", "where"):
        also, g = draw(formulas(depth - 1))
        if kind == "where":
            return f"where({told} > 0.1, {also}, {told})", lambda x: ops.where(f(x) > 0.1, g(x), f(x))
        name = draw(st.sampled_from(BINARY))
        return f"{name}({told}, {also})", lambda x: getattr(ops, name)(smooth(f(x)), smooth(g(x)))
    if kind == "slice":
        return f"({told})[:, :1]", lambda x: f(x)[:, :1]
    if kind == "softmax":
        return f"softmax({told})", lambda x: ops.softmax(f(x), axis=axis)
    if kind == "cumsum":
        return f"cumsum({told}, {axis})", lambda x: ops.cumsum(f(x), axis=axis)
    return f"{kind}({told}, {axis})", lambda x: getattr(ops, kind)(f(x), axis=axis, keepdims=True)


class Compute(layers.Layer):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


@settings(max_examples=60, deadline=None)
@given(formulas(), st.integers(0, 10**6))
def test_a_formula_is_numpys_and_so_is_its_slope(formula: Any, seed: int) -> None:
    told, function = formula
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 2, 3))
    hidden = [layers.Input((ROWS,)), layers.Dense(6, use_bias=False), layers.Reshape((2, 3))]
    model = models.Sequential([*hidden, Compute(function), layers.Flatten()], dtype="float64")
    model.trace()
    model.set_weights([x.reshape(ROWS, 6)])
    right = np.reshape(function(x), (ROWS, -1))
    np.testing.assert_allclose(model.predict(np.eye(ROWS)), right, rtol=1e-9, atol=1e-11, err_msg=told)

    target = rng.normal(size=right.shape)
    model.compile(optimizers.SGD(1.0), lambda y_true, y_pred: ops.sum(y_true * y_pred, axis=-1))
    model.train_on_batch(np.eye(ROWS), target)
    gradient = x.reshape(ROWS, 6) - model.get_weights()[0]
    direction = rng.normal(size=x.shape)

    def along(size: float) -> float:
        ends = [
            float((target * np.reshape(function(x + sign * size * direction), (ROWS, -1))).sum()) for sign in (1, -1)
        ]
        return (ends[0] - ends[1]) / (2 * size * ROWS)

    near, nearer = along(1e-5), along(1e-6)
    if abs(near - nearer) < 1e-5 * (1 + abs(near)):  # else a kink lies between
        np.testing.assert_allclose(
            (gradient * direction.reshape(ROWS, 6)).sum(), near, rtol=1e-4, atol=1e-5, err_msg=told
        )
