"""TerminateOnNaN, on a net that blows up."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fastdl.callbacks import Callback, TerminateOnNaN

from .small import Epochs, data, small


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_it_ends_training(capsys: pytest.CaptureFixture[str]) -> None:
    nan = TerminateOnNaN()
    assert Callback.every_batch(nan, "train") is False
    history = small(1e30).fit(*data(50), batch_size=5, epochs=9, callbacks=nan, verbose=0)
    assert len(history.epoch) == 1
    assert not math.isfinite(history.history["loss"][0])
    assert capsys.readouterr().out.startswith("the loss became ")


def test_it_raises_if_told_to() -> None:
    with pytest.raises(RuntimeError, match=r"the loss became (nan|inf) at or before batch \d"):
        small(1e30).fit(*data(50), batch_size=5, epochs=9, callbacks=TerminateOnNaN(raise_error=True), verbose=0)


def broken(at: int) -> Any:
    """Data whose targets are infinite from a row on, which fit takes unchecked."""
    x, y = data(50)
    y[at:] = math.inf
    return {"x": x, "y": y, "check_input": False, "batch_size": 5, "verbose": 0}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("at", [0, 7, 33])
def test_targets_that_are_not_finite(at: int) -> None:
    """What ends training early closes it; what raises does not: a backup stays."""
    heard = Epochs()
    assert len(small().fit(**broken(at), epochs=4, callbacks=[heard, TerminateOnNaN()]).epoch) == 1
    assert heard.heard[-1] == ("train_end",)
    heard = Epochs()
    with pytest.raises(RuntimeError, match="the loss became"):
        small().fit(**broken(at), epochs=4, callbacks=[heard, TerminateOnNaN(raise_error=True)])
    assert ("train_end",) not in heard.heard


def test_it_leaves_a_number_alone() -> None:
    assert len(small().fit(*data(50), epochs=3, callbacks=TerminateOnNaN(), verbose=0).epoch) == 3
