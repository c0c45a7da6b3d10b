"""What ranks add up in each step and at the end of each epoch, and whether they still have the same model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.compiler.graph import Parameter
from fastdl.distributed.ranks import Ranks

DIGEST = 8  # bytes


class Exchange:
    """Of one model's training: gradients before each step, or weights after every so many batches of an epoch.

    Gradients become their mean over the rows of all ranks; weights their mean over ranks. Ranks whose epochs have other
    numbers of steps are told apart by a last number in what they add up: RuntimeError on all of them.
    """

    def __init__(self, ranks: Ranks, model: Any, average_every: int | None) -> None:
        self.averages = average_every is not None
        self._ranks, self._model, self._every = ranks, model, average_every or 1
        self._steps = 0  # of this epoch
        self._sums: Array | None = None
        self._weights: Sequence[Array] = ()

    def step(self, rows: int, arrays: Sequence[Array]) -> None:
        """Within a program: gradients of a batch of so many rows, or weights; they are changed."""
        self._steps += 1
        if self.averages:
            self._weights = arrays
        if self._steps % self._every == 0:
            self._mean(arrays, 1 if self.averages else rows)

    def _mean(self, arrays: Sequence[Array], weight: int, ended: bool = False) -> None:
        """Put the mean by weight over all ranks in the arrays' place."""
        length = sum(array.size for array in arrays)
        if self._sums is None:
            self._sums = np.empty(length + 2, arrays[0].dtype)
        if ended and not arrays:
            self._sums[:] = 0
        places = np.split(self._sums[: len(self._sums) - 2], np.cumsum([array.size for array in arrays])[:-1])
        with np.errstate(all="ignore"):  # of a training that diverges, which is told elsewhere
            for array, place in zip(arrays, places, strict=False):
                np.multiply(array, weight, out=place)
            self._sums[-2:] = weight, ended
            self._ranks.sum(self._sums)
            if self._sums[-1] not in (0, self._ranks.size):
                self._refuse_other_steps(ended)
            for array, place in zip(arrays, places, strict=False):
                np.divide(place, self._sums[-2], out=array)

    def _refuse_other_steps(self, ended: bool) -> None:
        told = self._ranks.of_all(np.array([ended, self._steps]))
        ends = sorted({int(steps) for has_ended, steps in told if has_ended})
        which = [i for i, (has_ended, _) in enumerate(told) if has_ended]
        raise RuntimeError(
            f"the epoch of rank {', '.join(map(str, which))} ended after {', '.join(map(str, ends))} steps, that of "
            f"the others goes on: all need as many batches an epoch, by rows and batch_size, or steps_per_epoch"
        )

    def end_epoch(self) -> None:
        """Averages weights, and what layers keep that differs, as batch norm's; then all must be the same.

        RuntimeError, on all ranks, if they are not.
        """
        if self._sums is not None or self._weights:
            self._mean(self._weights, 1, ended=True)
        self._steps = 0
        self.agree()

    def agree(self) -> None:
        """What layers keep beside trained weights becomes its mean over ranks, where it differs.

        RuntimeError if another weight differs, or what the optimizer keeps of gradients that all share.
        """
        weights, optimizer = list(self._model.weights), self._model.optimizer
        kept = [parameter for parameter in weights if not parameter.trainable and parameter.dtype.kind == "f"]
        for i in self._different(kept):
            value = kept[i].numpy().astype(np.float64)
            self._ranks.sum(value)
            kept[i].assign((value / self._ranks.size).astype(kept[i].dtype))
        same = weights if self.averages else [*weights, *optimizer.kept]
        counts = self._ranks.of_all(np.array([optimizer.batches, len(same)]))
        if (counts != counts[0]).any():
            steps, arrays = counts.T.tolist()
            raise RuntimeError(f"the ranks have taken {steps} steps, and have {arrays} arrays: all need as many")
        if different := self._different(same):
            raise RuntimeError(
                f"{same[different[0]].path} is not the same on all ranks: nothing but fit may change a model that "
                "several train, or what changes it must do the same on all"
            )

    def _different(self, parameters: Sequence[Parameter]) -> list[int]:
        """Which of them do not have the same bits on all ranks; NaN is NaN."""
        if not parameters:
            return []
        digests = np.stack([digest(parameter.numpy()) for parameter in parameters])
        every = self._ranks.of_all(digests)
        return [int(i) for i in np.flatnonzero((every != every[0]).any(axis=(0, 2)))]

    def sum(self, arrays: Sequence[Array]) -> None:
        """The arrays, float64, become the sums of all ranks'."""
        flat = np.concatenate([array.ravel() for array in arrays])
        self._ranks.sum(flat)
        for array, place in zip(arrays, np.split(flat, np.cumsum([array.size for array in arrays])[:-1]), strict=True):
            array[...] = place.reshape(array.shape)


def digest(value: Array) -> Array:
    """Of its bits; NaN is NaN."""
    plain = np.where(np.isnan(value), np.asarray(np.nan, value.dtype), value) if value.dtype.kind == "f" else value
    packed = hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=DIGEST).digest()
    return np.frombuffer(packed, np.uint8)
