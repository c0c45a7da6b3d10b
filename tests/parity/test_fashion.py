"""The textbook net, ten epochs on Fashion-MNIST: fastdl ends where PyTorch ends."""

from typing import Any

import numpy as np
import pytest

from .runs import keras_model, set_adam_epsilon, torch_model
from .table import BN, SPARSE, Array, Dense, Net, initial_weights

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

NET = Net((BN, Dense(300, "relu"), BN, Dense(100, "relu"), BN, Dense(10, "softmax")), SPARSE, "class")
BATCH = 32
# Without the slow last two, the accuracy of one net swings by up to 1 % from epoch to epoch, and nets whose
# first weights differ by 1e-6 come out up to 0.6 % apart; with them 0.2 %.
LEARNING_RATES = [1e-3] * 8 + [1e-4] * 2

Data = tuple[tuple[Array, Array], tuple[Array, Array]]


@pytest.fixture(scope="module")
def data() -> Data:
    from fastdl.datasets import fashion_mnist, find_fashion_mnist

    if find_fashion_mnist() is None:
        pytest.skip("no Fashion-MNIST on this machine: apt install dataset-fashion-mnist")
    (x_train, y_train), (x_test, y_test) = fashion_mnist()

    def flat(x: Array) -> Array:
        return x.reshape(len(x), -1).astype(np.float32) / 255

    return (flat(x_train), y_train.astype(np.int64)), (flat(x_test), y_test.astype(np.int64))


def weights() -> list[Array]:
    return [array.astype(np.float32) for array in initial_weights(NET, 784, np.random.default_rng(0))]


def orders(rows: int) -> list[Array]:
    """The order of each epoch, the same for both."""
    rng = np.random.default_rng(1)
    return [rng.permutation(rows) for _ in LEARNING_RATES]


def by_fastdl(data: Data) -> float:
    import fastdl

    (x, y), (x_test, y_test) = data
    model = keras_model(fastdl, NET, 784)
    model.compile(optimizer=fastdl.optimizers.Adam(), loss=NET.loss, metrics=["accuracy"])
    model.set_weights(weights())
    for rate, order in zip(LEARNING_RATES, orders(len(x)), strict=True):
        model.optimizer.learning_rate = rate
        model.fit(x[order], y[order], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return float(model.evaluate(x_test, y_test, verbose=0)[1])


def by_torch(torch: Any, data: Data) -> float:
    (x, y), (x_test, y_test) = (tuple(map(torch.from_numpy, part)) for part in data)
    model = torch_model(torch, NET, weights())
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    step = 0
    for rate, order in zip(LEARNING_RATES, orders(len(x)), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        for rows in torch.from_numpy(order).split(BATCH):
            step += 1
            set_adam_epsilon(optimizer, 1e-7, step)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return float((model(x_test).argmax(1) == y_test).float().mean())


def test_ten_epochs_end_alike(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = by_fastdl(data), by_torch(torch, data)
    with capsys.disabled():
        print(f"\nFashion-MNIST, 10 epochs, test accuracy: fastdl {ours:.2%}, PyTorch {theirs:.2%}")
    assert abs(ours - theirs) <= 0.005
    assert theirs > 0.88
