"""Layers around functions and around other layers: Keras's names, arguments and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

from fastdl import activations, initializers, ops
from fastdl.base.arguments import whole
from fastdl.base.arrays import Dtype
from fastdl.base.configured import is_named_function
from fastdl.compiler.graph import Parameter, Tensor
from fastdl.layers.layer import Layer, deserialize

NAMELESS = "__lambda__"  # the class, in a config, of a function without a name


class Lambda(Layer):
    """A function of tensors, made of fastdl.ops, as a layer; arguments: further ones by name. Keras: layers.Lambda.

    output_shape, which need not be told, is what `compute_output_shape` gives: a sample's, or a function of the input.
    A file names the function, which must be registered, and never holds its code; the config of one without a name
    holds the function itself, which `from_config` takes with safe_mode=False alone. ValueError.
    """

    scalars = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if mask is not None:
            raise ValueError(f"mask must be None, not {mask!r}: fastdl has no masks")
        self.function = function if callable(function) else activations.get(function)
        self.mask, self.arguments = mask, dict(arguments or {})
        self.output_shape_argument = tuple(output_shape) if isinstance(output_shape, list) else output_shape

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The function of a tensor or a list of them, or of arrays."""
        self.takes_several = bool(args) and isinstance(args[0], list | tuple)
        return super().__call__(*args, **named)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        heeds = "training" in inspect.signature(self.function).parameters
        return self.function(inputs, **self.arguments, **({"training": training} if heeds else {}))

    def compute_output_shape(self, *input_shapes: Any, **named: Any) -> Any:
        shape = self.output_shape_argument
        if shape is None:
            return super().compute_output_shape(*input_shapes, **named)
        return shape(*input_shapes) if callable(shape) else (input_shapes[0][0], *shape)

    def get_config(self) -> dict[str, Any]:
        """The function's name, or itself if it has none, and its arguments."""
        told = {"name": self.name, "trainable": self.trainable, "arguments": dict(self.arguments)}
        if (shape := self.output_shape_argument) is not None:
            told["output_shape"] = self._told(shape) if callable(shape) else list(shape)
        return {**told, "function": self._told(self.function)}

    def _told(self, function: Any) -> Any:
        if not is_named_function(function) and inspect.isfunction(function):
            return {"class_name": NAMELESS, "config": function}
        return self._plain("function", function)

    def saved_config(self) -> dict[str, Any]:
        self._plain("function", self.function)  # ValueError for one without a name
        return self.get_config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], safe_mode: bool | None = None) -> Self:
        """A layer of the function that the config names or holds. ValueError for one that it holds, unless safe_mode is
        False."""
        taken = dict(config)
        for name in ("function", "output_shape"):
            value = taken.get(name)
            if isinstance(value, Mapping) and value.get("class_name") == NAMELESS:
                if safe_mode is not False or not callable(value.get("config")):
                    raise ValueError("the config of a Lambda holds a function without a name: pass safe_mode=False")
                taken[name] = value["config"]
        return super().from_config(taken)


class Wrapper(Layer):
    """Base of layers around another one, which a subclass of your own calls in its `call`. Keras: layers.Wrapper.

    ValueError for what is no layer.
    """

    nameable = False

    def __init__(self, layer: Layer, **options: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"layer must be a layer, not {layer!r}")
        super().__init__(**options)
        self.layer = layer

    def build(self, input_shape: Any = None, dtype: Any = None) -> None:
        if not self.layer.built:
            self.layer.build_for(input_shape, dtype)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Around a layer, or one as the config describes."""
        layer = config["layer"]
        return super().from_config({**config, "layer": layer if isinstance(layer, Layer) else deserialize(layer)})


class SpectralNormalization(Wrapper):
    """A layer whose kernel, or embeddings, a step of training divides by its spectral norm before it uses them.

    The norm is estimated by power_iterations from a vector that is kept, (1, outputs). In inference the layer stays as
    it is. Miyato et al. 2018. Keras: layers.SpectralNormalization. ValueError for a layer that has neither.
    """

    scalars = True
    kernel: Parameter

    def __init__(self, layer: Layer, power_iterations: int = 1, **options: Any) -> None:
        super().__init__(layer, **options)
        self.power_iterations = whole("power_iterations", power_iterations)

    def build(self, input_shape: Any = None, dtype: Dtype | None = None) -> None:
        super().build(input_shape, dtype)
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if not isinstance(kernel, Parameter):
            raise ValueError(f"{self.layer.name} has neither a kernel nor embeddings, which could be normalized")
        self.kernel = kernel
        self._tracked()  # before the vector, as in Keras
        draw = initializers.TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight((1, kernel.shape[-1]), draw, kernel.dtype, name="vector_u", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Any:
        normalized = ops.SpectralNorm(
            inputs, self.kernel, self.vector_u, self.power_iterations, self.name, training is not False
        )
        return self.layer(normalized.output, training=training)
