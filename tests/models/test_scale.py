"""Inputs and targets far from unit scale are told of, once, where nothing in the model brings them there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import layers
from fastdl.errors import DataWarning

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 3)).astype(np.float32)
Y = X @ np.array([1, 2, 3], np.float32)
FAR = X * np.array([1, 5e4, 1], np.float32)
PIXELS = rng.integers(0, 256, (400, 3)).astype(np.uint8)
MONEY = 5e5 + 1e5 * rng.standard_normal(400)


def adapted(x: Any) -> layers.Layer:
    layer = layers.Normalization()
    layer.adapt(x)
    return layer


def told(x: Any, y: Any, *first: layers.Layer, loss: str = "mse", end: Any = (), fits: int = 1) -> list[str]:
    last = layers.Dense(1, "softplus" if loss in ("poisson", "msle") else None)
    model = keras.Sequential([keras.Input(x.shape[1:]), *first, layers.Dense(4, "relu"), last, *end])
    model.compile("sgd", loss)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(fits):
            model.fit(x, y, verbose=0)
    return [str(each.message) for each in caught if each.category is DataWarning]


def test_it_says_what_the_scale_is_and_what_to_do() -> None:
    (message,) = told(X, MONEY)
    assert message.startswith("y is about 5e+05 ± 1e+05, far from unit scale")
    assert "train on (y - mean) / std" in message
    (message,) = told(FAR, MONEY)
    assert "± 5e+04 in feature 1 and y is about" in message
    assert "Normalization (adapt it first) or Rescaling" in message


TOLD: dict[str, Callable[[], list[str]]] = {
    "one column": lambda: told(FAR, Y),
    "pixels from 0 to 255": lambda: told(PIXELS, Y),
    "tiny inputs": lambda: told(X * 1e-5, Y),
    "tiny targets": lambda: told(X, Y * 1e-5),
    "targets behind scaled inputs": lambda: told(FAR, MONEY, adapted(FAR)),
    "mae": lambda: told(X, MONEY, loss="mae"),
    "a second fit goes on": lambda: told(X, MONEY, fits=3),
}
SILENT: dict[str, Callable[[], list[str]]] = {
    "unit scale": lambda: told(X, Y),
    "a tenth or ten": lambda: told(X * 0.1, Y * 10),
    "zeros": lambda: told(X * 0, Y * 0),
    "Normalization": lambda: told(FAR, Y, adapted(FAR)),
    "Rescaling": lambda: told(PIXELS, Y, layers.Rescaling(1 / 255)),
    "BatchNormalization": lambda: told(FAR, Y, layers.BatchNormalization()),
    "batch norm behind a dense layer": lambda: told(FAR, Y, layers.Dense(4), layers.BatchNormalization()),
    "targets scaled back": lambda: told(X, MONEY, end=[layers.Normalization(mean=[5e5], variance=[1e10], invert=True)]),
    "a loss of ratios": lambda: told(X, np.abs(MONEY), loss="msle"),
    "counts": lambda: told(X, rng.poisson(500, 400), loss="poisson"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", TOLD)
def test_it_is_told(case: str) -> None:
    assert len(TOLD[case]()) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", SILENT)
def test_it_is_not_told(case: str) -> None:
    assert SILENT[case]() == []
