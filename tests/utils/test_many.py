"""fit_all: many models side by side, each with the bits that it has alone; and fits in threads of one's own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fastdl import callbacks, config, layers, models, utils
from fastdl.models import pace


def data(rows: int = 500) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 40)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def nets(count: int) -> list[models.Sequential]:
    utils.set_random_seed(7)
    made = []
    for i in range(count):
        hidden = [layers.Dense(200 + 10 * i, activation="relu"), layers.Dropout(0.2)]
        made.append(models.Sequential([layers.Input((40,)), *hidden, layers.Dense(2, activation="softmax")]))
        made[-1].compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def test_each_model_has_the_bits_that_it_has_alone() -> None:
    together, alone, seeds = nets(5), nets(5), [3, 1, 4, 1, 5]
    histories = utils.fit_all(together, *data(), seeds=seeds, epochs=3, workers=3, verbose=0)
    for one, other, seed, history in zip(together, alone, seeds, histories, strict=True):
        with config.thread_limit(1), utils.local_random_seed(seed):
            expected = other.fit(*data(), epochs=3, verbose=0)
        assert history.history == expected.history
        assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_seeds_are_drawn_in_order() -> None:
    results = []
    for workers in (1, 4):
        made = nets(4)
        utils.fit_all(made, *data(), epochs=2, workers=workers, verbose=0)
        results.append([each.predict(data()[0]) for each in made])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_arguments_of_each() -> None:
    made, (x, y) = nets(3), data()
    heard: list[int] = []
    end = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: heard.append(epoch))
    each = [{"epochs": 1}, {"x": x[:100], "y": y[:100], "callbacks": end}, {}]
    histories = utils.fit_all(made, x, y, each=each, epochs=2, batch_size=50, verbose=0)
    assert [len(history.epoch) for history in histories] == [1, 2, 2]
    assert histories[1].params["steps"] == 2
    assert heard == [0, 1]


def test_an_error_stops_the_others() -> None:
    made, (x, y) = nets(4), data()
    bad = np.full_like(x, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        utils.fit_all(made, x, y, each=[{}, {"x": bad}, {}, {}], epochs=100_000, workers=2, verbose=0)
    assert threading.active_count() < 20


def test_ctrl_c_stops_all() -> None:
    code = """
        import numpy as np, threading, time, os, signal
        from fastdl import layers, models, utils
        made = [models.Sequential([layers.Input((4,)), layers.Dense(3)]) for _ in range(3)]
        for each in made: each.compile("sgd", "mse")
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        x = np.zeros((5000, 4), np.float32)
        try:
            utils.fit_all(made, x, x[:, :3], epochs=10**6, verbose=0)
        except KeyboardInterrupt:
            print("stopped", [t.name for t in threading.enumerate() if t.name.startswith("ThreadPool")])
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "stopped []\n", done.stderr
    assert done.returncode in (0, -signal.SIGINT)


def test_a_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    utils.fit_all(nets(2), *data(), epochs=2, verbose=2)
    lines = sorted(capsys.readouterr().out.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("Model 1 (sequential")
    assert "accuracy: " in lines[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seeds": [1]}, "seeds has 1 entries for 2 models"),
        ({"each": [{}]}, "each has 1 entries for 2 models"),
        ({"workers": 0}, "workers"),
    ],
)
def test_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        utils.fit_all(nets(2), *data(), **options)


def test_one_model_twice_is_refused() -> None:
    (model,) = nets(1)
    with pytest.raises(ValueError, match="twice"):
        utils.fit_all([model, model], *data())


def test_no_models() -> None:
    assert utils.fit_all([], *data()) == []


def test_fits_in_threads_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes its share, so that two fits on two cores do not ask for three threads."""
    monkeypatch.setattr(config, "get_num_threads", lambda: 4)
    asked: dict[str, set[int]] = {}
    meet = threading.Barrier(2)

    def plan(self: pace.Pace, left: int, alone: bool = False, real: Any = pace.Pace.plan) -> pace.Plan:
        chosen: pace.Plan = real(self, left, alone)
        asked.setdefault(threading.current_thread().name, set()).add(chosen.threads)
        return chosen

    def fit(model: models.Sequential) -> None:
        both = callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: meet.wait(30), on_epoch_end=lambda epoch, logs: meet.wait(30)
        )
        model.fit(*data(), batch_size=500, epochs=5, verbose=0, callbacks=[both])

    monkeypatch.setattr(pace.Pace, "plan", plan)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, nets(2)))
    assert max(max(threads) for threads in asked.values()) <= 2
    assert pace._side_by_side == 0
