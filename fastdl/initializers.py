"""Initializers, with Keras's names: seeded draws of a parameter's first values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, overload

import numpy as np

from fastdl import config
from fastdl.base import configured, random
from fastdl.base.arrays import Array
from fastdl.base.configured import Configured, family, names_of
from fastdl.base.naming import no_such, unknown
from fastdl.base.random import Seed, SeedGenerator
from fastdl.errors import ShapeError

Shape = tuple[int, ...]
Function = Callable[[Shape, Any], Any]  # (shape, dtype) → values: an Initializer, or a function of one's own


class Initializer(Configured):
    """Base: `initializer(shape, dtype)` gives the values; dtype None is `config.floatx()`.

    One of your own overrides __call__, or `draw`, which computes in float64.
    """

    def draw(self, shape: Shape) -> Array:
        """The values in float64."""
        raise NotImplementedError

    def clone(self) -> Self:
        """Another one of the same arguments (Keras)."""
        return self.from_config(self.get_config())

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.asarray(self.draw(tuple(shape)), np.dtype(dtype or config.floatx()))


class Zeros(Initializer):
    """All zero."""

    aliases = ("zero",)

    def draw(self, shape: Shape) -> Array:
        return np.zeros(shape)


class Ones(Initializer):
    """All one."""

    aliases = ("one",)

    def draw(self, shape: Shape) -> Array:
        return np.ones(shape)


class Constant(Initializer):
    """All `value`, a number or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def draw(self, shape: Shape) -> Array:
        return np.full(shape, self.value, np.float64)


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, zero elsewhere. ShapeError for other ranks."""

    aliases = ("IdentityInitializer",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def draw(self, shape: Shape) -> Array:
        if len(shape) != 2:
            raise ShapeError(f"Identity makes matrices, not an array of shape {shape}")
        return self.gain * np.eye(*shape)


class Values(Initializer):
    """These values themselves, of their own shape; by `get` of an array. ShapeError for another shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = np.array(value)

    def draw(self, shape: Shape) -> Array:
        if shape != self.value.shape:
            raise ShapeError(f"the initializer holds values of shape {self.value.shape}, not {shape}")
        return self.value


