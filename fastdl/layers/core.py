"""Dense, normalizations, Flatten, Rescaling, Identity, Dropout: Keras's names, arguments and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastdl import activations, config, ops, regularizers
from fastdl.base.arguments import MOST, flag, whole
from fastdl.base.arrays import Array, Dtype
from fastdl.base.columns import column_dtype, dtype_name, is_column
from fastdl.base.configured import Configured
from fastdl.compiler.graph import Shape, Tensor, features_of
from fastdl.errors import ShapeError, warn
from fastdl.layers.given import told_batch
from fastdl.layers.layer import (
    CLASSES,
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    Layer,
    RegularizerLike,
)
from fastdl.layers.seeds import checked_noise_shape, checked_seed, dropped
from fastdl.schedules import LearningRateSchedule, number_or_schedule, told


def shape_and_batch(shape: Any, batch_size: Any, batch_shape: Any) -> tuple[Any, int | None]:
    """The shape of a sample, and the batch's size if one was told, by itself or as the first of batch_shape."""
    if batch_shape is not None:
        if shape is not None or batch_size is not None:
            raise ValueError(f"give batch_shape={batch_shape!r} alone, or shape and batch_size in its place")
        if not isinstance(batch_shape, list | tuple) or not batch_shape:
            raise ShapeError(f"batch_shape must be (None, sizes of a sample …), not {batch_shape!r}")
        batch_size, *shape = batch_shape
    return shape, None if batch_size is None else whole("batch_size", batch_size)


def _is_size(size: Any) -> bool:
    return isinstance(size, int | np.integer) and not isinstance(size, bool) and bool(size >= 1)


def sizes_of(tensor: Tensor) -> tuple[int, ...]:
    """The sizes of a sample. ShapeError if one is not known: programs are compiled for known ones."""
    sizes = tuple(size for size in tensor.shape[1:] if size is not None)
    if len(sizes) < len(tensor.shape) - 1:
        raise ShapeError(
            f"{tensor.name!r} of shape {tensor.shape} has a size that is not known: a shape is without the batch, and "
            "models are compiled for known sizes. Tell the Input, or leave it out: then the first data tell"
        )
    return sizes


class Input(Tensor, Configured):
    """A symbolic input, (None, *shape): the first entry of a Sequential, or what layers of a Model are called on.

    shape: of one sample; () is one number, and None a size that is not known: layers tell shapes with it, but no model
    is compiled. batch_size, or batch_shape, (batch_size, *shape), in place of both, is kept in the shapes of what is
    made of it; models take batches of any size all the same, as Keras's do. dtype: float32 or float64, config.floatx()
    if None; or a column's, "string" or an integer's as "int64", which layers encode before others compute with it.
    Keras: Input. ShapeError.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.optional = flag("optional", optional)
        shape, batch_size = shape_and_batch(shape, batch_size, batch_shape)
        right = isinstance(shape, list | tuple) and all(size is None or _is_size(size) for size in shape)
        if not right:
            raise ShapeError(f"Input shape must be positive sizes, without the batch, as (4,), not {shape!r}")
        if math.prod(int(size or 1) for size in shape) > MOST:
            raise ShapeError(f"Input shape {shape!r} is of more than {MOST:,} numbers")
        sizes = tuple(None if size is None else int(size) for size in shape)
        super().__init__((None, *sizes), column_dtype(dtype or config.floatx()), name=name or "input")
        told_batch(self, batch_size)

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample. ShapeError if a size is not known."""
        return sizes_of(self)

    def get_config(self) -> dict[str, Any]:
        batch = {"batch_size": self.batch_size} if self.batch_size else {}
        column = {"dtype": dtype_name(self.dtype)} if is_column(self.dtype) else {}
        optional = {"optional": True} if self.optional else {}
        return {"shape": list(self.shape[1:]), **batch, **column, **optional, "name": self.name}


