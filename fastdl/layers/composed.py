"""Layers that are compositions of fastdl.ops, with gradients and ONNX of themselves: Keras's names and defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastdl import ops
from fastdl.base.arguments import flag
from fastdl.base.arrays import Dtype
from fastdl.compiler.graph import Shape, Tensor
from fastdl.errors import ShapeError
from fastdl.layers.layer import ConstraintLike, InitializerLike, Layer, RegularizerLike


def checked_axes(axis: Any) -> int | list[int]:
    """An axis, or several. TypeError for all else."""
    if isinstance(axis, int) and not isinstance(axis, bool):
        return axis
    if isinstance(axis, list | tuple) and all(isinstance(each, int) for each in axis):
        return list(axis)
    raise TypeError(
        f"Invalid value for `axis` argument: expected an int or a list/tuple of ints, as -1 or (1, 2), not {axis!r}"
    )


def sample_axes(owner: str, axis: int | Sequence[int], shape: Shape) -> list[int]:
    """The axes from the front, in order. ValueError unless they are axes of a sample."""
    rank = len(shape)
    axes = sorted({each + rank if each < 0 else each for each in ([axis] if isinstance(axis, int) else axis)})
    if not axes or axes[0] < 1 or axes[-1] >= rank:
        raise ValueError(f"{owner}: axis must name axes of a sample of {shape}, not {axis}")
    return axes


def along(weight: Any, axes: Sequence[int], shape: Shape) -> Any:
    """A weight with a number a place of these axes, so that it broadcasts against the shape; None stays."""
    if weight is None:
        return None
    sizes = tuple(shape[i] if i in axes else 1 for i in range(1, len(shape)))
    return ops.reshape(weight, sizes)


def affine(x: Tensor, gamma: Any, beta: Any) -> Tensor:
    """x gamma + beta, each where there is one."""
    result: Tensor = x if gamma is None else x * gamma
    return result if beta is None else result + beta


class RMSNormalization(Layer):
    """x / sqrt(mean of x² + epsilon) times a trained scale, over an axis or several. Keras: layers.RMSNormalization."""

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, not {epsilon}")
        self.axis, self.epsilon = checked_axes(axis), float(epsilon)

    def build(self, shape: Shape, dtype: Dtype) -> None:
        axes = sample_axes(self.name, self.axis, shape)
        self.scale = self.add_weight(tuple(shape[i] or 0 for i in axes), "ones", dtype, name="scale")

    def call(self, x: Tensor) -> Tensor:
        axes = sample_axes(self.name, self.axis, x.shape)
        squares = ops.mean(ops.square(x), axes, keepdims=True)
        result: Tensor = x * ops.rsqrt(squares + self.epsilon) * along(self.scale, axes, x.shape)
        return result


class LayerNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) gamma + beta over an axis of each sample, the last as it is, or several.

    The variance is the biased one. rms_scaling: x / sqrt(variance + epsilon) gamma, neither centred nor shifted, as
    Keras has it, which advises RMSNormalization in its place. Keras: layers.LayerNormalization.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        *,
        rms_scaling: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, not {epsilon}")
        self.axis, self.epsilon, self.center, self.scale = checked_axes(axis), epsilon, center, scale
        self.rms_scaling = flag("rms_scaling", rms_scaling)
        self.keep(
            gamma_initializer=gamma_initializer,
            gamma_regularizer=gamma_regularizer,
            gamma_constraint=gamma_constraint,
            beta_initializer=beta_initializer,
            beta_regularizer=beta_regularizer,
            beta_constraint=beta_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        size = tuple(shape[i] or 0 for i in sample_axes(self.name, self.axis, shape))
        self.gamma = self.own_weight("gamma", size, dtype) if self.scale or self.rms_scaling else None
        self.beta = self.own_weight("beta", size, dtype) if self.center and not self.rms_scaling else None

    def call(self, x: Tensor) -> Tensor:
        axes = sample_axes(self.name, self.axis, x.shape)
        if len(x.shape) == 2 and not self.rms_scaling:
            return ops.LayerNorm(x, self.gamma, self.beta, self.epsilon, self.name).output
        centred = x - ops.mean(x, axes, keepdims=True)
        result: Tensor = (x if self.rms_scaling else centred) * ops.rsqrt(
            ops.mean(ops.square(centred), axes, keepdims=True) + self.epsilon
        )
        return affine(result, along(self.gamma, axes, x.shape), along(self.beta, axes, x.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rms_scaling": self.rms_scaling}


class UnitNormalization(Layer):
    """x by its Euclidean norm over an axis or several. Keras: layers.UnitNormalization."""

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = checked_axes(axis)

    def call(self, x: Tensor) -> Tensor:
        squares = ops.sum(ops.square(x), sample_axes(self.name, self.axis, x.shape), keepdims=True)
        result: Tensor = x * ops.rsqrt(ops.maximum(squares, 1e-12))
        return result


class GroupNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) gamma + beta over each group of neighbouring features of an axis.

    Means are over the other axes of a sample as well. groups: -1 for one a feature. Keras: layers.GroupNormalization.
    ValueError if the features do not make so many groups.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(groups, int) or isinstance(groups, bool) or (groups < 1 and groups != -1):
            raise ValueError(f"the argument `groups` must be a positive integer, or -1, not {groups!r}")
        if not isinstance(axis, int) or not epsilon > 0:
            raise ValueError(f"axis must be an integer and epsilon be positive, not {axis!r} and {epsilon}")
        self.groups, self.axis, self.epsilon = groups, axis, float(epsilon)
        self.center, self.scale = bool(center), bool(scale)
        self.keep(
            gamma_initializer=gamma_initializer,
            gamma_regularizer=gamma_regularizer,
            gamma_constraint=gamma_constraint,
            beta_initializer=beta_initializer,
            beta_regularizer=beta_regularizer,
            beta_constraint=beta_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        (axis,) = sample_axes(self.name, self.axis, shape)
        size = shape[axis] or 0
        groups = size if self.groups == -1 else self.groups
        if size < groups:
            raise ValueError(f"{self.name}: groups cannot be more than the number of channels, and {groups} > {size}")
        if size % groups:
            raise ValueError(
                f"{self.name}: axis {self.axis} of {shape} must be a multiple of the number of channels a group: "
                f"{size} does not make {groups} groups"
            )
        self.gamma = self.own_weight("gamma", (size,), dtype) if self.scale else None
        self.beta = self.own_weight("beta", (size,), dtype) if self.center else None

    def call(self, x: Tensor) -> Tensor:
        (axis,) = sample_axes(self.name, self.axis, x.shape)
        size = x.shape[axis] or 0
        groups = size if self.groups == -1 else self.groups
        split = ops.reshape(x, (-1, *x.shape[1:axis], groups, size // groups, *x.shape[axis + 1 :]))
        axes = [each for each in range(1, len(split.shape)) if each != axis]
        centred = split - ops.mean(split, axes, keepdims=True)
        result: Tensor = centred * ops.rsqrt(ops.mean(ops.square(centred), axes, keepdims=True) + self.epsilon)
        result = ops.reshape(result, (-1, *x.shape[1:]))
        return affine(result, along(self.gamma, [axis], x.shape), along(self.beta, [axis], x.shape))


class Permute(Layer):
    """The axes of a sample in another order, numbered from 1. Keras: layers.Permute. ValueError for no permutation."""

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"Invalid permutation: dims must hold each of the axes 1 to {len(self.dims)} once, not {self.dims}"
            )

    def call(self, x: Tensor) -> Tensor:
        if len(x.shape) != len(self.dims) + 1:
            raise ShapeError(f"{self.name} permutes {len(self.dims)} axes of a sample, and the input is {x.shape}")
        result: Tensor = ops.transpose(x, (0, *self.dims))
        return result


class Dot(Layer):
    """Each sample's product of two tensors, summed along an axis of both; normalize: of unit norm along it, the cosine.

    axes: of a sample, one for both, or one for each. Keras: layers.Dot. ShapeError for axes of other sizes.
    """

    takes_several = True

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(axes, int):
            if not isinstance(axes, list | tuple):
                raise TypeError(
                    f"Invalid type for argument `axes`: it must be an integer, or two of them, not {axes!r}"
                )
            if len(axes) != 2 or not all(isinstance(each, int) for each in axes):
                raise ValueError(f"Invalid format for argument `axes`: it must be two integers, not {axes!r}")
        self.axes = axes if isinstance(axes, int) else list(axes)
        self.normalize = bool(normalize)

    def call(self, inputs: list[Tensor]) -> Tensor:
        if len(inputs) != 2:
            raise ShapeError(f"{self.name} takes a list of two tensors, not {len(inputs)}")
        given = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        axes = [sample_axes(self.name, axis, x.shape)[0] for axis, x in zip(given, inputs, strict=True)]
        shapes = [x.shape for x in inputs]
        if shapes[0][axes[0]] != shapes[1][axes[1]]:
            raise ShapeError(f"{self.name}: axes {given} of {shapes[0]} and {shapes[1]} are not of one size")
        if self.normalize:
            inputs = [ops.normalize(x, axis) for x, axis in zip(inputs, axes, strict=True)]
        size = shapes[0][axes[0]] or 0
        rest = [
            tuple(s or 0 for i, s in enumerate(shape) if i not in (0, a)) for shape, a in zip(shapes, axes, strict=True)
        ]
        rows, columns = (
            ops.reshape(ops.transpose(x, [*(i for i in range(x.ndim) if i != axis), axis]), (-1, math.prod(kept), size))
            for x, axis, kept in zip(inputs, axes, rest, strict=True)
        )
        product = ops.matmul(rows, ops.swapaxes(columns, 1, 2))
        result: Tensor = ops.reshape(product, (-1, *(rest[0] + rest[1] or (1,))))
        return result


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **options: Any) -> Any:
    """As Dot(axes, **options)(inputs). Keras: layers.dot."""
    return Dot(axes, **options)(list(inputs))
