"""The optimizer's steps in a program that is being built: penalties and norms before them, constraints after them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Graph, Parameter
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments, Ref, read, read_all, write


class UpdateRule(Protocol):
    """What the program asks of an optimizer."""

    rule: str  # one of the kernel table's
    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None

    def slots(self, parameter: Parameter) -> Sequence[Array]: ...
    def average(self, parameter: Parameter) -> Array: ...
    def scalars(self) -> Sequence[float]: ...
    def decay(self, parameter: Parameter) -> float: ...


def _strengths(parameter: Parameter) -> tuple[float, float]:
    """The l1 and l2 of its penalty, as far as kernels know it."""
    return parameter.regularizer.strengths if parameter.regularizer else (0.0, 0.0)


class Steps:
    """What the optimizer does to each parameter, once all who read it have given their gradients."""

    def __init__(
        self,
        build: Buffers,
        graph: Graph,
        learned: Graph,
        optimizer: UpdateRule | None,
        trained: Collection[Parameter] | None,
    ) -> None:
        """learned: the part of the graph that losses look at. trained: what is stepped, all that can be if None."""
        self._build, self.optimizer = build, optimizer
        parameters = [p for op in graph.ops for p in op.parameters]
        self._stepped = {p for p in parameters if (p.trainable if trained is None else p in trained)}
        self.penalties = aligned((1,), np.dtype(np.float64))
        self._partial: dict[Parameter, Ref] = {}  # gradients of parameters that several ops read, so far
        self._left = Counter(p for op in learned.ops for p in op.parameters)
        self._shared = {parameter for parameter, readers in self._left.items() if readers > 1}
        self._waiting: list[tuple[Parameter, Ref]] = []  # for the norm of all gradients
        self._squares: Ref | None = None  # of all gradients

    def trains(self, parameter: Parameter) -> bool:
        """Whether the optimizer steps it."""
        return parameter in self._stepped

    def slots(self, parameter: Parameter) -> list[Ref | None]:
        """What the optimizer keeps for a parameter, None for what it does not need."""
        assert self.optimizer is not None
        slots = [self._build.array(slot) for slot in self.optimizer.slots(parameter)]
        return [*slots, *[None] * (_ext.MAX_SLOTS - len(slots))]

    def penalty(self) -> Ref:
        """One double: the sum of all penalties, times the batch."""
        return self._build.array(self.penalties)

    def add_penalty(self, part: Ref, parts: int) -> None:
        """Append the sum of a penalty's parts, doubles, to all penalties."""
        self._build.emit(
            "add_parts",
            part=read_all(part),
            total=write(self.penalty()),
            parts=parts,
            first=0,
            over=1,
            axis=_ext.ONCE,
            defer=True,
        )

    def penalize(self) -> None:
        """Append the penalties of all weights that are trained."""
        for parameter in dict.fromkeys(p for op in self._build.graph.ops for p in op.parameters):
            if parameter.regularizer and self.trains(parameter):
                parameter.regularizer.penalize(self._build, parameter)

    def at_once(self, parameters: Sequence[Parameter]) -> bool:
        """Whether their gradients may be used while they are computed: nobody needs all of them first."""
        clips = not self.optimizer or self.optimizer.clipnorm or self.optimizer.global_clipnorm
        own = any(parameter.regularizer and parameter.regularizer.own for parameter in parameters)
        return not clips and not own and not self._shared.intersection(parameters)

    def rule(self, parameter: Parameter, bias: Parameter | None = None) -> Arguments:
        """The optimizer's rule, what prepares the gradient, and, where a kernel steps a bias as well, that one's."""
        assert self.optimizer is not None
        constants = tuple(self.optimizer.scalars())
        own: dict[str, float] = {}
        for prefix, each in {"": parameter, "b_": bias}.items():
            if each:
                own |= zip([f"{prefix}{name}" for name in ("decay", "l1", "l2")], self._own(each), strict=True)
        prepares = any(own.values())
        own |= {"rate_factor": parameter.learning_rate_factor}
        own |= {"b_rate_factor": bias.learning_rate_factor} if bias else {}
        limit = self.optimizer.clipvalue or self.optimizer.clipnorm or self.optimizer.global_clipnorm or math.inf
        return {
            "rule": _ext.RULES[self.optimizer.rule][0],
            "prepare": int(limit < math.inf or prepares),
            "constants": (*constants, *[0.0] * (4 - len(constants))),
            "limit": limit,
            **own,
        }

    def _own(self, parameter: Parameter) -> tuple[float, float, float]:
        """A parameter's weight decay, l1 and l2."""
        assert self.optimizer is not None
        return self.optimizer.decay(parameter), *_strengths(parameter)

    def train(self, parameter: Parameter, gradient: Ref) -> None:
        """Append the optimizer's step on a parameter, once all who read it have given their gradients."""
        assert self.optimizer is not None
        self._left[parameter] -= 1
        if (partial := self._partial.pop(parameter, None)) is not None:
            size = parameter.storage.size
            self._build.emit(
                "add_weights", part=read(gradient), total=write(partial), over=size, axis=_ext.BY_FEATURE, defer=True
            )
            gradient = partial
        if self._left[parameter]:
            self._partial[parameter] = gradient
            return
        if parameter.regularizer:
            parameter.regularizer.add_gradient(self._build, parameter, gradient)
        squares = None
        if self.optimizer.clipnorm or self.optimizer.global_clipnorm:
            squares = self._sum_squares(parameter, gradient)
        if self.optimizer.global_clipnorm:
            self._waiting.append((parameter, gradient))
        else:
            self._step(parameter, gradient, squares)

    def finish(self) -> None:
        """Append what had to wait for all gradients."""
        for parameter, gradient in self._waiting:
            self._step(parameter, gradient, self._squares)

    def _step(self, parameter: Parameter, gradient: Ref, squares: Ref | None) -> None:
        self._build.emit(
            "optimizer_step",
            w=write(self._build.parameter(parameter)),
            dw=read(gradient),
            slots=[write(slot) if slot else None for slot in self.slots(parameter)],
            squares=read_all(squares) if squares else None,
            inputs=parameter.layout[0],
            **self.rule(parameter),
            over=parameter.layout[1],
            axis=_ext.BY_FEATURE,
            defer=True,
        )
        self.end(parameter)

    def _sum_squares(self, parameter: Parameter, gradient: Ref) -> Ref:
        """The gradient's sum of squares; with global_clipnorm that of all so far."""
        assert self.optimizer is not None
        (inputs, outputs), strengths = parameter.layout, _strengths(parameter)
        units = padded(outputs) // _ext.UNIT
        first = self._squares is None or not self.optimizer.global_clipnorm
        if first:
            self._squares = Ref(8, panels=False)
        total, part = self._squares, Ref(units * 8, panels=False)
        assert total is not None
        self._build.emit(
            "sum_squares",
            dw=read(gradient),
            w=read(self._build.parameter(parameter)) if any(strengths) else None,
            part=write(part),
            inputs=inputs,
            outputs=outputs,
            l1=strengths[0],
            l2=strengths[1],
            over=outputs,
            axis=_ext.BY_FEATURE,
            defer=True,
        )
        self._build.emit(
            "add_parts",
            part=read(part),
            total=write(total),
            parts=units,
            first=int(first),
            over=1,
            axis=_ext.ONCE,
            defer=True,
        )
        return total

    def end(self, parameter: Parameter) -> None:
        """Append what follows a parameter's step: its moving average, if the optimizer keeps one; its constraint."""
        assert self.optimizer is not None
        if self.optimizer.use_ema:
            size = parameter.storage.size
            self._build.emit(
                "average_weights",
                w=write(self._build.parameter(parameter)),
                average=write(self._build.array(self.optimizer.average(parameter))),
                momentum=self.optimizer.ema_momentum,
                frequency=self.optimizer.ema_overwrite_frequency or 0,
                over=size,
                axis=_ext.BY_FEATURE,
                defer=True,
            )
        if parameter.constraint:
            parameter.constraint.emit(self._build, parameter)