class _Random(Initializer):
    """A draw: the same one at every call with a seed, other ones with a SeedGenerator, or without, from the global
    generator."""

    def __init__(self, seed: Seed = None) -> None:
        self.seed = SeedGenerator.from_config(seed["config"]) if isinstance(seed, Mapping) else seed

    def generator(self) -> np.random.Generator:
        return random.source(self.seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, a SeedGenerator as its class and config (Keras)."""
        config = super().get_config()
        return {
            **config,
            "seed": configured.serialize(self.seed) if isinstance(self.seed, SeedGenerator) else self.seed,
        }


class RandomNormal(_Random):
    """Normal."""

    aliases = ("normal",)

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def draw(self, shape: Shape) -> Array:
        return self.mean + self.stddev * self.generator().standard_normal(shape)


class TruncatedNormal(RandomNormal):
    """Normal, cut at two standard deviations from the mean, which leaves 0.8796 of `stddev`."""

    def draw(self, shape: Shape) -> Array:
        return self.mean + self.stddev * random.within_two(self.generator(), shape)


class RandomUniform(_Random):
    """Uniform from `minval` to `maxval`."""

    aliases = ("uniform",)

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def draw(self, shape: Shape) -> Array:
        return np.asarray(self.generator().uniform(self.minval, self.maxval, shape))


class RandomSign(_Random):
    """1 or -1, equally likely: what tells the members of a BatchEnsemble apart (Wen et al. 2020)."""

    def draw(self, shape: Shape) -> Array:
        return self.generator().integers(2, size=shape) * 2.0 - 1.0


class Orthogonal(_Random):
    """`gain` times orthonormal rows or columns, whichever are fewer, of (product of the leading sizes, last size).

    Uniform among all such matrices (Mezzadri 2007). Saxe et al. 2014. ShapeError below two dimensions.
    """

    aliases = ("OrthogonalInitializer",)

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def draw(self, shape: Shape) -> Array:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal makes arrays of two or more dimensions, not of shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = self.generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.sign(np.diag(r))  # LAPACK's choice of signs is not uniform
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class VarianceScaling(_Random):
    """Draws with variance scale / n, n the fan_in, fan_out or fan_avg of an (in, out) kernel (Keras).

    distribution: "truncated_normal" (cut at two standard deviations), "untruncated_normal" or "uniform". input_axes,
    output_axes: which sizes of the shape are inputs and outputs, if not those; both, or neither.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        if (input_axes is None) != (output_axes is None):
            raise ValueError("input_axes and output_axes go together: give both, or neither")
        self.input_axes = None if input_axes is None else list(input_axes)
        self.output_axes = None if output_axes is None else list(output_axes)
        if not scale > 0:
            raise ValueError(f"scale must be positive, not {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be fan_in, fan_out or fan_avg, not {mode!r}")
        if distribution not in ("truncated_normal", "untruncated_normal", "normal", "uniform"):
            raise ValueError(
                f"distribution must be truncated_normal, untruncated_normal or uniform, not {distribution!r}"
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def _variance(self, shape: Shape) -> float:
        """Of more than two sizes the leading ones are a window, which each input and output has (Keras)."""
        window = math.prod(shape[:-2])
        fan_in, fan_out = (window * shape[-2], window * shape[-1]) if len(shape) > 1 else (math.prod(shape),) * 2
        if self.input_axes is not None and self.output_axes is not None:
            fan_in, fan_out = (math.prod(shape[axis] for axis in axes) for axes in (self.input_axes, self.output_axes))
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        return self.scale / max(1.0, count)

    def draw(self, shape: Shape) -> Array:
        variance, draw = self._variance(shape), self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return np.asarray(draw.uniform(-limit, limit, shape))
        if self.distribution == "untruncated_normal":
            return np.asarray(draw.standard_normal(shape) * math.sqrt(variance))
        # a normal cut at two standard deviations has this standard deviation left
        return random.within_two(draw, shape) * math.sqrt(variance) / 0.87962566103423978


class _Named(VarianceScaling):
    """A VarianceScaling whose three settings are its name."""

    settings: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.settings, seed, input_axes, output_axes)


class GlorotUniform(_Named):
    """Glorot and Bengio 2010, uniform."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Glorot and Bengio 2010, normal."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """He et al. 2015, uniform."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """He et al. 2015, normal."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """LeCun et al. 1998, uniform."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """LeCun et al. 1998, normal."""

    settings = (1.0, "fan_in", "truncated_normal")


CLASSES = family(Initializer)
NAMES = names_of(CLASSES)

serialize = configured.serialize


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that `serialize` described. ValueError if there is none of that name."""
    return configured.deserialize(config, NAMES, custom_objects)


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: str | Function | type[Initializer] | Mapping[str, Any] | Array) -> Function: ...


def get(identifier: str | Function | type[Initializer] | Mapping[str, Any] | Array | None) -> Function | None:
    """An initializer by Keras name, class, instance or `serialize`'s dict, a function (shape, dtype) → values, or an
    array, which are these (see Values); None for None.

    ValueError if there is none.
    """
    if identifier is None:
        return None
    if isinstance(identifier, np.ndarray | np.generic):
        return Values(identifier)
    if isinstance(identifier, str) and identifier in NAMES:
        return NAMES[identifier]()
    if isinstance(identifier, type):
        identifier = identifier()
    if isinstance(identifier, Mapping):
        identifier = deserialize(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(unknown("initializer", identifier, filter(str.islower, NAMES)))


def __getattr__(name: str) -> type[Initializer]:
    """`initializers.he_normal` is `HeNormal`, as in Keras."""
    if name in NAMES:
        return NAMES[name]
    raise no_such(__name__, name, NAMES)