class InputLayer(Layer):
    """What stands for an input among a model's layers; `output` is the Input. Keras: layers.InputLayer."""

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        name: str | None = None,
        optional: bool = False,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
    ) -> None:
        for old, new, value in (
            ("input_shape", "shape", input_shape),
            ("batch_input_shape", "batch_shape", batch_input_shape),
        ):
            if value is not None:
                warn(f"Argument `{old}` is deprecated. Use `{new}` instead.", UserWarning)
        shape, batch_size = shape_and_batch(
            input_shape if shape is None else shape, batch_size, batch_shape or batch_input_shape
        )
        if (shape is None) == (input_tensor is None):
            raise ValueError("InputLayer takes a shape, or an input_tensor that Input has made")
        self._tensor = (
            Input(shape, batch_size, dtype, name=name, optional=optional)
            if input_tensor is None and shape is not None
            else input_tensor
        )
        if input_tensor is not None and optional:
            raise ValueError("an input_tensor says itself whether it is optional: Input(…, optional=True)")
        if not isinstance(self._tensor, Tensor):
            raise TypeError(f"input_tensor must be what Input gives, not {input_tensor!r}")
        super().__init__(name=name or self._tensor.name)
        self.built = True

    def call(self) -> None:
        """Nothing (Keras)."""

    @property
    def output(self) -> Any:
        """The symbolic input."""
        return self._tensor

    @property
    def dtype(self) -> str:
        """The name of the input's dtype (Keras)."""
        return dtype_name(self._tensor.dtype)

    @property
    def batch_shape(self) -> Shape:
        """The input's shape, with the batch's size or None (Keras)."""
        return tuple(self._tensor.shape)

    @property
    def output_shape(self) -> Any:
        """(None, *sample)."""
        return self._tensor.shape

    def get_config(self) -> dict[str, Any]:
        batch = {"batch_size": self._tensor.batch_size} if getattr(self._tensor, "batch_size", None) else {}
        optional = {"optional": True} if getattr(self._tensor, "optional", False) else {}
        dtype = dtype_name(self._tensor.dtype)
        return {"shape": list(self._tensor.shape[1:]), **batch, "dtype": dtype, **optional, "name": self.name}


CLASSES["Input"] = Input  # which stands among layers in files


class Dense(Layer):
    """activation(x W + b) over the last axis: (batch, ..., in) → (batch, ..., units). Keras: layers.Dense.

    dtype: the model's, or "mixed_bfloat16": x, W and gradients are rounded to bfloat16 for the products, which are
    summed in float32; all else, and exported files, are float32.
    """

    def __init__(
        self,
        units: int,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.units, self.use_bias = whole("units", units), bool(use_bias)
        self.activation = activations.get(activation)
        self.keep(
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            bias_constraint=bias_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        if len(shape) < 2 or not shape[-1]:
            raise ShapeError(f"{self.name} takes (batch, ..., features), not {shape}")
        self.kernel = self.own_weight("kernel", (shape[-1], self.units), dtype)
        self.bias = self.own_weight("bias", (self.units,), dtype) if self.use_bias else None
        self.adopt(self.activation, (*shape[:-1], self.units), dtype)

    def call(self, x: Tensor) -> Tensor:
        y = ops.Dense(x, self.kernel, self.bias, self.name, self.dtype_policy == "mixed_bfloat16").output
        return y if self.activation is None else self.activation(y)


class ActivityRegularization(Layer):
    """x itself, with a penalty: l1 times the sum of |x|, l2 times that of x². Keras: layers.ActivityRegularization."""

    scalars = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **options)
        self.l1, self.l2 = float(l1), float(l2)

    def call(self, x: Tensor) -> Tensor:
        return x

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]
        return config


class Flatten(Layer):
    """(batch, ...) → (batch, features); data_format "channels_first": the features of axis 1 last.

    Keras: layers.Flatten. ValueError for another format.
    """

    scalars = True

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(f"data_format must be 'channels_last' or 'channels_first', not {data_format!r}")
        self.data_format = data_format or "channels_last"

    def call(self, x: Tensor) -> Tensor:
        if self.data_format == "channels_first" and x.ndim > 2:
            x = ops.transpose(x, (0, *range(2, x.ndim), 1))
        features = None if None in x.shape[1:] else x.features
        return ops.Reshape(x, (features,), self.name).output


