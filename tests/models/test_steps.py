"""How many steps an epoch takes, and what callbacks hear of them: Keras's counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.callbacks import BackupAndRestore, Callback, LambdaCallback
from fastdl.errors import DataWarning

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((18, 3))  # 5 batches of 4, the last of 2 rows
Y = X.sum(1, keepdims=True)


def net(steps_per_execution: int = 1, seed: int = 1) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(seed)
    model = fastdl.Sequential([fastdl.Input((3,)), layers.Dense(2, "tanh"), layers.Dense(1)])
    model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    return model


def fit(model: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return model.fit(X, Y, **{"batch_size": 4, "verbose": 0, **options})


# steps_per_epoch, epochs, steps_per_execution → the steps of each epoch
COUNTS: dict[str, tuple[int | None, int, int, list[int]]] = {
    "a pass": (None, 2, 1, [5, 5]),
    "as many as there are": (5, 2, 1, [5, 5]),
    "more than there are": (7, 2, 1, [5, 5]),
    "fewer than there are": (4, 4, 1, [4, 1, 4, 1]),
    "two": (2, 6, 1, [2, 2, 1, 2, 2, 1]),
    "one": (1, 6, 1, [1] * 6),
    "executions of two": (None, 2, 2, [5, 5]),
    "executions of two, fewer steps": (2, 4, 2, [2, 2, 1, 2]),
    "an execution is taken whole": (4, 3, 3, [5, 5, 5]),
    "an execution of more than there are": (None, 2, 9, [5, 5]),
}


def counted(model: Any, **options: Any) -> list[int]:
    """The steps of each epoch of a fit."""
    taken: list[int] = []
    fit(
        model,
        callbacks=LambdaCallback(on_epoch_end=lambda e, logs: taken.append(model.optimizer.iterations)),
        **options,
    )
    return np.diff([0, *taken]).tolist()


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_steps_of_epochs(name: str, shuffle: bool) -> None:
    steps, epochs, each, expected = COUNTS[name]
    assert counted(net(each), steps_per_epoch=steps, epochs=epochs, shuffle=shuffle) == expected


@pytest.mark.parametrize("steps", [4, 7])
def test_data_that_run_out_are_told_of(steps: int) -> None:
    with pytest.warns(DataWarning, match=f"ran out after {1 if steps == 4 else 5} of {steps} batches"):
        net().fit(X, Y, 4, epochs=2, steps_per_epoch=steps, verbose=0)


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 5}, {"steps_per_epoch": 1}])
def test_nothing_is_told_where_they_do_not(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net().fit(X, Y, 4, epochs=3, verbose=0, **options)


def test_without_a_batch_size_the_steps_decide_it() -> None:
    sizes: list[int] = []

    def note(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        sizes.append(len(y_true))
        return np.zeros(len(y_true)), np.zeros_like(y_pred)

    model = net()
    model.compile("sgd", note)
    model.fit(X, Y, steps_per_epoch=4, verbose=0)
    assert sizes == [5, 5, 5, 3]
    assert model.evaluate(X, Y, steps=3) == model.evaluate(X, Y)
    assert len(model.predict(X, steps=3)) == 18


def test_each_fit_begins_with_the_first_batch() -> None:
    model, by_hand = net(), net()
    for _ in range(2):
        fit(model, steps_per_epoch=2, shuffle=False)
        for i in (0, 4):
            by_hand.train_on_batch(X[i : i + 4], Y[i : i + 4])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), by_hand.get_weights(), strict=True))


def test_an_interrupted_training_goes_on_within_the_pass(tmp_path: Path) -> None:
    def interrupted(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    whole = net()
    fit(whole, epochs=5, steps_per_epoch=2)
    backup = BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(net(), epochs=5, steps_per_epoch=2, callbacks=[backup, LambdaCallback(on_epoch_end=interrupted)])
    model = net(seed=99)
    fit(model, epochs=5, steps_per_epoch=2, callbacks=BackupAndRestore(tmp_path / "backup"))
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), model.get_weights(), strict=True))


class Hears(Callback):
    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.rows: list[int] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("train", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("trained", batch))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("test", batch))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("tested", batch))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("predicted", batch))
        self.rows.append(len(logs["outputs"]))


@pytest.mark.parametrize("batches", [False, True])
def test_callbacks_hear_of_executions(batches: bool) -> None:
    """Of two batches at once; the last, of one, bears the number that it would have of two, as in Keras."""
    hears, model = Hears(), net(2)
    cut = list(zip(np.split(X, [4, 8, 12, 16]), np.split(Y, [4, 8, 12, 16]), strict=True))
    data: tuple[Any, ...] = (iter(cut),) if batches else (X, Y, 4)
    model.fit(*data, callbacks=hears, verbose=0)
    assert hears.heard == [(name, i) for j in range(0, 6, 2) for name, i in (("train", j), ("trained", j + 1))]
    hears.heard.clear()
    data = (iter(cut),) if batches else (X, Y, 4)
    model.evaluate(*data, callbacks=hears)
    assert hears.heard == [(name, i) for j in range(0, 6, 2) for name, i in (("test", j), ("tested", j + 1))]
    hears.heard.clear()
    predicted = model.predict(*((iter(cut),) if batches else (X, 4)), callbacks=hears)
    assert hears.heard == [("predicted", i) for i in (1, 3, 5)]
    assert hears.rows == [8, 8, 2]
    np.testing.assert_allclose(predicted, model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("frequency", [1, 2, [1, 4], {3}])
def test_epochs_that_are_validated(frequency: Any) -> None:
    validated: list[int] = []
    epoch: list[int] = []
    hooks = LambdaCallback(
        on_epoch_begin=lambda e, logs: epoch.append(e), on_test_begin=lambda logs: validated.append(epoch[-1] + 1)
    )
    history = fit(net(), epochs=5, validation_data=(X, Y), validation_freq=frequency, callbacks=hooks).history
    expected = {1: [1, 2, 3, 4, 5], 2: [2, 4]}.get(frequency) if isinstance(frequency, int) else sorted(frequency)
    assert validated == expected
    assert len(history["val_loss"]) == len(validated)
    assert len(history["loss"]) == 5


def test_batches_of_validation() -> None:
    hears = Hears()
    fit(net(), validation_data=(X, Y), validation_batch_size=9, callbacks=hears)
    assert [each for each in hears.heard if each[0] == "tested"] == [("tested", 0), ("tested", 1)]


def test_each_validation_begins_with_the_first_batch() -> None:
    cut = [(X[:6], Y[:6]), (X[6:], Y[6:])]
    model = net()
    model.compile(fastdl.optimizers.SGD(0.0), "mse")
    losses = fit(model, epochs=3, validation_data=cut, validation_steps=1).history["val_loss"]
    assert losses == pytest.approx([model.evaluate(X[:6], Y[:6])] * 3)


def test_evaluation_may_stop() -> None:
    model = net()

    def stop(batch: int, logs: Any) -> None:
        model.stop_evaluating = batch == 1

    hooks = LambdaCallback(on_test_batch_end=stop)
    for data in ((X, Y, 4), (iter([(X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:], Y[8:])]),)):
        assert model.evaluate(*data, callbacks=hooks) == pytest.approx(model.evaluate(X[:8], Y[:8]))
    assert model.evaluate(X, Y) != pytest.approx(model.evaluate(X[:8], Y[:8]))


def test_prediction_may_stop() -> None:
    model = net()

    def stop(batch: int, logs: Any) -> None:
        model.stop_predicting = batch == 1

    hooks = LambdaCallback(on_predict_batch_end=stop)
    for data in ((X, 4), (iter([X[:4], X[4:8], X[8:]]),)):
        np.testing.assert_allclose(model.predict(*data, callbacks=hooks), model.predict(X[:8]))
    assert len(model.predict(X)) == 18


WRONG: list[tuple[Callable[[fastdl.Sequential], Any], str]] = [
    (lambda m: m.compile("sgd", "mse", steps_per_execution=0), "steps_per_execution must be a positive integer"),
    (lambda m: m.compile("sgd", "mse", steps_per_execution="auto"), "steps_per_execution must be a positive integer"),
    (lambda m: fit(m, validation_freq=0), "validation_freq must be a positive integer"),
    (lambda m: fit(m, validation_freq="2"), "validation_freq must be a positive integer, or a list of epochs"),
    (lambda m: fit(m, validation_batch_size=-1), "validation_batch_size must be a positive integer"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_arguments_say_what_is_wrong(call: Callable[[fastdl.Sequential], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(net())
