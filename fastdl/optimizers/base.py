"""What programs ask of optimizers: which rule steps a parameter, how far, and what is kept of it."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypedDict

import numpy as np

from fastdl import _ext
from fastdl import schedules as schedules  # optimizers.schedules, as in Keras
from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured
from fastdl.base.naming import auto_name
from fastdl.compiler.graph import Parameter
from fastdl.optimizers.variables import Iterations, LearningRate
from fastdl.schedules import LearningRateSchedule

Decay = float | LearningRateSchedule
Rate = Decay | Callable[[], float]


OLD = ("options", "lr", "decay", "learning_rate")  # what configs leave out, or spell in another way


class Options(TypedDict, total=False):
    """What every optimizer takes, by keyword.

    learning_rate: a number, a schedule, or a function without arguments that is called for each batch.
    weight_decay: each step first takes rate * weight_decay of the weights away (Loshchilov and Hutter 2019); a number,
    or a schedule of it.
    clipvalue, clipnorm, global_clipnorm: the most that an element of a gradient, its norm, or the norm of all
    gradients may be; one of them. use_ema: keep a moving average of the weights, put it in their place each
    ema_overwrite_frequency steps, and when fit ends. gradient_accumulation_steps: a step is by the mean gradient of so
    many batches. loss_scale_factor: gradients that `apply` is given are divided by it. lr: an old name of
    learning_rate; decay: an old name of InverseTimeDecay(learning_rate, 1, decay).
    """

    weight_decay: Decay | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None
    lr: Rate | None
    decay: float


@dataclass
class State:
    """What an optimizer keeps of the parameters that it has stepped."""

    slots: dict[Parameter, list[Parameter]] = field(default_factory=dict)
    averages: dict[Parameter, Parameter] = field(default_factory=dict)
    accumulated: dict[Parameter, Parameter] = field(default_factory=dict)  # gradients of batches since the last step
    trained: dict[Parameter, Parameter] = field(default_factory=dict)  # weights in whose place averages are


class BaseOptimizer(Configured):
    """The learning rate, the number of steps taken, and the slots kept for each parameter.

    batches: how many it was given, or steps taken, if each is by the gradient of one batch.
    """

    rule: str
    slot_names: Sequence[str] = ()
    first_value: ClassVar[str] = ""  # the attribute that slots begin with, if not with zero

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        *,
        weight_decay: Decay | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        lr: Rate | None = None,
        decay: float = 0.0,
    ) -> None:
        self._learning_rate: Rate = 0.0
        self.learning_rate = learning_rate if lr is None else lr
        if _not_negative("decay", decay):
            self.learning_rate = schedules.InverseTimeDecay(self.learning_rate, 1, decay)
        self.weight_decay: Decay | None = (
            weight_decay
            if isinstance(weight_decay, LearningRateSchedule)
            else _not_negative("weight_decay", weight_decay)
        )
        self.clipnorm = _not_negative("clipnorm", clipnorm)
        self.clipvalue = _not_negative("clipvalue", clipvalue)
        self.global_clipnorm = _not_negative("global_clipnorm", global_clipnorm)
        if sum(limit is not None for limit in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError("clipnorm, clipvalue and global_clipnorm exclude each other: set one")
        self.use_ema, self.ema_momentum = bool(use_ema), float(ema_momentum)
        if not 0 <= self.ema_momentum <= 1:
            raise ValueError(f"ema_momentum must lie in [0, 1], not {ema_momentum}")
        if ema_overwrite_frequency is not None:
            whole("ema_overwrite_frequency", ema_overwrite_frequency, most=2**53)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = None if loss_scale_factor is None else positive("loss_scale_factor", loss_scale_factor)
        if gradient_accumulation_steps is not None:
            whole("gradient_accumulation_steps", gradient_accumulation_steps, 2)
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.name = name or auto_name(type(self).__name__)
        self.batches = 0
        self.state = State()
        self._kept: tuple[set[Parameter], str] = set(), ""  # what does not decay, itself or by name

    @property
    def iterations(self) -> Iterations:
        """Steps taken; it can be set, or assigned to (Keras)."""
        return Iterations(self.batches // self._each, self)

    @iterations.setter
    def iterations(self, value: int) -> None:
        self.batches = value * self._each

    @property
    def _each(self) -> int:
        """Batches to a step."""
        return self.gradient_accumulation_steps or 1

    @property
    def learning_rate(self) -> LearningRate:
        """The next step's. It can be set, or assigned to, between steps; a schedule's or a function's only to another
        (Keras)."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return LearningRate(rate(self.batches), self)
        return LearningRate(rate() if callable(rate) else rate, self)

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        if isinstance(value, LearningRateSchedule) or callable(value):
            self._learning_rate = value
            return
        if callable(self._learning_rate):
            named = getattr(self._learning_rate, "__name__", type(self._learning_rate).__name__)
            raise TypeError(f"the learning rate follows {named}: make the optimizer with a number to set it by hand")
        self._learning_rate = real("learning_rate", value, finite=True)

    @property
    def rate_or_schedule(self) -> Rate:
        """The learning rate as it was set. fastdl's own."""
        return self._learning_rate

    def slot(
        self, parameter: Parameter, name: str, value: Array | float | None = None, shape: tuple[int, ...] | None = None
    ) -> Parameter:
        """What is kept beside the parameter under this name, of its dtype, and of its shape unless another is given; of
        zeros unless a value is given."""
        path, shape = f"{self.name}/{parameter.path.replace('/', '_')}_{name}", shape or parameter.shape
        values = None if value is None else np.broadcast_to(value, shape)
        return Parameter(path, shape, parameter.dtype, values, trainable=False, by_rows=parameter.by_rows)

    def new_slots(self, parameter: Parameter) -> list[Parameter]:
        """What the rule keeps for a parameter that it has not seen before."""
        value = getattr(self, self.first_value) if self.first_value else None
        return [self.slot(parameter, name, value) for name in self.slot_names]

    def slots(self, parameter: Parameter) -> list[Array]:
        """What the rule keeps for the parameter, made when first asked for."""
        if parameter not in self.state.slots:
            self.state.slots[parameter] = self.new_slots(parameter)
        return [slot.storage for slot in self.state.slots[parameter]]

    def accumulator(self, parameter: Parameter) -> Array:
        """The sum of gradients since the last step, made when first asked for."""
        if parameter not in self.state.accumulated:
            self.state.accumulated[parameter] = self.slot(parameter, "gradient_accumulator")
        return self.state.accumulated[parameter].storage

    def average(self, parameter: Parameter) -> Array:
        """The moving average of the parameter, made when first asked for."""
        if parameter not in self.state.averages:
            self.state.averages[parameter] = self.slot(parameter, "average")
        return self.state.averages[parameter].storage

    @property
    def kept(self) -> list[Parameter]:
        """All arrays that it keeps of parameters. fastdl's own."""
        state, slots = self.state, [slot for slots in self.state.slots.values() for slot in slots]
        return [*state.averages.values(), *state.accumulated.values(), *slots, *state.trained.values()]

    @property
    def variables(self) -> list[Parameter | Iterations | LearningRate]:
        """What it counts and keeps, for saving: batches, the learning rate if it follows no schedule, averages and
        slots of all parameters, whose `path` tells whose they are. Each can be assigned to (Keras)."""
        rate = [] if callable(self._learning_rate) else [self.learning_rate]
        averages_and_slots = [each for each in self.kept if each not in self.state.trained.values()]
        return [Iterations(self.batches, self), *rate, *averages_and_slots]

    def rule_of(self, parameter: Parameter) -> str | None:
        """The kernel table's rule for a parameter; None if `step` steps it."""
        return self.rule

    def step(self, build: Any, parameter: Parameter, gradient: Any) -> None:
        """Emit the step on a parameter that no rule steps number by number, by its gradient, which it may change."""
        raise NotImplementedError(f"{type(self).__name__} has neither a rule for {parameter.path} nor a step")

    def exclude_from_weight_decay(
        self, var_list: Sequence[Parameter] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Let parameters keep their weights: these, and those in whose name one of var_names is found (Keras).

        ValueError once training has begun.
        """
        if self.state.slots:
            raise ValueError("exclude_from_weight_decay must be called before training begins")
        self._kept = set(var_list or ()), "|".join(var_names or ())

    def exclude_only(self, variable: Parameter) -> None:
        """Let this parameter keep its weights, and no other. fastdl's own."""
        self._kept = {variable}, ""

    def keeps(self, parameter: Parameter) -> bool:
        """Whether a parameter was excluded from weight decay."""
        excluded, names = self._kept
        return parameter in excluded or bool(names and re.search(names, parameter.name))

    def decay(self, parameter: Parameter) -> float:
        """The weight decay of a parameter, or its factor, where a schedule says what the decay is."""
        decay = self.weight_decay_of(parameter)
        if not decay or self.keeps(parameter):
            return 0.0
        return (1.0 if isinstance(decay, LearningRateSchedule) else decay) * parameter.weight_decay_factor

    def weight_decay_of(self, parameter: Parameter) -> Decay | None:
        """The weight decay of a parameter that is not excluded from it."""
        return self.weight_decay

    def finalize_variable_values(self, var_list: Sequence[Parameter]) -> None:
        """Put the moving averages in the place of the parameters that have one (Keras), until training goes on."""
        for parameter in var_list:
            average = self.state.averages.get(parameter)
            if average is None:
                continue
            if parameter in self.state.trained and np.array_equal(parameter.storage, average.storage):
                continue  # it is there already
            self.state.trained[parameter] = self.slot(parameter, "trained", parameter.numpy())
            parameter.storage[...] = average.storage

    def resume(self) -> None:
        """Go on from the trained weights, not from their averages; from what is there if anybody has set it since."""
        replaced, self.state.trained = self.state.trained, {}
        if all(np.array_equal(parameter.storage, self.state.averages[parameter].storage) for parameter in replaced):
            for parameter, trained in replaced.items():
                parameter.storage[...] = trained.storage

    def scalars(self) -> tuple[float, ...]:
        """The rule's scalars, at most four."""
        return ()

    def scalars_of(self, parameter: Parameter) -> tuple[float, ...]:
        """Those of the parameter's rule."""
        return self.scalars()

    def rates(self, steps: int) -> Array:
        """What the kernel multiplies with in each of the next `steps` batches: (steps, MAX_RATES) float64."""
        batches = np.arange(self.batches, self.batches + steps)
        numbers = (batches // self._each + 1).astype(np.float64)
        rates = np.zeros((steps, _ext.MAX_RATES))
        for i, sizes in enumerate(self.step_sizes(numbers)):
            rates[:, i] = sizes
        rates[:, -1] = self.learning_rates(numbers)
        if isinstance(self.weight_decay, LearningRateSchedule):
            rates[:, -1] *= self.weight_decay.rates(self._last_batch(numbers), "the weight decay")
        return rates

    def _last_batch(self, number: Array) -> Array:
        """The batch at whose end a step is taken: schedules count batches, from 0 (Keras)."""
        return number.astype(np.int64) * self._each - 1

    def learning_rates(self, number: Array) -> Any:
        """The learning rate at each step number, which counts from 1; a schedule's steps count from 0."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return rate.rates(self._last_batch(number))
        if callable(rate):
            return np.array([real("learning_rate", rate(), finite=True) for _ in number])
        return rate

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        """The rule's rates, one to four, at each step number, which counts from 1."""
        return (self.learning_rates(number),)

    def fresh(self) -> Self:
        """A copy that has taken no step yet."""
        other = copy.copy(self)
        other.batches, other.state = 0, State()
        return other

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, a schedule as `schedules.serialize` gives it (Keras)."""
        names = [*inspect.signature(type(self)).parameters, *Options.__annotations__]
        values = {"learning_rate": self._learning_rate}
        values |= {name: getattr(self, name) for name in names if name not in OLD}
        return {
            name: schedules.serialize(value) if isinstance(value, LearningRateSchedule) else value
            for name, value in values.items()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An optimizer with these arguments (Keras)."""
        scheduled = {name: config[name] for name in ("learning_rate", "weight_decay") if name in config}
        return cls(**{**config, **{name: schedules.number_or_schedule(each) for name, each in scheduled.items()}})


def _not_negative(name: str, value: float | None) -> float | None:
    return None if value is None else real(name, value, finite=True)


def positive(name: str, value: float) -> float:
    if real(name, value, finite=True) > 0:
        return float(value)
    raise ValueError(f"{name} must be above zero, not {value!r}")


def fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), not {value}")
    return float(value)
