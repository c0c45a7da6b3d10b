"""Images moved at random in training: flipped, shifted, turned, zoomed. In inference there is nothing to do."""

from __future__ import annotations

from collections.abc import Sequence

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import Arguments, read, write
from fastdl.errors import ShapeError

LARGEST = 2**16  # pixels in a line: float32 tells them apart, and what lies between them


class Motion(Op):
    """Each sample of x, (batch, height, width) or (batch, height, width, channels), moved in its own way.

    kind, scalars: a row of the kernel table (see ext/kernels/motion.h). fill: what stands outside, see ext/kernels.h.
    nearest: take the nearest pixel, do not interpolate. seed: None for draws of its own. ShapeError for other ranks.
    """

    randomness = 2

    def __init__(
        self,
        x: Tensor,
        kind: str,
        scalars: Sequence[float],
        fill: str = "reflect",
        fill_value: float = 0.0,
        nearest: bool = False,
        seed: int | None = None,
        name: str = "",
        active: bool | None = None,
    ) -> None:
        if len(x.shape) not in (3, 4):
            raise ShapeError(f"{name} takes images (batch, height, width[, channels]), not {x.shape}: put it first")
        height, width, channels = (*(size or 0 for size in x.shape[1:]), 1)[:3]
        if max(height, width) > LARGEST or x.features > 2**25:
            raise ShapeError(
                f"{name}: images of {height} by {width} by {channels} are too large: {LARGEST} a side at most"
            )
        self._settings: Arguments = {
            "height": height,
            "width": width,
            "channels": channels,
            "motion": _ext.MOTIONS[kind],
            "fill": _ext.FILLS[fill],
            "nearest": int(nearest),
            "own": (*map(float, scalars), *[0.0] * (4 - len(scalars))),
            "fill_value": float(fill_value),
        }
        self.seed, self.active = seed, active
        super().__init__([x], x.shape, name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            build.same(self.output, x)
            return
        build.emit(
            "motion_forward",
            x=read(build.value(x)),
            y=write(build.value(self.output)),
            **self._settings,
            stream=build.stream(self),
            over=x.features,
            axis=_ext.BY_PANEL,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        if not build.acts(self):
            return
        build.emit(
            "motion_backward",
            dy=read(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)),
            **self._settings,
            stream=build.stream(self),
            over=x.features,
            axis=_ext.BY_PANEL,
        )

    def onnx(self, graph: NodeWriter) -> None:
        graph.same(self.output, self.inputs[0])
