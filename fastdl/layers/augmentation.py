"""Layers that make new samples of old ones in training and do nothing otherwise: Keras's names, arguments, defaults.

Each sample of each batch is drawn anew, in the compiled program. Called on arrays, they act unless training=False, as
Keras's do; and so they do in a model that is called on arrays, where other random layers act with training=True alone.
A `seed` gives a layer draws of its own, the same in each model and for each layer of its kind with that seed; without
one they follow from utils.set_random_seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastdl import _ext, ops
from fastdl.compiler.graph import Tensor
from fastdl.layers.layer import Layer
from fastdl.layers.seeds import checked_seed

Factor = float | Sequence[float]


class _RandomMotion(Layer):
    """Base: images (batch, height, width[, channels]) that are moved, and what fills the places left."""

    trains_by_default = True

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: int | None,
        fill_value: float,
        data_format: str | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if fill_mode not in _ext.FILLS:
            raise ValueError(f"fill_mode must be one of {', '.join(_ext.FILLS)}, not {fill_mode!r}")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation must be 'nearest' or 'bilinear', not {interpolation!r}")
        if data_format not in (None, "channels_last"):
            raise ValueError(f"data_format must be 'channels_last', not {data_format!r}")
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, float(fill_value)
        self.seed, self.data_format = checked_seed(seed), data_format

    def move(self, x: Tensor, training: bool | None, kind: str, *scalars: float) -> Tensor:
        settings = self.fill_mode, self.fill_value, self.interpolation == "nearest", self.seed
        return ops.Motion(x, kind, scalars, *settings, self.name, training).output


class RandomFlip(_RandomMotion):
    """Half of the images flipped: "horizontal", "vertical", or "horizontal_and_vertical" both ways at once.

    x: (batch, height, width[, channels]). Keras: layers.RandomFlip.
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__("nearest", "nearest", seed, 0.0, data_format, **options)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(f"mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical', not {mode!r}")
        self.mode = mode

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.move(inputs, training, "flip", float("horizontal" in self.mode), float("vertical" in self.mode))


class RandomTranslation(_RandomMotion):
    """Images shifted down and to the right by shares of their height and width drawn from (lower, upper) in [-1, 1].

    One number stands for (-it, it). x: (batch, height, width[, channels]). Outside: "reflect" (b a | a b), "constant"
    (fill_value), "wrap" or "nearest". Keras: layers.RandomTranslation.
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.height_factor, self.width_factor = _plain(height_factor), _plain(width_factor)
        self._scalars = *_bounds("height_factor", height_factor), *_bounds("width_factor", width_factor)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.move(inputs, training, "translation", *self._scalars)


class RandomRotation(_RandomMotion):
    """Images turned by shares of a full turn drawn from (lower, upper) in [-1, 1], counter-clockwise if positive.

    One number stands for (-it, it). x: (batch, height, width[, channels]). Keras: layers.RandomRotation.
    """

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.factor = _plain(factor)
        self._scalars = _bounds("factor", factor)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.move(inputs, training, "rotation", *self._scalars)


class RandomZoom(_RandomMotion):
    """Images zoomed out by shares drawn from (lower, upper) in (-1, 1], in if negative; width as height if None.

    One number stands for (-it, it). x: (batch, height, width[, channels]). Keras: layers.RandomZoom.
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.height_factor = _plain(height_factor)
        self.width_factor = None if width_factor is None else _plain(width_factor)
        height = _bounds("height_factor", height_factor, zoom=True)
        self._kind = "even_zoom" if width_factor is None else "zoom"
        self._scalars = (*height, *(() if width_factor is None else _bounds("width_factor", width_factor, zoom=True)))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.move(inputs, training, self._kind, *self._scalars)


class MixUp(Layer):
    """Each sample and its target become w of themselves and 1 - w of another sample and target of the batch.

    w is drawn from Beta(alpha, alpha) for each sample, alpha in (0, 2]. Any shape; behind hidden layers it is manifold
    mixup. Targets must be rows of numbers, one-hot for classes: DataError for integer labels. Weights of samples stay
    as they are. Zhang et al. 2018. Keras: layers.MixUp.
    """

    trains_by_default = True

    def __init__(
        self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not 0 < alpha <= 2:
            raise ValueError(f"alpha must lie in (0, 2], not {alpha}")
        self.alpha, self.data_format, self.seed = float(alpha), data_format, checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return ops.MixUp(inputs, self.alpha, self.seed, self.name, training).output


def _plain(factor: Factor) -> float | list[float] | tuple[float, ...]:
    if isinstance(factor, float | int):
        return float(factor)
    numbers = [float(each) for each in factor]
    return tuple(numbers) if isinstance(factor, tuple) else numbers


def _bounds(name: str, factor: Factor, zoom: bool = False) -> tuple[float, float]:
    """(lower, upper). ValueError unless they are one number or two in [-1, 1]; two above -1 for a zoom, as in Keras."""
    bounds = [-abs(factor), abs(factor)] if isinstance(factor, float | int) else sorted(factor)
    right = len(bounds) == 2 and all(-1 <= each <= 1 for each in bounds)
    if not right or (zoom and bounds[0] == -1 and not isinstance(factor, float | int)):
        low = "(-1" if zoom else "[-1"
        raise ValueError(f"{name} must be a number, or a lower and an upper one, in {low}, 1], not {factor}")
    return float(bounds[0]), float(bounds[1])
