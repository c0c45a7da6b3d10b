"""`keras.ops` on numpy arrays, for the values that tests expect; what fastdl itself has of it goes first.

Nothing of fastdl is computed here: a symbolic tensor is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_suite.missing import Missing, MissingName

Array = np.ndarray[Any, Any]


def tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Array:
    """An array as Keras makes a tensor of what is given: Python's numbers are float32 and int32."""
    if type(x).__name__ == "Tensor":
        raise MissingName("ops on symbolic tensors")
    if isinstance(x, Missing):
        raise MissingName(x.path)
    array = np.asarray(x)
    if dtype is not None:
        return array.astype(_dtype(dtype))
    if not isinstance(x, np.ndarray | np.generic) and not hasattr(x, "__array__"):
        array = array.astype({"f": np.float32, "i": np.int32, "u": np.int32}.get(array.dtype.kind, array.dtype))
    return array


def _dtype(dtype: Any) -> Any:
    name = standardize_dtype(dtype)
    if name == "bfloat16":
        raise MissingName("bfloat16")
    return np.dtype(name)


def standardize_dtype(dtype: Any) -> str:
    """A dtype's name."""
    if dtype is None:
        return "float32"
    named = {float: "float32", int: "int32", bool: "bool", str: "string"}
    return named[dtype] if dtype in named else str(getattr(dtype, "name", dtype))


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, **_: Any) -> Array:
    labels = np.asarray(x)
    rows = (labels[..., None] == np.arange(num_classes)).astype(_dtype(dtype))
    return rows if axis == -1 else np.moveaxis(rows, -1, axis)


def softmax(x: Any, axis: Any = -1) -> Array:
    x = tensor(x)
    raised = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis, keepdims=True))


def erf(x: Any) -> Array:
    import math

    return np.vectorize(math.erf, otypes=[tensor(x).dtype])(x)


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Array, Array]:
    order = np.argsort(-tensor(x), -1, kind="stable")[..., :k]
    return np.take_along_axis(tensor(x), order, -1), order.astype(np.int32)


def _made(function: Callable[..., Any]) -> Callable[..., Array]:
    """A function that makes arrays of a shape: of float32 unless said otherwise."""

    def make(*args: Any, dtype: Any = None, **options: Any) -> Array:
        *plain, last = args
        if len(args) > 1 and isinstance(last, str):
            args, dtype = tuple(plain), last
        array = np.asarray(function(*args, **options))
        if dtype is None:
            dtype = "int32" if array.dtype.kind in "iu" and function in (np.arange, np.full) else "float32"
        return array.astype(_dtype(dtype))

    return make


def _of_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        args = tuple(tensor(each) if hasattr(each, "__array__") or isinstance(each, float) else each for each in args)
        if any(type(each).__name__ == "Tensor" for each in args):
            raise MissingName("ops on symbolic tensors")
        return function(*args, **options)

    return run


MAKERS = "ones", "zeros", "full", "arange", "linspace", "eye", "identity", "empty", "tri"
OWN: dict[str, Callable[..., Any]] = {
    **{name: _made(getattr(np, name)) for name in MAKERS},
    "array": tensor,
    "convert_to_tensor": tensor,
    "convert_to_numpy": np.asarray,
    "cast": lambda x, dtype: tensor(x, dtype),
    "shape": lambda x: tuple(x.shape) if hasattr(x, "shape") else np.shape(x),
    "ndim": lambda x: len(x.shape) if hasattr(x, "shape") else np.ndim(x),
    "one_hot": one_hot,
    "softmax": softmax,
    "log_softmax": lambda x, axis=-1: np.log(softmax(x, axis)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-tensor(x))),
    "relu": lambda x: np.maximum(tensor(x), 0),
    "erf": erf,
    "rsqrt": lambda x: 1 / np.sqrt(tensor(x)),
    "concatenate": lambda xs, axis=-1: np.concatenate([tensor(x) for x in xs], axis),
    "stack": lambda xs, axis=0: np.stack([tensor(x) for x in xs], axis),
    "norm": lambda x, ord=None, axis=None, keepdims=False: np.linalg.norm(tensor(x), ord, axis, keepdims),
    "top_k": top_k,
    "is_tensor": lambda x: isinstance(x, np.ndarray),
    "stop_gradient": lambda x: x,
    "broadcast_to": lambda x, shape: np.broadcast_to(tensor(x), shape),
    "logical_and": np.logical_and,
    "argmax": lambda x, axis=None, keepdims=False: np.argmax(tensor(x), axis, keepdims=keepdims).astype(np.int32),
    "expand_dims": lambda x, axis: np.expand_dims(tensor(x), axis),
    "transpose": lambda x, axes=None: np.transpose(tensor(x), axes),
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(np.sum(np.exp(tensor(x)), axis, keepdims=keepdims)),
    "vectorized_map": lambda function, x: np.stack([function(each) for each in x]),
    "map": lambda function, x: np.stack([function(each) for each in x]),
}


def find(name: str) -> Any:
    """The function of `keras.ops` of that name on arrays: as numpy has it, but for those above."""
    if name in OWN:
        return _of_arrays(OWN[name]) if name not in ("array", "convert_to_tensor", "shape", "ndim") else OWN[name]
    function = getattr(np, name, None)
    return _of_arrays(function) if callable(function) else Missing(f"ops.{name}")
