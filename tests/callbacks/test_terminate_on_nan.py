"""TerminateOnNaN, on a net that blows up."""

from __future__ import annotations

import math

import pytest

from fastdl.callbacks import Callback, TerminateOnNaN

from .small import data, small


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


def test_it_leaves_a_number_alone() -> None:
    assert len(small().fit(*data(50), epochs=3, callbacks=TerminateOnNaN(), verbose=0).epoch) == 3
