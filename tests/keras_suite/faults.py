"""Numbers of fastdl's made wrong by a little: tests that do not see it would pass whatever fastdl computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from numbers import Number
from typing import Any

import numpy as np

import fastdl
from fastdl import losses, metrics, schedules


def _scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        value = function(*args, **options)
        return value * factor if isinstance(value, Number | np.ndarray | np.generic) else value

    return call


def _below(base: type) -> Iterator[type]:
    yield base
    for kind in base.__subclasses__():
        yield from _below(kind)


def _scale_method(base: type, name: str, factor: float) -> None:
    """Of the base, whichever of its own bases has it, and where a class below it has another."""
    overridden = [kind for kind in set(_below(base)) if kind is not base and name in vars(kind)]
    for kind in [base, *overridden]:
        setattr(kind, name, _scaled(getattr(kind, name), factor))


def rates() -> None:
    """Every step of an optimizer is 5 % too long, and every schedule's rate as much too high."""
    _scale_method(fastdl.Optimizer, "rates", 1.05)
    _scale_method(schedules.LearningRateSchedule, "__call__", 1.05)


def of_losses() -> None:
    """Every loss is 1 % too large."""
    _scale_method(losses.Loss, "__call__", 1.01)
    for name, function in list(losses.FUNCTIONS.items()):
        losses.FUNCTIONS[name] = _scaled(function, 1.01)


def of_metrics() -> None:
    """Every metric is 1 % too large."""
    _scale_method(metrics.Metric, "result", 1.01)


FAULTS = {"optimizers": rates, "losses": of_losses, "metrics": of_metrics}
