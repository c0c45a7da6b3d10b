"""What a layer owns: its weights and layers, whether they are trained, and what they add to the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl import config, constraints, initializers, regularizers
from fastdl.base.arrays import Array, Dtype
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.naming import free_name
from fastdl.base.random import SeedGenerator
from fastdl.compiler.graph import Parameter, Shape
from fastdl.constraints import Constraint
from fastdl.errors import ShapeError
from fastdl.initializers import Function, Initializer
from fastdl.layers.context import layers_around, values_from
from fastdl.layers.weights import assign_all
from fastdl.metrics import Metric
from fastdl.regularizers import Regularizer
from fastdl.tree import NESTED

RegularizerLike = str | regularizers.OwnFunction | Regularizer | type[Regularizer] | Mapping[str, Any] | None
ConstraintLike = str | constraints.OwnFunction | Constraint | type[Constraint] | Mapping[str, Any] | None
InitializerLike = str | Function | type[Initializer] | Mapping[str, Any]
VOCABULARIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


class Weighted(Configured):
    """Base of Layer: weights, its own and those of the layers that it is made of.

    These are attributes, or stand in attributes that are lists, tuples or mappings.
    """

    name: str
    built: bool
    building: bool = False  # within `build`
    learning_rate_factors: dict[str, float] | None
    weight_decay_factors: dict[str, float] | None

    def __init__(self, trainable: bool) -> None:
        if not isinstance(trainable, bool | np.bool_):
            raise ValueError(f"trainable must be a boolean, True or False, not {trainable!r}")
        self._trainable = bool(trainable)
        self._dtype: Dtype | None = None  # of its inputs, once it is built
        self._parameters: list[Parameter] = []
        self._kept: set[Parameter] = set()  # never trained, as batch norm's moving averages
        self._adopted: list[Weighted] = []
        self._activity: list[float] = []  # what the last use on arrays adds to a loss

    def add_weight(
        self,
        *given: Any,
        shape: Any = None,
        initializer: InitializerLike | None = None,
        dtype: Any = None,
        name: str | None = None,
        trainable: bool = True,
        regularizer: RegularizerLike = None,
        constraint: ConstraintLike = None,
        by_rows: bool = False,
    ) -> Parameter:
        """Make a parameter of this layer, in its constructor or in `build`. by_rows: see Parameter.

        given: by position shape, initializer and dtype. Defaults are Keras's: a single number, glorot_uniform for
        floats and zeros for other dtypes, of the dtype of the inputs, or before they are known that of config.floatx().
        ValueError for a name in the place of the shape, and once the layer is built. Programs compute with floats only.
        """
        shape, initializer, dtype = _by_position(given, shape=shape, initializer=initializer, dtype=dtype)
        if self.built and not self.building:
            raise ValueError(
                f"{self.name} is built: you cannot add new elements of state, as {name or 'a weight'}. Make them in "
                "its constructor or in build"
            )
        taken = {parameter.name for parameter in self._parameters}
        name = name or free_name("variable", taken)
        sizes = (int(shape),) if isinstance(shape, int | np.integer) else tuple(shape or ())
        if not all(sizes):
            raise ShapeError(f"{self.name}: {name} would be of shape {sizes}: sizes must be known, and not 0")
        dtype = np.dtype(dtype or self._dtype or config.floatx())
        regularizer, constraint = regularizers.get(regularizer), constraints.get(constraint)
        default = "glorot_uniform" if dtype.kind == "f" else "zeros"
        draw = initializers.get(default if initializer is None else initializer)
        values = values_from.get()(draw, sizes, dtype)
        path = "/".join([*layers_around.get(), self.name, name])
        parameter = Parameter(path, sizes, dtype, values, trainable, by_rows)
        parameter.regularizer, parameter.constraint = regularizer, constraint
        parameter.learning_rate_factor = (self.learning_rate_factors or {}).get(name, 1.0)
        parameter.weight_decay_factor = (self.weight_decay_factors or {}).get(name, 1.0)
        self._parameters.append(parameter)
        if not trainable:
            self._kept.add(parameter)
        return parameter

    def own_weight(self, name: str, shape: tuple[int, ...], dtype: Dtype) -> Parameter:
        """Make a trained parameter, with the layer's initializer, regularizer and constraint for it (see `keep`)."""
        initializer, regularizer, constraint = (getattr(self, f"{name}_{what}") for what in VOCABULARIES)
        return self.add_weight(shape, initializer, dtype, name=name, regularizer=regularizer, constraint=constraint)

    def keep(self, **options: Any) -> None:
        """Keep initializers, regularizers and constraints as attributes of their names, e.g. kernel_constraint."""
        for name, value in options.items():
            setattr(self, name, VOCABULARIES[name.rpartition("_")[2]].get(value))

    def adopt(self, inner: Any, shape: Shape, dtype: Dtype) -> None:
        """Take over the parameters of `inner`, an activation, if it is a layer."""
        if not isinstance(inner, Weighted):
            return
        if not inner.built:
            inner.build_for(shape, dtype)
        self._adopted.append(inner)
        self._parameters += inner._parameters
        self._kept |= inner._kept if inner.trainable else set(inner._parameters)

    @property
    def trainable(self) -> bool:
        """Whether `fit` changes this layer; takes effect at the next `compile`."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        self._mark()
        for layer in self._inner_layers():
            layer.trainable = value

    def build_for(self, shape: Any, dtype: Any = None) -> None:
        """Make the parameters for inputs of this shape."""
        raise NotImplementedError

    def _mark(self) -> None:
        for parameter in self._tracked():
            parameter.trainable = self._trainable and parameter not in self._kept

    def _tracked(self, held: Iterable[Any] | None = None) -> list[Parameter]:
        """Its own parameters: those that it has made, and those that were assigned to attributes."""
        for each in self._held() if held is None else held:
            if isinstance(each, Parameter) and each not in self._parameters:
                self._parameters.append(each)
                if not each.trainable:
                    self._kept.add(each)
        return self._parameters

    def _held(self) -> Iterator[Any]:
        """What stands in attributes; of fastdl's own layers in public ones alone."""
        plain = is_fastdls(type(self))
        for name, value in list(vars(self).items()):
            if plain and name.startswith("_"):
                continue
            if isinstance(value, NESTED):
                yield from _leaves(value)
            else:
                yield value

    def _inner_layers(self, held: Iterable[Any] | None = None) -> list[Weighted]:
        """The layers that it is made of."""
        layers = dict.fromkeys(each for each in (self._held() if held is None else held) if isinstance(each, Weighted))
        return [layer for layer in layers if layer not in self._adopted]

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, in Keras's order."""
        held = list(self._held())  # looked through once: each fit asks for all weights
        inner = (parameter for layer in self._inner_layers(held) for parameter in layer.weights)
        return list(dict.fromkeys([*self._tracked(held), *inner]))

    @property
    def variables(self) -> list[Any]:
        """All weights, and the states of the seed generators that are attributes of it or its layers (Keras)."""
        return [*self.weights, *self._seed_states()]

    def _seed_states(self) -> list[Array]:
        states = [each.state for each in self._held() if isinstance(each, SeedGenerator)]
        return states + [state for layer in self._inner_layers() for state in layer._seed_states()]

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if not parameter.trainable]

    trainable_variables = trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """As `variables`, but for what is trained."""
        return [*self.non_trainable_weights, *self._seed_states()]

    @property
    def losses(self) -> list[float]:
        """The penalties of activities in the last call on arrays, and of the weights that are trained (Keras)."""
        return [*self._activity, *(p.regularizer(p.numpy()) for p in self.weights if p.trainable and p.regularizer)]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that are attributes of it, and of the layers that it is made of (Keras)."""
        own = [each for each in self._held() if isinstance(each, Metric)]
        return list(dict.fromkeys([*own, *(each for layer in self._inner_layers() for each in layer.metrics)]))

    @property
    def metrics_variables(self) -> list[Any]:
        """What its metrics add up in (Keras)."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def get_weights(self) -> list[Array]:
        """Copies of all parameters' values."""
        return [parameter.numpy() for parameter in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy values into all parameters. ShapeError if they do not fit; then nothing is changed."""
        assign_all(self.name, self.weights, weights)

    def count_params(self) -> int:
        """Numbers that all parameters hold."""
        return sum(parameter.size for parameter in self.weights)


def _leaves(value: Any, around: tuple[Any, ...] = ()) -> Iterator[Any]:
    """What stands in lists, tuples and mappings within each other, which may hold themselves."""
    if not isinstance(value, NESTED):
        yield value
    elif not any(value is each for each in around):
        for each in list(value.values()) if isinstance(value, Mapping) else value:
            yield from _leaves(each, (*around, value))


def _by_position(given: Sequence[Any], **named: Any) -> list[Any]:
    """The arguments of add_weight that may come by position. TypeError, ValueError."""
    if len(given) > len(named):
        raise TypeError(f"add_weight takes at most {len(named)} positional arguments, {', '.join(named)}")
    if given and isinstance(given[0], str):
        raise ValueError(
            f"name must be passed as a keyword argument: add_weight(shape=…, name={given[0]!r}): the shape comes first"
        )
    for name, _ in zip(named, given, strict=False):
        if named[name] is not None:
            raise ValueError(f"{name} was passed both positionally and as a keyword argument")
    return [*given, *list(named.values())[len(given) :]]
