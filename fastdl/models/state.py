"""What training has made of a model: weights, what the optimizer keeps, and where its random streams stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastdl.base.arrays import Array
from fastdl.base.naming import free_name
from fastdl.compiler.graph import Parameter
from fastdl.errors import ModelFileError
from fastdl.layers.layer import Layer
from fastdl.models.session import Session
from fastdl.models.tensor_file import Content


class Stated(Protocol):
    """Of a model, what its state is made of."""

    layers: list[Layer]
    session: Session

    @property
    def weights(self) -> list[Parameter]: ...


Tensors = dict[str, Array]


def weights(model: Stated) -> dict[str, Parameter]:
    """All weights by name, layer/weight, in the model's order. ValueError if two layers share one."""
    named: dict[str, Parameter] = {}
    seen = set[Parameter]()
    for layer in model.layers:
        for parameter in layer.weights:
            if parameter in seen:
                raise ValueError(f"{parameter.path} belongs to two layers: a file cannot say so")
            seen.add(parameter)
            named[free_name(f"{layer.name}/{parameter.name}", named)] = parameter
    for parameter in model.weights:  # of the model itself, if it is one of one's own
        if parameter not in seen:
            named[free_name(parameter.path, named)] = parameter
    return named


def gather(model: Stated, optimizer: bool = True) -> tuple[Tensors, dict[str, Any]]:
    """Copies of all arrays, and the notes that `restore` needs. ValueError for weights that two layers share."""
    named = weights(model)
    tensors = {name: parameter.numpy() for name, parameter in named.items()}
    notes: dict[str, Any] = {"weights": list(named), "seed": model.session.seed}
    rule = model.session.optimizer
    if not optimizer or rule is None:
        return tensors, notes

    def keep(slot: Parameter) -> str:
        key = free_name(f"optimizer/{slot.name}", tensors)
        tensors[key] = slot.numpy()
        return key

    state = rule.state
    notes["optimizer"] = {
        "class_name": type(rule).__name__,
        "iterations": rule.batches,
        "learning_rate": rule.get_config()["learning_rate"],
        "slots": {name: [keep(slot) for slot in state.slots[p]] for name, p in named.items() if p in state.slots},
        "averages": {name: keep(state.averages[p]) for name, p in named.items() if p in state.averages},
        "accumulated": {name: keep(state.accumulated[p]) for name, p in named.items() if p in state.accumulated},
        "trained": {name: keep(state.trained[p]) for name, p in named.items() if p in state.trained},
    }
    return tensors, notes


def restore(model: Stated, content: Content) -> None:
    """Go back to what was gathered, all or nothing. The model is built and compiled as it was then.

    ModelFileError if the file does not fit.
    """
    named, notes = weights(model), content.notes
    pairs = take_weights(named, content)
    seed, stored, trained = notes.get("seed"), notes.get("optimizer"), dict[Parameter, Parameter]()
    if seed is not None and not _count(seed):
        raise ModelFileError(f"{content.name}: the seed is {seed!r}")
    if stored is not None:
        more, trained = _take_optimizer(model, named, stored, content)
        pairs += more
    for parameter, value in pairs:
        parameter.assign(value)
    model.session.seed = seed
    if (optimizer := model.session.optimizer) is None:
        return
    optimizer.state.trained = trained
    if stored is not None:
        optimizer.batches = stored["iterations"]
        if _is_rate(stored["learning_rate"]) and _is_rate(optimizer.rate_or_schedule):  # neither is a schedule
            optimizer.learning_rate = stored["learning_rate"]


def take_weights(named: Mapping[str, Parameter], content: Content) -> list[tuple[Parameter, Array]]:
    """The file's weights, in its order, for these. ModelFileError if they do not fit."""
    keys = content.notes.get("weights")
    if not isinstance(keys, list) or len(keys) != len(named):
        count = len(keys) if isinstance(keys, list) else "no"
        raise ModelFileError(f"{content.name}: it holds {count} weight arrays, the model has {len(named)}")
    return [(p, content.take(key, p.shape, p.dtype)) for key, p in zip(keys, named.values(), strict=True)]


def _take_optimizer(
    model: Stated, named: Mapping[str, Parameter], stored: Any, content: Content
) -> tuple[list[tuple[Parameter, Array]], dict[Parameter, Parameter]]:
    """The file's slots and averages; and the weights in whose place averages are.

    ModelFileError unless the model's optimizer is such a one.
    """
    optimizer = model.session.optimizer
    if optimizer is None or not isinstance(stored, dict) or stored.get("class_name") != type(optimizer).__name__:
        ours = type(optimizer).__name__ if optimizer else "no optimizer"
        raise ModelFileError(f"{content.name}: its optimizer is not the model's, which has {ours}")
    slots: Any = stored.get("slots")
    averages: Any = stored.get("averages")
    trained, accumulated = (stored.get(key, {}) for key in ("trained", "accumulated"))  # which older files do not have
    rate = stored.get("learning_rate")
    right = _count(stored.get("iterations")) and (isinstance(rate, dict) or _is_rate(rate))
    if not right or not all(isinstance(each, dict) for each in (slots, averages, trained, accumulated)):
        raise ModelFileError(f"{content.name}: what it says of the optimizer is not as fastdl writes it")
    pairs: list[tuple[Parameter, Array]] = []
    by_key = dict(zip(content.notes["weights"], named.values(), strict=True))
    for key, names in slots.items():
        if key not in by_key or not isinstance(names, list) or len(names) != len(optimizer.slots(by_key[key])):
            raise ModelFileError(
                f"{content.name}: the optimizer's slots of {key!r} are not those of {type(optimizer).__name__}"
            )
        kept = optimizer.state.slots[by_key[key]]
        pairs += [(slot, content.take(name, slot.shape, slot.dtype)) for slot, name in zip(kept, names, strict=True)]
    for key in (*averages, *accumulated):
        if key not in by_key:
            raise ModelFileError(f"{content.name}: there is no weight {key!r} to average")
    for names, make, made in (
        (averages, optimizer.average, optimizer.state.averages),
        (accumulated, optimizer.accumulator, optimizer.state.accumulated),
    ):
        for key, name in names.items():
            make(by_key[key])
            kept_array = made[by_key[key]]
            pairs.append((kept_array, content.take(name, kept_array.shape, kept_array.dtype)))
    replaced_weights = {}
    for key, name in trained.items():
        if key not in averages:
            raise ModelFileError(f"{content.name}: no average is in the place of the weight {key!r}")
        parameter = by_key[key]
        array = content.take(name, parameter.shape, parameter.dtype)
        replaced_weights[parameter] = optimizer.slot(parameter, "trained", array)
    return pairs, replaced_weights


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_rate(value: Any) -> bool:
    return isinstance(value, float | int) and 0 <= value < float("inf")
