"""fastdl.profile: a step's time kernel by kernel, measured inside the program, on a copy of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers, models
from fastdl.errors import DataError


def data(rows: int = 300) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 200)).astype(np.float32), rng.integers(0, 3, rows)


def net() -> models.Sequential:
    hidden = [layers.Dense(160), layers.BatchNormalization(), layers.ReLU()]
    model = models.Sequential([layers.Input((200,)), *hidden, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernels_of_a_step_and_the_waiting_add_up_to_it(threads: int) -> None:
    told = fastdl.profile(net(), *data(), batch_size=64, threads=threads)
    names = [each.kernel for each in told.kernels]
    assert {"gather", "dense_forward", "batch_norm_train", "dense_weight_step", "softmax_cross_entropy"} <= set(names)
    assert (told.batch, told.threads) == (64, threads)
    whole = sum(each.mean_microseconds for each in told.kernels) + told.waiting
    assert 0.5 * told.microseconds < whole < 1.05 * told.microseconds
    assert all(each.mean_microseconds <= each.microseconds for each in told.kernels)


def test_flops_and_bytes_of_products() -> None:
    told = fastdl.profile(net(), *data(), batch_size=64, threads=1)
    first = next(each for each in told.kernels if each.kernel == "dense_forward")
    assert first.flops == 2 * 64 * 200 * 160
    assert first.nbytes >= 4 * (64 * 200 + 200 * 160 + 64 * 160)
    assert first.gflops == pytest.approx(first.flops / first.mean_microseconds / 1e3)
    assert all(each.flops == 0 for each in told.kernels if not each.kernel.startswith("dense_"))


def test_it_prints_as_a_table() -> None:
    told = fastdl.profile(net(), *data(), batch_size=64, threads=1)
    lines = str(told).splitlines()
    assert lines[0].startswith("A step of 64 rows, 1 threads: ")
    assert len(lines) == len(told.kernels) + 3
    assert "waiting for each other" in lines[-1]
    assert "dense_forward" in told._repr_html_()


def test_the_model_is_as_before() -> None:
    model, (x, y) = net(), data()
    model.fit(x, y, epochs=1, verbose=0)
    before, optimizer = model.get_weights(), model.optimizer.batches
    fastdl.profile(model, x, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.batches == optimizer


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: fastdl.profile(net(), *data(10), batch_size=64), ValueError),
        (lambda: fastdl.profile(net(), *data(), batch_size=0), ValueError),
        (lambda: fastdl.profile(net(), *data(), threads=0), ValueError),
        (lambda: fastdl.profile(models.Sequential([layers.Input((200,)), layers.Dense(1)]), *data()), RuntimeError),
        (lambda: fastdl.profile(net(), data()[0] * np.nan, data()[1]), DataError),
    ],
)
def test_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        wrong()
