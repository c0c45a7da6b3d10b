"""Models as Keras's configs tell them: stacks of layers, and graphs of their calls."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fastdl import config as settings
from fastdl import tree
from fastdl.base.configured import is_fastdls
from fastdl.base.naming import free_name
from fastdl.base.scopes import having
from fastdl.compiler.graph import Tensor
from fastdl.layers import Layer, Operation
from fastdl.layers.context import Call, made, together
from fastdl.layers.core import InputLayer
from fastdl.layers.data_tensor import floats_of
from fastdl.layers.given import tensors_in
from fastdl.models.functional import Functional
from fastdl.models.keras_files import names, objects, operations
from fastdl.models.keras_files.objects import Form, dtype_told, input_config, policy, serialize_keras_object
from fastdl.models.model import Model
from fastdl.models.sequential import Sequential

names.FAMILIES["keras"] = names.FAMILIES["keras.models"] = {"Sequential": Sequential}
names.FAMILIES["keras.src.models.functional"] = {"Functional": Functional}


def _layer(layer: Layer) -> dict[str, Any]:
    """A layer within a model, which alone says how it is compiled."""
    told: dict[str, Any] = serialize_keras_object(layer)
    told.pop("compile_config", None)
    return told


def _source(name: str, tensor: Any) -> dict[str, Any]:
    config = input_config(name, tensor)
    return {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}


# -- stacks -----------------------------------------------------------------------------------------------


def _tell_stack(model: Sequential) -> dict[str, Any]:
    with having(dtype_told, model.dtype.name):
        layers = [_layer(layer) for layer in model.layers]
        sources = [_source("input_layer", tensor) for tensor in model.new_inputs()]
        config = {"name": model.name, "trainable": model.trainable, "dtype": policy(), "layers": [*sources, *layers]}
    return config | ({"build_input_shape": sources[0]["config"]["batch_shape"]} if sources else {})


def make_stack(kind: type[Sequential], config: Mapping[str, Any]) -> Sequential:
    if not isinstance(config.get("layers"), list) or "name" not in config:
        raise ValueError(f"the config of a {kind.__name__} must have a name and a list of layers")
    dtype = _dtype_of(config["layers"])
    with together(), floats_of(dtype):
        layers = [made(_make_layer(each)) for each in config["layers"]]
    model = kind(layers, name=config["name"], dtype=dtype)
    if model.input_samples is None and (shape := config.get("build_input_shape")):
        model.build(tuple(shape))
    model.restore_trainable(config.get("trainable", True))
    return model


def _make_layer(config: Any) -> Any:
    if not isinstance(config, Mapping) or "class_name" not in config or "config" not in config:
        raise ValueError(f"a layer must be a mapping with class_name and config, not {config!r}")
    layer = objects.make(config)
    if not isinstance(layer, Layer):
        raise ValueError(f"{config['class_name']!r} stands where a layer must, and is none")
    return layer


def _dtype_of(layers: Iterable[Any]) -> np.dtype[Any]:
    """The one dtype that a model's layers tell. ValueError for several."""
    told = set[str]()
    for layer in layers:
        inner = layer.get("config") if isinstance(layer, Mapping) else None
        dtype = inner.get("dtype") if isinstance(inner, Mapping) else None
        name = (dtype.get("config") or {}).get("name") if isinstance(dtype, Mapping) else dtype
        if name in ("float32", "float64") and layer.get("class_name") != "InputLayer":
            told.add(name)
    if len(told) > 1:
        raise ValueError("its layers are of float32 and of float64: a model of fastdl is of one of them")
    return np.dtype(next(iter(told), None) or settings.floatx())


# -- graphs -----------------------------------------------------------------------------------------------


def _tell_graph(model: Functional) -> dict[str, Any]:
    with having(dtype_told, model.dtype.name):
        told = _Told(model)
        layers = [told.layer(layer) for layer in model.layers]
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": tree.map_structure(lambda tensor: told.places[tensor], model.input),
        "output_layers": tree.map_structure(told.end, model.output),
    }


