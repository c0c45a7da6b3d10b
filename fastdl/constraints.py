"""Constraints, with Keras's names: what weights are brought back to after each step of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl import _ext
from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Parameter
from fastdl.compiler.phases import write, write_all, write_rows
from fastdl.errors import ShapeError

EPSILON = 1e-7  # Keras's, added to norms
Axis = int | Sequence[int] | None
OwnFunction = Callable[[Array], Any]  # weights → weights


class Constraint(Configured):
    """Base: `constraint(w)` is what the weights become.

    One of your own overrides it by numpy. It takes the GIL at each batch: slower than the others.
    """

    def __call__(self, w: Any) -> Any:
        return w

    def emit(self, build: Builder, parameter: Parameter) -> None:
        """Append what changes the weights in a program."""

        def run(_: Array) -> None:
            values = np.asarray(self(parameter.numpy()), parameter.dtype)
            if values.shape != parameter.shape:
                raise ShapeError(
                    f"{parameter.path}: its constraint must keep the shape {parameter.shape}, not make it "
                    f"{values.shape}"
                )
            parameter.assign(values)

        build.call(run, write_all(build.parameter(parameter)), defer=True)


class Function(Constraint):
    """A numpy function as a constraint: fn(w) → w, of the same shape."""

    nameable = False

    def __init__(self, fn: OwnFunction) -> None:
        self.fn = fn

    def __call__(self, w: Any) -> Any:
        return self.fn(w)


class NonNeg(Constraint):
    """max(w, 0)."""

    def __call__(self, w: Any) -> Array:
        return np.asarray(np.maximum(w, 0))

    def emit(self, build: Builder, parameter: Parameter) -> None:
        size = parameter.storage.size
        build.emit(
            "not_negative",
            w=write(build.parameter(parameter)),
            over=size,
            axis=_ext.BY_FEATURE,
            defer=True,
        )


class _Norm(Constraint):
    """w (rate clip(norm, least, most) + (1 - rate) norm) / (norm + 1e-7), the norm taken along `axis`.

    axis 0 of a kernel (in, units): the weights into each unit; 1: those out of each input; None or (0, 1): all.
    """

    axis: Axis

    def _limits(self) -> tuple[float, float, float]:
        """least, most, rate"""
        raise NotImplementedError

    def __call__(self, w: Any) -> Array:
        w = np.asarray(w)
        least, most, rate = self._limits()
        axis = self.axis if self.axis is None or isinstance(self.axis, int) else tuple(self.axis)
        norms = np.sqrt((w.astype(np.float64) ** 2).sum(axis, keepdims=True))
        factor = (rate * np.clip(norms, least, most) + (1 - rate) * norms) / (norms + EPSILON)
        return np.asarray(w * factor.astype(w.dtype))

    def _kind(self, parameter: Parameter) -> int:
        """Of the kernel's kinds of norm. ValueError for an axis that the parameter does not have."""
        count = len(parameter.shape)
        chosen = range(count) if self.axis is None else (self.axis,) if isinstance(self.axis, int) else self.axis
        axes = {axis + count if axis < 0 else axis for axis in chosen}
        if not axes or not axes <= set(range(count)):
            raise ValueError(
                f"{parameter.path}: {type(self).__name__} along axis {self.axis} does not fit its shape "
                f"{parameter.shape}"
            )
        if len(axes) == count:
            return _ext.NORM_ALL
        return _ext.NORM_COLUMNS if axes == {0} else _ext.NORM_ROWS

    def emit(self, build: Builder, parameter: Parameter) -> None:
        kind, weights = self._kind(parameter), build.parameter(parameter)
        access, features, axis = {
            _ext.NORM_COLUMNS: (write(weights), parameter.shape[-1], _ext.BY_FEATURE),
            _ext.NORM_ROWS: (write_rows(weights), parameter.rows, _ext.BY_FEATURE),
            _ext.NORM_ALL: (write_all(weights), 1, _ext.ONCE),
        }[kind]
        least, most, rate = self._limits()
        build.emit(
            "limit_norm",
            w=access,
            inputs=parameter.rows,
            outputs=parameter.shape[-1],
            by_rows=int(parameter.by_rows),
            norm_of=kind,
            least=least,
            most=most,
            rate=rate,
            over=features,
            axis=axis,
            defer=True,
        )


class MaxNorm(_Norm):
    """Scales weights whose norm is larger than max_value down to it (Srebro and Shraibman 2005)."""

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value, self.axis = _limit("max_value", max_value), _axis(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 0.0, self.max_value, 1.0


class UnitNorm(_Norm):
    """Scales weights to norm 1."""

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _axis(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 1.0, 1.0, 1.0


class MinMaxNorm(_Norm):
    """Scales weights so that their norm goes `rate` of its way to the nearest one from min_value to max_value."""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        self.min_value, self.max_value = _limit("min_value", min_value), _limit("max_value", max_value)
        self.rate, self.axis = float(rate), _axis(axis)
        if not self.min_value <= self.max_value:
            raise ValueError(f"min_value must not lie above max_value, not {min_value} and {max_value}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must lie in [0, 1], not {rate}")

    def _limits(self) -> tuple[float, float, float]:
        return self.min_value, self.max_value, self.rate


def _limit(name: str, value: float) -> float:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number, zero or more, not {value}")
    return float(value)


def _axis(axis: Any) -> Axis:
    if axis is None or isinstance(axis, int | np.integer):
        return None if axis is None else int(axis)
    return tuple(int(each) for each in axis) if isinstance(axis, tuple) else [int(each) for each in axis]


CLASSES = family(Constraint)
NAMES = names_of(CLASSES)

serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Constraint:
    """The constraint that `serialize` described. ValueError if there is none of that name."""
    made = get(configured.deserialize(config, NAMES, custom_objects))
    assert made is not None
    return made


def get(
    identifier: str | OwnFunction | Constraint | type[Constraint] | Mapping[str, Any] | None,
) -> Constraint | None:
    """A constraint by Keras name, class, instance, config, or a function of one's own (see Function); None for None.

    ValueError if there is none.
    """
    if identifier is None or isinstance(identifier, Constraint):
        return identifier
    if isinstance(identifier, str) and identifier in NAMES:
        return NAMES[identifier]()
    if isinstance(identifier, type) and issubclass(identifier, Constraint):
        return identifier()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return Function(identifier)
    raise ValueError(unknown("constraint", identifier, NAMES))


def __getattr__(name: str) -> type[Constraint]:
    """`constraints.max_norm` is `MaxNorm`, as in Keras."""
    if name in NAMES:
        return NAMES[name]
    raise no_such(__name__, name, NAMES)
