"""Batch normalization (Ioffe and Szegedy 2015), Keras's BatchNormalization over the last axis of (batch, features)."""

from __future__ import annotations

import numpy as np

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import Access, Arguments, read, write


class BatchNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; gamma and beta may be None.

    frozen: use the moving averages in training too, as Keras does for a layer with trainable=False.
    """

    def __init__(
        self,
        x: Tensor,
        gamma: Parameter | None,
        beta: Parameter | None,
        moving_mean: Parameter,
        moving_variance: Parameter,
        momentum: float,
        epsilon: float,
        frozen: bool = False,
        name: str = "",
    ) -> None:
        self.gamma, self.beta, self.moving_mean, self.moving_variance = (
            gamma,
            beta,
            moving_mean,
            moving_variance,
        )
        self.momentum, self.epsilon, self.frozen = momentum, epsilon, frozen
        parameters = [p for p in (gamma, beta, moving_mean, moving_variance) if p]
        super().__init__([x], x.shape, parameters, name)

    @property
    def flops(self) -> int:
        return 2 * self.output.features

    def _affine(self, build: Builder) -> tuple[Access | None, Access | None]:
        return (
            read(build.parameter(self.gamma)) if self.gamma else None,
            read(build.parameter(self.beta)) if self.beta else None,
        )

    def fold(self, build: Builder) -> Arguments:
        """Mean, scale and shift with which the dense layer before computes this one too, in inference."""
        features = self.output.features
        scale = build.vector_ref(features)
        gamma, beta = self._affine(build)
        build.emit(
            "batch_norm_scale",
            gamma=gamma,
            moving_variance=read(build.parameter(self.moving_variance)),
            scale=write(scale),
            features=features,
            epsilon=self.epsilon,
            axis=_ext.BY_FEATURE,
            ahead=True,
        )
        return {"mean": read(build.parameter(self.moving_mean)), "scale": read(scale), "shift": beta}

    def forward(self, build: Builder) -> None:
        if self in build.neighbours.fused:
            return
        (x,) = self.inputs
        features = x.features
        gamma, beta = self._affine(build)
        rectified = build.neighbours.relu_after(self)
        if rectified is not None and rectified.op:
            build.neighbours.done_backward.add(rectified.op)  # backward looks at its output itself
        common: Arguments = {
            "x": read(build.value(x)),
            "y": write(build.value(self.output if rectified is None else rectified)),
            "gamma": gamma,
            "beta": beta,
            "features": features,
            "act": _ext.RELU if rectified is not None else _ext.LINEAR,
            "epsilon": self.epsilon,
        }
        mean, variance = build.parameter(self.moving_mean), build.parameter(self.moving_variance)
        if not build.training or self.frozen:
            build.emit("batch_norm_infer", moving_mean=read(mean), moving_variance=read(variance), **common)
            return
        saved = build.saved[self] = build.vector_ref(features), build.vector_ref(features)
        build.emit(
            "batch_norm_train",
            moving_mean=write(mean) if build.moves else None,
            moving_variance=write(variance) if build.moves else None,
            mean=write(saved[0]),
            inv=write(saved[1]),
            momentum=0.0 if build.recalibrates else self.momentum,
            axis=_ext.BY_FEATURE,
            **common,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        features = x.features
        gamma, _ = self._affine(build)
        rectified = build.neighbours.relu_after(self)
        gradient = read(build.gradients.of(self.output if rectified is None else rectified))
        mask = read(build.value(rectified)) if rectified is not None else None
        onward = write(build.gradients.give(x)) if build.gradients.needed(x) else None
        if self.frozen:
            if onward:
                build.emit(
                    "batch_norm_infer_backward",
                    dy=gradient,
                    dx=onward,
                    gamma=gamma,
                    moving_variance=read(build.parameter(self.moving_variance)),
                    relu=mask,
                    features=features,
                    epsilon=self.epsilon,
                )
            onward = None
        trained = [p for p in (self.gamma, self.beta) if p and build.steps.trains(p)]
        if self.frozen and not trained:
            return
        gradients = {p: build.vector_ref(features) for p in trained}
        saved = build.saved.get(self)
        if saved is None:  # the moving averages, in place of the batch's statistics
            saved = build.parameter(self.moving_mean), build.vector_ref(features)
            build.emit(
                "batch_norm_scale",
                moving_variance=read(build.parameter(self.moving_variance)),
                scale=write(saved[1]),
                features=features,
                epsilon=self.epsilon,
                axis=_ext.BY_FEATURE,
            )
        build.emit(
            "batch_norm_backward",
            x=read(build.value(x)),
            dy=gradient,
            dx=onward,
            gamma=gamma,
            mean=read(saved[0]),
            inv=read(saved[1]),
            dgamma=write(gradients[self.gamma]) if self.gamma in gradients else None,
            dbeta=write(gradients[self.beta]) if self.beta in gradients else None,
            relu=mask,
            features=features,
            axis=_ext.BY_FEATURE,
        )
        for parameter in trained:
            build.steps.train(parameter, gradients[parameter])

    def onnx(self, graph: NodeWriter) -> None:
        features, dtype = self.output.features, self.output.dtype
        gamma = graph.constant(self.gamma or np.ones(features, dtype), f"{self.name}.gamma")
        beta = graph.constant(self.beta or np.zeros(features, dtype), f"{self.name}.beta")
        # ONNX keeps epsilon as a float32: what that loses goes into the variance, or a float64 model would be off
        lost = self.epsilon - float(np.float32(self.epsilon))
        variance = (self.moving_variance.numpy().astype(np.float64) + lost).astype(dtype)
        moving = [graph.constant(self.moving_mean), graph.constant(variance, self.moving_variance.path)]
        graph.node(
            "BatchNormalization",
            [graph.name(self.inputs[0]), gamma, beta, *moving],
            self,
            epsilon=self.epsilon,
            momentum=self.momentum,
        )