class _Told:
    """Where each tensor of a model comes from: [layer, which of its calls, which of its outputs]."""

    def __init__(self, model: Functional) -> None:
        sources = [layer for layer in model.layers if isinstance(layer, InputLayer)]
        self.places: dict[Tensor, list[Any]] = {source.output: [source.name, 0, 0] for source in sources}
        self.calls: dict[Layer, list[Call]] = {}
        for call in model.calls:
            before = self.calls.setdefault(call.layer, [])
            for i, tensor in enumerate(call.outputs):
                self.places[tensor] = [call.layer.name, len(before), i]
            before.append(call)
        taken: list[str] = []
        for layer in model.layers:
            if layer.name in taken:
                other = free_name(layer.name, taken)
                raise ValueError(f"{model.name} has two layers of the name {layer.name}: Keras needs names, as {other}")
            taken.append(layer.name)

    def end(self, tensor: Tensor) -> list[Any]:
        """Where an output of the model comes from: there Keras counts a graph's calls from 1."""
        name, call, output = self.places[tensor]
        graphs = {layer.name for layer in self.calls if isinstance(layer, Functional)}
        return [name, call + (name in graphs), output]

    def tensor(self, tensor: Tensor) -> dict[str, Any]:
        shape = [getattr(tensor, "batch_size", None), *tensor.shape[1:]]
        dtype = "string" if tensor.dtype.kind in "OUST" else tensor.dtype.name
        about = {"shape": shape, "dtype": dtype, "keras_history": self.places[tensor]}
        return {"class_name": "__keras_tensor__", "config": about}

    def layer(self, layer: Layer) -> dict[str, Any]:
        told = _source(layer.name, layer.output) if isinstance(layer, InputLayer) else _layer(layer)
        return {**told, "name": layer.name, "inbound_nodes": [self.node(each) for each in self.calls.get(layer, [])]}

    def node(self, call: Call) -> dict[str, Any]:
        tensors: list[Any] = [self.tensor(tensor) for tensor in call.inputs]
        options = {} if call.training is None else {"training": call.training}
        if isinstance(call.layer, Operation):
            return {"args": operations.call(call.layer, tensors), "kwargs": options}
        args, named = call.arguments(tensors)
        return {"args": serialize_keras_object(list(args)), "kwargs": serialize_keras_object({**named, **options})}


GRAPH = {"name", "trainable", "layers", "input_layers", "output_layers"}


def make_graph(kind: type[Functional], config: Mapping[str, Any]) -> Functional:
    layers = config.get("layers")
    if not isinstance(layers, list) or not {"input_layers", "output_layers"} <= config.keys():
        raise ValueError(f"the config of a {kind.__name__} must have layers, input_layers and output_layers")
    dtype = _dtype_of(layers)
    with together(), floats_of(dtype):
        graph = _Made(layers)
        inputs, outputs = graph.read(config["input_layers"]), graph.read(config["output_layers"])
    own = {name: each for name, each in config.items() if name not in GRAPH}
    model = kind(inputs=inputs, outputs=outputs, name=config.get("name"), **own)
    model.restore_trainable(config.get("trainable") is not False)
    return model


