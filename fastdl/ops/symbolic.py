"""Ops whose gradients are ops too: what losses, metrics, activations and layers of one's own are made of.

Their kernels are emitted where somebody reads the result, so that neighbours become one kernel, forward and backward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Shape, Tensor
from fastdl.compiler.memory import aligned
from fastdl.compiler.phases import read_all, write
from fastdl.errors import ShapeError


class _Symbolic(Op):
    """Base: `gradient` says in ops what is given to each input."""

    lazy = True

    def gradient(self, number: int, dy: Tensor) -> Tensor | None:
        """The gradient by input `number`, of as many features; None where there is none."""
        raise NotImplementedError

    def compute(self, *inputs: Array) -> Array:
        """The output by numpy, where it is one array for all samples."""
        raise NotImplementedError

    def backward(self, build: Builder) -> None:
        if not build.gradients.given(self.output):
            return
        dy = build.gradients.symbol(self.output)
        for number, x in enumerate(self.inputs):
            if build.gradients.needed(x) and (dx := self.gradient(number, dy)) is not None:
                build.gradients.give_symbol(x, dx)

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.name or type(self).__name__.lower()


class View(_Symbolic):
    """The same numbers in another shape, with or without a batch axis. ShapeError if there are more or fewer."""

    def __init__(self, x: Tensor, shape: Shape, name: str = "") -> None:
        super().__init__([x], shape, name=name)
        if self.output.features != x.features:
            raise ShapeError(f"{x.shape} holds {x.features} numbers, {shape} {self.output.features}")

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        build.value(self.inputs[0])
        build.same(self.output, self.inputs[0])

    def gradient(self, number: int, dy: Tensor) -> Tensor:
        return view(dy, self.inputs[0].shape)

    def compute(self, *inputs: Array) -> Array:
        return inputs[0].reshape([-1 if size is None else size for size in self.output.shape])

    def backward(self, build: Builder) -> None:
        """Nothing: both gradients are one."""

    def onnx(self, graph: NodeWriter) -> None:
        shape = graph.shape_constant([-1 if size is None else size for size in self.output.shape])
        graph.node("Reshape", [graph.name(self.inputs[0]), shape], self)


def view(x: Tensor, shape: Shape) -> Tensor:
    return x if x.shape == shape else View(x, shape).output


class StopGradient(_Symbolic):
    """x, of which no gradient goes further back (Keras: ops.stop_gradient)."""

    def __init__(self, x: Tensor, name: str = "") -> None:
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        build.bind(self.output, build.value(self.inputs[0]))

    def gradient(self, number: int, dy: Tensor) -> None:
        """None."""

    def compute(self, *inputs: Array) -> Array:
        return inputs[0]

    def backward(self, build: Builder) -> None:
        """Nothing: this is where it ends."""

    def onnx(self, graph: NodeWriter) -> None:
        graph.same(self.output, self.inputs[0])


class WeightValue(_Symbolic):
    """A parameter as a tensor: the same numbers for every sample."""

    def __init__(self, parameter: Parameter) -> None:
        if parameter.dtype.kind != "f":
            raise TypeError(f"{parameter.path} is of {parameter.dtype}, and programs compute with floats alone")
        self.inputs, self.parameters, self.name = (), (parameter,), parameter.name
        self.output = Tensor(parameter.shape, parameter.dtype, self, parameter.name)

    def compute(self, *inputs: Array) -> Array:
        return self.parameters[0].numpy()

    def _layout(self) -> dict[str, Any]:
        (parameter,) = self.parameters
        outputs = parameter.shape[-1] if parameter.shape else 1
        return {"inputs": parameter.size // outputs, "outputs": outputs, "strips": int(parameter.in_strips)}

    def forward(self, build: Builder) -> None:
        (parameter,) = self.parameters
        build.emit(
            "weight_values",
            w=read_all(build.parameter(parameter)),
            y=write(build.value(self.output)),
            **self._layout(),
            over=parameter.size,
        )

    def backward(self, build: Builder) -> None:
        (parameter,) = self.parameters
        if not build.steps.trains(parameter):
            return
        gradient = build.gradients.room_for(parameter)
        build.emit(
            "weight_values_grad",
            dy=read_all(build.gradients.of(self.output)),
            dw=write(gradient),
            **self._layout(),
            over=1,
            axis=_ext.ONCE,
        )
        build.steps.train(parameter, gradient)

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("Identity", [graph.constant(self.parameters[0])], self)


class Constant(_Symbolic):
    """An array as a tensor: the same numbers for every sample."""

    def __init__(self, array: Array, dtype: Dtype) -> None:
        self.array = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        self.inputs, self.parameters, self.name = (), (), "constant"
        self.output = Tensor(self.array.shape, dtype, self, "constant")

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        panels = aligned((build.panels, self.array.size, _ext.PANEL), build.dtype)
        panels[...] = self.array.reshape(1, -1, 1)
        build.bind(self.output, build.array(panels))

    def compute(self, *inputs: Array) -> Array:
        return self.array

    def backward(self, build: Builder) -> None:
        """Nothing: there is nobody to give a gradient to."""

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("Identity", [graph.constant(self.array, "constant")], self)


def broadcast(owner: str, shapes: Sequence[Shape]) -> Shape:
    """The shape of what is computed element by element of such operands, by numpy's rule. ShapeError if they differ."""
    rank = max(map(len, shapes), default=0)
    result: list[int | None] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            told = " and ".join(map(str, shapes))
            raise ShapeError(f"{owner}: shapes {told} do not fit together, axis by axis from the last")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def aligned_sample(shape: Shape, to: Shape) -> tuple[int, ...]:
    """What a sample of a tensor of this shape holds, with as many axes as a sample of the other one, which it fits."""
    full = (1,) * (len(to) - len(shape)) + tuple(shape)
    sizes = full[1:] if to and to[0] is None else full
    return tuple(size or 1 for size in sizes)


def feature_map(shape: Shape, to: Shape) -> Array | None:
    """Which feature of a tensor of this shape each feature of one of the other shape reads; None: its own."""
    sizes = aligned_sample(shape, to)
    wanted = tuple(size or 1 for size in (to[1:] if to and to[0] is None else to))
    if sizes == wanted:
        return None
    features = np.arange(math.prod(sizes)).reshape(sizes)
    return np.broadcast_to(features, wanted).ravel()


def indices(values: Any) -> Array:
    """Numbers of features as kernels read them."""
    plain = np.asarray(values, np.int32).ravel()
    array = aligned((max(plain.size, 1),), np.dtype(np.int32))
    array[: plain.size] = plain
    return array


__all__ = ["Constant", "StopGradient", "View", "WeightValue"]
