"""Layer normalization (Ba, Kiros and Hinton 2016): Keras's LayerNormalization of (batch, features)."""

from __future__ import annotations

import numpy as np

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import read, read_all, write


class LayerNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, statistics of each sample; gamma, beta may be None."""

    def __init__(
        self, x: Tensor, gamma: Parameter | None, beta: Parameter | None, epsilon: float, name: str = ""
    ) -> None:
        self.gamma, self.beta, self.epsilon = gamma, beta, epsilon
        super().__init__([x], x.shape, [p for p in (gamma, beta) if p], name)

    @property
    def flops(self) -> int:
        return 7 * self.output.features

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        saved = build.saved[self] = (build.panel_ref(1), build.panel_ref(1)) if build.training else ()
        build.emit(
            "layer_norm_forward",
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            gamma=read(build.parameter(self.gamma)) if self.gamma else None,
            beta=read(build.parameter(self.beta)) if self.beta else None,
            mean=write(saved[0]) if saved else None,
            inv=write(saved[1]) if saved else None,
            features=x.features,
            epsilon=self.epsilon,
            axis=_ext.BY_PANEL,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        value, gradient, saved = build.value(x), build.gradients.of(self.output), build.saved[self]
        trained = [p for p in (self.gamma, self.beta) if p and build.steps.trains(p)]
        gradients = {p: build.vector_ref(x.features) for p in trained}
        if trained:
            build.emit(
                "layer_norm_weight_grad",
                x=read(value),
                dy=read(gradient),
                mean=read_all(saved[0]),
                inv=read_all(saved[1]),
                dgamma=write(gradients[self.gamma]) if self.gamma in gradients else None,
                dbeta=write(gradients[self.beta]) if self.beta in gradients else None,
                features=x.features,
                axis=_ext.BY_FEATURE,
            )
        if build.gradients.needed(x):
            build.emit(
                "layer_norm_backward",
                x=read(value),
                dy=read(gradient),
                dx=write(build.gradients.give(x)),
                gamma=read(build.parameter(self.gamma)) if self.gamma else None,
                mean=read(saved[0]),
                inv=read(saved[1]),
                features=x.features,
                axis=_ext.BY_PANEL,
            )
        for parameter in trained:
            build.steps.train(parameter, gradients[parameter])

    def onnx(self, graph: NodeWriter) -> None:
        features, dtype = self.output.features, self.output.dtype
        gamma = self.gamma.numpy() if self.gamma else np.ones(features, dtype)
        beta = self.beta.numpy() if self.beta else np.zeros(features, dtype)

        def operator(v: Formula) -> Formula:
            return Formula("LayerNormalization", v, gamma, beta, axis=-1, epsilon=self.epsilon)

        def spelled_out(v: Formula) -> Formula:
            """The operator keeps epsilon as a float32, and onnxruntime's takes the variance in one pass."""
            centred = v - Formula("ReduceMean", v, axes=[-1])
            variance = Formula("ReduceMean", centred * centred, axes=[-1])
            return centred / Formula("Sqrt", variance + self.epsilon) * gamma + beta

        graph.write(operator if dtype == np.float32 else spelled_out, self)