class Reshape(Layer):
    """(batch, ...) → (batch, *target_shape), where one size may be -1: what is left. Keras: layers.Reshape.

    ValueError for other sizes below 1; ShapeError if a sample does not hold as many numbers.
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = tuple(int(size) for size in target_shape)
        if any(size < 1 and size != -1 for size in self.target_shape) or self.target_shape.count(-1) > 1:
            raise ValueError(f"target_shape must be positive sizes, one of which may be -1, not {tuple(target_shape)}")

    def call(self, x: Tensor) -> Tensor:
        known = math.prod(size for size in self.target_shape if size > 0)
        left = None if None in x.shape[1:] else x.features // known
        return ops.Reshape(x, tuple(left if size < 0 else size for size in self.target_shape), self.name).output


class Identity(Layer):
    """x itself. Keras: layers.Identity."""

    scalars = True

    def call(self, x: Tensor) -> Tensor:
        return ops.Reshape(x, x.shape[1:], self.name).output


class Scale(Layer):
    """x scale, with one trained scale a feature of (batch, features), 1 at first (Holzmüller et al. 2024)."""

    def __init__(
        self,
        scale_initializer: InitializerLike = "ones",
        scale_regularizer: RegularizerLike = None,
        scale_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.keep(
            scale_initializer=scale_initializer, scale_regularizer=scale_regularizer, scale_constraint=scale_constraint
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        self.scale = self.own_weight("scale", (features_of(self.name, shape),), dtype)

    def call(self, x: Tensor) -> Tensor:
        return ops.Scale(x, self.scale, self.name).output


class Rescaling(Layer):
    """x scale + offset: numbers, or arrays that broadcast to a sample. Keras: layers.Rescaling. ShapeError."""

    scalars = True

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale, self.offset = _numbers("scale", scale), _numbers("offset", offset)

    def call(self, x: Tensor) -> Tensor:
        if isinstance(self.scale, float) and isinstance(self.offset, float):
            scale, offset = self.scale, self.offset
            return ops.Activation(x, "rescale", (scale, offset), lambda v: v * scale + offset, self.name).output
        result: Tensor = x * self.scale + self.offset
        if result.shape != x.shape:
            told = f"scale {np.shape(self.scale)} and offset {np.shape(self.offset)}"
            raise ShapeError(f"{self.name}: {told} do not broadcast to {x.shape}")
        return result


def _numbers(name: str, value: Any) -> float | Array:
    """A number, or an array of such. ValueError."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, or an array of numbers, not {value!r}") from None
    if isinstance(value, str | bool):
        raise ValueError(f"{name} must be a number, or an array of numbers, not {value!r}")
    return array if array.ndim else float(array)


class Dropout(Layer):
    """Zeroes a share `rate` of the numbers in training and scales the rest up. Keras: layers.Dropout.

    rate: a number, or a schedule of it (fastdl.schedules) by the steps of the optimizer (its `iterations`), which must
    give numbers in [0, 1]; of arrays, without an optimizer, its first one. seed: draws of its own, the same in each
    model. noise_shape: (None, or the batch's size, sizes …), 1 for an axis along which all are zeroed or none, None for
    one along which each is drawn; each number by itself if it is None. ValueError, ShapeError.
    """

    scalars = True

    def __init__(
        self,
        rate: float | LearningRateSchedule,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        scheduled = isinstance(rate, LearningRateSchedule)
        if not scheduled and (not isinstance(rate, int | float | np.number) or not 0 <= rate <= 1):
            raise ValueError(f"rate must lie in [0, 1], not {rate!r}; or follow a schedule of fastdl.schedules")
        self.rate = rate if isinstance(rate, LearningRateSchedule) else float(rate)
        self.noise_shape, self.seed = checked_noise_shape(noise_shape), checked_seed(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if self.noise_shape is None:
            return ops.Dropout(inputs, self.rate, self.name, training, self.seed).output
        noisy = inputs * dropped(inputs, self.rate, self.noise_shape, self.name, training, self.seed)
        return ops.Either(noisy, inputs, self.name, noise=True, active=training).output

    def _plain(self, name: str, value: Any) -> Any:
        return told(value) if isinstance(value, LearningRateSchedule) else super()._plain(name, value)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return super().from_config({**config, "rate": number_or_schedule(config.get("rate"))})
