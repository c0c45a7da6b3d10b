"""Learning-rate schedules, with Keras's names, defaults and numbers; all formulas are for arrays of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, family


class LearningRateSchedule(Configured):
    """Base: `schedule(step)` is the learning rate of a step, or of each step in an array. Steps count from 0.

    One of your own overrides __call__. Written for a single step (`if step < 100: …`) it works too, but a program
    that runs many steps at once then waits for one call each.
    """

    def formula(self, step: Array) -> Array:
        """The learning rates at steps (n,) in float64."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__(self, step)")

    def __call__(self, step: Any) -> Any:
        steps = np.asarray(step, np.float64)
        rates = self.formula(steps.reshape(-1))  # one step as many: numpy rounds scalars otherwise than arrays
        return rates.reshape(steps.shape) if steps.ndim else float(rates[0])

    def rates(self, steps: Array, what: str = "the learning rate", most: float = np.inf) -> Array:
        """The learning rates of integer steps (n,), in float64. ValueError for one that is negative, NaN or Inf.

        what, most: of another number that follows the schedule, and the most it may be.
        """
        try:
            values = self(steps)
        except (TypeError, ValueError):  # written for a single step; an error of another kind comes again
            values = [self(step) for step in steps.tolist()]
        rates = np.broadcast_to(np.asarray(values, np.float64), steps.shape)
        right = np.isfinite(rates) & (rates >= 0) & (rates <= most)
        if not right.all():
            step = int(np.flatnonzero(~right)[0])
            raise ValueError(
                f"{type(self).__name__} gives {what} {rates[step]} at step {steps[step]}: it must be a finite number, "
                f"zero or more{f', {most:g} at most' if most < np.inf else ''}"
            )
        return rates


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, not {value}")
    return value


