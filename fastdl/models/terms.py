"""The terms of a model's loss: which losses are of which outputs, by the structures in which both were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import losses, tree
from fastdl.compiler.graph import Graph, Shape, Tensor
from fastdl.compiler.program import Terminal
from fastdl.errors import UnknownOutputError
from fastdl.losses import Loss
from fastdl.losses.loss import Function
from fastdl.ops.terminal import targets_of, traced_jointly


@dataclass(frozen=True)
class Term:
    """A loss of one output, or one of one's own of several at once.

    structure: in which it takes predictions and targets, with the outputs' numbers; name: in logs, before _loss.
    """

    loss: Loss
    structure: Any
    share: float
    name: str

    @property
    def outputs(self) -> list[int]:
        return tree.flatten(self.structure)

    @property
    def joint(self) -> bool:
        """Whether it is of a structure of outputs, and not of one."""
        return tree.is_nested(self.structure)

    @property
    def sums(self) -> bool:
        """Whether it is a sum over the batch, and not a mean."""
        return self.loss.reduction == "sum"

    def attach(self, graph: Graph, shapes: Mapping[int, Shape]) -> tuple[Tensor, Terminal]:
        """What a program reads of it; shapes: of targets that are not of their output's. ValueError for a loss that
        is not made for several outputs."""
        if not self.joint:
            with targets_of(shapes.get(self.structure)):
                return self.loss.attach(graph.outputs[self.structure])
        function = self.loss.fn if isinstance(self.loss, Function) else self.loss.call if self.loss.own_call else None
        if function is None:
            raise ValueError(
                f"{self.loss.name} is of one output: give each its own, or a function of your own of all of them"
            )
        return traced_jointly(function, self.structure, graph.outputs, shapes)


@dataclass(frozen=True)
class _Weighted:
    loss: Loss
    share: float


def terms(loss: Any, loss_weights: Any, structure: Any, names: Sequence[str]) -> list[Term]:
    """The terms of what `compile` was given, for outputs in this structure, which holds their numbers.

    As in Keras: one loss is of each output; a structure like that of the outputs has the losses of its parts; a list
    where the outputs are none, or are a list of another length, has several of the same part. ValueError, and for parts
    that the outputs have not UnknownOutputError.
    """
    loss, loss_weights = _listed(loss, structure, names), _listed(loss_weights, structure, names)
    if not tree.is_nested(loss):
        loss = tree.map_structure(lambda _: loss, structure)
    found: list[Term] = []
    if loss is not None:
        _walk(_weighted(loss, loss_weights), structure, names, (), found)
    return found


def _listed(chosen: Any, structure: Any, names: Sequence[str]) -> Any:
    """What was given by names of outputs that are no mapping, in their structure."""
    if not isinstance(chosen, Mapping) or isinstance(structure, Mapping):
        return chosen
    if unknown := [name for name in chosen if name not in names]:
        raise UnknownOutputError(f"loss names {unknown[0]!r}. Expected keys: {', '.join(names)}")
    return tree.map_structure(lambda number: chosen.get(names[number]), structure)


def _weighted(loss: Any, weights: Any) -> Any:
    """Losses with their shares. ValueError for weights that do not fit."""
    if not tree.is_nested(weights):
        return tree.map_structure(lambda each: each and _Weighted(each, 1.0 if weights is None else weights), loss)
    if isinstance(loss, Mapping) and isinstance(weights, Mapping):
        if unknown := [name for name in weights if name not in loss]:
            raise UnknownOutputError(f"loss_weights names {unknown[0]!r}: there is no such loss")
        return {name: _weighted(each, weights.get(name)) for name, each in loss.items()}
    if isinstance(loss, list | tuple) and isinstance(weights, list | tuple) and len(loss) == len(weights):
        return type(loss)(_weighted(each, weight) for each, weight in zip(loss, weights, strict=True))
    flat, count = tree.flatten(weights), len(tree.flatten(loss))
    if len(flat) != count:
        raise ValueError(f"loss_weights must match the losses: there are {len(flat)} entries, and {count} losses")
    return _weighted(loss, tree.pack_sequence_as(loss, flat))


def _walk(loss: Any, part: Any, names: Sequence[str], path: tree.Path, found: list[Term]) -> None:
    """Add the terms of a part of the outputs, which stands at the path."""
    if loss is None:
        return
    if isinstance(loss, _Weighted):
        found.append(Term(loss.loss, part, loss.share, _name(part, names, path)))
        return
    if isinstance(loss, list | tuple):
        leaves = tree.flatten(part)
        if len(loss) == len(leaves) and not any(map(tree.is_nested, loss)):
            loss = tree.pack_sequence_as(part, loss)
            if not tree.is_nested(loss):
                _walk(loss, part, names, path, found)
                return
        elif not isinstance(part, type(loss)):
            for each in loss:
                _walk(each, part, names, path, found)
            return
        elif isinstance(part, list | tuple) and len(loss) < len(part):
            outputs = tree.drawn(part, lambda number: names[number])
            raise ValueError(f"loss has {len(loss)} entries, the model {len(part)} outputs: {outputs}")
    keys = list(loss) if isinstance(loss, Mapping) else range(len(loss))
    for key in keys:
        alike = isinstance(part, Mapping) if isinstance(loss, Mapping) else isinstance(part, list | tuple)
        if not alike or (key not in part if isinstance(part, Mapping) else key >= len(part)):
            place = "".join(f"[{step!r}]" for step in (*path, key))
            raise UnknownOutputError(f"loss{place} has no output: they are {tree.drawn(part, lambda n: names[n])}")
        _walk(loss[key], part[key], names, (*path, key), found)


def _name(part: Any, names: Sequence[str], path: tree.Path) -> str:
    """Keras's: the way to the part, an output's own name in place of its number in a list, or of no way at all."""
    if not tree.is_nested(part) and (not path or isinstance(path[-1], int)):
        path = (*path[:-1], names[part])
    if path:
        return "/".join(map(str, path))
    return "_".join(map(str, part) if isinstance(part, Mapping) else (names[number] for number in tree.flatten(part)))


def checked_losses(chosen: Any) -> Any:
    """The structure with losses for their names. ValueError for others."""
    return checked(losses.loss_for, chosen)


def checked(function: Callable[[Any], Any], chosen: Any) -> Any:
    """The function of each leaf; None stays."""
    return tree.map_structure(lambda each: None if each is None else function(each), chosen)


def checked_share(share: Any) -> float:
    """One entry of loss_weights as a float. ValueError if it is no finite number."""
    if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not -1e300 < share < 1e300:
        raise ValueError(f"loss_weights must be finite numbers, not {share!r}; metrics are given as metrics=[…]")
    return float(share)
