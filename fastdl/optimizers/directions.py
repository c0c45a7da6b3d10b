"""Optimizers whose steps look at a whole parameter: a direction is found in its gradient's place, and then followed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from fastdl import _ext
from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Parameter
from fastdl.compiler.memory import padded
from fastdl.compiler.phases import Arguments, Ref, read, read_all, write, write_all
from fastdl.compiler.steps import Steps
from fastdl.optimizers.base import Decay, Options, Rate, fraction, positive
from fastdl.optimizers.optimizer import Optimizer
from fastdl.schedules import LearningRateSchedule

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


class Muon(_Directed):
    """Muon (Jordan et al. 2024): momentum, brought near to an orthogonal matrix by a few products, for dense layers.

    Vectors, embeddings, and what one of exclude_layers is found in the path of, are stepped by Adam, whose rate is
    adam_lr_ratio times as large and whose weights decay by adam_weight_decay. rms_rate: steps are so many times the
    root of the matrix's longer side (Liu et al. 2025), None: 1.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
        if isinstance(weight_decay, LearningRateSchedule):
            raise ValueError("Muon's weight_decay must be a number: it has two, and a schedule would be of both")
        self.adam_beta_1, self.adam_beta_2 = fraction("adam_beta_1", adam_beta_1), fraction("adam_beta_2", adam_beta_2)
        self.adam_weight_decay = (
            None if adam_weight_decay is None else real("adam_weight_decay", adam_weight_decay, finite=True)
        )
        self.epsilon, self.momentum = real("epsilon", epsilon, finite=True), fraction("momentum", momentum)
        self.exclude_layers, self.exclude_embeddings = list(exclude_layers or ()), bool(exclude_embeddings)
        self.muon_a, self.muon_b, self.muon_c = float(muon_a), float(muon_b), float(muon_c)
        self.adam_lr_ratio = real("adam_lr_ratio", adam_lr_ratio, finite=True)
        self.ns_steps, self.nesterov = whole("ns_steps", ns_steps, 0, 1000), bool(nesterov)
        self.rms_rate = None if rms_rate is None else real("rms_rate", rms_rate, finite=True)

    def by_adam(self, parameter: Parameter) -> bool:
        """Whether Adam steps it. ValueError for a table that is looked up by codes, where it should not."""
        if len(parameter.shape) != 2 or any(re.search(layer, parameter.path) for layer in self.exclude_layers):
            return True
        if self.exclude_embeddings and "embedding" in parameter.path.lower():
            return True
        if parameter.by_rows and not self.exclude_embeddings:
            raise ValueError(
                f"{parameter.path} is looked up by codes, and such tables are stepped by Adam: leave "
                "exclude_embeddings True, or name its layer in exclude_layers"
            )
        return parameter.by_rows

    def rule_of(self, parameter: Parameter) -> str | None:
        return "adam" if self.by_adam(parameter) else None

    def scalars_of(self, parameter: Parameter) -> tuple[float, ...]:
        return 1 - self.adam_beta_1, 1 - self.adam_beta_2, self.epsilon

    def weight_decay_of(self, parameter: Parameter) -> Decay | None:
        return self.adam_weight_decay if self.by_adam(parameter) else self.weight_decay

    def new_slots(self, parameter: Parameter) -> list[Parameter]:
        names = ("momentum", "velocity") if self.by_adam(parameter) else ("momentum",)
        return [self.slot(parameter, name) for name in names]

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        rate = self.learning_rates(number)
        bias = np.sqrt(1 - self.adam_beta_2**number) / (1 - self.adam_beta_1**number)
        return rate * self.adam_lr_ratio * bias, rate

    def step(self, build: Buffers, parameter: Parameter, gradient: Ref) -> None:
        self.find(build, parameter, gradient, "nesterov" if self.nesterov else "momentum", (self.momentum,))
        length = self._length(parameter.shape)
        self.follow(build, parameter, self._orthogonal(build, parameter, gradient), _ext.LENGTH_GIVEN, (length, 0.0))

    def _length(self, shape: tuple[int, ...]) -> float:
        """What a matrix's direction is multiplied with, beside the rate."""
        return 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(shape))

    def lr_adjust(self, x: Any) -> Array:
        """A matrix times what its step is multiplied with beside the rate (Keras: Muon.lr_adjust)."""
        return np.asarray(x) * self._length(np.shape(x))

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Array:
        """The matrix that a step follows after so many products, near to an orthogonal one, in x's dtype.

        ValueError for what is no matrix. Keras: Muon.zeropower_via_newtonschulz5.
        """
        matrix = np.asarray(x)
        if matrix.ndim != 2:
            raise ValueError(f"only a matrix has an orthogonal one near it, not an array of shape {matrix.shape}")
        kind = np.dtype(np.float64 if matrix.dtype == np.float64 else np.float32)
        other = self.fresh()
        other.momentum, other.nesterov, other.rms_rate, other.ns_steps = 0.0, False, None, whole("steps", steps, 0)
        other.exclude_layers = []
        start = Parameter("matrix", matrix.shape, kind, np.zeros(matrix.shape))
        other.update_step(matrix, start, 1.0)
        return -start.numpy()

    def _orthogonal(self, build: Buffers, parameter: Parameter, x: Ref) -> Ref:
        """x / |x|, then ns_steps times x = a x + (b s + c s²) x, where s = x xᵀ. In the same buffer or in another.

        For a matrix with more rows than columns x = a x + x (b s + c s²), where s = xᵀ x: products as small as can be.
        """
        rows, columns = parameter.shape
        least, item = min(rows, columns), parameter.dtype.itemsize

        def room(inputs: int, outputs: int) -> Ref:
            return Ref(-(-outputs // _ext.STRIP) * _ext.STRIP * inputs * item, panels=False)

        def multiply(a: Ref, b: Ref, y: Ref, m: int, k: int, n: int, **added: Any) -> None:
            """y (m, n) = a b, with what is added."""
            arrays: Arguments = {"a": read_all(a), "b": read(b), "y": write(y), "rows": m, "inputs": k, "over": n}
            build.emit("multiply_strips", **arrays, **({"alpha": 0.0, "beta": 1.0} | added), **BY_COLUMNS)

        self._normalize(build, x, rows, columns)
        other, turned, square, powers = room(rows, columns), room(columns, rows), room(least, least), room(least, least)
        tall, turn = rows > columns, {"inputs": rows, "outputs": columns, "over": rows, **BY_COLUMNS}
        for _ in range(self.ns_steps):
            build.emit("transpose_strips", x=read_all(x), y=write(turned), **turn)
            pair = (turned, x) if tall else (x, turned)
            multiply(*pair, square, least, max(rows, columns), least)
            multiply(square, square, powers, least, least, least, c=read(square), alpha=self.muon_b, beta=self.muon_c)
            pair = (x, powers) if tall else (powers, x)
            multiply(*pair, other, rows, least, columns, c=read(x), alpha=self.muon_a)
            x, other = other, x
        return x

    @staticmethod
    def _normalize(build: Buffers, x: Ref, rows: int, columns: int) -> None:
        """x /= |x| + 1e-7"""
        build.emit(
            "limit_norm",
            w=write_all(x),
            inputs=rows,
            outputs=columns,
            by_rows=0,
            norm_of=_ext.NORM_ALL,
            least=1.0,
            most=1.0,
            rate=1.0,
            over=1,
            axis=_ext.ONCE,
            defer=True,
        )
