"""Between the identity and an activation, as far as is trained (Holzmüller et al. 2024)."""

from __future__ import annotations

import numpy as np

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import Arguments, read, write
from fastdl.errors import ShapeError
from fastdl.ops.activation import Activation


class ParametricActivation(Op):
    """y = (1 - alpha) x + alpha act(x). x: (batch, features); alpha: (features,). ShapeError if they do not fit.

    activation: an op of the kernel table's activations, of any input, whose formula is taken.
    """

    def __init__(self, x: Tensor, alpha: Parameter, activation: Activation, name: str = "") -> None:
        if x.shape[1:] != alpha.shape:
            raise ShapeError(f"{name}: alphas of shape {alpha.shape} do not fit an input of shape {x.shape}")
        self.alpha, self.form = alpha, activation.form
        self._number, self._needs_input = _ext.ACTIVATIONS[activation.kind]
        self._scalars = activation.scalars
        super().__init__([x], x.shape, [alpha], name)

    @property
    def flops(self) -> int:
        return 4 * self.output.features

    def _common(self, build: Builder) -> Arguments:
        return {
            "x": read(build.value(self.inputs[0])),
            "alpha": read(build.parameter(self.alpha)),
            "features": self.output.features,
            "activation": self._number,
            "own": self._scalars,
        }

    def forward(self, build: Builder) -> None:
        plain = build.panel_ref(self.output.features) if build.training else None
        build.saved[self] = (plain,) if plain else ()
        build.emit(
            "parametric_activation_forward",
            **self._common(build),
            y=write(build.value(self.output)),
            plain=write(plain) if plain else None,
        )

    def backward(self, build: Builder) -> None:
        (x,), (plain,) = self.inputs, build.saved[self]
        slopes = build.vector_ref(x.features) if build.steps.trains(self.alpha) else None
        build.emit(
            "parametric_activation_backward",
            **self._common(build),
            plain=read(plain),
            saved=read(build.value(x) if self._needs_input else plain),
            dy=read(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)) if build.gradients.needed(x) else None,
            dalpha=write(slopes) if slopes else None,
            axis=_ext.BY_FEATURE,
        )
        if slopes:
            build.steps.train(self.alpha, slopes)

    def onnx(self, graph: NodeWriter) -> None:
        alpha = self.alpha.numpy()
        if (alpha == 1).all():
            graph.write(self.form, self)
            return
        rest = (1 - alpha.astype(np.float64)).astype(alpha.dtype)
        graph.write(lambda v: Formula("Add", v * rest, self.form(v) * alpha), self)
