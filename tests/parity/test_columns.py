"""Layers that encode columns, beside Keras's, where these run without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import layers

from .table import Array

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
RNG = np.random.default_rng(4)
PLACES = RNG.integers(0, 7, (50, 5))
NUMBERS = (RNG.standard_normal((400, 3)) * [1, 3, 0.2] + [0, 3, 1]).astype(np.float32)
BOUNDARIES = [-1.0, 0.0, 0.1, 0.7, 3.0]
MODES = ["one_hot", "multi_hot", "count"]


@pytest.mark.parametrize(
    "x", [PLACES, PLACES[:, :1], PLACES[:, 0], PLACES.reshape(10, 5, 5), PLACES.reshape(10, 25, 1)]
)
@pytest.mark.parametrize("mode", MODES)
def test_category_encoding_as_keras(mode: str, x: Array) -> None:
    keras = pytest.importorskip("keras")
    theirs = np.array(keras.layers.CategoryEncoding(7, output_mode=mode)(x))
    ours = layers.CategoryEncoding(7, output_mode=mode)(x)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_weights_of_counts_as_keras() -> None:
    keras = pytest.importorskip("keras")
    weights = RNG.random(PLACES.shape).astype(np.float32)
    theirs = keras.layers.CategoryEncoding(7, output_mode="count")(PLACES, count_weights=weights)
    ours = layers.CategoryEncoding(7, output_mode="count")(PLACES, count_weights=weights)
    np.testing.assert_allclose(ours, np.array(theirs), rtol=1e-6)


@pytest.mark.parametrize("x", [NUMBERS, NUMBERS[:, :1], NUMBERS[:, 0], np.float32(BOUNDARIES), np.float32([np.nan])])
@pytest.mark.parametrize("mode", ["int", *MODES])
def test_discretization_as_keras(mode: str, x: Array) -> None:
    keras = pytest.importorskip("keras")
    theirs = np.array(keras.layers.Discretization(BOUNDARIES, output_mode=mode)(x))
    np.testing.assert_array_equal(layers.Discretization(BOUNDARIES, output_mode=mode)(x), theirs)


DATA: dict[str, Any] = {
    "all at once": NUMBERS,
    "in batches": np.array_split(NUMBERS, 5),
    "fewer than bins": NUMBERS[:3, :1],
    "ties": np.round(NUMBERS),
}


@pytest.mark.parametrize(("bins", "epsilon"), [(4, 0.01), (10, 0.001), (32, 0.01), (7, 0.3), (1, 0.01)])
@pytest.mark.parametrize("data", DATA)
def test_bins_that_are_learned_as_keras(data: str, bins: int, epsilon: float) -> None:
    keras = pytest.importorskip("keras")
    theirs = keras.layers.Discretization(num_bins=bins, epsilon=epsilon)
    ours = layers.Discretization(num_bins=bins, epsilon=epsilon)
    theirs.reset_state()
    for batch in DATA[data] if isinstance(DATA[data], list) else [DATA[data]]:
        theirs.update_state(batch)  # adapt itself asks whether it is given a data set of TensorFlow's
    theirs.finalize_state()
    ours.adapt(DATA[data])
    np.testing.assert_allclose(ours.bin_boundaries, theirs.bin_boundaries, rtol=1e-6)
