"""The base of metrics: sums that a program gathers beside the loss, or `update_state` from numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from fastdl import initializers
from fastdl.base.arrays import Array, refuse_masked
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.dtypes import dtype_name
from fastdl.base.naming import auto_name, snake_case
from fastdl.base.weighting import of_rows
from fastdl.compiler.graph import Parameter, Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import ShapeError
from fastdl.metrics.variable import Variable
from fastdl.ops.terminal import PerSample, on_arrays


class Metric(Configured):
    """Base: a kernel that adds to totals, which are kept in variables. sparse: whether targets are labels.

    One of your own overrides `update_state(y_true, y_pred, sample_weight=None)`, which gets numpy arrays, and `result`,
    a number or a mapping of names to numbers; it counts in variables that `add_weight` makes, which `reset_state` sets
    to zero. In training and evaluation it is told of each batch: slower than the others.
    """

    sparse: ClassVar[bool] = False
    default_name: ClassVar[str | None] = None  # Keras's
    numbered: ClassVar[bool] = False  # whether the names of several are numbered, as auc, auc_1, …
    dtype: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if is_fastdls(cls) and "default_name" not in vars(cls):
            cls.default_name = snake_case(cls.__name__)

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.dtype = dtype_name(dtype)
        self.name = name or (None if self.numbered else self.default_name) or auto_name(type(self).__name__)
        self._variables: list[Variable] = []

    # -- for programs -------------------------------------------------------------------------------------

    def terminal(self, features: int) -> Terminal:
        """The kernel of predictions of so many features."""
        raise NotImplementedError

    def sums(self, totals: Array) -> Mapping[str, Array]:
        """What its variables are to hold of such totals, by their names."""
        raise NotImplementedError

    def attach(self, output: Tensor, prediction: Tensor) -> tuple[Terminal, Tensor]:
        """The kernel, and which it reads: the model's output or the loss's prediction, perhaps the logits behind it."""
        terminal = self.terminal(output.features)
        if output.members > 1 and isinstance(terminal, PerSample):
            terminal = self.terminal(output.channels)
        return terminal, output

    @property
    def counts_itself(self) -> bool:
        """Whether its update_state must be called: that, or reset_state, is one's own, or it has no kernel."""
        kind = type(self)
        own = not all(is_fastdls(_definer(kind, name)) for name in ("update_state", "reset_state"))
        return own or kind.terminal is Metric.terminal

    def take(self, totals: Array, rows: float) -> None:
        """The state becomes what a program has added up over so many rows. fastdl's own."""
        for name, part in self.sums(totals).items():
            old = vars(self).get(name)
            if old is not None and old.shape != part.shape:  # it was in a model of other outputs
                self._variables = [each for each in self._variables if each is not old]
                del vars(self)[name]
            self.counter(name, part.shape).assign(part)

    # -- on arrays ----------------------------------------------------------------------------------------

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add samples. y_pred: (samples, features), y_true alike or labels (samples,). ShapeError."""
        predicted = predictions(y_pred)
        weights = None if sample_weight is None else of_rows(predicted, sample_weight)
        self.add(on_arrays(self.terminal(predicted.shape[-1]), y_true, predicted, weights, each=False)[1])

    def add(self, totals: Array) -> None:
        """Add to what has been added up. ShapeError for totals of other outputs."""
        for name, part in self.sums(totals).items():
            self.counter(name, part.shape).assign_add(part)

    def counter(self, name: str, shape: tuple[int, ...]) -> Variable:
        """The variable of this name, which is an attribute too, made when first asked for. ShapeError."""
        if name not in vars(self):
            setattr(self, name, self.add_variable(shape, "zeros", np.float64, name=name))
        variable: Variable = vars(self)[name]
        if variable.shape != shape:
            raise ShapeError(f"{self.name} has counted in {name} of shape {variable.shape}, not {shape}")
        return variable

    def result(self) -> Any:
        """The metric of all samples added since `reset_state`; zero before the first."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all samples: its variables become zero."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.update_state(*args, **kwargs)
        return self.result()

    # -- variables of one's own ---------------------------------------------------------------------------

    def add_variable(
        self, shape: Any, initializer: Any, dtype: Any = None, aggregation: str = "sum", name: str | None = None
    ) -> Variable:
        """Make a variable of this metric, of its dtype if no other is named (Keras). aggregation is of no effect."""
        if not hasattr(self, "_variables"):
            raise RuntimeError(f"{type(self).__name__} must call super().__init__() before it makes variables")
        sizes = tuple(shape) if isinstance(shape, list | tuple) else (int(shape),)
        kind = np.dtype(dtype or ("float64" if self.dtype == "float64" else "float32"))
        if initializer is None or isinstance(initializer, str | type) or callable(initializer):
            value = initializers.get(initializer or "zeros")(sizes, kind)
        else:
            value = np.broadcast_to(np.asarray(initializer), sizes)
        variable = Variable(value, kind, name or auto_name("variable"))
        variable.of = self
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """As add_variable; zeros without an initializer (Keras)."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable | Parameter]:
        """Its variables, and those of metrics that are its attributes, also in lists and mappings (Keras)."""
        attributes = list(_within(list(vars(self).values())))
        found = [value for value in attributes if not isinstance(value, Metric)]
        for metric in (value for value in attributes if isinstance(value, Metric)):
            found += metric.variables
        return list({id(variable): variable for variable in [*self._variables, *found]}.values())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments (Keras). NotImplementedError for one that is not kept."""
        try:
            return {**super().get_config(), "name": self.name, "dtype": self.dtype}
        except AttributeError as error:
            raise NotImplementedError(f"{type(self).__name__} does not keep an argument: {error}") from None


def predictions(y_pred: Any) -> Array:
    """(samples, features), or more axes before these; (samples,) are of one feature."""
    refuse_masked("y_pred", y_pred)
    predicted = np.asarray(y_pred)
    return predicted.reshape(-1, 1) if predicted.ndim < 2 else predicted


def _within(value: Any) -> Iterator[Any]:
    """The variables and metrics that a value is, or holds."""
    if isinstance(value, Variable | Parameter | Metric):
        yield value
    elif isinstance(value, Mapping):
        yield from _within(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _within(each)


def _definer(kind: type, name: str) -> type:
    """The class that a class has a method from."""
    return next(each for each in kind.__mro__ if name in vars(each))
