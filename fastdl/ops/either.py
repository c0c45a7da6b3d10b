"""What is one thing in training and another otherwise: noise, statistics of a batch, and averages that they move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Parameter, Tensor
from fastdl.compiler.phases import read, write
from fastdl.ops.symbolic import _Symbolic


@dataclass(frozen=True)
class Move:
    """A step of training makes `average` momentum average + (1 - momentum) value, and `square` its square - epsilon.

    value: one number a feature for all samples, (features,), as the parameters are.
    """

    value: Tensor
    average: Parameter
    momentum: float
    square: Parameter | None = None
    epsilon: float = 0.0


class Either(_Symbolic):
    """`first` in training, else `second`, which has its shape; as a file has it.

    noise: `first` where what is random acts. active: always or never, not just in training. moves: averages that a step
    of training moves once `first` is known.
    """

    def __init__(
        self,
        first: Tensor,
        second: Tensor,
        name: str = "",
        *,
        noise: bool = False,
        active: bool | None = None,
        moves: Sequence[Move] = (),
    ) -> None:
        self.noise, self.active, self.moves = noise, active, tuple(moves)
        parameters = [each for move in moves for each in (move.average, move.square) if each is not None]
        super().__init__([first, second, *(move.value for move in moves)], second.shape, parameters, name)

    @property
    def flops(self) -> int:
        return 0

    @property
    def inference_inputs(self) -> tuple[Tensor, ...]:
        return self.inputs[1:2]

    def _chosen(self, build: Builder) -> Tensor:
        acts = build.acts(self) if self.noise else build.training and self.active is not False
        return self.inputs[0 if acts else 1]

    def forward(self, build: Builder) -> None:
        chosen = self._chosen(build)
        build.bind(self.output, build.value(chosen))
        if not self.moves or chosen is not self.inputs[0] or not build.moves:
            return
        values = [build.value(move.value) for move in self.moves]  # all of them are read before any average moves
        for move, value in zip(self.moves, values, strict=True):
            build.emit(
                "move_average",
                value=read(value),
                average=write(build.parameter(move.average)),
                square=write(build.parameter(move.square)) if move.square else None,
                features=move.average.size,
                momentum=0.0 if build.recalibrates else move.momentum,
                epsilon=move.epsilon,
                over=move.average.size,
                axis=_ext.BY_FEATURE,
            )

    def backward(self, build: Builder) -> None:
        x = self._chosen(build)
        if build.gradients.given(self.output) and build.gradients.needed(x):
            build.gradients.give_symbol(x, build.gradients.symbol(self.output))

    def onnx(self, graph: NodeWriter) -> None:
        if self.noise:
            graph.refuse_noise(self)
        graph.same(self.output, self.inputs[1])


__all__ = ["Either", "Move"]
