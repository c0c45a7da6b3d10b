"""Which hooks are called, when, with what; and that a callback that raises leaves the model as usable as before."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import callbacks
from fastdl.callbacks import Callback, History, LambdaCallback
from fastdl.models.callback_list import CallbackList
from fastdl.models.session import Session

from .small import Batches, Epochs, Everything, Stub, data, small


def test_the_order_of_hooks_in_fit() -> None:
    notes = Everything()
    small().fit(*data(50), batch_size=20, epochs=2, validation_split=0.2, callbacks=[notes], verbose=0)
    batches = [(hook, i) for i in range(2) for hook in ("train_batch_begin", "train_batch_end", "slice_end")]  # 40 rows
    tests = [("test_begin",), ("test_batch_begin", 0), ("test_batch_end", 0), ("test_end",)]
    epochs = [[("epoch_begin", i), *batches, *tests, ("epoch_end", i)] for i in range(2)]
    assert notes.heard == [("train_begin",), *epochs[0], *epochs[1], ("train_end",)]
    assert notes.params == {"verbose": 0, "epochs": 2, "steps": 2}


def test_the_order_of_hooks_in_evaluate_and_predict() -> None:
    for purpose in ("test", "predict"):
        notes, model = Everything(), small()
        arguments = data(50) if purpose == "test" else data(50)[:1]
        call = model.evaluate if purpose == "test" else model.predict
        call(*arguments, batch_size=20, callbacks=[notes])
        batches = [(f"{purpose}_batch_{edge}", i) for i in range(3) for edge in ("begin", "end")]
        assert notes.heard == [(f"{purpose}_begin",), *batches, (f"{purpose}_end",)]
        assert notes.params["steps"] == 3
        assert notes.model is model


def test_a_list_in_a_loop_of_ones_own() -> None:
    notes, model = Everything(), small()
    several = CallbackList([[notes], None], add_history=True, model=model, epochs=2, steps=1)
    assert notes.params == {"epochs": 2, "steps": 1}
    several.on_train_begin({})
    for epoch in range(2):
        several.on_epoch_begin(epoch, {})
        several.on_train_batch_begin(0, {})
        logs = model.train_on_batch(*data(50), return_dict=True)
        several.on_train_batch_end(0, logs)
        several.on_epoch_end(epoch, logs)
    several.on_train_end({})
    batch = [("train_batch_begin", 0), ("train_batch_end", 0)]
    epochs = [[("epoch_begin", i), *batch, ("epoch_end", i)] for i in range(2)]
    assert notes.heard == [("train_begin",), *epochs[0], *epochs[1], ("train_end",)]
    history = several.history()
    assert history.model is model
    assert len(history.history["loss"]) == 2
    with pytest.raises(AttributeError, match="did you mean 'on_epoch_end'"):
        several.on_epoch_ends(0)
    with pytest.raises(ValueError, match="bar belongs to fit"):
        CallbackList(add_progbar=True)


def test_logs_are_means_over_the_pass_so_far() -> None:
    x, y = data(50)
    model, other, notes = small(), small(), Everything()
    history = model.fit(x, y, batch_size=20, shuffle=False, callbacks=[notes], verbose=0).history
    losses = [other.train_on_batch(x[i : i + 20], y[i : i + 20])[0] for i in (0, 20, 40)]
    means = [losses[0], (losses[0] + losses[1]) / 2, (20 * losses[0] + 20 * losses[1] + 10 * losses[2]) / 50]
    by_hook = dict(zip(notes.heard, notes.logs, strict=True))
    for i, mean in enumerate(means):
        assert by_hook["train_batch_begin", i] == {}
        assert by_hook["train_batch_end", i]["loss"] == pytest.approx(mean, rel=1e-12)
        assert by_hook["slice_end", i] == by_hook["train_batch_end", i]
    assert by_hook["epoch_end", 0] == by_hook["train_end",] == {name: values[0] for name, values in history.items()}
    assert {type(value) for logs in notes.logs for value in logs.values()} == {float}


def test_evaluate_and_predict_tell_of_each_batch_and_compute_the_same() -> None:
    x, y = data(50)
    model, notes = small(), Everything()
    loss = model.evaluate(x, y, batch_size=20, callbacks=[notes], return_dict=True)
    assert loss == pytest.approx(model.evaluate(x, y, return_dict=True), rel=1e-6)
    by_hook = dict(zip(notes.heard, notes.logs, strict=True))
    assert by_hook["test_batch_end", 0]["loss"] == pytest.approx(model.evaluate(x[:20], y[:20])[0], rel=1e-6)
    assert by_hook["test_batch_end", 2] == by_hook["test_end",] == loss
    outputs: list[Any] = []
    hears = LambdaCallback(on_predict_batch_end=lambda batch, logs: outputs.append(logs["outputs"].copy()))
    predicted = model.predict(x, batch_size=20, callbacks=hears)
    assert [len(part) for part in outputs] == [20, 20, 10]
    assert np.array_equal(np.concatenate(outputs), predicted)
    assert np.array_equal(predicted, model.predict(x))


class Legacy(Callback):
    def on_batch_end(self, batch: int, logs: Any = None) -> None: ...


class Quiet(callbacks.ModelCheckpoint):
    """Has no hook of its own."""


class Loud(callbacks.ModelCheckpoint):
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None: ...


# what: (callback, the passes that must come back after each batch)
EVERY_BATCH: dict[str, tuple[Callback, set[str]]] = {
    "base": (Callback(), set()),
    "history": (History(), set()),
    "epochs": (Epochs(), set()),
    "batches": (Batches(), {"train", "test", "predict"}),
    "legacy": (Legacy(), {"train"}),
    "lambda, epochs": (LambdaCallback(on_epoch_end=print, on_train_batch_end=None), set()),
    "lambda, batches": (LambdaCallback(on_train_batch_end=print), {"train"}),
    "early stopping": (callbacks.EarlyStopping(), set()),
    "plateau": (callbacks.ReduceLROnPlateau(), set()),
    "nan": (callbacks.TerminateOnNaN(), set()),
    "checkpoint": (callbacks.ModelCheckpoint("x.fastdl"), set()),
    "checkpoint, batches": (callbacks.ModelCheckpoint("x.fastdl", save_freq=10), {"train"}),
    "checkpoint, subclass": (Quiet("x.fastdl"), set()),
    "checkpoint, loud": (Loud("x.fastdl"), {"test"}),
    "csv": (callbacks.CSVLogger("x"), set()),
}


@pytest.mark.parametrize("name", EVERY_BATCH)
def test_who_hears_of_every_batch(name: str) -> None:
    callback, expected = EVERY_BATCH[name]
    heard = CallbackList(callback)
    assert {purpose for purpose in ("train", "test", "predict") if heard.most(purpose) == 1} == expected


def test_on_batch_hooks_hear_of_training_batches() -> None:
    heard: list[Any] = []
    hooks = {name: lambda batch, logs, name=name: heard.append((name, batch)) for name in ("begin", "end")}
    hears = LambdaCallback(on_batch_begin=hooks["begin"], on_batch_end=hooks["end"])
    small().fit(*data(40), batch_size=20, validation_split=0.5, callbacks=hears, verbose=0)
    assert heard == [("begin", 0), ("end", 0)]


def test_hooks_of_epochs_do_not_cut_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = Session.train

    def train(self: Any, slice_: Any, *arguments: Any) -> None:
        taken.append(slice_.steps)
        original(self, slice_, *arguments)

    monkeypatch.setattr(Session, "train", train)
    for hears, one_by_one in ((Epochs(), False), (Batches(), True)):
        model = small()
        taken.clear()
        model.fit(*data(60), batch_size=1, epochs=4, callbacks=hears, verbose=0)
        assert sum(taken) == 240
        assert (max(taken) == 1) is one_by_one


def test_callbacks_do_not_change_what_is_learnt() -> None:
    """To the bit, even if one evaluates and predicts in between; batches are shuffled."""
    x, y = data(50)
    plain, heard = small(), small()

    def look(*_: Any) -> None:
        heard.evaluate(x, y)
        heard.predict(x[:3])

    hooks = dict.fromkeys(("on_train_batch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"), look)
    histories = []
    for model, extra in ((plain, []), (heard, [LambdaCallback(**hooks), Everything()])):
        fastdl.utils.set_random_seed(5)
        histories.append(model.fit(x, y, batch_size=7, epochs=3, callbacks=extra, verbose=0).history)
    assert histories[0] == histories[1]
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), heard.get_weights(), strict=True))


def test_a_learning_rate_set_before_a_batch_is_the_batchs() -> None:
    x, y = data(60)
    model, other = small(), small()
    rates = [0.1, 0.0, 0.02]

    def choose(batch: int, logs: Any) -> None:
        assert model.optimizer is not None
        model.optimizer.learning_rate = rates[batch]

    model.fit(x, y, batch_size=20, shuffle=False, callbacks=LambdaCallback(on_train_batch_begin=choose), verbose=0)
    for i, rate in enumerate(rates):
        assert other.optimizer is not None
        other.optimizer.learning_rate = rate
        other.train_on_batch(x[20 * i : 20 * i + 20], y[20 * i : 20 * i + 20])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


# the hook that stops: (steps that are taken of 3 epochs with 5 batches each, epochs that are recorded)
STOPS: dict[str, tuple[int, int]] = {
    "on_train_batch_begin": (1, 1),
    "on_train_batch_end": (1, 1),
    "on_epoch_end": (5, 1),
    "on_test_end": (5, 1),
}


@pytest.mark.parametrize("hook", STOPS)
def test_stop_training(hook: str) -> None:
    model, notes = small(), Epochs()

    def stop(*_: Any) -> None:
        model.stop_training = True

    history = model.fit(
        *data(100),
        batch_size=10,
        epochs=3,
        validation_split=0.5,
        callbacks=[LambdaCallback(**{hook: stop}), notes],
        verbose=0,
    )
    steps, epochs = STOPS[hook]
    assert model.optimizer is not None
    assert (model.optimizer.iterations, len(history.epoch)) == (steps, epochs)
    assert notes.heard[-2:] == [("epoch_end", epochs - 1), ("train_end",)]
    assert "val_loss" in history.history
    assert len(model.fit(*data(20), epochs=2, verbose=0).epoch) == 2, "the next fit begins anew"


def usable(model: fastdl.Sequential) -> bool:
    """From another thread too, which could not get a lock that was kept."""
    results: list[Any] = []
    for task in (lambda: model.fit(*data(50), verbose=0), lambda: model.predict(data(50)[0])):
        thread = threading.Thread(target=lambda task=task: results.append(task()))
        thread.start()
        thread.join(10)
    loss = model.evaluate(*data(50))[0]
    predicted = model.predict(data(50)[0])[:, 0]
    return len(results) == 2 and loss == pytest.approx(np.mean((predicted - data(50)[1]) ** 2), rel=1e-5)


HOOKS = {
    "fit": [
        *("train_begin", "epoch_begin", "train_batch_begin", "train_batch_end", "slice_end"),
        *("test_begin", "test_batch_begin", "test_batch_end", "test_end", "epoch_end", "train_end"),
    ],
    "evaluate": ["test_begin", "test_batch_begin", "test_batch_end", "test_end"],
    "predict": ["predict_begin", "predict_batch_begin", "predict_batch_end", "predict_end"],
}


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize(("method", "hook"), [(method, hook) for method in HOOKS for hook in HOOKS[method]])
def test_a_callback_that_raises_leaves_the_model_usable(method: str, hook: str, error: type[BaseException]) -> None:
    model, notes = small(), Everything(raises=hook, error=error)
    calls = {
        "fit": lambda: model.fit(*data(50), 10, 2, validation_split=0.4, callbacks=notes, verbose=1),
        "evaluate": lambda: model.evaluate(*data(50), batch_size=20, callbacks=notes),
        "predict": lambda: model.predict(data(50)[0], batch_size=20, callbacks=notes),
    }
    with pytest.raises(error):
        calls[method]()
    assert usable(model)


def test_a_hundred_interrupts() -> None:
    model, x, y = small(), *data(50)
    for i in range(100):
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, 1, 9, 0, Everything("train_batch_end", at=i, error=KeyboardInterrupt))
        assert model.optimizer is not None
        assert model.optimizer.iterations == sum(range(i + 2))
    assert usable(model)


def test_evaluation_between_the_batches_of_an_evaluation_is_refused() -> None:
    model, (x, y) = small(), data(50)
    hears = LambdaCallback(on_test_batch_end=lambda batch, logs: model.evaluate(x, y))
    with pytest.raises(RuntimeError, match="is being evaluated"):
        model.evaluate(x, y, callbacks=hears)
    around = LambdaCallback(on_test_begin=lambda logs: model.evaluate(x[:5], y[:5]), on_test_end=lambda logs: print())
    assert model.evaluate(x, y, callbacks=around) == model.evaluate(x, y)
    assert usable(model)


def test_a_fit_within_a_fit_is_refused() -> None:
    model = small()
    again = LambdaCallback(on_epoch_end=lambda epoch, logs: model.fit(*data(20), verbose=0))
    with pytest.raises(RuntimeError, match="one thread at a time"):
        model.fit(*data(20), callbacks=again, verbose=0)
    assert usable(model)


def test_callbacks_come_alone_or_in_lists_and_are_callbacks() -> None:
    first, second = Epochs(), Epochs()
    small().fit(*data(20), callbacks=[[first], (second,)], verbose=0)
    assert first.heard == second.heard != []
    for wrong in (3, [Stub()], "early"):
        with pytest.raises(TypeError, match=r"callbacks are fastdl\.callbacks\.Callback objects"):
            small().fit(*data(20), callbacks=wrong, verbose=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no hook 'on_epoch_ended'"):
        LambdaCallback(on_epoch_ended=print)


def test_a_history_of_ones_own_is_filled_and_returned() -> None:
    own, model = History(), small()
    assert model.fit(*data(20), epochs=2, callbacks=[own], verbose=0) is own is model.history
    assert (own.epoch, len(own.history["loss"])) == ([0, 1], 2)
    adds = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(extra=float(epoch)))
    assert model.fit(*data(20), epochs=2, callbacks=adds, verbose=0).history["extra"] == [0.0, 1.0]
    spoils = LambdaCallback(on_train_batch_end=lambda batch, logs: logs.clear())
    assert set(model.fit(*data(20), callbacks=spoils, verbose=0).history) == {"loss", "mae"}


def test_extra_logs_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    adds = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(tiny=1.25e-5, nothing=0.0))
    small().fit(*data(20), callbacks=adds, verbose=2)
    assert capsys.readouterr().out.endswith("tiny: 1.2500e-05 - nothing: 0.0000\n")
