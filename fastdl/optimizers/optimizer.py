"""The base of optimizers: which rule steps a parameter, how far, and what is kept of it."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypedDict

import numpy as np

from fastdl import _ext
from fastdl import schedules as schedules  # optimizers.schedules, as in Keras
from fastdl.base.arguments import real, whole
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, refuse_overrides
from fastdl.compiler.graph import Parameter
from fastdl.schedules import LearningRateSchedule

Rate = float | LearningRateSchedule


OLD = ("options", "lr", "decay", "learning_rate")  # what configs leave out, or spell in another way


# what of Keras's Optimizer a subclass cannot override here, for kernels take the steps: what to use in its place
REPLACED = {"update_step": "another optimizer, a schedule of its learning rate, or a constraint"}


class Options(TypedDict, total=False):
    """What every optimizer takes, by keyword.

    weight_decay: each step first takes rate * weight_decay of the weights away (Loshchilov and Hutter 2019); a number,
    or a schedule of it.
    clipvalue, clipnorm, global_clipnorm: the most that an element of a gradient, its norm, or the norm of all
    gradients may be; one of them. use_ema: keep a moving average of the weights, put it in their place each
    ema_overwrite_frequency steps, and when fit ends. lr: an old name of learning_rate; decay: an old name of
    InverseTimeDecay(learning_rate, 1, decay).
    """

    weight_decay: Rate | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    name: str | None
    lr: Rate | None
    decay: float


@dataclass
class State:
    """What an optimizer keeps of the parameters that it has stepped."""

    slots: dict[Parameter, list[Parameter]] = field(default_factory=dict)
    averages: dict[Parameter, Parameter] = field(default_factory=dict)
    trained: dict[Parameter, Parameter] = field(default_factory=dict)  # weights in whose place averages are


class Optimizer(Configured):
    """Base: the learning rate, the number of steps taken, and the slots kept for each parameter.

    A subclass names its `rule`, one of the kernel table's, and its slots, and says which scalars the rule takes.
    """

    rule: str
    slot_names: Sequence[str] = ()
    first_value: ClassVar[str] = ""  # the attribute that slots begin with, if not with zero

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_overrides(cls, REPLACED)

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        *,
        weight_decay: Rate | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        name: str | None = None,
        lr: Rate | None = None,
        decay: float = 0.0,
    ) -> None:
        self._learning_rate: Rate = 0.0
        self.learning_rate = learning_rate if lr is None else lr
        if _not_negative("decay", decay):
            self.learning_rate = schedules.InverseTimeDecay(self.learning_rate, 1, decay)
        self.weight_decay: Rate | None = (
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
        self.name = name or type(self).__name__.lower()
        self.iterations = 0
        self.state = State()
        self._kept: tuple[set[Parameter], str] = set(), ""  # what does not decay, itself or by name

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
        self._learning_rate = real("learning_rate", value, finite=True)

    @property
    def rate_or_schedule(self) -> Rate:
        """The learning rate as it was set. fastdl's own."""
        return self._learning_rate

    def slot(self, parameter: Parameter, name: str, value: Array | float = 0.0) -> Parameter:
        """What is kept beside the parameter under this name, of its shape and dtype."""
        path = f"{self.name}/{parameter.path.replace('/', '_')}_{name}"
        values = np.broadcast_to(value, parameter.shape)
        return Parameter(path, parameter.shape, parameter.dtype, values, trainable=False, by_rows=parameter.by_rows)

    def slots(self, parameter: Parameter) -> list[Array]:
        """What the rule keeps for the parameter, made when first asked for."""
        if parameter not in self.state.slots:
            value = getattr(self, self.first_value) if self.first_value else 0.0
            self.state.slots[parameter] = [self.slot(parameter, name, value) for name in self.slot_names]
        return [slot.storage for slot in self.state.slots[parameter]]

    def average(self, parameter: Parameter) -> Array:
        """The moving average of the parameter, made when first asked for."""
        if parameter not in self.state.averages:
            self.state.averages[parameter] = self.slot(parameter, "average")
        return self.state.averages[parameter].storage

    @property
    def variables(self) -> list[Parameter]:
        """The slots and averages of all parameters, for saving; `path` tells whose they are. Set `iterations` too."""
        slots = [slot for slots in self.state.slots.values() for slot in slots]
        return [*slots, *self.state.averages.values(), *self.state.trained.values()]

    def exclude_from_weight_decay(
        self, var_list: Sequence[Parameter] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Let parameters keep their weights: these, and those in whose name one of var_names is found (Keras).

        ValueError once training has begun.
        """
        if self.state.slots:
            raise ValueError("exclude_from_weight_decay must be called before training begins")
        self._kept = set(var_list or ()), "|".join(var_names or ())

    def decay(self, parameter: Parameter) -> float:
        """The weight decay of a parameter, or its factor, where a schedule says what the decay is."""
        excluded, names = self._kept
        if not self.weight_decay or parameter in excluded or (names and re.search(names, parameter.name)):
            return 0.0
        decay = 1.0 if isinstance(self.weight_decay, LearningRateSchedule) else self.weight_decay
        return decay * parameter.weight_decay_factor

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

    def rates(self, steps: int) -> Array:
        """What the kernel multiplies with in each of the next `steps` steps: (steps, MAX_RATES) float64."""
        numbers = np.arange(self.iterations + 1, self.iterations + steps + 1, dtype=np.float64)
        rates = np.zeros((steps, _ext.MAX_RATES))
        rates[:, :-1] = np.stack(np.broadcast_arrays(*self.step_sizes(numbers), 0.0, 0.0, numbers)[:3], axis=1)
        rates[:, -1] = self.learning_rates(numbers)
        if isinstance(self.weight_decay, LearningRateSchedule):
            rates[:, -1] *= self.weight_decay.rates(numbers.astype(np.int64) - 1, "the weight decay")
        return rates

    def learning_rates(self, number: Array) -> Any:
        """The learning rate at each step number, which counts from 1; a schedule's steps count from 0."""
        rate = self._learning_rate
        return rate.rates(number.astype(np.int64) - 1) if isinstance(rate, LearningRateSchedule) else rate

    def step_sizes(self, number: Array) -> tuple[Any, ...]:
        """The rule's rates, one to three, at each step number, which counts from 1."""
        return (self.learning_rates(number),)

    def fresh(self) -> Self:
        """A copy that has taken no step yet."""
        other = copy.copy(self)
        other.iterations, other.state = 0, State()
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


def fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), not {value}")
    return float(value)
