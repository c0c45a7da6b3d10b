"""Mixup (Zhang et al. 2018): in training each sample, and its target, is mixed with another one of the batch."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import Graph, NodeWriter, Op, Tensor
from fastdl.compiler.phases import Ref, read, read_all, write
from fastdl.errors import DataError


class Mixing:
    """How the samples of a batch are mixed, the same for all that is mixed in a program."""

    def __init__(self, build: Builder, alpha: float, stream: int) -> None:
        self.alpha, self.stream, self._weights = alpha, stream, build.panel_ref(1)
        build.emit(
            "mix_weights",
            weight=write(self._weights),
            stream=stream,
            alpha=alpha,
            over=1,
            axis=_ext.BY_PANEL,
        )

    def mix(self, build: Builder, x: Ref, y: Ref, features: int, back: bool = False) -> None:
        """Append what makes y of x, or back a gradient dx of dy."""
        build.emit(
            "mix",
            x=read(x),
            y=write(y),
            weight=read_all(self._weights),
            features=features,
            stream=self.stream,
            back=int(back),
            axis=_ext.BY_FEATURE,
        )


def _is_mixed(tensor: Tensor) -> bool:
    """Whether it comes from a MixUp."""
    return any(isinstance(op, MixUp) for op in Graph([], [tensor]).ops)


class MixUp(Op):
    """y = w x + (1 - w) another sample's x in training, w from Beta(alpha, alpha) a sample; x in inference. Any shape.

    The targets of the program are mixed alike, and so is what other ops of this kind mix in it. DataError if one of
    them lies before another.
    """

    randomness = 3

    def __init__(
        self, x: Tensor, alpha: float, seed: int | None = None, name: str = "", active: bool | None = None
    ) -> None:
        self.alpha, self.seed, self.active = alpha, seed, active
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            build.same(self.output, x)
            return
        if _is_mixed(x):
            raise DataError(f"{self.name}: its input is mixed already, and targets can be mixed only once")
        build.mixing = build.mixing or Mixing(build, self.alpha, build.stream(self))
        build.mixing.mix(build, build.value(x), build.value(self.output), x.features)

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if build.acts(self):
            assert build.mixing
            build.mixing.mix(build, build.gradients.of(self.output), build.gradients.give(x), x.features, back=True)

    def onnx(self, graph: NodeWriter) -> None:
        graph.same(self.output, self.inputs[0])
