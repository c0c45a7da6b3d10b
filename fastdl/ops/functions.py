"""Keras's ops by name: element by element, along axes, and their compositions. See numeric.py for what holds of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import Shape
from fastdl.errors import ShapeError
from fastdl.ops import numeric
from fastdl.ops.activation import Activation, LogSoftmax, Softmax
from fastdl.ops.combine import Combine
from fastdl.ops.elementwise import FUNCTIONS
from fastdl.ops.numeric import apply, array_of, axes_of, operation, picked, reduce, symbolic, tensor_of, transposed
from fastdl.ops.symbolic import view

# --- element by element -------------------------------------------------------------------------------------------


def _function(name: str) -> Callable[..., Any]:
    def function(*operands: Any) -> Any:
        if len(operands) != len(FUNCTIONS[name].slopes):
            raise TypeError(f"{name} takes {len(FUNCTIONS[name].slopes)} operands, not {len(operands)}")
        return apply(name, *operands)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of arrays or tensors, element by element (Keras: ops.{name})."
    return function


add, subtract, multiply, divide = map(_function, ("add", "subtract", "multiply", "divide"))
maximum, minimum, less, less_equal, equal, where = map(
    _function, ("maximum", "minimum", "less", "less_equal", "equal", "where")
)
negative, absolute, sign, square, sqrt, exp = map(_function, ("negative", "absolute", "sign", "square", "sqrt", "exp"))
expm1, log, log1p, tanh, sin, cos, floor = map(_function, ("expm1", "log", "log1p", "tanh", "sin", "cos", "floor"))
sigmoid, softplus, erf = map(_function, ("sigmoid", "softplus", "erf"))
abs, true_divide = absolute, divide


def relu(x: Any) -> Any:
    """max(x, 0); behind a layer the one that its kernel computes as well (Keras: ops.relu)."""
    if symbolic(x) and (op := tensor_of(x).op) is not None and not op.lazy:
        return Activation(tensor_of(x), "relu", (), lambda v: Formula("Relu", v), "relu").output
    return apply("relu", x)


def power(x1: Any, x2: Any) -> Any:
    """x1 to the power of x2, element by element; small whole powers by products (Keras: ops.power)."""
    plain: dict[float, Callable[[Any], Any]] = {
        1: lambda x: x,
        2: square,
        3: lambda x: square(x) * x,
        4: lambda x: square(square(x)),
        0.5: sqrt,
        -0.5: rsqrt,
        -1: reciprocal,
        -2: lambda x: reciprocal(square(x)),
    }
    if symbolic(x1, x2) and isinstance(x2, int | float) and x2 in plain:
        return plain[x2](tensor_of(x1))
    return apply("power", x1, x2)


def greater(x1: Any, x2: Any) -> Any:
    """1 where x1 > x2, else 0 (Keras: ops.greater)."""
    return apply("less", x2, x1)


def greater_equal(x1: Any, x2: Any) -> Any:
    """1 where x1 >= x2, else 0 (Keras: ops.greater_equal)."""
    return apply("less_equal", x2, x1)


def not_equal(x1: Any, x2: Any) -> Any:
    """1 where x1 and x2 differ, else 0 (Keras: ops.not_equal)."""
    return 1.0 - apply("equal", x1, x2)


def logical_not(x: Any) -> Any:
    """1 where x is 0, else 0 (Keras: ops.logical_not)."""
    return apply("equal", x, 0.0)


def logical_and(x1: Any, x2: Any) -> Any:
    """1 where neither is 0, else 0 (Keras: ops.logical_and)."""
    return not_equal(x1, 0.0) * not_equal(x2, 0.0)


def logical_or(x1: Any, x2: Any) -> Any:
    """1 where one of both is not 0, else 0 (Keras: ops.logical_or)."""
    return maximum(not_equal(x1, 0.0), not_equal(x2, 0.0))


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x, but no less than x_min and no more than x_max (Keras: ops.clip)."""
    return minimum(maximum(x, x_min), x_max)


def reciprocal(x: Any) -> Any:
    """1 / x (Keras: ops.reciprocal)."""
    return divide(1.0, x)


def rsqrt(x: Any) -> Any:
    """1 / √x (Keras: ops.rsqrt)."""
    return divide(1.0, sqrt(x))


