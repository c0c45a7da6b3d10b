"""How a class that derives from Model becomes one of models of tensors, as Keras has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_of_tensors(args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Whether a model is made of these: inputs and outputs, as Keras tells it."""
    return bool(args) or "inputs" in options or "outputs" in options


def become(kind: type, base_class: type, of_tensors: type) -> None:
    """From now on the class, which derives from Model, is one of models of tensors, as in Keras: its __init__ hands
    inputs and outputs to Model's."""
    if issubclass(kind, of_tensors):
        return
    for base in kind.__bases__:
        if base is not base_class and issubclass(base, base_class):
            become(base, base_class, of_tensors)
    kind.__bases__ = tuple(of_tensors if base is base_class else base for base in kind.__bases__)
