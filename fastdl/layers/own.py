"""Layers of one's own, in numpy."""

from __future__ import annotations

from typing import Any

from fastdl import ops
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Shape, Tensor
from fastdl.layers.layer import Layer


class NumpyLayer(Layer):
    """Base of a layer of your own in numpy: override `forward` and `backward`, and `build` for weights (add_weight).

    It runs between the kernels, and takes the GIL: slower than a layer that composes fastdl.ops in its `call`, and
    without a form in ONNX. Arrays are (batch, ...) of the model's dtype; other shapes in return raise ShapeError.
    """

    nameable = False

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(None, ...) of the output; the input's, unless overridden (Keras)."""
        return input_shape

    def forward(self, x: Array, *weights: Array) -> Array:
        """y: (batch, ...) of x: (batch, ...) and the layer's weights."""
        raise NotImplementedError

    def backward(self, x: Array, y: Array, dy: Array, *weights: Array) -> Any:
        """dx of the loss's gradient dy by y; a tuple of dx and each weight's gradient if there are weights."""
        raise NotImplementedError

    def call(self, x: Tensor) -> Tensor:
        shape = self.compute_output_shape(x.shape)
        return ops.Own(x, shape, self._parameters, self.forward, self.backward, self.name).output
