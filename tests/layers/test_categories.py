"""CategoryEncoding and Discretization: what they make of numbers, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import Input, layers
from fastdl.errors import DataError, ShapeError

X = np.random.default_rng(0).standard_normal((1000, 3))

# arguments, input, expected: the cases of Keras's documentation
ENCODED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"num_tokens": 4, "output_mode": "one_hot"}, [3, 2, 0, 1], np.eye(4)[[3, 2, 0, 1]]),
    ({"num_tokens": 4, "output_mode": "one_hot"}, [[3], [2]], np.eye(4)[[3, 2]]),
    ({"num_tokens": 4, "output_mode": "one_hot"}, [[3, 2]], np.eye(4)[[[3, 2]]]),
    ({"num_tokens": 4}, [[0, 1], [0, 0], [1, 2], [3, 1]], [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]),
    ({"num_tokens": 4}, [3, 1], [0, 1, 0, 1]),
    ({"num_tokens": 4, "output_mode": "count"}, [[0, 1], [0, 0]], [[1, 1, 0, 0], [2, 0, 0, 0]]),
]


@pytest.mark.parametrize(("arguments", "x", "expected"), ENCODED)
def test_category_encoding(arguments: dict[str, Any], x: Any, expected: Any) -> None:
    np.testing.assert_array_equal(layers.CategoryEncoding(**arguments)(x), expected)


PLACES = np.random.default_rng(1).integers(0, 5, (6, 4, 3))


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_counts_run_along_the_first_axis_of_a_sample(mode: str) -> None:
    counts = np.eye(5)[PLACES].sum(axis=1)
    layer = layers.CategoryEncoding(5, mode)
    np.testing.assert_array_equal(layer(PLACES), np.minimum(counts, 1) if mode == "multi_hot" else counts)
    assert layer(Input((4, 3), dtype="int64")).shape == (None, 3, 5) == layer.compute_output_shape((None, 4, 3))


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_a_number_by_itself_is_a_sample(mode: str) -> None:
    found = layers.CategoryEncoding(5, mode)(np.array(4))
    assert found.tolist() == [0, 0, 0, 0, 1]


def test_counts_have_weights() -> None:
    layer = layers.CategoryEncoding(4, output_mode="count")
    weights = np.array([[0.1, 0.2], [0.1, 0.1], [0.2, 0.3], [0.4, 0.2]])
    found = layer([[0, 1], [0, 0], [1, 2], [3, 1]], count_weights=weights)
    np.testing.assert_allclose(found, [[0.1, 0.2, 0, 0], [0.2, 0, 0, 0], [0, 0.2, 0.3, 0], [0, 0.2, 0, 0.4]], rtol=1e-6)


# arguments, input, expected: the cases of Keras's documentation and tests
BINNED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"bin_boundaries": [0.0, 1.0, 2.0]}, [[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]], [[0, 2, 3, 1], [1, 3, 2, 1]]),
    ({"bin_boundaries": [0.0, 0.5, 1.0], "output_mode": "one_hot"}, [0.1, 0.8], [[0, 1, 0, 0], [0, 0, 1, 0]]),
    ({"bin_boundaries": [0.0, 0.5, 1.0], "output_mode": "multi_hot"}, [[0.1, 0.8]], [[0, 1, 1, 0]]),
    ({"bin_boundaries": [0.0, 0.5, 1.0], "output_mode": "count"}, [[0.1, 0.8, 0.9]], [[0, 1, 2, 0]]),
    ({"bin_boundaries": [0.7]}, np.float32([0.7, np.nan, np.inf, -np.inf]), [1, 1, 1, 0]),  # of the numbers' own type
]


@pytest.mark.parametrize(("arguments", "x", "expected"), BINNED)
def test_discretization(arguments: dict[str, Any], x: Any, expected: Any) -> None:
    np.testing.assert_array_equal(layers.Discretization(**arguments)(x), expected)


def test_bins_that_are_learned_hold_about_equally_much() -> None:
    layer = layers.Discretization(num_bins=8, epsilon=0.001)
    layer.adapt(X)
    assert layer.bin_boundaries is not None
    np.testing.assert_allclose(layer.bin_boundaries, np.quantile(X, np.arange(1, 8) / 8), atol=0.02)
    counts = np.bincount(layer(X).ravel())
    assert counts.size == 8
    np.testing.assert_allclose(counts, X.size / 8, rtol=0.05)


def test_the_documented_bins() -> None:
    x = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]])
    layer = layers.Discretization(num_bins=4, epsilon=0.01)
    layer.adapt(x)
    assert layer(x).tolist() == [[0, 2, 3, 2], [1, 3, 3, 1]]


def test_batches_are_merged() -> None:
    layer = layers.Discretization(num_bins=8, epsilon=0.001)
    layer.adapt(iter(np.array_split(X, 7)))
    np.testing.assert_allclose(layer.bin_boundaries, np.quantile(X, np.arange(1, 8) / 8), atol=0.03)


def test_what_was_learned_is_in_the_config() -> None:
    layer = layers.Discretization(num_bins=3, output_mode="one_hot")
    layer.adapt(X)
    other = layers.Discretization.from_config(layer.get_config())
    np.testing.assert_array_equal(other(X), layer(X))
    other.adapt(X + 1)
    assert other.bin_boundaries != layer.bin_boundaries


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: layers.CategoryEncoding(), ValueError, "num_tokens must be given"),
    (lambda: layers.CategoryEncoding(0), ValueError, "num_tokens must be a positive integer"),
    (lambda: layers.CategoryEncoding(3, "int"), ValueError, "output_mode must be one of"),
    (lambda: layers.CategoryEncoding(3)([[0], [3]]), DataError, "holds 3 in row 1: num_tokens=3 is for 0 to 2"),
    (lambda: layers.CategoryEncoding(3)([[0], [-1]]), DataError, "holds -1 in row 1"),
    (lambda: layers.CategoryEncoding(3)([0.5]), DataError, "whole numbers"),
    (lambda: layers.CategoryEncoding(3)([[0]], count_weights=[[1]]), ValueError, "output_mode 'count'"),
    (
        lambda: layers.CategoryEncoding(3, "count")([[0]], count_weights=[[1, 2]]),
        ShapeError,
        "count_weights have shape",
    ),
    (lambda: layers.CategoryEncoding(3)(Input((1,))), ValueError, "reads int64"),
    (lambda: layers.Discretization(), ValueError, "one of bin_boundaries and num_bins"),
    (lambda: layers.Discretization([1.0], 2), ValueError, "one of bin_boundaries and num_bins"),
    (lambda: layers.Discretization([2.0, 1.0]), ValueError, "ascend"),
    (lambda: layers.Discretization([np.nan]), ValueError, "ascend"),
    (lambda: layers.Discretization(num_bins=2, epsilon=0), ValueError, "epsilon must lie in (0, 1]"),
    (lambda: layers.Discretization(num_bins=2)([1.0]), ValueError, "no bin_boundaries: adapt it first"),
    (lambda: layers.Discretization([1.0]).adapt([1.0]), ValueError, "nothing to adapt"),
    (lambda: layers.Discretization(num_bins=2).adapt([1.0, np.nan]), DataError, "NaN or Inf in row 1"),
    (lambda: layers.Discretization([1.0])(Input((1,), dtype="string")), ValueError, "reads float"),
]


@pytest.mark.parametrize(("make", "kind", "said"), REFUSED)
def test_what_is_wrong_is_said(make: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        make()
    assert said in str(error.value)
