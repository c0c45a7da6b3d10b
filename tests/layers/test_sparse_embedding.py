"""Embeddings whose rows are stepped where a batch reads them, and nowhere else: SparseAdam, and plain SGD exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import config, kernels, layers, optimizers, utils
from fastdl.base.arrays import Array
from fastdl.compiler.steps import Steps
from fastdl.ops import embedding

SIZES = [4, 60, 9]


def data(rows: int = 300) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, size, rows) for size in SIZES], 1), rng.standard_normal((rows, 2))


def net(
    optimizer: Any, width: int = 5, sparse: bool = True, dtype: str = "float32", sizes: Any = SIZES, **options: Any
) -> fastdl.Sequential:
    utils.set_random_seed(3)
    table = layers.CategoryEmbedding(sizes, width, "normal", sparse=sparse, **options)
    model = fastdl.Sequential([fastdl.Input((len(sizes),)), table, layers.Dense(2)], dtype=dtype)
    model.compile(optimizer, "mse")
    return model


def weights(model: fastdl.Sequential) -> list[Array]:
    return model.get_weights()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 5, 16, 20, 300])
@pytest.mark.parametrize("batch", [7, 32, 100])
def test_plain_sgd_gives_the_bits_of_all_rows(
    monkeypatch: pytest.MonkeyPatch, dtype: str, width: int, batch: int
) -> None:
    """It leaves rows without a gradient alone anyway: so it may step the others by themselves, asked for or not."""
    found = []
    for sparse, alone in ((True, True), (False, True), (False, False)):
        monkeypatch.setattr(embedding, "STEPPED_AT_ONCE", 0)
        if not alone:
            monkeypatch.setattr(Steps, "leaves_others", lambda self, parameter: False)
        model = net(optimizers.SGD(0.1, clipvalue=0.05), width, sparse, dtype)
        model.fit(*data(), batch_size=batch, epochs=2, verbose=0, shuffle=False)
        found.append(weights(model))
    for one, other in zip(found[0], found[1], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(found[0], found[2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("rows", "alone"), [(100, False), (100_000, True)])
def test_plain_sgd_steps_rows_of_large_tables_alone(rows: int, alone: bool) -> None:
    """Of small ones all at once, which is faster then."""
    model = fastdl.Sequential([fastdl.Input((1,)), layers.Embedding(rows, 8), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    told = fastdl.profile(model, np.zeros((64, 1)), np.zeros((64, 1)), threads=1)
    assert ("embedding_step" in [each.kernel for each in told.kernels]) == alone


def sparse_adam(model: fastdl.Sequential, x: Array, y: Array, batch: int, rate: float) -> list[Array]:
    """Lazy Adam (SparseAdam's rule) on the table, and Adam on the rest, in float64."""
    table, kernel, bias = (each.astype(np.float64) for each in model.get_weights())
    firsts = np.cumsum([0, *SIZES[:-1]])
    moments = [[np.zeros_like(each), np.zeros_like(each)] for each in (table, kernel, bias)]
    for number, start in enumerate(range(0, len(x), batch), 1):
        rows, target = x[start : start + batch] + firsts, y[start : start + batch]
        seen = table[rows].reshape(len(rows), -1)
        dy = 2 * (seen @ kernel + bias - target) / target.size
        gradient = np.zeros_like(table)
        np.add.at(gradient, rows, (dy @ kernel.T).reshape(*rows.shape, -1))
        touched = np.zeros((len(table), 1), bool)
        touched[rows.reshape(-1)] = True
        alpha = rate * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        for which, (value, g) in enumerate(((table, gradient), (kernel, seen.T @ dy), (bias, dy.sum(0)))):
            m, v = moments[which]
            here = touched if which == 0 else np.ones_like(g, bool)
            m += np.where(here, (g - m) * 0.1, 0)
            v += np.where(here, (g**2 - v) * 0.001, 0)
            value -= np.where(here, alpha * m / (np.sqrt(v) + 1e-7), 0)
    return [table, kernel, bias]


@pytest.mark.parametrize("batch", [5, 32, 64])
def test_adam_steps_the_rows_that_are_read_alone(batch: int) -> None:
    x, y = data()
    model = net(optimizers.Adam(0.01), dtype="float64")
    expected = sparse_adam(model, x, y, batch, 0.01)
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0, shuffle=False)
    for value, right in zip(weights(model), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "nadam", "amsgrad", "momentum", "adamw"])
