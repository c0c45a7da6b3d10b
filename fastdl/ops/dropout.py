"""Inverted dropout (Srivastava et al. 2014): in inference there is nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import read, write


class RateSchedule(Protocol):
    """What dropout asks of a schedule of its rate."""

    @property
    def rates(self) -> Callable[..., Array]: ...


class Dropout(Op):
    """y = x / (1 - rate) with probability 1 - rate, else 0. active: always or never, not just in training.

    rate: a number, or a schedule of it by the optimizer's steps.
    """

    randomness = 0

    def __init__(
        self, x: Tensor, rate: float | RateSchedule, name: str = "", active: bool | None = None, seed: int | None = None
    ) -> None:
        self.rate, self.active, self.seed = rate, active, seed
        super().__init__([x], x.shape, name=name)

    def _idle(self, build: Builder) -> bool:
        return self.rate == 0 or not build.acts(self)

    def _schedule(self, rate: RateSchedule) -> Callable[[Array], Array]:
        return partial(rate.rates, what=f"the rate of {self.name}", most=1.0)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if self._idle(build):
            build.same(self.output, x)
            return
        (mask,) = build.saved[self] = (build.panel_ref(x.features),)
        build.emit(
            "dropout_forward",
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            mask=write(mask),
            features=x.features,
            stream=build.stream(self),
            rate=self.rate if isinstance(self.rate, float) else build.scheduled(self._schedule(self.rate)),
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not self._idle(build):
            build.emit(
                "dropout_backward",
                dy=read(build.gradients.of(self.output)),
                mask=read(build.saved[self][0]),
                dx=write(build.gradients.give(x)),
                features=x.features,
            )

    def onnx(self, graph: NodeWriter) -> None:
        graph.refuse_noise(self)
        # no effect in inference, but it is the layer's; of a schedule, its first one
        rate = self.rate if isinstance(self.rate, float) else float(self._schedule(self.rate)(np.zeros(1, np.int64))[0])
        ratio = np.array(rate, np.float32)
        graph.node("Dropout", [graph.name(self.inputs[0]), graph.constant(ratio, f"{self.name}.ratio")], self)
