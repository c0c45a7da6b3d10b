"""Optimizers, with Keras's names, defaults and numbers: which rule steps a parameter, and how far."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from fastdl import _ext
from fastdl import schedules as schedules  # optimizers.schedules, as in Keras
from fastdl.graph import Array, Parameter
from fastdl.schedules import LearningRateSchedule

Rate = float | LearningRateSchedule


class Optimizer:
    """Base: the learning rate, the number of steps taken, and the slots kept for each parameter.

    A subclass names its `rule`, one of the kernel table's, and says which scalars the rule takes.
    """

    rule: str

    def __init__(self, learning_rate: Rate = 0.01, lr: Rate | None = None) -> None:
        self._learning_rate: Rate = 0.0
        self.learning_rate = learning_rate if lr is None else lr
        self.iterations = 0
        self._slots: dict[Parameter, list[Array]] = {}

    @property
    def learning_rate(self) -> float:
        """The next step's. It can be set to another, between steps; a schedule's only to another schedule (Keras)."""
        rate = self._learning_rate
        return float(rate(self.iterations)) if isinstance(rate, LearningRateSchedule) else rate

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        if isinstance(value, LearningRateSchedule):
            self._learning_rate = value
            return
        if isinstance(self._learning_rate, LearningRateSchedule):
            raise TypeError(
                f"the learning rate follows {type(self._learning_rate).__name__}: make the optimizer with a number to "
                "set it by hand"
            )
        rate = float(value)
        if not rate >= 0 or np.isinf(rate):
            raise ValueError(f"learning_rate must be a finite number, zero or more, not {rate}")
        self._learning_rate = rate

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def slots(self, parameter: Parameter) -> list[Array]:
        """What the rule keeps for the parameter, made when first asked for."""
        if parameter not in self._slots:
            _, count = _ext.RULES[self.rule]
            self._slots[parameter] = [parameter.like() for _ in range(count)]
        return self._slots[parameter]

    def scalars(self) -> tuple[float, ...]:
        """The rule's scalars, at most four."""
        return ()

    def rates(self, steps: int) -> Array:
        """What the kernel multiplies with in each of the next `steps` steps: (steps, MAX_RATES) float64."""
        rates = np.zeros((steps, _ext.MAX_RATES))
        rates[:, 0] = self.step_sizes(np.arange(self.iterations + 1, self.iterations + steps + 1, dtype=np.float64))
        return rates

    def learning_rates(self, number: Array) -> Any:
        """The learning rate at each step number, which counts from 1; a schedule's steps count from 0."""
        rate = self._learning_rate
        return rate.rates(number.astype(np.int64) - 1) if isinstance(rate, LearningRateSchedule) else rate

    def step_sizes(self, number: Array) -> Any:
        """The step size at each step number, which counts from 1."""
        return self.learning_rates(number)

    def fresh(self) -> Self:
        """A copy that has taken no step yet."""
        other = copy.copy(self)
        other.iterations, other._slots = 0, {}
        return other


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), not {value}")
    return float(value)


class SGD(Optimizer):
    """Gradient descent: w -= rate g. With momentum, v = momentum v - rate g and w += v; or Nesterov's form."""

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        lr: Rate | None = None,
    ) -> None:
        super().__init__(learning_rate, lr)
        self.momentum, self.nesterov = _fraction("momentum", momentum), bool(nesterov)
        self.rule = "sgd" if not self.momentum else "nesterov" if self.nesterov else "momentum"

    def scalars(self) -> tuple[float, ...]:
        return (self.momentum,)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) in Keras's form: epsilon is added to sqrt(v) before the bias correction."""

    rule = "adam"

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        lr: Rate | None = None,
    ) -> None:
        super().__init__(learning_rate, lr)
        self.beta_1, self.beta_2, self.epsilon = (
            _fraction("beta_1", beta_1),
            _fraction("beta_2", beta_2),
            float(epsilon),
        )

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.beta_1, 1 - self.beta_2, self.epsilon

    def step_sizes(self, number: Array) -> Any:
        return self.learning_rates(number) * np.sqrt(1 - self.beta_2**number) / (1 - self.beta_1**number)


NAMES: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def get(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """An optimizer by Keras name, class or instance. ValueError if there is none."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if isinstance(optimizer, str) and optimizer.lower() in NAMES:
        return NAMES[optimizer.lower()]()
    raise ValueError(
        f"unknown optimizer {optimizer!r}: choose one of {', '.join(NAMES)}, or a fastdl.optimizers object"
    )
