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
from fastdl.optimizers.base import Options, Rate, fraction, positive
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


class Adafactor(_Directed):
    """Adafactor (Shazeer and Stern 2018): of a matrix's squared gradients it keeps the means of rows and of columns.

    Steps are as long as the weights are large, the rate at most 1 / sqrt(t) of it; no direction is longer than
    clip_threshold times a root mean square of 1. Vectors keep a mean for each number.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not -np.inf < beta_2_decay <= 0:
            raise ValueError(f"beta_2_decay must be a finite number, zero or less, not {beta_2_decay!r}")
        self.beta_2_decay, self.relative_step = float(beta_2_decay), bool(relative_step)
        self.epsilon_1, self.epsilon_2 = real("epsilon_1", epsilon_1), real("epsilon_2", epsilon_2)
        self.clip_threshold = positive("clip_threshold", clip_threshold)

    def new_slots(self, parameter: Parameter) -> list[Parameter]:
        if len(parameter.shape) > 2:
            raise ValueError(f"{parameter.path}: Adafactor steps vectors and matrices, not shape {parameter.shape}")
        if len(parameter.shape) < 2:
            return [self.slot(parameter, "velocity")]
        rows, columns = parameter.shape
        return [self.slot(parameter, "row", shape=(rows,)), self.slot(parameter, "column", shape=(columns,))]

    def step(self, build: Buffers, parameter: Parameter, gradient: Ref) -> None:
        if len(parameter.shape) < 2:
            squares = self.find(build, parameter, gradient, "adafactor", (self.epsilon_1,))
        else:
            squares = self._find_by_means(build, parameter, gradient)
        own = self.epsilon_2, self.clip_threshold
        self.follow(build, parameter, gradient, _ext.LENGTH_ADAFACTOR, own, squares)

    def _find_by_means(self, build: Buffers, parameter: Parameter, gradient: Ref) -> Ref:
        rows, columns = parameter.shape
        of_rows, of_columns = (build.array(slot) for slot in self.slots(parameter))
        shape: Arguments = {"inputs": rows, "outputs": columns, "by_rows": int(parameter.by_rows)}
        for mean, by_rows, access in ((of_rows, 1, read_all(gradient)), (of_columns, 0, read(gradient))):
            build.emit(
                "adafactor_means",
                dw=access,
                mean=write(mean),
                **shape,
                of_rows=by_rows,
                least=self.epsilon_1,
                over=rows if by_rows else columns,
                **BY_COLUMNS,
            )
        squares = _room_for_squares(columns)
        build.emit(
            "adafactor_direction",
            w=read(build.parameter(parameter)),
            dw=write(gradient),
            rows=read_all(of_rows),
            columns=read(of_columns),
            part=write(squares),
            **shape,
            over=columns,
            **BY_COLUMNS,
        )
        return squares

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        rate = np.minimum(self.learning_rates(number), 1 / np.sqrt(number))
        return rate, rate, 0.0, number**self.beta_2_decay
