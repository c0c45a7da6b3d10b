"""A fork while another thread uses the models: no child waits for a lock that nobody will release."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import callbacks, layers
from fastdl.base import forks, random

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

rng = np.random.default_rng(0)
X = rng.standard_normal((512, 16)).astype(np.float32)
Y = rng.integers(0, 3, 512)
FORKS = 48


def net() -> keras.Sequential:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(64, "relu"), layers.Dropout(0.1), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def in_a_child(work: Callable[[], bool]) -> int:
    """0 if the work, done in a child of a fork, gave True; else the exit code, or minus the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """Another thread works all the while."""
    ended, begun = threading.Event(), threading.Event()

    def run() -> None:
        while not ended.is_set():
            work()
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_children_predict_and_fit_while_another_thread_predicts() -> None:
    model, twin = net(), net()
    expected = model.predict(X)
    twin.fit(X, Y, epochs=1, verbose=0)
    trained = twin.get_weights()

    def works() -> bool:
        right = np.array_equal(model.predict(X), expected)
        model.session.seed = twin.session.seed
        model.fit(X, Y, epochs=1, verbose=0)
        return right and all(map(np.array_equal, model.get_weights(), trained))

    with meanwhile(lambda: model.predict(X)):
        assert [in_a_child(works) for _ in range(FORKS)] == [0] * FORKS
    assert works()


def test_children_predict_and_fit_while_another_thread_fits() -> None:
    model, twin = net(), net()
    expected = twin.predict(X)

    def works() -> bool:
        finite = bool(np.isfinite(model.predict(X)).all())
        history = model.fit(X, Y, epochs=1, verbose=0).history
        return finite and bool(np.isfinite(history["loss"]).all()) and np.array_equal(twin.predict(X), expected)

    with meanwhile(lambda: model.fit(X, Y, epochs=2, verbose=0)):
        assert [in_a_child(works) for _ in range(FORKS)] == [0] * FORKS
    assert works()


def test_a_fit_that_forks_in_a_callback_goes_on_in_both() -> None:
    model, twin = net(), net()
    twin.fit(X, Y, epochs=3, verbose=0)
    codes = []

    def fork(epoch: int, logs: Any) -> None:
        if epoch == 1:
            codes.append(os.fork())
            if not codes[0]:
                signal.alarm(20)

    try:
        model.session.seed = twin.session.seed
        model.fit(X, Y, epochs=3, verbose=0, callbacks=callbacks.LambdaCallback(on_epoch_begin=fork))
        same = all(map(np.array_equal, model.get_weights(), twin.get_weights()))
    finally:
        if codes == [0]:
            os._exit(not same)
    assert same
    assert os.waitstatus_to_exitcode(os.waitpid(codes[0], 0)[1]) == 0


def test_a_child_draws_though_another_thread_was_drawing() -> None:
    keras.utils.set_random_seed(3)
    expected = np.random.default_rng(3).random(3)
    lock, held, ended = random.generator().bit_generator.lock, threading.Event(), threading.Event()

    def draw() -> None:
        with lock:
            held.set()
            ended.wait()

    thread = threading.Thread(target=draw)
    thread.start()
    held.wait()
    try:
        assert forks.left_behind(lock)
        assert in_a_child(lambda: np.array_equal(random.generator().random(3), expected)) == 0
    finally:
        ended.set()
        thread.join()
