"""How configs and files tell the calls of layers, and the structures of inputs and outputs: tensors are numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastdl import tree
from fastdl.compiler.graph import Tensor
from fastdl.layers.context import Call
from fastdl.layers.given import Slot, tensors_in
from fastdl.layers.telling import as_json, from_json

ENDS = "outputs", "input_structure", "output_structure", "output_names", "outputs_as"  # the last two of older files


def of_call(call: Call, numbers: Mapping[Tensor, int]) -> list[Any]:
    """What a layer is called on: a tensor, or a list of them, by their numbers, and what is said of training. True at
    the end if they are arguments of their own; or False and the form in which they stand."""
    more = [True] if call.apart else [] if call.form is None else [False, as_json(call.form, [])]
    return [[numbers[tensor] for tensor in call.inputs], call.training, *more]


def call_again(
    layer: Any, plan: Sequence[Any], tensors: Sequence[Tensor], call: Callable[..., Any] | None = None
) -> list[Tensor]:
    """What a layer gives where it is called as `of_call` tells. call: what calls it with these arguments, if not it."""
    numbers, training, *rest = plan
    form = from_json(rest[1], [Slot(i) for i in range(len(numbers))]) if rest[1:] else None
    args, named = Call(layer, (), (), training, any(rest[:1]), form).arguments([tensors[number] for number in numbers])
    told = {} if training is None else {"training": training}
    return tensors_in(call(layer, *args, **named, **told) if call else layer(*args, **named, **told))


def of_ends(plan_inputs: Any, outputs: Any, numbers: Mapping[Tensor, int]) -> dict[str, Any]:
    """The outputs' numbers, and the structures of inputs and outputs where they are no plain list of several."""
    ends = {"outputs": [numbers[tensor] for tensor in tree.flatten(outputs)]}
    structures = {"input_structure": plan_inputs, "output_structure": outputs}
    return ends | {
        what: as_json(tree.map_structure(lambda tensor: Slot(numbers[tensor]), structure), [])
        for what, structure in structures.items()
        if tree.is_nested(structure) and not (isinstance(structure, list) and _is_flat(structure))
    }


def _is_flat(structure: list[Any]) -> bool:
    return len(structure) > 1 and not any(map(tree.is_nested, structure))


def ends(plan: Mapping[str, Any], sources: Sequence[Tensor], tensors: Sequence[Tensor]) -> tuple[Any, Any]:
    """The inputs and outputs, in their structures; as older files tell them too."""
    outputs: Any = [tensors[number] for number in plan["outputs"]]
    inputs: Any = list(sources)
    if keys := plan.get("output_names"):
        outputs = dict(zip(keys, outputs, strict=True))
    elif plan.get("outputs_as") == "tuple":
        outputs = tuple(outputs)
    found = []
    for what, plain in (("input_structure", inputs), ("output_structure", outputs)):
        one = isinstance(plain, list) and len(plain) == 1
        found.append(from_json(plan[what], tensors) if what in plan else plain[0] if one else plain)
    return found[0], found[1]
