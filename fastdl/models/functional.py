"""Functional: a model of the calls of layers between tensors, with branches, several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from fastdl.base.arguments import flag
from fastdl.base.columns import dtype_name, is_column
from fastdl.compiler.graph import Tensor
from fastdl.layers.calls import by_depth, calls_between
from fastdl.layers.context import Call, listed, together
from fastdl.layers.core import Input, InputLayer, sizes_of
from fastdl.layers.data_tensor import floats_of
from fastdl.layers.given import Slot
from fastdl.layers.layer import Layer, deserialize, serialize, unused
from fastdl.layers.telling import as_json, from_json
from fastdl.models.model import Model
from fastdl.models.network import unique


class Functional(Model, of_tensors=True):
    """The layers between inputs, made by Input, and outputs: what Model(inputs, outputs) makes. Keras: Functional.

    inputs, outputs: a tensor, a list, or a mapping of names. ValueError if an output needs other inputs.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, *, trainable: bool = True) -> None:
        named = inputs if isinstance(inputs, Mapping) else None
        sources = list(named.values()) if named is not None else listed(inputs)
        results = list(outputs.values()) if isinstance(outputs, Mapping) else listed(outputs)
        for tensor in (*sources, *results):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"a Model is made of tensors, as Input and layers give them, not of {tensor!r}")
        floats = [tensor.dtype for tensor in sources if not is_column(tensor.dtype)]
        super().__init__(name=name, dtype=floats[0] if floats else None)
        self._inputs, self._outputs = tuple(sources), tuple(results)
        self.output_keys = [str(key) for key in outputs] if isinstance(outputs, Mapping) else None
        self._names = list(named) if named is not None else unique([tensor.name for tensor in sources])
        if len(set(sources)) != len(sources) or not sources:
            raise ValueError(f"{self.name} needs one or more inputs, each once")
        if len(set(results)) != len(results) or any(tensor.made_by is None for tensor in results):
            raise ValueError(f"{self.name} needs one or more outputs, each made by a layer, and each once")
        self._calls = list(calls_between(self.name, self._inputs, self._outputs))
        self._note_order()
        self._samples = [sizes_of(tensor) for tensor in sources]
        self._column_dtypes = [tensor.dtype if is_column(tensor.dtype) else None for tensor in sources]
        self.takes_several = len(sources) > 1
        if isinstance(outputs, tuple):
            kind: Any = type(outputs)
            self.outputs_as = getattr(kind, "_make", kind)  # a named tuple's
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
        tensors = listed(inputs)
        if len(tensors) != len(self._inputs):
            raise ValueError(f"{self.name} takes {len(self._inputs)} tensors, not {len(tensors)}")
        made = dict(zip(self._inputs, tensors, strict=True))
        with unused(self._called_layers):  # their inputs and outputs stay those that the model was made of
            for call in self._calls:
                made |= zip(call.outputs, call.again([made[tensor] for tensor in call.inputs], training), strict=True)
        results = [made[tensor] for tensor in self._outputs]
        return results if len(results) > 1 else results[0]

    # -- files and copies ---------------------------------------------------------------------------------

    def _plan(self) -> dict[str, Any]:
        """All but the layers: the inputs, and the layers' calls, with tensors by number, inputs first."""
        numbers = {tensor: i for i, tensor in enumerate(self._inputs)}
        calls, places = [], {layer: place for place, layer in enumerate(self._called_layers)}
        for call in self._calls:
            told = [places[call.layer], [numbers[tensor] for tensor in call.inputs], call.training]
            more = [True] if call.apart else [] if call.form is None else [False, as_json(call.form, [])]
            calls.append([*told, *more])
            for tensor in call.outputs:
                numbers[tensor] = len(numbers)
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "trainable": self.trainable,
            "inputs": [
                {"name": name, "shape": list(sample)} | ({"dtype": dtype_name(dtype)} if is_column(dtype) else {})
                for name, sample, dtype in zip(self.input_names, self._samples or [], self.input_dtypes, strict=True)
            ],
            "calls": calls,
            "outputs": [numbers[tensor] for tensor in self._outputs],
            **({"output_names": self.output_keys} if self.output_keys else {}),
            **({"outputs_as": "tuple"} if self.outputs_as is not list else {}),
        }

    def get_config(self) -> dict[str, Any]:
        """Inputs, layers and their calls, as `from_config` takes them (Keras). ValueError for a layer of one's own."""
        return {**self._plan(), "layers": [serialize(layer) for layer in self._called_layers]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A model with these layers, and weights of its own (Keras)."""
        with together():
            return cls._of(config, [deserialize(layer) for layer in config["layers"]])

    @classmethod
    def _of(cls, plan: Mapping[str, Any], layers: Sequence[Any]) -> Self:
        dtype = np.dtype(plan["dtype"])
        inputs = {
            each["name"]: Input(each["shape"], dtype=each.get("dtype", dtype), name=each["name"])
            for each in plan["inputs"]
        }
        tensors: list[Tensor] = list(inputs.values())
        with floats_of(dtype):
            for layer, numbers, training, *rest in plan["calls"]:
                form = from_json(rest[1], [Slot(i) for i in range(len(numbers))]) if rest[1:] else None
                call = Call(layers[layer], (), (), training, any(rest[:1]), form)
                tensors += call.again([tensors[number] for number in numbers])
        outputs: Any = [tensors[number] for number in plan["outputs"]]
        if keys := plan.get("output_names"):
            outputs = dict(zip(keys, outputs, strict=True))
        elif plan.get("outputs_as") == "tuple":
            outputs = tuple(outputs)
        model = cls(inputs, outputs, plan["name"])
        model.restore_trainable(plan.get("trainable", True))
        return model

    def __getstate__(self) -> dict[str, Any]:
        """The plan in place of tensors."""
        state = super().__getstate__()
        for name in ("_inputs", "_outputs", "_calls", "_layers"):
            del state[name]
        return {**state, "_plan_of_calls": self._plan()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        again = self._of(vars(self).pop("_plan_of_calls"), self._called_layers)
        self._inputs, self._outputs, self._calls = again._inputs, again._outputs, again._calls
        self._layers = again.layers

    def with_layers(self, copy: Callable[[Layer], Layer]) -> Self:
        """The same calls of copies of the layers."""
        with together():
            return self._of(self._plan(), [copy(layer) for layer in self._called_layers])
