"""Regularizers, with Keras's names: penalties on weights or outputs that are added to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastdl import _ext, kernels
from fastdl.base import configured
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Parameter
from fastdl.compiler.phases import Ref, read, read_all, write, write_all
from fastdl.errors import ShapeError
from fastdl.ops.slopes import Differentiated

OwnFunction = Callable[[Any], Any]  # weights → penalty, or (penalty, its gradient, of the weights' shape)


class Regularizer(Configured):
    """Base: `regularizer(x)` is the penalty of an array, `gradient(x)` how it grows with each element.

    One of your own, for weights, overrides `__call__` by fastdl.ops, or both by numpy. It takes the GIL at each batch:
    slower than the others.
    """

    strengths = (0.0, 0.0)  # l1 and l2, for the kernels of optimizer steps, which add their slope to the gradient
    own = True  # whether the penalty is computed by Python

    def __call__(self, x: Any) -> float:
        return 0.0

    def gradient(self, x: Any) -> Array:
        """The penalty's gradient, of x's shape: that of `__call__`, if it is made of fastdl.ops. TypeError if not."""
        return self._slopes(type(self).__name__, self.__call__, np.asarray(x))(np.asarray(x))[1]

    def _slopes(self, name: str, function: Callable[[Any], Any], x: Array) -> Differentiated:
        """Value and gradient of a function that is made of ops, for arrays like x."""
        made = self.__dict__.setdefault("_differentiated", {})
        key = x.shape, x.dtype.str
        if key not in made:
            try:
                made[key] = Differentiated(function, x)
            except Exception as error:
                raise TypeError(
                    f"{name} must be made of fastdl.ops, or give its gradient as well, to train with: {error}"
                ) from error
        slopes: Differentiated = made[key]
        return slopes

    def __getstate__(self) -> dict[str, Any]:
        """All but the slopes, which are made again: for pickle and copy.deepcopy."""
        return {name: value for name, value in vars(self).items() if name != "_differentiated"}

    def penalize(self, build: Builder, parameter: Parameter) -> None:
        """Append the penalty of a weight to what the program reports."""
        total, batch = build.steps.penalty(), build.batch

        def run(_: Array, penalty: Array) -> None:
            value = np.asarray(self(parameter.numpy()), np.float64)
            if value.shape != ():
                raise ShapeError(f"the penalty of {parameter.path} must be one number, not of shape {value.shape}")
            penalty += batch * value

        build.call(run, read_all(build.parameter(parameter)), write_all(total))

    def add_gradient(self, build: Builder, parameter: Parameter, gradient: Ref) -> None:
        """Append what adds the penalty's gradient to the parameter's, unless the optimizer's step does it."""

        def run(_: Array, gradients: Array) -> None:
            slope = np.asarray(self.gradient(parameter.numpy()), parameter.dtype)
            if slope.shape != parameter.shape:
                raise ShapeError(
                    f"the penalty's gradient for {parameter.path} must have shape {parameter.shape}, not {slope.shape}"
                )
            storage = parameter.storage
            target = gradients.view(parameter.dtype)[: storage.size].reshape(storage.shape)
            target += parameter.laid_out(slope)

        build.call(run, read_all(build.parameter(parameter)), write_all(gradient), defer=True)


class Function(Regularizer):
    """A function of the weights as a regularizer: fn(w) → penalty, made of fastdl.ops; or, by numpy, (penalty, its
    gradient, of w's shape)."""

    nameable = False

    def __init__(self, fn: OwnFunction) -> None:
        self.fn = fn

    def __call__(self, x: Any) -> Any:
        result = self.fn(x)
        return result[0] if isinstance(result, tuple) else result

    def gradient(self, x: Any) -> Array:
        result = self.fn(x)
        if isinstance(result, tuple) and len(result) == 2:
            return np.asarray(result[1])
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        return self._slopes(name, self.fn, np.asarray(x))(np.asarray(x))[1]


