"""Functions of arrays and of symbolic tensors, by Keras's names (keras.ops).

On arrays they compute at once, by numpy. On symbolic tensors they are ops of the graph: compiled into the program, with
gradients, and written to ONNX. Axis 0 of a tensor is the batch: over it sums and means are taken, and nothing else.
What is true or false is 1 or 0. ShapeError for shapes that do not fit together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Arithmetic, NodeWriter, Parameter, Shape, Tensor, is_tracing
from fastdl.errors import ShapeError
from fastdl.ops.combine import Combine, reduced, take
from fastdl.ops.dense import Dense
from fastdl.ops.elementwise import FUNCTIONS, Elementwise
from fastdl.ops.merge import Concatenate
from fastdl.ops.samples import OverSamples, ProductOfSamples, flat
from fastdl.ops.symbolic import Constant, StopGradient, WeightValue, feature_map, view
from fastdl.ops.symbolic import broadcast as broadcast_shapes

_NUMPY_NAMES = {"true_divide": "divide", "abs": "absolute", "float_power": "power"}


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which between a model's tensors, outside of any layer, becomes a layer of the model itself."""

    @functools.wraps(function)
    def of_all(*operands: Any, **options: Any) -> Any:
        if not is_tracing() and any(map(_holds_tensor, (*operands, *options.values()))):
            return Arithmetic.as_layer(function.__name__, operands, options)
        return function(*operands, **options)

    return of_all


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_holds_tensor, value)))


def symbolic(*values: Any) -> bool:
    """Whether the result is a tensor: one of them is one, or a weight within a layer's call."""
    return any(isinstance(x, Tensor) or (isinstance(x, Parameter) and is_tracing()) for x in values)


def tensor_of(value: Any, dtype: Dtype | None = None) -> Tensor:
    """The value as a tensor: a weight's numbers, or an array's."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Parameter):
        return WeightValue(value).output
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a tensor is computed with numbers, not with {value!r}")
    return Constant(array, dtype or np.dtype(np.float32)).output


def array_of(value: Any) -> Any:
    """The value as numpy computes with it: lists in float32, as Keras does; arrays and numbers as they are."""
    if isinstance(value, Parameter):
        return value.numpy()
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def apply(name: str, *operands: Any) -> Any:
    """The function of that name, element by element, of tensors, arrays and numbers."""
    if not symbolic(*operands):
        values = [array_of(each) for each in operands]
        if all(isinstance(each, bool | int | float) for each in values):
            values = [np.float32(each) for each in values]
        with np.errstate(all="ignore"):
            return FUNCTIONS[name].compute(*values)
    dtype = next(x.dtype for x in operands if isinstance(x, Tensor | Parameter))
    made = [
        float(each) if not isinstance(each, Arithmetic) and np.ndim(each) == 0 else tensor_of(each, dtype)
        for each in operands
    ]
    return Elementwise(name, made).output


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """Axes as positive numbers, all for None. ShapeError for one that there is not."""
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    numbers = tuple(sorted({each + x.ndim if each < 0 else each for each in map(int, given)}))
    if any(not 0 <= each < x.ndim for each in numbers):
        raise ShapeError(f"axis {axis} is not one of {x.shape}")
    return numbers


def reduce(x: Any, axis: Any, keepdims: bool, how: str, mean: bool = False) -> Any:
    """A sum, product, largest or smallest along axes; of tensors over the batch sums and means alone."""
    if not symbolic(x):
        array = np.asarray(array_of(x))
        return getattr(np, "mean" if mean else how)(
            array, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims
        )
    x = tensor_of(x)
    axes = axes_of(x, axis)
    over_batch = x.batched and 0 in axes
    if over_batch and how != "sum":
        raise ShapeError(f"{how} over the batch, axis 0 of {x.shape}, is not compiled: take it over other axes")
    along = tuple(each for each in axes if not (over_batch and each == 0))
    if along:
        count = math.prod(x.shape[each] or 0 for each in along)
        x = reduced(x, along, how, 1 / max(count, 1) if mean else 1.0, keepdims or over_batch)
    if over_batch:
        x = OverSamples(x, mean).output
        rest = tuple(size for i, size in enumerate(x.shape, 1) if keepdims or i not in along)
        x = view(x, (1, *rest) if keepdims else rest)
    return x


@operation
def get_item(x: Any, key: Any) -> Any:
    """x[key] by numpy's rules; of a tensor all samples: the first index is `:` or `...`."""
    if not symbolic(x):
        return array_of(x)[key]
    x = tensor_of(x)
    keys = key if isinstance(key, tuple) else (key,)
    features = np.arange(x.features).reshape([size or 0 for size in x.sample])
    if x.batched and keys[:1] != (slice(None),) and not (keys and keys[0] is Ellipsis):
        raise ShapeError(
            f"of {x.shape} all samples are taken: begin with [:, …], not with {keys[0] if keys else keys!r}"
        )
    if any(isinstance(each, Arithmetic) for each in keys):
        raise ShapeError("an index of a tensor must be known before there is data: whole numbers and slices")
    chosen = features[keys[1:] if x.batched and keys[0] is not Ellipsis else keys]
    return picked(x, chosen, (None, *chosen.shape) if x.batched else chosen.shape)


