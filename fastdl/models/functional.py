"""Functional: a model of the calls of layers between tensors, with branches, several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl import tree
from fastdl.base.arguments import flag
from fastdl.base.columns import dtype_name, is_column
from fastdl.compiler.graph import Tensor
from fastdl.layers.calls import by_depth, calls_between
from fastdl.layers.context import Call, together
from fastdl.layers.core import Input, InputLayer, sizes_of
from fastdl.layers.data_tensor import floats_of
from fastdl.layers.layer import Layer, deserialize, serialize, unused
from fastdl.models import plans, saving, structures
from fastdl.models.model import Model


class Functional(Model, of_tensors=True):
    """The layers between inputs, made by Input, and outputs: what Model(inputs, outputs) makes. Keras: Functional.

    inputs, outputs: a tensor, a list, or a mapping of names. ValueError if an output needs other inputs.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, *, trainable: bool = True) -> None:
        sources, results = tree.flatten(inputs), tree.flatten(outputs)
        for what, tensors in (("inputs", sources), ("outputs", results)):
            if wrong := [tensor for tensor in tensors if not isinstance(tensor, Tensor)]:
                raise ValueError(f"a Model is made of tensors: all `{what}` must be such, not {wrong[0]!r}")
        floats = [tensor.dtype for tensor in sources if not is_column(tensor.dtype)]
        super().__init__(name=name, dtype=floats[0] if floats else None)
        self._inputs, self._outputs = tuple(sources), tuple(results)
        self.input_structure = tree.map_structure(lambda _: None, inputs)
        self._given_outputs = tree.pack_sequence_as(outputs, range(len(results)))
        self._names = structures.names_in(inputs, lambda tensor: tensor.name)
        if len(set(sources)) != len(sources) or not sources:
            raise ValueError(f"{self.name} needs one or more inputs, each once")
        if not results:
            raise ValueError(f"{self.name} needs one or more outputs")
        self._calls = list(calls_between(self.name, self._inputs, self._outputs))
        self._note_order()
        self.says_training = any(call.training for call in self._calls)
        self._samples = [sizes_of(tensor) for tensor in sources]
        self._column_dtypes = [tensor.dtype if is_column(tensor.dtype) else None for tensor in sources]
        self.optional = frozenset(
            i for i, tensor in enumerate(sources) if isinstance(tensor, Input) and tensor.optional
        )
        if columns := [sources[i].name for i in self.optional if is_column(sources[i].dtype)]:
            raise ValueError(f"{self.name}: {columns[0]!r} holds columns, and cannot be optional")
        if not flag("trainable", trainable):
            self.trainable = False
        self.trace()

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, as a mapping of arrays may give them."""
        return self._names

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs (Keras)."""
        return list(self._inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs (Keras)."""
        return list(self._outputs)

    @property
    def calls(self) -> list[Call]:
        """The layers' calls, each after those it needs. fastdl's own."""
        return list(self._calls)

    def _note_layers(self, called: Sequence[Layer]) -> None:
        """The layers are those between the tensors that it was made of."""

    def _note_order(self) -> None:
        """The layers, in Keras's order; those that stand for inputs among them."""
        self._called_layers = list(dict.fromkeys(call.layer for call in self._calls))
        names = dict(zip(self._inputs, self._names, strict=True))
        self._layers = [
            each if isinstance(each, Layer) else InputLayer(input_tensor=each, name=names[each])
            for each in by_depth(self._inputs, self._outputs)
        ]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs of other inputs, in the structures that it was made of; one in a list comes by itself."""
        tensors = tree.flatten(inputs)
        if len(tensors) != len(self._inputs):
            raise ValueError(f"{self.name} takes {len(self._inputs)} tensors, not {len(tensors)}")
        made: dict[Tensor, Any] = dict(zip(self._inputs, tensors, strict=True))
        with unused(self._called_layers):  # their inputs and outputs stay those that the model was made of
            for call in self._calls:
                made |= zip(call.outputs, call.again([made[tensor] for tensor in call.inputs], training), strict=True)
        results = tree.map_structure(lambda number: made[self._outputs[number]], self._given_outputs)
        return results[0] if isinstance(results, list | tuple) and len(results) == 1 else results

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure in which they were given (Keras)."""
        return tree.pack_sequence_as(self.input_structure, self._inputs)

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure in which they were given (Keras)."""
        return tree.map_structure(lambda number: self._outputs[number], self._given_outputs)

    # -- files and copies ---------------------------------------------------------------------------------

    def _plan(self) -> dict[str, Any]:
        """All but the layers: the inputs, and the layers' calls, with tensors by number, inputs first."""
        numbers = {tensor: i for i, tensor in enumerate(self._inputs)}
        calls, places = [], {layer: place for place, layer in enumerate(self._called_layers)}
        for call in self._calls:
            calls.append([places[call.layer], *plans.of_call(call, numbers)])
            for tensor in call.outputs:
                numbers[tensor] = len(numbers)
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "trainable": self.trainable,
            "inputs": [
                {"name": name, "shape": list(sample)}
                | ({"dtype": dtype_name(dtype)} if is_column(dtype) else {})
                | ({"optional": True} if i in self.optional else {})
                for i, (name, sample, dtype) in enumerate(
                    zip(self.input_names, self._samples or [], self.input_dtypes, strict=True)
                )
            ],
            "calls": calls,
            **plans.of_ends(self.input, self.output, numbers),
        }

    def get_config(self) -> dict[str, Any]:
        """Inputs, layers and their calls, as `from_config` takes them (Keras). ValueError for a layer of one's own."""
        return {**self._plan(), "layers": [serialize(layer) for layer in self._called_layers]}

    @staticmethod
    def revived(kind: type[Model], config: Mapping[str, Any]) -> Any:
        """A model of the class, of what `get_config` told, here or in Keras. fastdl's own."""
        if "calls" not in config:
            return saving.KERAS_FILES["graph"](kind, config)
        with together():
            return _made(kind, config, [deserialize(layer) for layer in config["layers"]])

    def __getstate__(self) -> dict[str, Any]:
        """The plan in place of tensors."""
        state = super().__getstate__()
        for name in ("_inputs", "_outputs", "_calls", "_layers"):
            del state[name]
        return {**state, "_plan_of_calls": self._plan()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        again = _made(Functional, vars(self).pop("_plan_of_calls"), self._called_layers)
        self._inputs, self._outputs, self._calls = again._inputs, again._outputs, again._calls
        self._layers = again.layers

    def with_layers(
        self, copy: Callable[[Layer], Layer], call: Callable[..., Any] | None = None, inputs: Any = None
    ) -> Any:
        """The same calls of copies of the layers. call: what calls one, (layer, *arguments, **named); inputs: tensors
        in place of new ones, in the structure of the model's. ValueError for another structure."""
        sources = None
        if inputs is not None:
            try:
                tree.assert_same_structure(self.input, inputs)
            except ValueError as error:
                raise ValueError(f"`input_tensors` must have the same structure as model.input: {error}") from None
            sources = tree.flatten(inputs)
        with together():
            return _made(Functional, self._plan(), [copy(layer) for layer in self._called_layers], sources, call)


PLANNED = {"name", "dtype", "trainable", "inputs", "calls", "layers", *plans.ENDS}


def _made(
    kind: type[Model],
    plan: Mapping[str, Any],
    layers: Sequence[Any],
    sources: Sequence[Tensor] | None = None,
    call: Callable[..., Any] | None = None,
) -> Any:
    """A model of the class, of a plan and layers; what else the plan holds goes to its constructor.

    sources: tensors in place of new inputs; call: what calls a layer in place of itself.
    """
    dtype = np.dtype(plan["dtype"])
    sources = sources or [
        Input(each["shape"], dtype=each.get("dtype", dtype), name=each["name"], optional=each.get("optional", False))
        for each in plan["inputs"]
    ]
    tensors: list[Tensor] = list(sources)
    with floats_of(dtype):
        for layer, *told in plan["calls"]:
            tensors += plans.call_again(layers[layer], told, tensors, call)
    inputs, outputs = plans.ends(plan, sources, tensors)
    own = {name: value for name, value in plan.items() if name not in PLANNED}
    model = kind(inputs=inputs, outputs=outputs, name=plan["name"], **own)
    model.restore_trainable(plan.get("trainable", True))
    return model
