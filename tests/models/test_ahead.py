"""Memory maps are read ahead of the program, piece by piece; what comes out is as from arrays in memory, to the bit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import layers, models, utils
from fastdl.base.arrays import Array, is_mapped
from fastdl.errors import DataError
from fastdl.models import ahead


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PIECE_BYTES", 20_000)


def on_disk(folder: Path, array: Array, name: str = "x") -> Array:
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def data(rows: int = 1003) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 30)).astype(np.float32)
    return x, (x[:, :1] * 2 + 1).astype(np.float32)


def net() -> models.Sequential:
    utils.set_random_seed(1)
    hidden = [layers.Dense(40, activation="relu"), layers.Dropout(0.1)]
    model = models.Sequential([layers.Input((30,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"batch_size": 100, "validation_split": 0.3},
        {"batch_size": 2000},
        {"steps_per_epoch": 7, "batch_size": 50},
        {"sample_weight": np.linspace(0, 1, 1003, dtype=np.float32)},
    ],
    ids=str,
)
def test_a_fit_is_as_on_arrays_in_memory(small_pieces: None, tmp_path: Path, options: dict[str, Any]) -> None:
    x, y = data()
    one = net()
    expected = one.fit(x, y, epochs=3, verbose=0, **options).history
    other = net()
    history = other.fit(on_disk(tmp_path, x), on_disk(tmp_path, y, "y"), epochs=3, verbose=0, **options).history
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-12)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastdl-ahead")]


def test_evaluate_and_predict(small_pieces: None, tmp_path: Path) -> None:
    (x, y), model = data(), net()
    x_file = on_disk(tmp_path, x)
    np.testing.assert_allclose(model.evaluate(x_file, y), model.evaluate(x, y), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(x_file), model.predict(x))


def test_what_is_not_finite_is_found_when_it_is_read(small_pieces: None, tmp_path: Path) -> None:
    x, y = data()
    x[900, 3] = np.nan
    file = on_disk(tmp_path, x)
    for use in (net().fit, net().evaluate):
        with pytest.raises(DataError, match="NaN or Inf"):
            use(file, y)
    net().fit(file, y, check_input=False, epochs=1, verbose=0)


def test_another_dtype_is_converted_and_checked_at_once(tmp_path: Path) -> None:
    x, y = data()
    x[900, 3] = np.inf
    model = net()
    before = model.get_weights()
    with pytest.raises(DataError, match="row 900"):
        model.fit(on_disk(tmp_path, x.astype(np.float64)), y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_views_of_memory_maps_are_such(tmp_path: Path) -> None:
    file = on_disk(tmp_path, data()[0])
    assert all(map(is_mapped, (file, file[10:], np.asarray(file), file.reshape(-1, 1)[5:].reshape(-1, 5))))
    assert not any(map(is_mapped, (np.zeros(3), np.array(file), file + 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA")
def test_a_file_of_four_times_the_memory(tmp_path: Path) -> None:
    """The process may have 256 MB of its own; the file has 1 GB, most of it a hole, which reads as zeros."""
    code = f"""
        import resource
        import numpy as np
        from fastdl import layers, models
        x = np.memmap({str(tmp_path / "x.bin")!r}, np.float32, "w+", shape=(262_144, 1024))
        x[::4096] = 1
        y = np.zeros((len(x), 1), np.float32)
        model = models.Sequential([layers.Input((1024,)), layers.Dense(8)])
        model.add(layers.Dense(1))
        model.compile("sgd", "mse")
        resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20))
        print(len(model.fit(x, y, batch_size=4096, epochs=1, verbose=0).history["loss"]))
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "1\n", done.stderr[-2000:]
