"""An op of one's own in numpy: it takes the GIL, so it is slower than a kernel, and its errors end the pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Shape, Tensor
from fastdl.compiler.memory import to_strips
from fastdl.compiler.phases import read_all, write
from fastdl.errors import FusionError, ShapeError
from fastdl.ops.panels import from_panels, into_panels


class Own(Op):
    """y = function(x, *weights), (batch, *shape) each; gradient(x, y, dy, *weights) gives dx, or (dx, *dweights)."""

    def __init__(
        self,
        x: Tensor,
        shape: Shape,
        parameters: Sequence[Parameter],
        function: Callable[..., Any],
        gradient: Callable[..., Any],
        name: str = "",
    ) -> None:
        self.function, self.gradient = function, gradient
        super().__init__([x], shape, parameters, name)

    def _weights(self) -> list[Array]:
        return [parameter.numpy() for parameter in self.parameters]

    def _rows(self, build: Builder, panels: Array, tensor: Tensor) -> Array:
        return from_panels(panels, build.batch, build.dtype).reshape(-1, *(size or 0 for size in tensor.shape[1:]))

    def _checked(self, what: str, value: Any, shape: Sequence[int | None]) -> Array:
        array = np.asarray(value)
        if array.shape != tuple(shape):
            raise ShapeError(f"{self.name}: {what} must have shape {tuple(shape)}, not {array.shape}")
        return array

    def forward(self, build: Builder) -> None:
        def run(x: Array, y: Array, *weights: Array) -> None:
            value = self.function(self._rows(build, x, self.inputs[0]), *self._weights())
            rows = self._checked("forward's result", value, (build.batch, *self.output.shape[1:]))
            into_panels(y, rows.reshape(build.batch, -1), build.dtype)

        weights = [read_all(build.parameter(p)) for p in self.parameters]
        build.call(run, read_all(build.value(self.inputs[0])), write(build.value(self.output)), *weights)

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        trained = [p for p in self.parameters if build.steps.trains(p)]
        slopes = {p: build.gradients.room_for(p) for p in trained}

        def run(x_panels: Array, y: Array, dy: Array, dx: Array | None, *rest: Array) -> None:
            rows = (self._rows(build, panels, t) for panels, t in ((x_panels, x), (y, self.output), (dy, self.output)))
            result = self.gradient(*rows, *self._weights())
            gradients = result if isinstance(result, tuple) else (result,)
            if len(gradients) != 1 + len(self.parameters):
                raise ShapeError(
                    f"{self.name}: backward must give 1 + {len(self.parameters)} arrays, not {len(gradients)}"
                )
            if dx is not None:
                slope = self._checked("backward's dx", gradients[0], (build.batch, *x.shape[1:]))
                into_panels(dx, slope.reshape(build.batch, -1), build.dtype)
            places = dict(zip(trained, rest, strict=False))
            for parameter, value in zip(self.parameters, gradients[1:], strict=True):
                if parameter in places:
                    slope = self._checked(f"backward's gradient of {parameter.name}", value, parameter.shape)
                    _into_storage(places[parameter].view(build.dtype), slope.astype(build.dtype))

        build.call(
            run,
            *(read_all(build.value(x)), read_all(build.value(self.output)), read_all(build.gradients.of(self.output))),
            write(build.gradients.give(x)) if build.gradients.needed(x) else None,
            *(write(slopes[p]) for p in trained),
            *(read_all(build.parameter(p)) for p in self.parameters),
        )
        for parameter in trained:
            build.steps.train(parameter, slopes[parameter])

    def onnx(self, graph: NodeWriter) -> None:
        raise FusionError(f"{self.name} is a numpy function of your own: ONNX has no form of it")


def _into_storage(storage: Array, value: Array) -> None:
    """Laid out as a parameter's storage is."""
    if value.ndim == 1:
        storage[: len(value)] = value
        storage[len(value) :] = 0
    else:
        storage[: to_strips(value).size] = to_strips(value).ravel()