def picked(x: Tensor, features: Array, shape: Shape) -> Tensor:
    """The features of these numbers, as a tensor of the shape."""
    if features.size == 0:
        raise ShapeError(f"nothing of {x.shape} would be left")
    order = features.ravel()
    if order.size == x.features and (order == np.arange(order.size)).all():
        return view(x, shape)

    def write(graph: NodeWriter, op: Combine) -> None:
        axis = int(x.batched)
        name = graph.name(x)
        if x.shape != flat(x):
            name = graph.inner(
                "Reshape", [name, graph.shape_constant([-1 if size is None else size for size in flat(x)])], op
            )
        which = graph.constant(order.astype(np.int64), "features")
        if shape == flat(op.output):
            graph.node("Gather", [name, which], op, axis=axis)
        else:
            name = graph.inner("Gather", [name, which], op, axis=axis)
            graph.node("Reshape", [name, graph.shape_constant([-1 if size is None else size for size in shape])], op)

    return take(x, order, shape, write, "gather")


def transposed(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The axes of a sample in another order, numbered as in x.shape."""
    if x.batched and axes[0] != 0:
        raise ShapeError(f"the batch, axis 0 of {x.shape}, stays the first axis")
    offset = int(x.batched)
    inner = [axis - offset for axis in axes[offset:]]
    features = np.arange(x.features).reshape([size or 0 for size in x.sample]).transpose(inner)
    shape = tuple(x.shape[axis] for axis in axes)
    if list(axes) == list(range(x.ndim)):
        return x

    def write(graph: NodeWriter, op: Combine) -> None:
        graph.node("Transpose", [graph.name(x)], op, perm=list(axes))

    return take(x, features, shape, write, "transpose")


@operation
def matmul(a: Any, b: Any) -> Any:
    """a @ b (Keras: ops.matmul). By a weight, (batch, ..., k) @ (k, n), it is a Dense layer's product."""
    if not symbolic(a, b):
        return np.matmul(array_of(a), array_of(b))
    if isinstance(b, Parameter) and b.in_strips and isinstance(a, Tensor) and len(a.shape) > 1 and a.batched:
        return Dense(a, b, None).output
    a, b = (tensor_of(x, next(t.dtype for t in (a, b) if isinstance(t, Tensor | Parameter))) for x in (a, b))
    if len(b.sample) == 1 and (not b.batched or len(a.sample) > 1):  # a matrix by a vector
        product = matmul(a, view(b, (*b.shape, 1)))
        return view(product, product.shape[:-1])
    if len(a.sample) == 1 and a.batched:  # each sample's vector by a matrix
        product = ProductOfSamples(view(a, (None, 1, a.features)), b).output
        return view(product, (None, *product.shape[2:]))
    if len(a.sample) == 1:
        product = ProductOfSamples(view(a, (1, a.features)), b).output
        return view(product, (*product.shape[:-2], product.shape[-1]))
    return ProductOfSamples(a, b).output


@operation
def concatenate(xs: Sequence[Any], axis: int = -1) -> Any:
    """Arrays or tensors behind each other along an axis, of tensors not the batch's (Keras: ops.concatenate)."""
    if not symbolic(*xs):
        return np.concatenate([array_of(x) for x in xs], axis=axis)
    dtype = next(x.dtype for x in xs if isinstance(x, Tensor | Parameter))
    tensors = [tensor_of(x, dtype) for x in xs]
    if len({(x.batched, x.ndim) for x in tensors}) > 1 or not tensors[0].batched:
        raise ShapeError(
            f"concatenate takes tensors (batch, ...) of one rank, not {', '.join(str(x.shape) for x in tensors)}"
        )
    (along,) = axes_of(tensors[0], axis)
    if along == 0 or len({tuple(s for i, s in enumerate(x.shape) if i != along) for x in tensors}) > 1:
        raise ShapeError(f"along axis {axis} shapes {', '.join(str(x.shape) for x in tensors)} do not fit together")
    joined = Concatenate([view(x, (None, x.features)) for x in tensors], "concatenate").output
    firsts = np.cumsum([0, *(x.features for x in tensors)])
    parts = [
        np.arange(x.features).reshape([s or 0 for s in x.sample]) + first
        for x, first in zip(tensors, firsts, strict=False)
    ]
    order = np.concatenate(parts, axis=along - 1)
    return picked(joined, order, (None, *order.shape))


@operation
def reshape(x: Any, shape: Sequence[int | None]) -> Any:
    """Other axes of the same numbers; of a tensor the first one is the batch's, given as None or -1 (Keras)."""
    if not symbolic(x):
        return np.reshape(array_of(x), [-1 if size is None else size for size in shape])
    x = tensor_of(x)
    wanted: list[Any] = list(shape) if isinstance(shape, tuple | list) else [shape]
    if x.batched:
        if not wanted or wanted[0] not in (None, -1):
            raise ShapeError(f"the batch stays the first axis: reshape to (-1, …), not to {tuple(wanted)}")
        wanted = wanted[1:]
    if any(size is None or size == -1 for size in wanted):
        known = math.prod(size for size in wanted if size not in (None, -1))
        wanted = [x.features // max(known, 1) if size in (None, -1) else size for size in wanted]
    if math.prod(wanted) != x.features:
        raise ShapeError(f"{x.shape} holds {x.features} numbers a sample, {tuple(shape)} asks for another count")
    return view(x, (None, *wanted) if x.batched else tuple(wanted))


@operation
def broadcast_to(x: Any, shape: Sequence[int | None]) -> Any:
    """x repeated along axes of size 1, or new ones in front (Keras: ops.broadcast_to)."""
    if not symbolic(x):
        return np.broadcast_to(array_of(x), [size or 1 for size in shape])
    x = tensor_of(x)
    wanted: Shape = tuple(shape)
    if broadcast_shapes("broadcast_to", [x.shape, wanted]) != wanted:
        raise ShapeError(f"{x.shape} cannot be broadcast to {wanted}")
    features = feature_map(x.shape, wanted)
    if features is None:
        return view(x, wanted)

    def write(graph: NodeWriter, op: Combine) -> None:
        graph.node("Expand", [graph.name(x), graph.shape_constant([size or 1 for size in wanted])], op)

    return take(x, features, wanted, write, "broadcast")


@operation
def stop_gradient(x: Any) -> Any:
    """x as a constant: no gradient goes further back (Keras: ops.stop_gradient)."""
    return StopGradient(tensor_of(x)).output if symbolic(x) else array_of(x)


BY_NAME: dict[str, Callable[..., Any]] = {}  # all that fastdl.ops calls so
UNNAMED: dict[str, Callable[..., Any]] = {"get_item": get_item, "view": view}  # what tensors do besides


def _operator(name: str, *operands: Any) -> Any:
    """What stands for an operator of tensors, by its function's name."""
    return (UNNAMED.get(name) or BY_NAME[name])(*operands)


def _of_numpy(function: Any, method: str, operands: Sequence[Any], options: dict[str, Any]) -> Any:
    """A numpy function of tensors: that of fastdl.ops. TypeError for one that there is not."""
    if not any(map(_holds_symbol, (*operands, *options.values()))):
        return getattr(function, method)(*map(_plain, operands), **{key: _plain(each) for key, each in options.items()})
    name = _NUMPY_NAMES.get(function.__name__, function.__name__)
    if method != "__call__" or name not in BY_NAME:
        raise TypeError(f"numpy's {function.__name__} computes with arrays, not with symbolic tensors: see fastdl.ops")
    return BY_NAME[name](*operands, **options)


def _holds_symbol(value: Any) -> bool:
    return symbolic(value) or (isinstance(value, list | tuple) and any(map(_holds_symbol, value)))


def _plain(value: Any) -> Any:
    """Weights as arrays."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value.numpy() if isinstance(value, Parameter) else value


Arithmetic.apply = staticmethod(_operator)
Arithmetic.apply_numpy = staticmethod(_of_numpy)
__all__ = ["broadcast_to", "concatenate", "matmul", "reshape", "stop_gradient"]