def test_rows_that_are_not_read_stay_as_they_are(optimizer: str) -> None:
    made = {
        "amsgrad": lambda: optimizers.Adam(0.1, amsgrad=True),
        "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
        "adamw": lambda: optimizers.AdamW(0.1, weight_decay=0.1),
    }
    model = net(made.get(optimizer, lambda: optimizers.get(optimizer))())
    x, y = data()
    model.fit(x, y, epochs=1, verbose=0)
    before = weights(model)[0]
    low = np.minimum(x, 2)  # the first rows of each table
    model.fit(low, y, epochs=1, verbose=0)
    after = weights(model)[0]
    firsts = np.cumsum([0, *SIZES[:-1]])
    read = np.unique(low + firsts)
    still = np.setdiff1d(np.arange(len(after)), read)
    np.testing.assert_array_equal(after[still], before[still])
    assert (after[read] != before[read]).any(axis=1).all()


def test_code_0_is_not_trained_where_it_stands_for_what_is_missing() -> None:
    model, (x, y) = net("adam", zero_missing=True), data()
    before = weights(model)[0]
    model.fit(x, y, epochs=2, verbose=0)
    firsts = np.cumsum([0, *SIZES[:-1]])
    np.testing.assert_array_equal(weights(model)[0][firsts], before[firsts])


@pytest.mark.parametrize("batch", [32, 1000])
def test_any_number_of_threads_gives_the_same_bits(batch: int) -> None:
    sizes = [3000, 500, 20_000]
    rng = np.random.default_rng(1)
    x = np.stack([rng.integers(0, size, 3000) for size in sizes], 1)
    y = rng.standard_normal((3000, 2))
    found = []
    for threads in (1, 2):
        config.set_num_threads(threads)
        try:
            model = net("adam", 16, sizes=sizes)
            model.add(layers.Dense(2000))
            model.add(layers.Dense(2))
            model.compile("adam", "mse")
            model.fit(x, y, batch_size=batch, epochs=2, verbose=0)
            found.append(weights(model))
        finally:
            config.set_num_threads(None)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_the_time_of_a_step_does_not_grow_with_the_table() -> None:
    def microseconds(rows: int) -> float:
        model = fastdl.Sequential([fastdl.Input((1,)), layers.Embedding(rows, 8, sparse=True), layers.Flatten()])
        model.add(layers.Dense(1))
        model.compile("adam", "mse")
        x = np.random.default_rng(0).integers(0, rows, (2048, 1))
        told = fastdl.profile(model, x, np.zeros((2048, 1)), threads=1)
        return sum(each.microseconds for each in told.kernels if each.kernel.startswith("embedding"))

    assert microseconds(1_000_000) < 20 * min(microseconds(1000) for _ in range(3))  # rows: 1000 times as many


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (optimizers.Adam(clipnorm=1.0), {}),
        (optimizers.Adam(global_clipnorm=1.0), {}),
        (optimizers.Adam(gradient_accumulation_steps=2), {}),
        ("adafactor", {}),
    ],
)
def test_an_optimizer_that_needs_whole_gradients_is_refused(optimizer: Any, options: dict[str, Any]) -> None:
    model = net(optimizer, **options)
    with pytest.raises(ValueError, match="sparse=True steps each batch's rows by themselves"):
        model.fit(*data(), verbose=0)


def test_it_is_kept_in_configs() -> None:
    for layer in (layers.Embedding(5, 2, sparse=True), layers.CategoryEmbedding([5], 2, sparse=True)):
        assert type(layer).from_config(layer.get_config()).sparse
    assert "sparse" not in layers.Embedding(5, 2).get_config()


def test_the_kernel_is_described() -> None:
    assert "of the rows that the batch reads" in kernels.describe("embedding_step")


@pytest.mark.peer
@pytest.mark.parametrize("rate", [0.1, 0.001])
def test_trains_as_sparse_adam_of_pytorch(rate: float) -> None:
    torch = pytest.importorskip("torch")
    x, y = data()
    model = net(optimizers.Adam(rate, epsilon=1e-15), dtype="float64")
    table, kernel, bias = (torch.tensor(each, requires_grad=True) for each in weights(model))
    firsts = np.cumsum([0, *SIZES[:-1]])
    # an epsilon of nothing: PyTorch's Adam adds it to another root than Keras's
    rows_optimizer = torch.optim.SparseAdam([table], lr=rate, eps=1e-15)
    rest = torch.optim.Adam([kernel, bias], lr=rate, eps=1e-15)
    for start in range(0, len(x), 32):
        codes, target = torch.from_numpy(x[start : start + 32] + firsts), torch.from_numpy(y[start : start + 32])
        seen = torch.nn.functional.embedding(codes, table, sparse=True).flatten(1)
        loss = torch.nn.functional.mse_loss(seen @ kernel + bias, target)
        for each in (rows_optimizer, rest):
            each.zero_grad()
        loss.backward()
        for each in (rows_optimizer, rest):
            each.step()
    model.fit(x, y, batch_size=32, epochs=1, verbose=0, shuffle=False)
    for value, right in zip(weights(model), (table, kernel, bias), strict=True):
        np.testing.assert_allclose(value, right.detach().numpy(), rtol=1e-7, atol=1e-9)
