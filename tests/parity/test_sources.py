"""Other libraries' loaders and datasets as what fit, evaluate and predict read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((70, 4)).astype(np.float32), RNG.integers(0, 3, 70)


def torch_loader() -> Any:
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 16)


def keras_dataset() -> Any:
    keras = pytest.importorskip("keras")

    class Batches(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 5

        def __getitem__(self, number: int) -> Any:
            return X[16 * number : 16 * number + 16], Y[16 * number : 16 * number + 16]

    return Batches()


def torch_tensors() -> Any:
    torch = pytest.importorskip("torch")
    return ((torch.tensor(x, requires_grad=True), torch.tensor(y)) for x, y in keras_dataset())


def net() -> fastdl.Sequential:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("make", [torch_loader, keras_dataset, torch_tensors])
def test_is_read_as_its_rows(make: Any) -> None:
    ours, expected = net(), net()
    ours.fit(make(), shuffle=False, verbose=0)
    expected.fit(X, Y, 16, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), expected.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert ours.evaluate(make()) == pytest.approx(ours.evaluate(X, Y), rel=1e-6)
    np.testing.assert_allclose(ours.predict(make()), ours.predict(X), rtol=1e-6)


def test_adapts_to_a_loader() -> None:
    layer = layers.Normalization()
    layer.adapt(torch_loader())
    np.testing.assert_allclose(layer.mean, X.astype(np.float64).mean(0, keepdims=True), atol=1e-12)
