"""The optimizer's steps in a program that is being built: penalties and norms before them, constraints after them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Graph, Parameter
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments, Ref, read, read_all, write, write_all


class UpdateRule(Protocol):
    """What the program asks of an optimizer.

    rule_of: the kernel table's rule that steps a parameter number by number; None where it looks at the whole of it:
    then `step` emits what it does with the gradient, which is prepared already.
    """

    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None

    def rule_of(self, parameter: Parameter) -> str | None: ...
    def step(self, build: Any, parameter: Parameter, gradient: Ref) -> None: ...
    def slots(self, parameter: Parameter) -> Sequence[Array]: ...
    def average(self, parameter: Parameter) -> Array: ...
    def accumulator(self, parameter: Parameter) -> Array: ...
    def scalars_of(self, parameter: Parameter) -> Sequence[float]: ...
    def decay(self, parameter: Parameter) -> float: ...


class Exchange(Protocol):
    """What is done in each step by processes that train one model together.

    averages: whether `step` is given the weights after a step, not the gradients of a batch before it, to change them.
    """

    averages: bool

    def step(self, rows: int, arrays: Sequence[Array]) -> None: ...


class Steps:
    """What the optimizer does to each parameter, once all who read it have given their gradients."""

    def __init__(
        self,
        build: Buffers,
        graph: Graph,
        learned: Graph,
        optimizer: UpdateRule | None,
        trained: Collection[Parameter] | None,
        penalized: bool = True,
        exchange: Exchange | None = None,
    ) -> None:
        """learned: the part of the graph that losses look at. trained: what is stepped, all that can be if None.

        penalized: whether steps add the penalties' slopes to gradients. exchange: with other processes.
        """
        self._build, self.optimizer, self._penalized, self._exchange = build, optimizer, penalized, exchange
        self._stepped = {p for p in graph.parameters if (p.trainable if trained is None else p in trained)}
        if overwritten := [p.path for p in self._stepped if p.overwrite_with_gradient]:
            raise ValueError(f"{overwritten[0]}: overwrite_with_gradient is for an optimizer's apply; fit takes steps")
        self.penalties = aligned((1,), np.dtype(np.float64))
        self._partial: dict[Parameter, Ref] = {}  # gradients of parameters that several ops read, so far
        self._left = Counter(p for op in learned.ops for p in op.parameters)
        self._shared = {parameter for parameter, readers in self._left.items() if readers > 1}
        self._waiting: list[tuple[Parameter, Ref]] = []  # for the norm of all gradients
        self._squares: Ref | None = None  # of all gradients
        self._whole: list[tuple[Parameter, Ref]] = []  # for the exchange of all gradients

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
        for parameter in self._build.graph.parameters:
            if parameter.regularizer and self.trains(parameter):
                parameter.regularizer.penalize(self._build, parameter)

    def at_once(self, parameters: Sequence[Parameter]) -> bool:
        """Whether their gradients may be used while they are computed: nobody needs all of them first."""
        clips = not self.optimizer or self.optimizer.clipnorm or self.optimizer.global_clipnorm
        if (
            clips
            or self._shared.intersection(parameters)
            or any(p.regularizer and p.regularizer.own for p in parameters)
        ):
            return False
        assert self.optimizer is not None
        if self.optimizer.gradient_accumulation_steps or self._shares_gradients:
            return False
        rules = {(self.optimizer.rule_of(p), *self.optimizer.scalars_of(p)) for p in parameters}
        return len(rules) == 1 and self.optimizer.rule_of(parameters[0]) is not None

    def leaves_others(self, parameter: Parameter) -> bool:
        """Whether a weight whose gradient is zero stays as it is: of SGD without momentum, decay or penalty."""
        assert self.optimizer is not None
        return self.optimizer.rule_of(parameter) == "sgd" and not any(self._own(parameter))

    def rule(self, parameter: Parameter, bias: Parameter | None = None) -> Arguments:
        """The optimizer's rule, what prepares the gradient, and, where a kernel steps a bias as well, that one's."""
        assert self.optimizer is not None
        rule = self.optimizer.rule_of(parameter)
        assert rule is not None
        own: dict[str, float] = {}
        for prefix, each in {"": parameter, "b_": bias}.items():
            if each:
                own |= zip([f"{prefix}{name}" for name in ("decay", "l1", "l2")], self._own(each), strict=True)
        prepares = any(own.values())
        own |= {"rate_factor": parameter.learning_rate_factor}
        own |= {"b_rate_factor": bias.learning_rate_factor} if bias else {}
        limit = self._limit()
        return {
            **self.rule_number(rule, self.optimizer.scalars_of(parameter)),
            "prepare": int(limit < math.inf or prepares),
            "limit": limit,
            **own,
        }

    @staticmethod
    def rule_number(rule: str, scalars: Sequence[float]) -> Arguments:
        """A rule and its scalars, as kernels take them."""
        return {"rule": _ext.RULES[rule][0], "constants": (*scalars, *[0.0] * (4 - len(scalars)))}

    def _limit(self) -> float:
        """Of each number of a gradient, or of its norm."""
        assert self.optimizer is not None
        return self.optimizer.clipvalue or self.optimizer.clipnorm or self.optimizer.global_clipnorm or math.inf

    def _strengths(self, parameter: Parameter) -> tuple[float, float]:
        """The l1 and l2 of its penalty, as far as kernels know it."""
        return parameter.regularizer.strengths if parameter.regularizer and self._penalized else (0.0, 0.0)

    def _own(self, parameter: Parameter) -> tuple[float, float, float]:
        """A parameter's weight decay, l1 and l2."""
        assert self.optimizer is not None
        return self.optimizer.decay(parameter), *self._strengths(parameter)

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
        elif self._shares_gradients:
            self._whole.append((parameter, gradient))
        else:
            self._penalize_and_take(parameter, gradient)

    def _penalize_and_take(self, parameter: Parameter, gradient: Ref) -> None:
        if parameter.regularizer:
            parameter.regularizer.add_gradient(self._build, parameter, gradient)
        self.take(parameter, gradient)

    @property
    def _shares_gradients(self) -> bool:
        return self._exchange is not None and not self._exchange.averages

    def take(self, parameter: Parameter, gradient: Ref) -> None:
        """Append the optimizer's step on a parameter by its whole gradient, which it may change."""
        assert self.optimizer is not None
        if self.optimizer.gradient_accumulation_steps:
            self._accumulate(parameter, gradient, self.optimizer.gradient_accumulation_steps)
        squares = None
        if self.optimizer.clipnorm or self.optimizer.global_clipnorm:
            with self._each_step():
                squares = self._sum_squares(parameter, gradient)
        if self.optimizer.global_clipnorm:
            self._waiting.append((parameter, gradient))
        else:
            self._step(parameter, gradient, squares)

    def finish(self) -> None:
        """Append what had to wait for all gradients."""
        if self._whole:
            self._share(self._whole)
        for parameter, gradient in self._whole:
            self._penalize_and_take(parameter, gradient)
        for parameter, gradient in self._waiting:
            self._step(parameter, gradient, self._squares)
        if self._exchange is not None and self._exchange.averages:
            parameters = self._build.graph.parameters
            self._share([(p, self._build.parameter(p)) for p in parameters if self.trains(p)])

    def _share(self, shared: Sequence[tuple[Parameter, Ref]]) -> None:
        """Append the exchange of these arrays, each laid out as its parameter."""
        exchange, dtype, rows = self._exchange, self._build.dtype, self._build.batch
        assert exchange is not None
        sizes = [parameter.storage.size for parameter, _ in shared]

        def run(*arrays: Array) -> None:
            flat = (array.reshape(-1).view(dtype) for array in arrays)
            exchange.step(rows, [array[:size] for array, size in zip(flat, sizes, strict=True)])

        self._build.call(run, *(write_all(ref) for _, ref in shared), defer=True)

    @contextmanager
    def _each_step(self) -> Iterator[None]:
        """What is emitted runs where the optimizer steps: not in each batch, if it is by gradients of several."""
        assert self.optimizer is not None
        self._build.every = self.optimizer.gradient_accumulation_steps or 1
        try:
            yield
        finally:
            self._build.every = 1

    def _accumulate(self, parameter: Parameter, gradient: Ref, batches: int) -> None:
        assert self.optimizer is not None
        self._build.emit(
            "accumulate_gradient",
            dw=write(gradient),
            sum=write(self._build.array(self.optimizer.accumulator(parameter))),
            batches=batches,
            over=parameter.storage.size,
            axis=_ext.BY_FEATURE,
            defer=True,
        )

    def _step(self, parameter: Parameter, gradient: Ref, squares: Ref | None) -> None:
        assert self.optimizer is not None
        inputs, outputs = parameter.layout
        step: Arguments = {
            "w": write(self._build.parameter(parameter)),
            "squares": read_all(squares) if squares else None,
            "inputs": inputs,
            "over": outputs,
            "axis": _ext.BY_FEATURE,
            "defer": True,
        }
        with self._each_step():
            if self.optimizer.rule_of(parameter):
                slots = [write(slot) if slot else None for slot in self.slots(parameter)]
                self._build.emit("optimizer_step", dw=read(gradient), slots=slots, **self.rule(parameter), **step)
            else:
                limit, own = self._limit(), self._own(parameter)
                if limit < math.inf or any(own):
                    step |= zip(("decay", "l1", "l2"), own, strict=True)
                    self._build.emit("prepare_gradient", dw=write(gradient), limit=limit, **step)
                self.optimizer.step(self._build, parameter, gradient)
        self.end(parameter)

    def _sum_squares(self, parameter: Parameter, gradient: Ref) -> Ref:
        """The gradient's sum of squares; with global_clipnorm that of all so far."""
        assert self.optimizer is not None
        (inputs, outputs), strengths = parameter.layout, self._strengths(parameter)
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
        self.average(parameter)
        if parameter.constraint:
            parameter.constraint.emit(self._build, parameter)

    def average(self, parameter: Parameter) -> None:
        """Append what keeps the moving average of a parameter, if the optimizer does."""
        assert self.optimizer is not None
        if self.optimizer.use_ema:
            size = parameter.storage.size
            self._build.emit(
                "average_weights",
                w=write(self._build.parameter(parameter)),
                average=write(self._build.array(self.optimizer.average(parameter))),
                momentum=self.optimizer.ema_momentum,
                frequency=self.optimizer.ema_overwrite_frequency or 0,
                batches=self.optimizer.gradient_accumulation_steps or 1,
                over=size,
                axis=_ext.BY_FEATURE,
                defer=True,
            )
