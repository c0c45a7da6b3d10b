"""The optimizers, with Keras's names, defaults and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from fastdl import schedules as schedules  # optimizers.schedules, as in Keras
from fastdl.base.arguments import real
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Parameter
from fastdl.optimizers.base import Decay, Options, Rate, fraction
from fastdl.optimizers.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent: w -= rate g. With momentum, v = momentum v - rate g and w += v; or Nesterov's form."""

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum, self.nesterov = fraction("momentum", momentum), bool(nesterov)
        self.rule = "sgd" if not self.momentum else "nesterov" if self.nesterov else "momentum"
        self.slot_names = ("momentum",) if self.momentum else ()

    def scalars(self) -> tuple[float, ...]:
        return (self.momentum,)


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): the longer the way a weight has come, the shorter its steps."""

    rule, slot_names, first_value = "adagrad", ("accumulator",), "initial_accumulator_value"

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = real("initial_accumulator_value", initial_accumulator_value, finite=True)
        self.epsilon = real("epsilon", epsilon, finite=True)

    def scalars(self) -> tuple[float, ...]:
        return (self.epsilon,)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012): w -= rate g / sqrt(v + epsilon), v the moving average of g².

    momentum: of these steps. centered: v without the square of g's moving average, its variance (Graves 2013).
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho, self.momentum = fraction("rho", rho), fraction("momentum", momentum)
        self.epsilon, self.centered = real("epsilon", epsilon, finite=True), bool(centered)
        self.rule = "rmsprop" + "_centered" * self.centered + "_momentum" * (self.momentum > 0)
        names = {"velocity": True, "momentum": self.momentum > 0, "average_gradient": self.centered}
        self.slot_names = tuple(name for name, kept in names.items() if kept)

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.rho, self.epsilon, self.momentum


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): steps as long as those before were, in the unit of the weights."""

    rule, slot_names = "adadelta", ("accumulated_grad", "accumulated_delta_var")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho, self.epsilon = fraction("rho", rho), real("epsilon", epsilon, finite=True)

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.rho, self.epsilon


class Ftrl(Optimizer):
    """FTRL-Proximal (McMahan et al. 2013): weights that l1_regularization_strength lets become zero, and stay so.

    w = (clip(z, l1) - z) / ((n^p + beta) / rate + 2 l2), where n sums g², p = -learning_rate_power, and z sums
    gradients, with 2 l2_shrinkage w added, less what the weights came from.
    """

    rule, slot_names = "ftrl", ("accumulator", "linear")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not -np.inf < learning_rate_power <= 0:
            raise ValueError(f"learning_rate_power must be a finite number, zero or less, not {learning_rate_power!r}")
        self.learning_rate_power = float(learning_rate_power)
        self.initial_accumulator_value = real("initial_accumulator_value", initial_accumulator_value, finite=True)
        self.l1_regularization_strength = real("l1_regularization_strength", l1_regularization_strength, finite=True)
        self.l2_regularization_strength = real("l2_regularization_strength", l2_regularization_strength, finite=True)
        self.l2_shrinkage_regularization_strength = real(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength, finite=True
        )
        self.beta = real("beta", beta, finite=True)

    def new_slots(self, parameter: Parameter) -> list[Parameter]:
        accumulator, linear = self.slot_names
        return [self.slot(parameter, accumulator, self.initial_accumulator_value), self.slot(parameter, linear)]

    def scalars(self) -> tuple[float, ...]:
        shrinkage = self.l2_shrinkage_regularization_strength
        return (
            -self.learning_rate_power,
            self.l1_regularization_strength,
            2 * self.l2_regularization_strength,
            2 * shrinkage,
        )

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        return self.learning_rates(number), 0.0, self.beta


class _Moments(Optimizer):
    """Adam's family: moving averages of g and of g² or |g|."""

    slot_names: Sequence[str] = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1, self.beta_2 = fraction("beta_1", beta_1), fraction("beta_2", beta_2)
        self.epsilon = real("epsilon", epsilon, finite=True)

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.beta_1, 1 - self.beta_2, self.epsilon


class Adam(_Moments):
    """Adam (Kingma and Ba 2015) in Keras's form: epsilon is added to sqrt(v) before the bias correction.

    amsgrad: with the largest v so far (Reddi et al. 2018).
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = bool(amsgrad)
        self.rule = "amsgrad" if self.amsgrad else "adam"
        if self.amsgrad:
            self.slot_names = ("momentum", "velocity", "velocity_hat")

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        return (self.learning_rates(number) * np.sqrt(1 - self.beta_2**number) / (1 - self.beta_1**number),)


class AdamW(Adam):
    """Adam with weight decay (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: Decay = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("AdamW's weight_decay must be a number: Adam is the one without")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Adamax(_Moments):
    """Adamax (Kingma and Ba 2015): Adam with the largest of the decaying |g| in place of sqrt(v)."""

    rule, slot_names = "adamax", ("momentum", "norm")

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.beta_1, self.beta_2, self.epsilon

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        return (self.learning_rates(number) / (1 - self.beta_1**number),)


class Nadam(_Moments):
    """Nadam (Dozat 2016): Adam that looks ahead as Nesterov does, with a momentum that warms up."""

    rule = "nadam"

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        def momentum(step: Array) -> Array:
            return self.beta_1 * (1 - 0.5 * 0.96**step)

        # the product of all momenta so far; after a thousand steps of warming up each is beta_1
        warm = np.cumprod(1 - 0.5 * 0.96 ** np.arange(1, 1001))
        product = self.beta_1**number * warm[np.minimum(number, 1000).astype(np.int64) - 1]
        ahead, rate = momentum(number + 1), self.learning_rates(number)
        along_m = rate * ahead / (1 - product * ahead)
        along_g = rate * (1 - momentum(number)) / (1 - product)
        return along_m, along_g, 1 / np.sqrt(1 - self.beta_2**number)


class ScheduleFreeAdamW(_Moments):
    """AdamW without a schedule (Defazio et al. 2024). The rate rises over the first warmup_steps.

    Gradients are taken at w = (1 - beta_1) z + beta_1 x, between z, which Adam's steps move, and the mean x of all z.
    """

    rule = "schedule_free"

    def __init__(
        self,
        learning_rate: Rate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: float = 0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        if not self.beta_1:
            raise ValueError("beta_1 must lie in (0, 1), not 0: weights would tell nothing of x")
        self.warmup_steps = real("warmup_steps", warmup_steps, finite=True)

    def new_slots(self, parameter: Parameter) -> list[Parameter]:
        return [self.slot(parameter, "momentum", parameter.numpy()), self.slot(parameter, "velocity")]

    def scalars(self) -> tuple[float, ...]:
        return self.beta_1, 1 - self.beta_2, self.epsilon

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        risen = np.minimum(number / self.warmup_steps, 1) if self.warmup_steps else 1.0
        return self.learning_rates(number) * risen, 0.0, 1 / np.sqrt(1 - self.beta_2**number), 1 / number


class Lion(Optimizer):
    """Lion (Chen et al. 2023): steps of one length, in the direction of the sign of an average of gradients."""

    rule, slot_names = "lion", ("momentum",)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not 0 < beta_1 <= 1:
            raise ValueError(f"beta_1 must lie in (0, 1], not {beta_1}: with 0 all that is left is the gradient's sign")
        self.beta_1, self.beta_2 = float(beta_1), fraction("beta_2", beta_2)

    def scalars(self) -> tuple[float, ...]:
        return 1 - self.beta_1, 1 - self.beta_2