def log2(x: Any) -> Any:
    """The logarithm of base 2 (Keras: ops.log2)."""
    return log(x) * (1 / math.log(2))


def log10(x: Any) -> Any:
    """The logarithm of base 10 (Keras: ops.log10)."""
    return log(x) * (1 / math.log(10))


def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2)) (Keras: ops.logaddexp)."""
    return maximum(x1, x2) + softplus(negative(absolute(subtract(x1, x2))))


def sinh(x: Any) -> Any:
    """Hyperbolic sine (Keras: ops.sinh)."""
    return (expm1(x) - expm1(negative(x))) * 0.5


def cosh(x: Any) -> Any:
    """Hyperbolic cosine (Keras: ops.cosh)."""
    return (exp(x) + exp(negative(x))) * 0.5


def tan(x: Any) -> Any:
    """Tangent (Keras: ops.tan)."""
    return divide(sin(x), cos(x))


def ceil(x: Any) -> Any:
    """The smallest whole number that is not below x (Keras: ops.ceil)."""
    return negative(floor(negative(x)))


def cast(x: Any, dtype: Any) -> Any:
    """x as that dtype; of tensors, which are all floats, "bool" gives 1 and 0, whole numbers cut (Keras: ops.cast)."""
    kind = "b" if str(dtype) == "bool" else np.dtype(str(getattr(dtype, "name", dtype))).kind
    if not symbolic(x):
        return np.asarray(array_of(x)).astype(str(getattr(dtype, "name", dtype)))
    return not_equal(x, 0.0) if kind == "b" else x if kind == "f" else sign(x) * floor(absolute(x))


def zeros_like(x: Any) -> Any:
    """Zeros of x's shape (Keras: ops.zeros_like)."""
    return multiply(numeric.stop_gradient(x), 0.0) if symbolic(x) else np.zeros_like(array_of(x))


def ones_like(x: Any) -> Any:
    """Ones of x's shape (Keras: ops.ones_like)."""
    return zeros_like(x) + 1.0 if symbolic(x) else np.ones_like(array_of(x))


# --- along axes ---------------------------------------------------------------------------------------------------


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum along axes, all of them for None (Keras: ops.sum)."""
    return reduce(x, axis, keepdims, "sum")


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean along axes (Keras: ops.mean)."""
    return reduce(x, axis, keepdims, "sum", mean=True)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product along axes (Keras: ops.prod)."""
    return reduce(x, axis, keepdims, "prod")


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest along axes; where several are, each has its part of the gradient (Keras: ops.max)."""
    return reduce(x, axis, keepdims, "max")


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest along axes (Keras: ops.min)."""
    return reduce(x, axis, keepdims, "min")


amax, amin = max, min


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """1 where one along the axes is not 0 (Keras: ops.any)."""
    return max(not_equal(x, 0.0), axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """1 where none along the axes is 0 (Keras: ops.all)."""
    return min(not_equal(x, 0.0), axis, keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The biased variance along axes (Keras: ops.var)."""
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The root of `var` (Keras: ops.std)."""
    return sqrt(var(x, axis, keepdims))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log of the sum of exp(x) along axes, without overflow (Keras: ops.logsumexp)."""
    top = numeric.stop_gradient(max(x, axis, True))
    total = log(sum(exp(subtract(x, top)), axis, True)) + top
    return total if keepdims else sum(total, axis)  # along axes of size 1


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum of exp(x) along an axis (Keras: ops.softmax)."""
    if symbolic(x) and _last(x, axis):
        return Softmax(tensor_of(x), "softmax").output
    e = exp(subtract(x, numeric.stop_gradient(max(x, axis, True))))
    return divide(e, sum(e, axis, True))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of `softmax` (Keras: ops.log_softmax)."""
    if symbolic(x) and _last(x, axis):
        return LogSoftmax(tensor_of(x), "log_softmax").output
    return subtract(x, logsumexp(x, axis, True))


