"""Optimizers whose steps look at a whole parameter: a direction is found in its gradient's place, and then followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from fastdl import _ext
from fastdl.base.arguments import real
from fastdl.base.arrays import Array
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Parameter
from fastdl.compiler.memory import padded
from fastdl.compiler.phases import Arguments, Ref, read, read_all, write
from fastdl.compiler.steps import Steps
from fastdl.optimizers.base import Options, Rate, fraction
from fastdl.optimizers.optimizer import Optimizer

BY_COLUMNS: Arguments = {"axis": _ext.BY_FEATURE, "defer": True}


def _room_for_squares(columns: int) -> Ref:
    """Of a parameter and its direction: two doubles each unit of columns."""
    return Ref(2 * 8 * padded(columns) // _ext.UNIT, panels=False)


class _Directed(Optimizer):
    """Base: no rule steps a parameter number by number."""

    def rule_of(self, parameter: Parameter) -> str | None:
        return None

    def find(self, build: Buffers, parameter: Parameter, gradient: Ref, rule: str, scalars: Sequence[float]) -> Ref:
        """The direction of a rule takes the gradient's place; returns the sums of squares."""
        (inputs, outputs), slots = parameter.layout, [write(build.array(slot)) for slot in self.slots(parameter)]
        squares = _room_for_squares(outputs)
        build.emit(
            "find_direction",
            w=read(build.parameter(parameter)),
            dw=write(gradient),
            slots=[*slots, *[None] * (_ext.MAX_SLOTS - len(slots))],
            part=write(squares),
            **Steps.rule_number(rule, scalars),
            inputs=inputs,
            outputs=outputs,
            over=outputs,
            **BY_COLUMNS,
        )
        return squares

    def follow(
        self,
        build: Buffers,
        parameter: Parameter,
        direction: Ref,
        length: int,
        own: tuple[float, float] = (0.0, 0.0),
        squares: Ref | None = None,
    ) -> None:
        """Go along the direction: the second of the step sizes times a length of the kernel's kinds."""
        inputs, outputs = parameter.layout
        build.emit(
            "step_along",
            w=write(build.parameter(parameter)),
            dw=read(direction),
            part=read_all(squares) if squares else None,
            parts=squares.size // 16 if squares else 0,
            length=length,
            own=own,
            rate_factor=parameter.learning_rate_factor,
            inputs=inputs,
            outputs=outputs,
            over=outputs,
            **BY_COLUMNS,
        )


class Lamb(_Directed):
    """Lamb (You et al. 2020): Adam's direction, by a step that is as long as the weights of a layer are large."""

    slot_names = "momentum", "velocity"

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

    def step(self, build: Buffers, parameter: Parameter, gradient: Ref) -> None:
        scalars = 1 - self.beta_1, 1 - self.beta_2, self.epsilon
        squares = self.find(build, parameter, gradient, "lamb", scalars)
        self.follow(build, parameter, gradient, _ext.LENGTH_LAMB, squares=squares)

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        rate = self.learning_rates(number)
        return rate, rate, 1 / (1 - self.beta_1**number), 1 / np.sqrt(1 - self.beta_2**number)
