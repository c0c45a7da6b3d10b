"""All that a model holds as one tree of arrays, by the paths of its variables. Keras: Model.get_state_tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl.base.naming import unknown

KINDS: dict[str, Callable[[Any], Any]] = {  # names in the tree, and where a model has them
    "trainable_variables": lambda model: model.trainable_variables,
    "non_trainable_variables": lambda model: model.non_trainable_variables,
    "optimizer_variables": lambda model: model.optimizer.variables if model.optimizer else [],
    "metrics_variables": lambda model: model.metrics_variables,
}
FORMATS = "backend_tensor", "numpy_array"


def state_tree_of(model: Any, value_format: str) -> dict[str, Any]:
    """See Model.get_state_tree."""
    if value_format not in FORMATS:
        raise ValueError(unknown("value_format", value_format, FORMATS))
    return {kind: _nested(variables(model)) for kind, variables in KINDS.items()}


def _nested(variables: Sequence[Any]) -> dict[str, Any]:
    """The variables' values by the parts of their paths. ValueError for a path that stands twice."""
    tree: dict[str, Any] = {}
    for variable in variables:
        *way, last = variable.path.split("/")
        place = tree
        for part in way:
            place = place.setdefault(part, {})
        if last in place:
            raise ValueError(
                f"The following variable path is found twice in the model: {variable.path!r}. Give layers and weights "
                "names of their own"
            )
        place[last] = np.array(variable.value)
    return tree


def assign_state_tree(model: Any, state_tree: Mapping[str, Any]) -> None:
    """See Model.set_state_tree. ValueError for what the model has not; then nothing is changed."""
    waiting = []
    for kind, values in state_tree.items():
        if kind not in KINDS:
            raise ValueError(unknown("kind of variables", kind, KINDS))
        by_path = {variable.path: variable for variable in KINDS[kind](model)}
        for path, value in _flat(values).items():
            if path not in by_path:
                raise ValueError(unknown(kind.removesuffix("s").replace("_", " "), path, by_path))
            variable, array = by_path[path], np.asarray(value)
            if array.shape != tuple(variable.shape):
                raise ValueError(f"{path} has shape {tuple(variable.shape)}, the new value {array.shape}")
            waiting.append((variable, array))
    for variable, array in waiting:
        variable.assign(array)


def _flat(values: Any, way: str = "") -> dict[str, Any]:
    """The values by their paths."""
    if not isinstance(values, Mapping):
        return {way: values}
    found: dict[str, Any] = {}
    for part, inner in values.items():
        found |= _flat(inner, f"{way}/{part}" if way else str(part))
    return found