def _last(x: Any, axis: int) -> bool:
    tensor = tensor_of(x)
    return tensor.batched and tensor.ndim > 1 and axes_of(tensor, axis) == (tensor.ndim - 1,)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm along axes: of order 2 (Euclid's and Frobenius's), 1, or math.inf (Keras: ops.norm)."""
    if ord in (None, 2, "euclidean", "fro"):
        return sqrt(sum(square(x), axis, keepdims))
    if ord == 1:
        return sum(absolute(x), axis, keepdims)
    if ord == math.inf:
        return max(absolute(x), axis, keepdims)
    raise ValueError(f"norm: ord must be None, 1, 2 or inf, not {ord!r}")


def normalize(x: Any, axis: int = -1, order: int = 2, epsilon: float = 1e-12) -> Any:
    """x by its norm along an axis, which is taken as epsilon where it is smaller (Keras: ops.normalize)."""
    return divide(x, maximum(norm(x, order, axis, True), epsilon))


def argmax(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """Where the first largest number stands along an axis; without a gradient (Keras: ops.argmax)."""
    if not symbolic(x):
        return np.argmax(array_of(x), axis, keepdims=keepdims)
    x = tensor_of(x)
    ((along),) = axes_of(x, axis)
    count = x.shape[along] or 0
    behind = np.arange(count)[::-1].reshape([-1 if i == along else 1 for i in range(int(x.batched), x.ndim)])
    hits = equal(x, max(x, axis, True)) * behind.astype(x.dtype)
    return numeric.stop_gradient((count - 1.0) - max(hits, axis, keepdims))


def argmin(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """Where the first smallest number stands along an axis; without a gradient (Keras: ops.argmin)."""
    return argmax(negative(x), axis, keepdims)


def cumsum(x: Any, axis: int = -1) -> Any:
    """The sums of all up to each, along an axis (Keras: ops.cumsum)."""
    if not symbolic(x):
        return np.cumsum(array_of(x), axis)
    x = tensor_of(x)
    ((along),) = axes_of(x, axis)
    offset = int(x.batched)
    if along < offset:
        raise ShapeError("cumsum over the batch is not compiled: take it over other axes")
    features = np.moveaxis(np.arange(x.features).reshape([size or 0 for size in x.sample]), along - offset, -1)
    place = np.moveaxis(np.broadcast_to(np.arange(features.shape[-1]), features.shape), -1, along - offset).ravel()
    rows = np.moveaxis(
        np.broadcast_to(features[..., None, :], (*features.shape, features.shape[-1])), -2, along - offset
    )
    lists = [row[: n + 1] for row, n in zip(rows.reshape(x.features, -1), place, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in lists])])

    def write(graph: Any, op: Combine) -> None:
        graph.node("CumSum", [graph.name(x), graph.constant(np.asarray(along, np.int64), "axis")], op)

    return Combine(x, x.shape, starts, np.concatenate(lists), "sum", 1.0, write, "cumsum").output


# --- axes ---------------------------------------------------------------------------------------------------------


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes in another order, of tensors but for the batch's (Keras: ops.transpose)."""
    if not symbolic(x):
        return np.transpose(array_of(x), axes)
    x = tensor_of(x)
    order = list(range(x.ndim))[::-1] if axes is None else [axis + x.ndim if axis < 0 else axis for axis in axes]
    return transposed(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged (Keras: ops.swapaxes)."""
    if not symbolic(x):
        return np.swapaxes(array_of(x), axis1, axis2)
    x = tensor_of(x)
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transposed(x, axes)


def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of size 1 (Keras: ops.expand_dims)."""
    if not symbolic(x):
        return np.expand_dims(array_of(x), axis)
    x = tensor_of(x)
    at = axis + x.ndim + 1 if axis < 0 else axis
    return _viewed(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: Any, axis: Any = None) -> Any:
    """Without the axes of size 1, or those that are named (Keras: ops.squeeze). ShapeError for larger ones."""
    if not symbolic(x):
        return np.squeeze(array_of(x), axis)
    x = tensor_of(x)
    axes = axes_of(x, axis) if axis is not None else tuple(i for i, size in enumerate(x.shape) if size == 1)
    if wrong := [x.shape[i] for i in axes if x.shape[i] != 1]:
        raise ShapeError(f"squeeze takes away axes of size 1, not of {wrong[0]}: the tensor has shape {x.shape}")
    return _viewed(x, tuple(size for i, size in enumerate(x.shape) if i not in axes))


def _viewed(x: Any, shape: Shape) -> Any:
    if x.batched and (not shape or shape[0] is not None):
        raise ShapeError(f"the batch stays the first axis of {x.shape}")
    return view(x, shape)


def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Arrays or tensors of one shape along a new axis (Keras: ops.stack)."""
    if not symbolic(*x):
        return np.stack([array_of(each) for each in x], axis)
    return numeric.concatenate([expand_dims(each, axis) for each in x], axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis: so many of one size, or between these numbers (Keras: ops.split)."""
    if not symbolic(x):
        return list(np.split(array_of(x), indices_or_sections, axis))
    x = tensor_of(x)
    ((along),) = axes_of(x, axis)
    size = x.shape[along] or 0
    if isinstance(indices_or_sections, int):
        if not size or size % indices_or_sections:
            raise ShapeError(f"split: axis {axis} of {x.shape} does not make {indices_or_sections} parts of one size")
        step = size // indices_or_sections
        ends = list(range(step, size, step))
    else:
        ends = list(indices_or_sections)
    bounds = [0, *ends, size]
    return [x[(*[slice(None)] * along, slice(first, last))] for first, last in pairwise(bounds)]


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Entries of these numbers along an axis (Keras: ops.take). Of tensors the numbers must be known beforehand."""
    if not symbolic(x):
        return np.take(array_of(x), np.asarray(indices), axis)
    x = tensor_of(x)
    if symbolic(indices) or axis is None:
        raise ShapeError("take: of a tensor, name the axis, and give whole numbers that are known beforehand")
    (along,) = axes_of(x, axis)
    offset = int(x.batched)
    features = np.arange(x.features).reshape([size or 0 for size in x.sample])
    chosen: Array = np.take(features, np.asarray(indices), along - offset)
    return picked(x, chosen, (None, *chosen.shape) if x.batched else chosen.shape)


def flip(x: Any, axis: int = -1) -> Any:
    """The entries along an axis from the last to the first (Keras: ops.flip)."""
    if not symbolic(x):
        return np.flip(array_of(x), axis)
    ((along),) = axes_of(tensor_of(x), axis)
    return take(x, np.arange(tensor_of(x).shape[along] or 0)[::-1], axis)


def repeat(x: Any, repeats: int, axis: int) -> Any:
    """Each entry along an axis so many times (Keras: ops.repeat)."""
    if not symbolic(x):
        return np.repeat(array_of(x), repeats, axis)
    ((along),) = axes_of(tensor_of(x), axis)
    return take(x, np.repeat(np.arange(tensor_of(x).shape[along] or 0), repeats), axis)


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> Any:
    """1 at the class's place, 0 elsewhere, along a new last axis (Keras: ops.one_hot)."""
    if axis != -1:
        raise ValueError(f"one_hot: axis must be -1, not {axis}")
    classes = np.arange(num_classes)
    if not symbolic(x):
        return (np.asarray(array_of(x))[..., None] == classes).astype(dtype or np.float32)
    x = tensor_of(x)
    return equal(expand_dims(x, -1), classes.astype(x.dtype))


def convert_to_tensor(x: Any, dtype: Any = None) -> Any:
    """Tensors as they are, all else as an array (Keras: ops.convert_to_tensor)."""
    return x if symbolic(x) else np.asarray(array_of(x), dtype)


def convert_to_numpy(x: Any) -> Array:
    """The values of an array or a weight (Keras: ops.convert_to_numpy). TypeError for a tensor, which has none yet."""
    if symbolic(x):
        raise TypeError("a symbolic tensor has no values yet")
    return np.asarray(array_of(x))


def shape(x: Any) -> Shape:
    """The sizes of the axes, None for the batch's (Keras: ops.shape)."""
    return tuple(tensor_of(x).shape) if symbolic(x) else np.shape(array_of(x))


NAMES = [
    name
    for name, value in list(globals().items())
    if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == __name__
]
globals().update({name: operation(globals()[name]) for name in NAMES})
numeric.BY_NAME.update({name: globals()[name] for name in NAMES})
numeric.BY_NAME.update({name: getattr(numeric, name) for name in numeric.__all__})
if not TYPE_CHECKING:
    __all__ = [*NAMES]
