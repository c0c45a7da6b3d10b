"""read_ahead: batches are drawn by a thread while those before them are used, and are otherwise as without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from fastdl import layers, models, utils
from fastdl.utils import read_ahead


def batches(count: int = 6) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((20, 5)).astype(np.float32), rng.random((20, 1))) for _ in range(count)]


def net() -> models.Sequential:
    utils.set_random_seed(0)
    model = models.Sequential([layers.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastdl-ahead"]


class Sequence:
    def __init__(self) -> None:
        self.batches = batches()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> Any:
        return self.batches[i]


class Streamed:
    def __iter__(self) -> Iterator[Any]:
        return iter(batches())


@pytest.mark.parametrize("made", [batches, Sequence, Streamed])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_fit_is_as_without_it(made: Any, count: int) -> None:
    one = net()
    expected = one.fit(made(), epochs=3, verbose=0, shuffle=False).history
    other = net()
    assert other.fit(read_ahead(made(), count), epochs=3, verbose=0).history == expected
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_evaluate_and_predict() -> None:
    model = net()
    assert model.evaluate(read_ahead(Streamed())) == model.evaluate(Streamed())
    np.testing.assert_array_equal(model.predict(read_ahead(Streamed())), model.predict(Streamed()))


def test_batches_are_read_while_those_before_them_are_used() -> None:
    def slow() -> Iterator[int]:
        for i in range(10):
            time.sleep(0.02)
            yield i

    began = time.perf_counter()
    for _ in read_ahead(slow()):
        time.sleep(0.02)
    assert time.perf_counter() - began < 0.36  # one after the other: 0.4


def test_no_more_than_so_many_are_waiting() -> None:
    drawn: list[int] = []

    def counted() -> Iterator[int]:
        for i in range(100):
            drawn.append(i)
            yield i

    taken = iter(read_ahead(counted(), 3))
    next(taken)
    time.sleep(0.2)
    assert len(drawn) <= 6  # one taken, one in hand, three waiting, and one that has no room


def test_its_length_and_that_it_can_begin_again() -> None:
    assert len(read_ahead(Sequence())) == 6  # type: ignore[arg-type]
    assert not hasattr(read_ahead(Streamed()), "__len__")
    again = read_ahead(Streamed())
    assert len(list(again)) == len(list(again)) == 6
    used_up = read_ahead(iter(batches()))
    assert (len(list(used_up)), len(list(used_up))) == (6, 0)


def test_an_error_comes_where_the_batch_would_have_come() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    taken = iter(read_ahead(broken()))
    assert next(taken) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(taken)
    assert not readers()


def test_who_leaves_early_leaves_no_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    for _ in read_ahead(endless()):
        break
    deadline = time.perf_counter() + 5
    while readers() and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert not readers()


@pytest.mark.parametrize(("wrong", "error"), [((3,), TypeError), ((batches(), 0), ValueError)])
def test_refused(wrong: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_ahead(*wrong)


def test_a_parquet_file_by_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(1000).astype(np.float32) for name in "abcde"}
    pa.parquet.write_table(pa.table({**columns, "y": columns["a"] * 2}), tmp_path / "data.parquet")

    class File:
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            for batch in pa.dataset.dataset(tmp_path / "data.parquet").to_batches(batch_size=100):
                frame = batch.to_pandas()
                yield frame[list("abcde")].to_numpy(), frame[["y"]].to_numpy()

    model = net()
    history = model.fit(read_ahead(File()), epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]
