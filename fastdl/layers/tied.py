"""The transpose of another layer's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from fastdl import activations, initializers, ops
from fastdl.base.arrays import Dtype
from fastdl.compiler.graph import Shape, Tensor
from fastdl.errors import ShapeError
from fastdl.layers.context import made_before
from fastdl.layers.core import Dense
from fastdl.layers.layer import ActivationLike, InitializerLike, Layer, deserialize


class DenseTranspose(Layer):
    """activation(x Wᵀ + b), where W is the kernel of the layer `dense`: (batch, its units) → (batch, its inputs).

    Both train the one W: the decoder of an autoencoder with tied weights. ShapeError where the shapes do not fit,
    ValueError if `dense` is not a Dense, or has not been used before.
    """

    def __init__(
        self,
        dense: Dense,
        activation: ActivationLike = None,
        use_bias: bool = True,
        bias_initializer: InitializerLike = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(dense, Dense):
            raise ValueError(f"{self.name} shares the weights of a Dense layer, not of {dense!r}")
        self._dense, self.use_bias = dense, bool(use_bias)
        self.activation = activations.get(activation)
        self.bias_initializer = initializers.get(bias_initializer)

    @property
    def dense(self) -> Dense:
        """The layer whose weights it shares."""
        return self._dense

    def build(self, shape: Shape, dtype: Dtype) -> None:
        if not self.dense.built:
            raise ValueError(f"{self.name} shares the weights of {self.dense.name}, which must be used before it")
        if shape != (None, self.dense.units):
            raise ShapeError(f"{self.name} takes (None, {self.dense.units}), what {self.dense.name} gives, not {shape}")
        size = (self.dense.kernel.shape[0],)
        self.bias = self.add_weight(size, self.bias_initializer, dtype, name="bias") if self.use_bias else None
        self.adopt(self.activation, (None, *size), dtype)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(ops.TiedDense(x, self.dense.kernel, self.bias, self.name).output)

    def _plain(self, name: str, value: Any) -> Any:
        return value.name if name == "dense" else super()._plain(name, value)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        inner = config.get("activation")
        activation = deserialize(inner) if isinstance(inner, Mapping) else inner
        return cls(**{**config, "activation": activation, "dense": made_before(config["dense"])})
