"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from fastdl.base import configured
from fastdl.base.arguments import flag
from fastdl.base.columns import column_dtype, is_column
from fastdl.compiler.graph import Tensor
from fastdl.layers.context import together
from fastdl.layers.core import Input, InputLayer
from fastdl.layers.data_layer import DataLayer
from fastdl.layers.layer import Layer, deserialize, serialize
from fastdl.models.model import Model
from fastdl.models.network import shapes_of


class Sequential(Model):
    """A stack of layers. The input's shape comes from Input, a layer's input_shape=, or the first data."""

    takes_one_array = True
    _no_other_layers = "`Sequential.layers` cannot be set. Use `add()` and `pop()` to change the layers"
    _given: Input | None = None  # the Input that it was given

    def __init__(
        self,
        layers: Sequence[Layer | Input] | None = None,
        trainable: bool = True,
        name: str | None = None,
        *,
        dtype: Any = None,
    ) -> None:
        if isinstance(layers, Layer | Tensor) or isinstance(trainable, Layer | Tensor):
            raise TypeError(f"Sequential takes one list of layers, then trainable: Sequential([{layers!r}, …])")
        trainable = flag("trainable", trainable)
        super().__init__(name=name, dtype=dtype)
        if not isinstance(layers, list | tuple | Iterable | None):
            raise TypeError(f"layers must be a list of layers, not {layers!r}")
        for layer in layers or []:
            self._append(layer)
        if not trainable:
            self.trainable = False
        if self._samples and self.layers:
            self.trace()

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and layers, as `from_config` takes them (Keras). ValueError for a layer of one's own."""
        source = [configured.serialize(each) for each in self.new_inputs()]
        layers = [*source, *map(serialize, self.layers)]
        return {"name": self.name, "dtype": self.dtype.name, "trainable": self.trainable, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A model with these layers, and weights of its own (Keras)."""
        with together():
            layers: list[Any] = [deserialize(layer) for layer in config["layers"]]
        model = cls(layers, name=config.get("name"), dtype=config.get("dtype"))
        model.restore_trainable(config.get("trainable", True))
        return model

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """As Model.build. ValueError if the model takes inputs of another shape by now (Keras)."""
        shape = shapes_of(input_shape)[0]
        for known in self._samples or []:
            if len(shape) == len(known) + 1 and any(a not in (None, b) for a, b in zip(shape[1:], known, strict=True)):
                raise ValueError(f"{self.name} has already been configured: for {(None, *known)}, not {input_shape!r}")
        super().build(input_shape, dtype)

    def add(self, layer: Layer | Input) -> None:
        """Append a layer. TypeError for anything else."""
        self._append(layer)
        if self._samples and self.layers:
            self.trace()

    def _append(self, layer: Layer | Input) -> None:
        if isinstance(layer, InputLayer):
            layer = layer.output
        if isinstance(layer, Input):
            if self.layers or self._samples:
                raise ValueError(f"{self.name} has already been configured: Input must come first, and once")
            self._given = layer
            self._samples = [layer.sample]
            self._column_dtypes = [layer.dtype] if is_column(layer.dtype) else []
            return
        if not isinstance(layer, Layer):
            made = f": make one, {layer.__name__}(…)" if isinstance(layer, type) else ""
            raise TypeError(f"a Sequential holds layers, not {layer!r}{made}. Only instances of Layer can be added")
        if layer in self.layers:
            raise ValueError(f"layer {layer.name} is in this model already; each may stand in it once")
        if not self.layers and not self._samples:
            if layer.input_shape_argument:
                self._samples = [Input([size or 0 for size in layer.input_shape_argument]).sample]
            elif isinstance(layer, Model) and layer.input_samples:
                self._samples = list(layer.input_samples)
                self._column_dtypes = [dtype if is_column(dtype) else None for dtype in layer.input_dtypes]
            if isinstance(layer, DataLayer) and layer.kinds_of(0)[0] != "float":
                self._column_dtypes = [column_dtype(layer.kinds_of(0)[0])]
        self.layers.append(layer)
        self._forget()

    def new_inputs(self) -> list[Input]:
        """Inputs of the model's shapes and dtypes. fastdl's own."""
        batch = None if self._given is None else self._given.batch_size
        return [Input(shape, batch, dtype) for shape, dtype in zip(self._samples or [], self.input_dtypes, strict=True)]

    def pop(self) -> Layer:
        """Remove and return the last layer. IndexError if there is none."""
        layer = self.layers.pop()
        self._forget()
        return layer

    def _forget(self) -> None:
        super()._forget()
        self.built = self._samples is not None

    def call(self, inputs: Tensor, training: bool | None = None) -> Any:
        """The layers one after another."""
        if not self.layers:
            raise ValueError(f"{self.name} has no layers")
        x: Any = inputs
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    def _note_layers(self, called: Sequence[Layer]) -> None:
        """The layers are those that were given."""
