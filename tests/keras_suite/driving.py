"""Another way to what fastdl computes, for tests that hand it arrays where it takes symbolic tensors or whole models.

Nothing is computed here: an activation of an array is that of a layer, and a step with given gradients is a step of a
program whose only op has these gradients. What fastdl can do itself by now is not replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import fastdl
from fastdl import activations, layers, losses, ops
from fastdl.compiler.feeds import X_FEED, Y_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.compiler.program import Program, Reading
from keras_suite import arrays

Array = np.ndarray[Any, Any]


class Variable(Parameter, np.lib.mixins.NDArrayOperatorsMixin):
    """`keras.Variable` as a parameter that belongs to no layer."""

    __hash__ = object.__hash__

    def __init__(
        self, initializer: Any, shape: Any = None, dtype: Any = None, trainable: bool = True, name: str = "variable",
        **_: Any,
    ) -> None:  # fmt: skip
        value = initializer(shape, dtype or "float32") if callable(initializer) else arrays.tensor(initializer, dtype)
        dtype = np.dtype(np.float64 if value.dtype == np.float64 and dtype else np.float32)
        super().__init__(f"{name}/{name}", value.shape, dtype, value, trainable)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(function, method)(*map(np.asarray, inputs), **options)

    def __eq__(self, other: object) -> bool:
        return self is other


class DenseModel(fastdl.Model):
    """A model of one Dense layer, for one that Keras's tests make of the layer and a Trainer."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.dense = layers.Dense(**options)

    def call(self, x: Any) -> Any:
        return self.dense(x)


class _Symbolic(type):
    """Of a class that all symbolic tensors are of, and that makes an input."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor)

    def __call__(cls, shape: Any, dtype: str = "float32", name: str | None = None, **_: Any) -> Any:
        return fastdl.Input(batch_shape=tuple(shape), dtype=dtype, **({"name": name} if name else {}))


class KerasTensor(metaclass=_Symbolic):
    """`keras.KerasTensor` as an input."""


def apply(self: Any, grads: Iterable[Any], trainable_variables: Any = None) -> None:
    """One step of training with these gradients: by a program of one op that has them."""
    variables = list(trainable_variables)
    pairs = [(grad, each) for grad, each in zip(grads, variables, strict=True) if grad is not None]
    if not pairs:
        raise ValueError("no gradients")
    slopes = [np.asarray(grad, each.dtype).reshape(each.shape) for grad, each in pairs]
    trained = [each for _, each in pairs]
    source = Tensor((None, 1), trained[0].dtype, name="none")
    output = ops.own.Own(
        source, (None, 1), trained, lambda x, *_: x, lambda x, y, dy, *_: (np.zeros_like(x), *slopes), "given"
    ).output
    loss = Reading(losses.MeanSquaredError().terminal(1), output)
    program = Program(
        Graph([source], [output]), 1, training=True, losses=[loss], optimizer=self, trained=frozenset(trained)
    )
    rows = np.zeros((1, 1), trained[0].dtype)
    program.run({X_FEED: rows, Y_FEED: rows}, rates=self.rates(1), step=self.iterations)
    self.iterations += 1


def apply_gradients(self: Any, grads_and_vars: Iterable[Any]) -> None:
    grads, variables = zip(*grads_and_vars, strict=True)
    self.apply(list(grads), list(variables))


def build(self: Any, variables: Iterable[Any]) -> None:
    for each in variables:
        self.slots(each)


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """The activation, on arrays too, by a layer that applies it."""

    @functools.wraps(function)
    def call(x: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(x, np.ndarray | list | float | int | np.generic):
            return function(x, *args, **options)
        try:
            value = function(x, *args, **options)
            if isinstance(value, np.ndarray | np.generic):
                return value
        except (AttributeError, TypeError):
            pass
        array = arrays.tensor(x)
        rows = array if array.ndim > 1 else array.reshape(1, -1)
        layer = layers.Activation(lambda tensor: function(tensor, *args, **options))
        return layer(rows).reshape(array.shape)

    return call


def table(driven: bool) -> dict[str, Any]:
    """What stands for names of Keras's before fastdl's own do."""
    if not driven:
        return {}
    for name, method in (("apply", apply), ("apply_gradients", apply_gradients), ("build", build)):
        if not hasattr(fastdl.Optimizer, name):
            setattr(fastdl.Optimizer, name, method)
    stands: dict[str, Any] = {"trainers.trainer.DenseModel": DenseModel}
    stands |= {f"activations.{name}": _on_arrays(value) for name, value in activations.NAMES.items()}
    for name, value in {"Variable": Variable, "KerasTensor": KerasTensor}.items():
        if not hasattr(fastdl, name) and not hasattr(fastdl.backend, name):
            stands |= {f"backend.{name}": value, name: value}
    return stands
