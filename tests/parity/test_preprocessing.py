"""Layers that adapt to data, beside Keras's Normalization and scikit-learn's scalers and PCA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers

from .runs import keras_precision
from .table import Array, Dtype

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
RTOL = {"float32": 2e-6, "float64": 1e-10}
RNG = np.random.default_rng(8)
X = RNG.standard_normal((500, 6)) @ RNG.standard_normal((6, 6)) * [1, 3, 0.2, 1, 0, 2] + [0, 3, 1, -2, 7, 0]
IMAGES = RNG.standard_normal((60, 5, 4, 3)) * 2 + 1


def predicted(layer: Any, x: Array, dtype: Dtype) -> Array:
    return fastdl.Sequential([fastdl.Input(x.shape[1:]), layer], dtype=dtype).predict(x.astype(dtype))


def assert_close(ours: Array, theirs: Array, dtype: Dtype) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= RTOL[dtype] * np.abs(theirs).max()


# data, arguments
NORMALIZATIONS: list[tuple[Array, dict[str, Any]]] = [
    (X, {}),
    (X, {"axis": None}),
    (X, {"axis": 1, "invert": True}),
    (X, {"mean": 0.3, "variance": 2.0}),
    (X, {"mean": np.arange(6.0), "variance": np.arange(1.0, 7.0), "invert": True}),
    (IMAGES, {}),
    (IMAGES, {"axis": 2}),
    (IMAGES, {"axis": (1, 2)}),
    (IMAGES, {"axis": (1, 2, 3)}),
    (IMAGES, {"axis": None, "invert": True}),
]


@each_dtype
@pytest.mark.parametrize(("x", "arguments"), NORMALIZATIONS)
def test_normalization_as_keras(x: Array, arguments: dict[str, Any], dtype: Dtype) -> None:
    keras = pytest.importorskip("keras")
    ours = layers.Normalization(**arguments)
    with keras_precision(keras, dtype):
        theirs = keras.layers.Normalization(**arguments)
        if "mean" not in arguments:
            ours.adapt(x.astype(dtype))
            theirs.adapt(x.astype(dtype))
        else:
            theirs.build(x.shape)
        assert_close(predicted(ours, x, dtype), np.array(theirs(x.astype(dtype))), dtype)


SCALERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "StandardScaler": (layers.Normalization, lambda sk: sk.preprocessing.StandardScaler()),
    "MinMaxScaler": (layers.MinMaxScaling, lambda sk: sk.preprocessing.MinMaxScaler()),
    "MinMaxScaler, range": (
        lambda: layers.MinMaxScaling((-3, 2)),
        lambda sk: sk.preprocessing.MinMaxScaler(feature_range=(-3, 2)),
    ),
    "PCA": (layers.Whitening, lambda sk: sk.decomposition.PCA(whiten=True)),
    "PCA, three": (
        lambda: layers.Whitening(n_components=3),
        lambda sk: sk.decomposition.PCA(3, whiten=True, svd_solver="full"),
    ),
}


@each_dtype
@pytest.mark.parametrize("name", SCALERS)
def test_as_scikit_learn(name: str, dtype: Dtype) -> None:
    pytest.importorskip("sklearn.preprocessing")
    pytest.importorskip("sklearn.decomposition")
    import sklearn

    ours, theirs = SCALERS[name][0](), SCALERS[name][1](sklearn)
    x = X[:, [0, 1, 2, 3, 5]] if name.startswith("PCA") else X  # it makes noise of a constant feature
    ours.adapt(x)
    theirs.fit(x)
    assert_close(predicted(ours, x, dtype), theirs.transform(x), dtype)
