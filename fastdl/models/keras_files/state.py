"""Where in a file each object's arrays are: by its path among the attributes of the model, as Keras walks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.configured import is_fastdls
from fastdl.base.naming import default_name
from fastdl.compiler.graph import Parameter
from fastdl.errors import KerasFileError, warn
from fastdl.layers import Layer, Operation
from fastdl.layers.lookup import IntegerLookup, StringLookup
from fastdl.models.functional import Functional
from fastdl.models.keras_files.hdf5 import Groups
from fastdl.models.model import Model
from fastdl.models.sequential import Sequential

INNER = ("activation", "layer")  # what of fastdl's own layers may be a layer
VOCABULARY = "vocabulary.txt"


@dataclass
class Place:
    """A layer, and the path of its group."""

    path: str
    layer: Layer


def places(model: Model, skipped: Iterable[Any] = ()) -> list[Place]:
    """The model and all layers within it, each where it is met first, in Keras's order."""
    seen = {id(each) for each in skipped}
    found = list[Place]()

    def meet(layer: Layer, path: str) -> None:
        if id(layer) in seen or isinstance(layer, Operation):
            return
        seen.add(id(layer))
        found.append(Place(path, layer))
        for name, value in _attributes(layer):
            inner = f"{path}/{name}" if path else name
            if isinstance(value, Layer):
                meet(value, inner)
            elif isinstance(value, list | dict | tuple):
                meet_all(value, inner, set())

    def meet_all(container: Any, path: str, above: set[int]) -> None:
        if id(container) in above:  # it holds itself
            return
        names: dict[str, int] = {}
        for value in container.values() if isinstance(container, dict) else container:
            if isinstance(value, Layer):
                meet(value, f"{path}/{_numbered(default_name(type(value).__name__), names)}")
            elif isinstance(value, list | dict | tuple):
                meet_all(value, f"{path}/{_numbered('container', names)}", {*above, id(container)})

    meet(model, "")
    return found


def _numbered(name: str, names: dict[str, int]) -> str:
    number = names[name] = names.get(name, -1) + 1
    return f"{name}_{number}" if number else name


def _attributes(layer: Layer) -> Iterator[tuple[str, Any]]:
    """What a layer is made of, by name: layers of models first, else by the alphabet, private ones last."""
    if isinstance(layer, Sequential | Functional):
        yield "layers", layer.layers
    kind = type(layer)
    if is_fastdls(kind) and not isinstance(layer, Model):
        names = {name for name in INNER if hasattr(layer, name)}
    else:
        base = next(each for each in kind.__mro__ if is_fastdls(each))
        names = set(dir(layer)) - set(dir(base)) - set(vars(Sequential(name="none")))
        names |= {"layers"} if isinstance(layer, Model) else set(INNER) & set(vars(layer))
    for name in sorted(names, key=lambda name: f"~{name}" if name.startswith("_") else name):
        try:
            value = getattr(layer, name)
        except Exception:  # a property of one's own that is not ready
            continue
        yield name, value


# -- saving -----------------------------------------------------------------------------------------------


def gather(model: Model, skipped: Iterable[Any] = ()) -> tuple[Groups, dict[str, str]]:
    """The arrays of all layers by path, and the layers' names."""
    groups: Groups = {}
    names: dict[str, str] = {}
    for place in places(model, skipped):
        store: dict[str, Any] = {}
        place.layer.save_own_variables(store)
        if isinstance(place.layer, StringLookup | IntegerLookup) and place.layer.idf_weights is not None:
            store["idf_weights"] = np.asarray(place.layer.idf_weights, np.float32)  # where Keras looks for them
        groups[place.path] = {str(key): np.asarray(value) for key, value in store.items()}
        names[place.path] = place.layer.name
    return groups, names


# -- loading ----------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """What a file has for a model's layers: found first, assigned when all of it is."""

    own: list[tuple[Layer, Mapping[str, Array]]] = field(default_factory=list)  # of layers that load by themselves
    pairs: list[tuple[Parameter, Array]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def assign(self) -> None:
        for parameter, value in self.pairs:
            parameter.assign(value)
        for layer, store in self.own:
            layer.load_own_variables(store)


def restore(model: Model, groups: Groups, name: str, skip_mismatch: bool = False, skipped: Iterable[Any] = ()) -> None:
    """Copy in the arrays of all layers, all or none. KerasFileError if they do not fit; with skip_mismatch a warning,
    and what does not fit stays as it is."""
    taken = Taken()
    for place in places(model, skipped):
        _take(place, groups.get(place.path, {}), taken)
    if taken.refused and not skip_mismatch:
        more = f", and {len(taken.refused) - 1} more" if len(taken.refused) > 1 else ""
        raise KerasFileError(f"{name}: {taken.refused[0]}{more}")
    if taken.refused:
        warn(f"{name}: {'; '.join(taken.refused)}: left as they are", UserWarning)
    taken.assign()


def _take(place: Place, store: Mapping[str, Array], taken: Taken) -> None:
    layer = place.layer
    if not is_fastdls(type(layer).load_own_variables):
        taken.own.append((layer, store))
        return
    if isinstance(layer, StringLookup | IntegerLookup):  # whose vocabulary came with its config, or as an asset
        return
    own, where = layer.own_variables, place.path or layer.name
    if len(store) != len(own) or not all(str(i) in store for i in range(len(own))):
        taken.refused.append(f"{where}: {layer.name} has {len(own)} weight arrays, the file has {len(store)} for it")
        return
    for i, parameter in enumerate(own):
        value = store[str(i)]
        if value.shape != parameter.shape:
            taken.refused.append(f"{parameter.path} has shape {parameter.shape}, the file has {value.shape} for it")
            return
    taken.pairs += [(parameter, store[str(i)]) for i, parameter in enumerate(own)]