class _Norms(Regularizer):
    """l1 times the sum of |x|, l2 times that of x², by kernels."""

    own = False

    def __call__(self, x: Any) -> float:
        (l1, l2), x = self.strengths, np.asarray(x, np.float64)
        return float(l1 * np.abs(x).sum() + l2 * (x * x).sum())

    def gradient(self, x: Any) -> Array:
        (l1, l2), x = self.strengths, np.asarray(x, np.float64)
        return np.asarray(l1 * np.sign(x) + 2 * l2 * x)

    def penalize(self, build: Builder, parameter: Parameter) -> None:
        (inputs, features), (l1, l2) = parameter.layout, self.strengths
        units = -(-features // _ext.UNIT)
        part = Ref(units * 8, panels=False)
        build.emit(
            "weight_penalty",
            w=read(build.parameter(parameter)),
            part=write(part),
            inputs=inputs,
            outputs=features,
            l1=build.batch * l1,
            l2=build.batch * l2,
            over=features,
            axis=_ext.BY_FEATURE,
            ahead=True,
        )
        build.steps.add_penalty(part, units)

    def add_gradient(self, build: Builder, parameter: Parameter, gradient: Ref) -> None:
        """Nothing: the optimizer's step does it."""


class L1(_Norms):
    """l1 times the sum of |x|."""

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _strength("l1", 0.01 if l1 is None else l1)
        self.strengths = self.l1, 0.0


class L2(_Norms):
    """l2 times the sum of x²."""

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _strength("l2", 0.01 if l2 is None else l2)
        self.strengths = 0.0, self.l2


class L1L2(_Norms):
    """l1 times the sum of |x|, and l2 times that of x². By name, "l1_l2", both are 0.01."""

    aliases = ("l1l2",)

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1, self.l2 = _strength("l1", l1 or 0.0), _strength("l2", l2 or 0.0)
        self.strengths = self.l1, self.l2


class OrthogonalRegularizer(Regularizer):
    """factor times the mean |cosine| between two rows of a matrix, or two columns. By numpy, in float64."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(f"mode must be rows or columns, not {mode!r}")
        self.factor, self.mode = _strength("factor", factor), mode

    def _cosines(self, x: Any) -> tuple[Array, Array, Array, float]:
        """The vectors' directions and lengths, the cosines of pairs, zero with themselves, and what these weigh."""
        vectors = np.asarray(x, np.float64)
        if vectors.ndim != 2:
            raise ShapeError(f"OrthogonalRegularizer takes matrices, not an array of shape {vectors.shape}")
        vectors = vectors if self.mode == "rows" else vectors.T
        lengths = np.maximum(np.sqrt((vectors * vectors).sum(1, keepdims=True)), 1e-12)
        directions = np.ascontiguousarray(vectors / lengths)
        cosines = kernels.matmul(directions, directions, transpose_b=True)
        np.fill_diagonal(cosines, 0.0)
        return directions, lengths, cosines, self.factor / max(1.0, len(vectors) * (len(vectors) - 1.0) / 2)

    def __call__(self, x: Any) -> float:
        _, _, cosines, weight = self._cosines(x)
        return float(weight * 0.5 * np.abs(cosines).sum())

    def gradient(self, x: Any) -> Array:
        directions, lengths, cosines, weight = self._cosines(x)
        along = weight * kernels.matmul(np.sign(cosines), directions)
        slope = (along - directions * (along * directions).sum(1, keepdims=True)) / lengths
        return np.asarray(slope if self.mode == "rows" else slope.T)


def _strength(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.number) and value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number, zero or more, not {value!r}")
    return float(value)


CLASSES = family(Regularizer)
NAMES = names_of(CLASSES)

serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Regularizer:
    """The regularizer that `serialize` described. ValueError if there is none of that name."""
    made = get(configured.deserialize(config, NAMES, custom_objects))
    assert made is not None
    return made


def get(
    identifier: str | OwnFunction | Regularizer | type[Regularizer] | Mapping[str, Any] | None,
) -> Regularizer | None:
    """A regularizer by Keras name, class, instance, config, or a function of one's own (see Function); None for None.

    ValueError if there is none.
    """
    if identifier is None or isinstance(identifier, Regularizer):
        return identifier
    if identifier in ("l1_l2", "l1l2"):  # what its strengths are by name, Keras says in words only
        return L1L2(0.01, 0.01)
    if isinstance(identifier, str) and identifier in NAMES:
        return NAMES[identifier]()
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return Function(identifier)
    raise ValueError(unknown("regularizer", identifier, NAMES))


def __getattr__(name: str) -> type[Regularizer]:
    """`regularizers.l2` is `L2`, as in Keras."""
    if name in NAMES:
        return NAMES[name]
    raise no_such(__name__, name, NAMES)
