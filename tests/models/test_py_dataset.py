"""utils.PyDataset: batches that are asked for by number, in threads where that is asked."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.utils import PyDataset

RNG = np.random.default_rng(5)
X = RNG.standard_normal((36, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Data(PyDataset):
    """Batches of four; `endless` ones begin again."""

    def __init__(self, endless: bool = False, parts: int = 2, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.endless, self.parts, self.seconds = endless, parts, seconds
        self.asked: list[int] = []
        self.threads = set[str]()
        self.epochs: list[str] = []

    @property
    def num_batches(self) -> int | None:
        return None if self.endless else 9

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.seconds)
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        rows = slice(4 * (index % 9), 4 * (index % 9) + 4)
        return (X[rows], Y[rows], np.ones(4))[: self.parts]

    def on_epoch_begin(self) -> None:
        self.epochs.append("begin")

    def on_epoch_end(self) -> None:
        self.epochs.append("end")


def net() -> fastdl.Model:
    fastdl.utils.set_random_seed(1)
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("parts", [2, 3])
def test_it_trains_as_arrays_do(workers: int, parts: int) -> None:
    expected = net()
    expected.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    model, data = net(), Data(parts=parts, workers=workers)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(expected.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert data.epochs == ["begin", "end"] * 2
    assert any("batches" in name for name in data.threads) == (workers > 1)
    assert model.evaluate(data) == pytest.approx(expected.evaluate(X, Y), rel=1e-5)
    np.testing.assert_allclose(model.predict(Data(parts=1, workers=workers)), expected.predict(X), rtol=1e-4, atol=1e-6)


def test_it_is_shuffled_by_batches() -> None:
    data = Data()
    net().fit(data, verbose=0)
    assert sorted(data.asked[-9:]) == list(range(9))
    assert data.asked[-9:] != list(range(9))


def test_without_an_end() -> None:
    data = Data(endless=True, workers=2)
    history = net().fit(data, epochs=2, steps_per_epoch=5, verbose=0)
    assert len(history.history["loss"]) == 2
    assert set(range(10)) <= set(data.asked)  # the second epoch goes on

    class NoLength(PyDataset):
        def __getitem__(self, index: int) -> Any:
            return index

    assert [batch for _, batch in zip(range(4), NoLength(), strict=False)] == [0, 1, 2, 3]
    assert len(list(Data())) == 9


def test_threads_are_ahead() -> None:
    began = time.perf_counter()
    list(Data(seconds=0.02))
    alone = time.perf_counter() - began
    began = time.perf_counter()
    list(Data(seconds=0.02, workers=6))
    assert time.perf_counter() - began < alone


def test_errors_reach_the_caller() -> None:
    class Broken(Data):
        def __getitem__(self, index: int) -> Any:
            if index == 2:
                raise OSError("no such file")
            return super().__getitem__(index)

    for workers in (1, 3):
        with pytest.raises(OSError, match="no such file"):
            net().fit(Broken(workers=workers), shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="use_multiprocessing must be False"):
        Data(use_multiprocessing=True)
