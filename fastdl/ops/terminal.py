"""Where a program ends: losses and metrics, which read the prediction and the target and leave a sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdl import _ext
from fastdl.graph import Tensor
from fastdl.program import Y_FEED
from fastdl.schedule import Access, Ref, read, write

if TYPE_CHECKING:
    from fastdl.program import Builder


@dataclass(frozen=True)
class Terminal:
    """A loss or metric kernel. sparse: the target is one int32 label a sample, else one number a feature."""

    kernel: str
    sparse: bool = False
    scalars: tuple[float, ...] = ()

    def emit(self, build: Builder, prediction: Tensor, part: Ref, gradient: Ref | None) -> None:
        """Each panel's sum goes to `part`; the gradient of the batch's mean to `gradient`, for a loss."""
        features = prediction.features
        target = None if self.sparse else build.target(features)
        accesses: list[Access | None] = [read(build.value(prediction))]
        if self.kernel in LOSSES:
            accesses.append(write(gradient) if gradient else None)
        accesses.append(write(part))
        if target:
            accesses.append(read(target))
        sizes = (features, Y_FEED) if self.sparse else (features,)
        build.emit(self.kernel, *accesses, sizes=sizes, scalars=self.scalars, features=features, axis=_ext.BY_PANEL)

    def row_bytes(self, prediction: Tensor) -> int:
        """Bytes of one row of the target."""
        return 4 if self.sparse else prediction.features * prediction.dtype.itemsize


LOSSES = {
    "softmax_cross_entropy_sparse",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
    "mean_squared_error",
}
