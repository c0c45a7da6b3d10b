"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from fastdl import _configured
from fastdl.errors import ShapeError
from fastdl.graph import Graph, Tensor
from fastdl.layers.core import Dropout, Input
from fastdl.layers.layer import Layer, deserialize, serialize
from fastdl.models.model import Model


class Sequential(Model):
    """A stack of layers. The input's shape comes from Input, a layer's input_shape=, or the first data."""

    def __init__(
        self, layers: Sequence[Layer | Input] | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._sample: tuple[int, ...] | None = None
        for layer in layers or []:
            self._append(layer)
        if self._sample and self.layers:
            self.trace()

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and layers, as `from_config` takes them (Keras). ValueError for a layer of one's own."""
        source = [_configured.serialize(Input(self._sample))] if self._sample else []
        return {"name": self.name, "dtype": self.dtype.name, "layers": [*source, *map(serialize, self.layers)]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A model with these layers, and weights of its own (Keras)."""
        layers: list[Any] = [deserialize(layer) for layer in config["layers"]]
        return cls(layers, config.get("name"), config.get("dtype"))

    def add(self, layer: Layer | Input) -> None:
        """Append a layer. TypeError for anything else."""
        self._append(layer)
        if self._sample and self.layers:
            self.trace()

    def _append(self, layer: Layer | Input) -> None:
        if isinstance(layer, Input):
            if self.layers or self._sample:
                raise ValueError("Input must come first, and once")
            self._sample = layer.shape
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"a Sequential holds layers, not {layer!r}")
        if layer in self.layers:
            raise ValueError(f"layer {layer.name} is in this model already; each may stand in it once")
        if not self.layers and layer.input_shape_argument and not self._sample:
            self._sample = Input([size or 0 for size in layer.input_shape_argument]).shape
        if isinstance(layer, Dropout):
            layer.stream = sum(isinstance(other, Dropout) for other in self.layers)
        self.layers.append(layer)
        self._forget()

    def pop(self) -> Layer:
        """Remove and return the last layer. IndexError if there is none."""
        layer = self.layers.pop()
        self._forget()
        return layer

    def _forget(self) -> None:
        self._graph = None
        self._engine.clear()
        self._metrics = []

    def compile(self, *args: Any, **options: Any) -> None:
        super().compile(*args, **options)
        self._graph = None  # what is trainable may have changed

    @property
    def built(self) -> bool:
        return self._sample is not None

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, *sample). ValueError before it is known."""
        return self.trace().inputs[0].shape

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, *outputs of a sample). ValueError before it is known."""
        return self.trace().outputs[0].shape

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the parameters for inputs of (None, *sample). Keras: Model.build."""
        self.trace(tuple(size or 0 for size in input_shape[1:]))

    def trace(self, shape: tuple[int, ...] | None = None) -> Graph:
        if self._graph is not None:
            return self._graph
        if self._sample is None:
            if not shape:
                raise ValueError(f"{self.name} has no input shape yet: begin it with Input(shape), or call fit")
            self._sample = Input(shape).shape
        source = tensor = Tensor((None, *self._sample), self.dtype, name="input")
        try:
            for layer in self.layers:
                tensor = layer(tensor)
        except ShapeError:
            if not any(layer.built for layer in self.layers):
                self._sample = None
            raise
        self._graph = Graph([source], [tensor])
        return self._graph