class _Decay(LearningRateSchedule):
    """A decay by the share of `decay_steps` that is done; with `staircase` by the whole ones only."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool, name: str
    ) -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, _positive("decay_steps", decay_steps)
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def done(self, step: Array) -> Array:
        share = step / self.decay_steps
        return np.floor(share) if self.staircase else share


class InverseTimeDecay(_Decay):
    """initial / (1 + decay_rate step / decay_steps)"""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def formula(self, step: Array) -> Array:
        return self.initial_learning_rate / (1 + self.decay_rate * self.done(step))


class ExponentialDecay(_Decay):
    """initial decay_rate^(step / decay_steps)"""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def formula(self, step: Array) -> Array:
        return self.initial_learning_rate * np.float64(self.decay_rate) ** self.done(step)


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], … at last values[-1]."""

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        self.boundaries, self.values, self.name = list(boundaries), list(values), name
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                f"there must be one more value than boundaries, not {len(self.values)} and {len(self.boundaries)}"
            )
        if any(high <= low for low, high in pairwise(self.boundaries)):
            raise ValueError(f"boundaries must increase, not {self.boundaries}")

    def formula(self, step: Array) -> Array:
        return np.asarray(self.values, np.float64)[np.searchsorted(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """(initial - end) (1 - step / decay_steps)^power + end, and `end` from decay_steps on.

    cycle: instead of ending, decay_steps grows to the next multiple of itself.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, _positive("decay_steps", decay_steps)
        self.end_learning_rate, self.power, self.cycle, self.name = end_learning_rate, power, cycle, name

    def formula(self, step: Array) -> Array:
        share = step / self.decay_steps
        share = share / np.maximum(1, np.ceil(share)) if self.cycle else np.minimum(share, 1)
        return (self.initial_learning_rate - self.end_learning_rate) * (
            1 - share
        ) ** self.power + self.end_learning_rate


def _cosine(share: Array, alpha: float, height: float | Array = 1.0) -> Array:
    """From `height` at share 0 to 0 at share 1, then lifted so that alpha is the least."""
    return (1 - alpha) * height * 0.5 * (1 + np.cos(np.pi * share)) + alpha


class CosineDecay(LearningRateSchedule):
    """Half a cosine wave from the rate to `alpha` times it, in decay_steps. Loshchilov and Hutter 2017.

    Before it, in warmup_steps, a line from `initial_learning_rate` to `warmup_target`, if one is given.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, _positive("decay_steps", decay_steps)
        self.alpha, self.name, self.warmup_target, self.warmup_steps = alpha, name, warmup_target, warmup_steps

    def formula(self, step: Array) -> Array:
        if self.warmup_target is None:
            return self.initial_learning_rate * _cosine(np.minimum(step / self.decay_steps, 1), self.alpha)
        rise = self.warmup_target - self.initial_learning_rate
        warming = self.initial_learning_rate + rise * step / max(self.warmup_steps, 1)
        share = np.clip((step - self.warmup_steps) / self.decay_steps, 0, 1)
        return np.where(step < self.warmup_steps, warming, self.warmup_target * _cosine(share, self.alpha))


class FlatCosine(LearningRateSchedule):
    """The rate for the first half of decay_steps, then half a cosine wave down to 0.

    flat_cos of Holzmüller et al. 2024:
    initial (1 + cos(π (max(1, 2 t) - 1))) / 2, where t = step / decay_steps, 1 at most.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, name: str = "FlatCosine") -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, _positive("decay_steps", decay_steps)
        self.name = name

    def formula(self, step: Array) -> Array:
        share = np.minimum(step / self.decay_steps, 1)
        return self.initial_learning_rate * _cosine(np.maximum(1, 2 * share) - 1, 0.0)


class LogCosine(LearningRateSchedule):
    """Cosine waves from 0 up to the rate and down to 0, each twice as long as the one before.

    coslog4 of Holzmüller et al. 2024, where there are 4:
    initial (1 - cos(2 π log₂(1 + (2^cycles - 1) t))) / 2, where t = step / decay_steps, 1 at most.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, cycles: float = 4, name: str = "LogCosine"
    ) -> None:
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, _positive("decay_steps", decay_steps)
        self.cycles, self.name = _positive("cycles", cycles), name

    def formula(self, step: Array) -> Array:
        share = np.minimum(step / self.decay_steps, 1)
        waves: Array = np.log2(1 + (2.0**self.cycles - 1) * share)
        return np.asarray(self.initial_learning_rate * 0.5 * (1 - np.cos(2 * np.pi * waves)))


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine waves, each `t_mul` times as long and `m_mul` times as high as the one before (SGDR)."""

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        if not t_mul >= 1:
            raise ValueError(f"t_mul must be 1 or more, not {t_mul}: waves that shorten come to an end")
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def _begin(self, wave: Array) -> Array:
        """Where a wave begins, in lengths of the first: 0, 1, 1 + t_mul, …"""
        return wave if self.t_mul == 1 else (self.t_mul**wave - 1) / (self.t_mul - 1)

    def formula(self, step: Array) -> Array:
        time = step / self.first_decay_steps
        if self.t_mul == 1:
            wave = np.floor(time)
        else:
            wave = np.floor(np.log(1 + time * (self.t_mul - 1)) / np.log(self.t_mul))
            # the quotient of logarithms may lie just below a whole number, where it should be one
            wave = np.where(time >= self._begin(wave + 1), wave + 1, wave)
        share = (time - self._begin(wave)) / self.t_mul**wave
        return self.initial_learning_rate * _cosine(share, self.alpha, np.float64(self.m_mul) ** wave)


class OneCycle(LearningRateSchedule):
    """Up to `max_lr` in the share pct_start of the steps, then down to almost nothing. PyTorch: OneCycleLR.

    It begins at max_lr / div_factor and ends, and stays, at that / final_div_factor; three_phase comes down as long
    as it went up, then falls. total_steps, or epochs and steps_per_epoch. The momentum stays as it is: PyTorch's
    cycle_momentum=False. Smith and Topin 2018.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 10000.0,
        three_phase: bool = False,
        name: str = "OneCycle",
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycle needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        self.total_steps = int(_positive("total_steps", total_steps))
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must lie in [0, 1], not {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be cos or linear, not {anneal_strategy!r}")
        self.max_lr, self.epochs, self.steps_per_epoch, self.pct_start = max_lr, epochs, steps_per_epoch, pct_start
        self.anneal_strategy, self.three_phase, self.name = anneal_strategy, three_phase, name
        self.div_factor = _positive("div_factor", div_factor)
        self.final_div_factor = _positive("final_div_factor", final_div_factor)

    def formula(self, step: Array) -> Array:
        low, rise, last = self.max_lr / self.div_factor, self.pct_start * self.total_steps, self.total_steps - 1
        corners = [(0.0, low), (rise - 1, self.max_lr), (last, low / self.final_div_factor)]
        if self.three_phase:
            corners.insert(2, (2 * rise - 2, low))
        step = np.minimum(step, last)
        rates = np.full(step.shape, low)
        for (begin, start), (end, stop) in pairwise(corners):
            share = (step - begin) / (end - begin) if end > begin else np.ones(step.shape)
            if self.anneal_strategy == "cos":
                phase = stop + (start - stop) / 2 * (1 + np.cos(np.pi * share))
            else:
                phase = start + (stop - start) * share
            rates = np.where((step > begin) | (begin == 0), phase, rates)
        return rates


CLASSES = family(LearningRateSchedule)

serialize: Callable[[LearningRateSchedule], dict[str, Any]] = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> LearningRateSchedule:
    """The schedule that `serialize` described. ValueError if there is none of that name."""
    return configured.deserialize(config, CLASSES, custom_objects)


def told(schedule: LearningRateSchedule) -> dict[str, Any]:
    """As `serialize`, for files. ValueError for a schedule of one's own."""
    if not configured.is_one_of(schedule, CLASSES):
        raise ValueError(f"{type(schedule).__name__} is a schedule of your own: a file can name fastdl's classes only")
    return serialize(schedule)


def number_or_schedule(config: Any) -> Any:
    """The schedule that `serialize` described, or the number that stands there instead."""
    return deserialize(config) if isinstance(config, Mapping) else config
