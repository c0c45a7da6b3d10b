"""Activations by name, of tensors and of arrays: tensor in, tensor out; array in, array out. Names, arguments and
defaults are Keras's.

Each is a row of the kernel table (see ext/kernels/activations.h) and, in ONNX of opset 17, an operator or a formula.
onnxruntime has some operators for float32 only: `double` is what a float64 model is written with instead.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast, overload

import numpy as np

from fastdl.base import registry
from fastdl.base.arrays import Array, Dtype, refuse_masked
from fastdl.base.naming import unknown
from fastdl.compiler.formula import Form, Formula
from fastdl.compiler.graph import Graph, Tensor
from fastdl.errors import DataError, FusionError
from fastdl.ops import Activation, LogSoftmax, Softmax
from fastdl.ops import activations as composed
from fastdl.ops import functions as along_axes
from fastdl.ops.on_arrays import compute

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934  # Klambauer et al. 2017


def _apply(x: Tensor, kind: str, *scalars: float, onnx: str | Form, double: Form | None = None) -> Tensor:
    """The op of a row of the kernel table; onnx: an operator of one input, or a formula."""
    form = (lambda v: Formula(onnx, v)) if isinstance(onnx, str) else onnx
    return Activation(x, kind, scalars, double if double and x.dtype == np.float64 else form, kind).output


class Either(Protocol):
    """A function of a tensor, which gives one, or of an array."""

    @overload
    def __call__(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor: ...
    @overload
    def __call__(self, x: Any, *arguments: Any, **options: Any) -> Any: ...


def of_arrays(function: Callable[..., Tensor]) -> Either:
    """The function of a tensor for arrays as well: of whatever numpy reads, in float64 if that is, else in float32."""

    @functools.wraps(function)
    def either(x: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(x, Tensor):
            return function(x, *arguments, **options)
        given, dtype = _numbers(function, x)
        array = np.ascontiguousarray(np.atleast_1d(given), dtype)
        rows = array.reshape(-1, array.shape[-1]) if array.size else np.zeros((1, 1), array.dtype)
        source = Tensor((None, rows.shape[1]), rows.dtype, name="x")
        result = function(source, *arguments, **options)
        value = rows if result is source else compute(Graph([source], [result]), [rows], False, False)[0]
        kind = given.dtype if given.dtype.kind == "f" else value.dtype
        return np.array(value.reshape(given.shape) if array.size else array.reshape(given.shape), kind)

    return cast(Either, either)


def _numbers(function: Callable[..., Any], x: Any) -> tuple[Array, Dtype]:
    """x as an array, and the dtype that it is computed in. DataError for what is no real number."""
    refuse_masked("x", x)
    given = np.asarray(x)
    if given.dtype.kind not in "fiub":
        raise DataError(f"{function.__name__} takes real numbers, not {given.dtype}")
    return given, np.dtype(np.float64 if given.dtype == np.float64 else np.float32)


def not_negative(name: str, value: float | None) -> float:
    """The value as a float. ValueError for negative ones, None and NaN."""
    if value is None or not value >= 0:
        raise ValueError(f"{name} must not be negative, not {value}")
    return float(value)


@of_arrays
def linear(x: Tensor) -> Tensor:
    """x itself: no op."""
    return x


@of_arrays
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """min(x, max_value) above the threshold, negative_slope (x - threshold) up to it. ValueError for negative ones."""
    slope, low = not_negative("negative_slope", negative_slope), not_negative("threshold", threshold)
    top = math.inf if max_value is None else not_negative("max_value", max_value)
    if low == 0 and slope == 0 and top == math.inf:
        return _apply(x, "relu", onnx="Relu")
    if low == 0 and slope == 0:
        return _apply(x, "relu6", top, onnx=lambda v: Formula("Clip", v, 0.0, top))
    if low == 0 and top == math.inf:
        return leaky_relu(x, slope)

    def onnx(v: Formula) -> Formula:
        above = v if top == math.inf else Formula("Min", v, top)
        return Formula("Where", Formula("Greater", v, low), above, (v - low) * slope)

    return _apply(x, "rectify", slope, top, low, onnx=onnx)


@of_arrays
def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)"""
    return relu(x, max_value=6.0)


