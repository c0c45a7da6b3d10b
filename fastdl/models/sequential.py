"""Sequential: layers one after another."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from fastdl.base import configured
from fastdl.base.arguments import flag
from fastdl.base.columns import column_dtype, is_column
from fastdl.base.registry import custom_object_scope
from fastdl.compiler.graph import Graph, Tensor
from fastdl.layers.context import together
from fastdl.layers.core import Input, InputLayer
from fastdl.layers.data_layer import DataLayer
from fastdl.layers.layer import Layer, deserialize, serialize
from fastdl.models import saving, structures
from fastdl.models.model import Model


class Sequential(Model):
    """A stack of layers. The input's shape comes from Input, a layer's input_shape=, or the first data."""

    _no_other_layers = "`Sequential.layers` cannot be set. Use `add()` and `pop()` to change the layers"
    _given: Input | None = None  # the Input that it was given
    _so_far: Graph | None = None  # of the layers before the one that is added

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
        self._trace_if_ready()

    def _trace_if_ready(self) -> None:
        """Once the input's shape and layers are known."""
        empty = any(isinstance(layer, Sequential) and not layer.layers for layer in self.layers)
        if self._samples and self.layers and not empty:
            self.trace()

    @property
    def takes_one_array(self) -> bool:  # type: ignore[override]
        """Whether its first layer takes one array, and no list of several. fastdl's own."""
        return not (self.layers and (self.layers[0].own_call or self.layers[0].takes_several))

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and layers, as `from_config` takes them (Keras). ValueError for a layer of one's own."""
        source = [configured.serialize(each) for each in self.new_inputs()]
        layers = [*source, *map(serialize, self.layers)]
        return {"name": self.name, "dtype": self.dtype.name, "trainable": self.trainable, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """A model with these layers, as `get_config` told them, here or in Keras, and weights of its own (Keras)."""
        with together(), custom_object_scope(custom_objects):
            if any("module" in layer for layer in config["layers"]):
                model: Self = saving.KERAS_FILES["stack"](cls, config)
                return model
            layers: list[Any] = [deserialize(layer) for layer in config["layers"]]
        model = cls(layers, name=config.get("name"), dtype=config.get("dtype"))
        model.restore_trainable(config.get("trainable", True))
        return model

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """As Model.build. ValueError if the model takes inputs of another shape by now (Keras)."""
        _, shapes = structures.shapes_in(input_shape)
        for shape, known in zip(shapes, self._samples or [], strict=False):
            if len(shape) == len(known) + 1 and any(a not in (None, b) for a, b in zip(shape[1:], known, strict=True)):
                raise ValueError(f"{self.name} has already been configured: for {(None, *known)}, not {input_shape!r}")
        super().build(input_shape, dtype)

    def add(self, layer: Layer | Input) -> None:
        """Append a layer. TypeError for anything else."""
        graph = self._graph
        self._append(layer)
        if graph is not None and self._may_go_on(graph):
            self._so_far = graph  # the layers before it are not called again, which would make deep stacks slow
        try:
            self._trace_if_ready()
        finally:
            self._so_far = None

    def _may_go_on(self, graph: Graph) -> bool:
        """Whether one more layer continues the graph: from one tensor, of inputs as given, with nothing beside it."""
        plain = self.output_structure == 0 and graph.columns is graph.inputs
        return plain and not (graph.added or self._is_told)

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
            raise ValueError(f"a Sequential holds layers, not {layer!r}{made}. Only instances of Layer can be added")
        if layer in self.layers:
            raise ValueError(f"layer {layer.name} is in this model already; each may stand in it once")
        if layer.name in [other.name for other in self.layers]:
            raise ValueError(f"{self.name} has a layer {layer.name!r} already: all should have unique names")
        if not self.layers and not self._samples:
            if layer.input_shape_argument:
                self._samples = [Input([size or 0 for size in layer.input_shape_argument]).sample]
            elif isinstance(layer, Model) and layer.input_samples:
                self._samples, self.input_structure = list(layer.input_samples), layer.input_structure
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

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The layers one after another."""
        if not self.layers:
            raise ValueError(f"{self.name} has no layers")
        x: Any = inputs if self._so_far is None else self._so_far.outputs[0]
        for layer in self.layers if self._so_far is None else self.layers[-1:]:
            _check_call(layer)
            x = layer(x, training=training)
        return x

    def _sources(self) -> list[Tensor]:
        """The Input that it was given, if it is of the model's dtype; those of the graph that is continued."""
        if self._so_far is not None:
            return list(self._so_far.columns)
        made, given = super()._sources(), self._given
        return [given] if given is not None and (given.shape, given.dtype) == (made[0].shape, made[0].dtype) else made

    def _note_layers(self, called: Sequence[Layer]) -> None:
        """The layers are those that were given."""


def _check_call(layer: Layer) -> None:
    """ValueError for a layer of one's own that must be given more than its input."""
    if layer.own_call:
        needed = [
            name
            for name, each in inspect.signature(layer.call).parameters.items()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        if len(needed) > 1:
            raise ValueError(
                f"{layer.name} stands in a Sequential, whose layers can only have a single positional argument, the "
                f"input: its call needs {', '.join(needed)}"
            )
