"""Layers of models with branches stand in Keras's order, and so do their weights: for any graph of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]


def drawn(api: Any, seed: int) -> Any:
    """A model of up to three inputs, and layers that read any of what is before them, some of them twice."""
    rng = np.random.default_rng(seed)
    tensors = [api.Input((3,), name=f"in{i}") for i in range(rng.integers(1, 4))]
    inputs, shared = list(tensors), api.layers.Dense(3, name="shared")
    for i in range(rng.integers(2, 12)):
        read = [tensors[j] for j in rng.choice(len(tensors), min(len(tensors), 1 + rng.integers(2)), replace=False)]
        joined = api.layers.Concatenate(name=f"join{i}")(read) if len(read) > 1 else read[0]
        layer = shared if len(read) == 1 and rng.random() < 0.2 else api.layers.Dense(3, name=f"dense{i}")
        tensors.append(layer(joined))
    last = [api.layers.Dense(1, name=f"out{i}")(each) for i, each in enumerate(tensors[-2:])]
    return api.Model(inputs, last)


@pytest.mark.parametrize("seed", range(60))
def test_order(seed: int) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = drawn(fastdl, seed), drawn(keras, seed)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert [weight.shape for weight in ours.get_weights()] == [weight.shape for weight in theirs.get_weights()]
    x = [np.random.default_rng(9).standard_normal((4, 3)).astype(np.float32) for _ in ours.inputs]
    x = x if len(x) > 1 else x[0]  # type: ignore[assignment]
    ours.set_weights(theirs.get_weights())
    for got, expected in zip(ours.predict(x), theirs.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def made(api: Any) -> Any:
    class Mine(api.Model):  # type: ignore[misc]
        """Whose layers are called in another order than they were made in."""

        def __init__(self) -> None:
            super().__init__()
            self.last = api.layers.Dense(1, name="last")
            self.first = api.layers.Dense(3, name="first")

        def call(self, x: Any) -> Any:
            return self.last(self.first(x))

    model = Mine()
    model(np.zeros((1, 2), np.float32))
    return model


def test_order_of_attributes() -> None:
    keras = pytest.importorskip("keras")
    for model in (made(fastdl), made(keras)):
        assert [layer.name for layer in model.layers] == ["last", "first"]
        assert [weight.shape for weight in model.get_weights()] == [(3, 1), (1,), (2, 3), (3,)]