@of_arrays
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x, below 0 negative_slope x. ValueError for a negative slope."""
    slope = not_negative("negative_slope", negative_slope)
    return _apply(
        x,
        "leaky_relu",
        slope,
        onnx=lambda v: Formula("LeakyRelu", v, alpha=slope),
        double=lambda v: Formula("PRelu", v, slope),
    )


@of_arrays
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))"""
    return _apply(x, "sigmoid", onnx="Sigmoid")


@of_arrays
def hard_sigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6) / 6"""
    return _apply(
        x, "hard_sigmoid", onnx=lambda v: Formula("HardSigmoid", v, alpha=1 / 6, beta=0.5), double=_hard_sigmoid
    )


@of_arrays
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return _apply(x, "tanh", onnx="Tanh")


@of_arrays
def exponential(x: Tensor) -> Tensor:
    """exp(x)"""
    return _apply(x, "exponential", onnx="Exp")


@of_arrays
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))"""
    return _apply(x, "softplus", onnx="Softplus", double=_softplus)


@of_arrays
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return _apply(x, "softsign", onnx="Softsign", double=lambda v: v / (Formula("Abs", v) + 1.0))


@of_arrays
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x, below 0 alpha (exp(x) - 1). ValueError for a negative alpha."""
    alpha = not_negative("alpha", alpha)
    return _apply(
        x, "elu", alpha, 1.0, onnx=lambda v: Formula("Elu", v, alpha=alpha), double=lambda v: _elu(v, alpha, 1.0)
    )


@of_arrays
def selu(x: Tensor) -> Tensor:
    """ELU whose alpha and scale keep mean 0 and variance 1 from layer to layer (Klambauer et al. 2017)."""
    return _apply(
        x, "elu", SELU_ALPHA, SELU_SCALE, onnx="Selu", double=lambda v: _elu(v, SELU_ALPHA * SELU_SCALE, SELU_SCALE)
    )


@of_arrays
def silu(x: Tensor) -> Tensor:
    """x / (1 + exp(-x)), also called swish."""
    return _apply(x, "silu", onnx=lambda v: v * Formula("Sigmoid", v), double=_silu_double)


@of_arrays
def hard_silu(x: Tensor) -> Tensor:
    """x hard_sigmoid(x), also called hard_swish."""
    return _apply(x, "hard_silu", onnx="HardSwish", double=lambda v: v * _hard_sigmoid(v))


@of_arrays
def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x))"""
    return _apply(
        x,
        "mish",
        onnx=lambda v: v * Formula("Tanh", Formula("Softplus", v)),
        double=lambda v: v * Formula("Tanh", _softplus(v)),
    )


