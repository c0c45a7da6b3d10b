"""Training that diverges on clean data says so, once, where, and what to do; training that goes well says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl import callbacks, layers, optimizers
from fastdl.diagnosis.finder import find_learning_rate
from fastdl.errors import DivergenceWarning, FusionError
from fastdl.pretraining import RBM, pretrain_masked

rng = np.random.default_rng(0)
X = rng.standard_normal((200, 3)).astype(np.float32)
Y = rng.standard_normal(200).astype(np.float32)


def net(rate: float = 1e10, *more: layers.Layer, loss: str = "mse", end: str | None = None) -> keras.Sequential:
    keras.utils.set_random_seed(1)  # how soon a loss overflows hangs on the first weights
    model = keras.Sequential([keras.Input((3,)), layers.Dense(8, "relu"), *more, layers.Dense(1, end)])
    model.compile(optimizers.SGD(rate), loss)
    return model


def told(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught if each.category is DivergenceWarning]


DIVERGE: dict[str, Callable[[], Any]] = {
    "mse": lambda: net().fit(X, Y, epochs=3, verbose=0),
    "batches": lambda: net().fit([(X, Y)] * 9, epochs=3, verbose=0),
    "binary cross-entropy": lambda: net(loss="binary_crossentropy", end="sigmoid").fit(X, Y > 0, epochs=3, verbose=0),
    "batch norm": lambda: net(1e20, layers.BatchNormalization()).fit(X, Y, epochs=3, verbose=0, validation_split=0.2),
    "unchecked": lambda: net().fit(X, Y, epochs=2, verbose=0, check_input=False),
    "weights after the last batch": lambda: net(1e38).fit(X, 1e3 * Y, batch_size=200, verbose=0),
    "train_on_batch": lambda: (lambda model: [model.train_on_batch(X, Y) for _ in range(9)])(net()),
    "an RBM": lambda: RBM(4, "gaussian", learning_rate=1e30).fit(X, 4),
    "masked features": lambda: pretrain_masked(
        keras.Sequential([layers.Dense(4)]), X, epochs=3, optimizer=optimizers.SGD(1e10)
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", DIVERGE)
def test_it_says_so_once(case: str) -> None:
    (message,) = told(DIVERGE[case])
    assert "diverged: " in message
    assert "lower the learning rate" in message


def test_it_says_where() -> None:
    assert "loss became" in told(DIVERGE["mse"])[0]
    assert "in epoch 1 at or before batch" in told(DIVERGE["mse"])[0]
    assert "at step 2" in told(DIVERGE["train_on_batch"])[0]
    last = told(DIVERGE["weights after the last batch"])[0]
    assert "of dense" in last
    assert "holds infinity by the end of epoch 1, though the loss is finite" in last


def test_what_the_optimizer_keeps_is_looked_at_too() -> None:
    """The square of a gradient overflows, and the weight does not move: the next step would make it NaN."""
    model = net()
    model.compile("adam", "mae")
    (message,) = told(lambda: model.fit(X, Y, sample_weight=np.full(200, 1e25, np.float32), batch_size=200, verbose=0))
    assert "_velocity of adam" in message
    assert "holds infinity by the end of epoch 1, though the loss is finite" in message


def test_a_validation_loss_alone_is_enough() -> None:
    model = net(0.01, loss="mean_squared_error")
    far = np.full((2, 3), 1e30, np.float32)
    (message,) = told(lambda: model.fit(X, Y, epochs=2, verbose=0, validation_data=(far, np.zeros(2))))
    assert "val_loss became inf in epoch 1, though the training loss is finite" in message


def test_each_fit_tells_its_own() -> None:
    model = net()
    assert [len(told(lambda: model.fit(X, Y, verbose=0))) for _ in range(2)] == [1, 1]


def test_terminate_on_nan_ends_it_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    heard = [callbacks.TerminateOnNaN()]
    model = net()
    assert len(told(lambda: model.fit(X, Y, epochs=50, verbose=0, callbacks=heard))) == 1
    assert model.history is not None
    assert len(model.history.epoch) == 1
    assert "training ends" in capsys.readouterr().out


def test_what_goes_well_or_breaks_on_purpose_says_nothing() -> None:
    assert told(lambda: net(0.01).fit(X, Y, epochs=2, verbose=0, validation_split=0.1)) == []
    assert told(lambda: net(0.01).train_on_batch(X, Y)) == []
    assert told(lambda: find_learning_rate(net(0.01), X, Y, max=1e30)) == []


def test_export_names_the_cause(tmp_path: Any) -> None:
    model = net()
    told(lambda: model.fit(X, Y, verbose=0))
    for fuse in (True, False):
        with pytest.raises(FusionError, match=r"kernel of dense\w* holds NaN: training diverged"):
            model.export(tmp_path / "model.onnx", fuse=fuse)
    assert not list(tmp_path.iterdir())