class _Made:
    """A graph's layers, and the tensors that their calls gave. ValueError for a graph with loops, or with ends."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers: dict[str, Any] = {}
        self.tensors: dict[tuple[str, int, int], Tensor] = {}
        waiting = list[tuple[str, int, Mapping[str, Any]]]()
        for told in layers:
            layer = _make_layer(told)
            name = str(told.get("name", layer.name))
            self.layers[name] = made(layer)
            if isinstance(layer, InputLayer):
                self.tensors[name, 0, 0] = layer.output
            nodes = told.get("inbound_nodes") or []
            if not all(isinstance(node, Mapping) for node in nodes):
                raise ValueError(f"{name} is called as Keras 2 tells it, and not on what another layer gives")
            waiting += [(name, i, node) for i, node in enumerate(nodes)]
        self._call_all(waiting)

    def _call_all(self, nodes: list[tuple[str, int, Mapping[str, Any]]]) -> None:
        """Each call once what it needs is there, and after those of its layer that come before it."""
        readers: dict[Any, list[int]] = {}
        missing = dict[int, int]()
        for i, (name, number, node) in enumerate(nodes):
            needs = {place[:2] for place in _places(node) if place not in self.tensors}
            if number:
                needs.add((name, number - 1))
            missing[i] = len(needs)
            for need in needs:
                readers.setdefault(need, []).append(i)
        ready = [i for i, count in missing.items() if not count]
        done = 0
        while ready:
            name, number, node = nodes[ready.pop()]
            self._call(name, number, node)
            done += 1
            for reader in readers.get((name, number), []):
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
        if done < len(nodes):
            raise ValueError("its graph has a loop, or a call of a layer whose input nothing gives")

    def _call(self, name: str, number: int, node: Mapping[str, Any]) -> None:
        layer, arguments = self.layers[name], [self.filled(each) for each in node.get("args") or []]
        options = {key: self.filled(each) for key, each in (node.get("kwargs") or {}).items() if each is not None}
        if isinstance(layer, Operation):
            tensors = list[Tensor]()
            layer = self.layers[name] = operations.used(layer, arguments, tensors)
            outputs: Any = layer(tensors)
        else:
            outputs = layer(*arguments, **options)
        for i, tensor in enumerate(tensors_in(outputs)):
            self.tensors[name, number, i] = tensor

    def filled(self, value: Any) -> Any:
        """The argument of a call, with tensors in their places."""
        if (place := _place(value)) is not None:
            if place not in self.tensors:
                raise ValueError(f"there is no output {place[2]} of the layer {place[0]!r}")
            return self.tensors[place]
        if isinstance(value, Mapping) and "class_name" not in value:
            return {name: self.filled(each) for name, each in value.items()}
        return [self.filled(each) for each in value] if isinstance(value, list | tuple) else value

    def read(self, told: Any) -> Any:
        """The model's inputs or outputs, as they were given: one, a list, or a mapping."""
        if isinstance(told, Mapping):
            return {str(name): self.read(each) for name, each in told.items()}
        if isinstance(told, list | tuple) and len(told) == 3 and isinstance(told[0], str):
            place = told[0], told[1] - isinstance(self.layers.get(told[0]), Functional), told[2]
            if place not in self.tensors:
                raise ValueError(f"there is no output {told[2]} of the layer {told[0]!r}")
            return self.tensors[place]
        if not isinstance(told, list | tuple):
            raise ValueError(f"a tensor comes from [layer, call, output], not from {told!r}")
        return [self.read(each) for each in told]


def _place(value: Any) -> tuple[str, int, int] | None:
    """Where a tensor comes from that a config tells; None for another value."""
    if not isinstance(value, Mapping) or value.get("class_name") != "__keras_tensor__":
        return None
    history = value["config"]["keras_history"]
    if not (isinstance(history, list | tuple) and len(history) == 3 and isinstance(history[0], str)):
        raise ValueError(f"a tensor comes from [layer, call, output], not from {history!r}")
    return history[0], int(history[1]), int(history[2])


def _places(value: Any) -> Iterator[tuple[str, int, int]]:
    """All that stand in the arguments of a call."""
    if (place := _place(value)) is not None:
        yield place
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _places(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _places(each)


# -- how layers are built ---------------------------------------------------------------------------------


def build_config(value: Any) -> dict[str, Any]:
    """The shapes that a layer or a model was built for."""
    if not isinstance(value, Layer):
        return {}
    if not is_fastdls(type(value)) and hasattr(value, "get_build_config"):
        return {"build_config": value.get_build_config()}
    if isinstance(value, Model):
        shapes = [[None, *sample] for sample in value.input_samples or []]
    else:
        try:
            tensors = value.input
        except ValueError:  # it has not been used
            return {}
        shapes = [list(each.shape) for each in (tensors if isinstance(tensors, list) else [tensors])]
    if not shapes or not value.built:
        return {}
    return {"build_config": {"input_shape": shapes if len(shapes) > 1 else shapes[0]}}


def build(value: Any, config: Mapping[str, Any]) -> None:
    told = config.get("build_config")
    if not isinstance(value, Layer) or not isinstance(told, Mapping):
        return
    if not is_fastdls(type(value)) and hasattr(value, "build_from_config"):
        value.build_from_config(told)
    elif not isinstance(value, Sequential | Functional) and (shape := told.get("input_shape")) and not value.built:
        several = isinstance(shape[0], list | tuple)
        shapes = [tuple(each) for each in shape] if several else tuple(shape)
        (value.build if isinstance(value, Model) else value.build_for)(shapes)


def _is_graph(model: type[Any], config: Mapping[str, Any] | None) -> bool:
    """Whether the model is told as a graph: it is one, made of tensors, or its config says so."""
    if config is not None:
        return issubclass(model, Model) and config.keys() | {"name", "trainable"} >= GRAPH
    takes = inspect.signature(model.__init__).parameters
    return issubclass(model, Functional) and ({"inputs", "outputs"} <= takes.keys() or "args" in takes)


FORMS = [
    Form(lambda kind, _: issubclass(kind, Sequential), _tell_stack, make_stack),
    Form(_is_graph, _tell_graph, make_graph),
]