@of_arrays
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x times the normal distribution function; approximate: its form with tanh.

    The exact form of a float64 model cannot be exported: onnxruntime's Erf is float32 only.
    """
    if not approximate:
        return _apply(x, "gelu", onnx=_gelu, double=_gelu_double)

    def onnx(v: Formula) -> Formula:
        inner = (v + v * v * v * 0.044715) * math.sqrt(2 / math.pi)
        return v * (Formula("Tanh", inner) + 1.0) * 0.5

    return _apply(x, "gelu_tanh", onnx=onnx)


@of_arrays
def gelu_tanh(x: Tensor) -> Tensor:
    """gelu(x, approximate=True), by a name that a file can hold."""
    return gelu(x, approximate=True)


@of_arrays
def cos(x: Tensor) -> Tensor:
    """Cosine of radians: within 1.5 ulp of 1 up to 1e5 in float32, 1e8 in float64; beyond, some number in [-1, 1]."""
    return _apply(x, "cos", onnx="Cos")


@of_arrays
def sin(x: Tensor) -> Tensor:
    """Sine of x in radians, as exact as `cos`."""
    return _apply(x, "sin", onnx="Sin")


@of_arrays
def _softmax(x: Tensor) -> Tensor:
    return Softmax(x, "softmax").output


@of_arrays
def _log_softmax(x: Tensor) -> Tensor:
    return LogSoftmax(x, "log_softmax").output


def _by_numpy(function: Callable[..., Any]) -> Either:
    """A function of fastdl.ops as an activation: of arrays, what numpy reads, in float64 if that is, else float32."""

    @functools.wraps(function)
    def either(x: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(x, Tensor):
            return function(x, *arguments, **options)
        given, dtype = _numbers(function, x)
        value = function(given.astype(dtype), *arguments, **options)
        return np.asarray(value, given.dtype if given.dtype.kind == "f" else None)

    either.__module__ = __name__  # for pickle: it is this file's by name, not that of the ops
    return cast(Either, either)


def softmax(x: Tensor, axis: Any = -1) -> Tensor:
    """exp(x) / sum of exp(x), over the last axis of (batch, ..., features), or over axis, one or several."""
    return _softmax(x) if axis == -1 else _by_numpy(along_axes.softmax)(x, axis)


def log_softmax(x: Tensor, axis: Any = -1) -> Tensor:
    """log(softmax(x)), over the last axis of (batch, ..., features), or over axis, one or several."""
    return _log_softmax(x) if axis == -1 else _by_numpy(along_axes.log_softmax)(x, axis)


def _elu(v: Formula, alpha: float, scale: float) -> Formula:
    return Formula("Relu", v) * scale + (Formula("Exp", Formula("Min", v, 0.0)) - 1.0) * alpha


def _softplus(v: Formula) -> Formula:
    return Formula("Relu", v) + Formula("Log", Formula("Exp", Formula("Neg", Formula("Abs", v))) + 1.0)


def _hard_sigmoid(v: Formula) -> Formula:
    return Formula("Clip", v + 3.0, 0.0, 6.0) / 6.0


def _silu_double(v: Formula) -> Formula:
    # x sigmoid(x) of float64 would become an operator that onnxruntime up to 1.30 has for float32 alone
    return v / (Formula("Exp", Formula("Neg", v)) + 1.0)


def _gelu(v: Formula) -> Formula:
    return v * (Formula("Erf", v / math.sqrt(2)) + 1.0) * 0.5


def _gelu_double(v: Formula) -> Formula:
    raise FusionError(
        "gelu of a float64 model cannot be exported, as onnxruntime has no float64 Erf: "
        "use gelu(approximate=True), or a float32 model"
    )


celu, glu, hard_shrink, hard_tanh = (
    _by_numpy(each) for each in (composed.celu, composed.glu, composed.hard_shrink, composed.hard_tanh)
)
log_sigmoid, soft_shrink, sparse_plus, sparse_sigmoid = (
    _by_numpy(each)
    for each in (composed.log_sigmoid, composed.soft_shrink, composed.sparse_plus, composed.sparse_sigmoid)
)
sparsemax, squareplus, tanh_shrink, threshold = (
    _by_numpy(each) for each in (composed.sparsemax, composed.squareplus, composed.tanh_shrink, composed.threshold)
)
swish, hard_swish = silu, hard_silu

NAMES: dict[str, Callable[..., Tensor]] = {
    name: value
    for name, value in globals().items()
    if not name.startswith("_") and getattr(value, "__annotations__", {}).get("return") == "Tensor"
}
# of several ops; `threshold` needs numbers, and so has no name that would do alone
COMPOSED: dict[str, Callable[..., Tensor]] = {each: globals()[each] for each in composed.__all__ if each != "threshold"}
_ALL = NAMES | COMPOSED


def serialize(activation: Callable[..., Tensor]) -> Any:
    """The activation's name; of a function of one's own a mapping that names it (Keras). ValueError for a lambda."""
    name = getattr(activation, "__name__", "")
    return name if _ALL.get(name) is activation else registry.function_config(activation)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Callable[[Tensor], Tensor]:
    """The activation of that name (Keras). ValueError if there is none."""
    with registry.custom_object_scope(custom_objects):
        return get(config)


def get(identifier: Any) -> Callable[[Tensor], Tensor]:
    """An activation by Keras name, or a function of tensors, as a layer is; None: linear. ValueError: no such name."""
    if identifier is None:
        return linear
    if isinstance(identifier, type):  # a layer's class
        identifier = identifier()
    if callable(identifier):
        function: Callable[[Tensor], Tensor] = identifier
        return function
    if isinstance(identifier, str) and identifier in _ALL:
        return _ALL[identifier]
    own = (
        registry.get_registered_object(identifier) if isinstance(identifier, str) else registry.function_of(identifier)
    )
    if own is not None:
        return get(own)
    raise ValueError(unknown("activation", identifier, _ALL))
