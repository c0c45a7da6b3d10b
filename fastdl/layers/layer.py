"""The base of all layers: a name, parameters, and a `call` that composes ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fastdl import activations, config, constraints, initializers, ops, regularizers
from fastdl.base import configured
from fastdl.base.arguments import UnknownArgumentError
from fastdl.base.arrays import Array, Dtype, as_dtype, numbers, refuse_masked
from fastdl.base.configured import Configured
from fastdl.base.naming import auto_name, no_attribute
from fastdl.compiler.graph import Graph, Parameter, Shape, Tensor
from fastdl.constraints import Constraint
from fastdl.errors import ShapeError
from fastdl.initializers import Function, Initializer
from fastdl.layers.data_tensor import as_floats, of_one_dtype
from fastdl.layers.factors import FACTORS, checked_factors, refuse_unknown
from fastdl.ops.on_arrays import compute
from fastdl.regularizers import Regularizer

ActivationLike = str | Callable[[Tensor], Tensor] | None
RegularizerLike = str | regularizers.OwnFunction | Regularizer | type[Regularizer] | Mapping[str, Any] | None
ConstraintLike = str | constraints.OwnFunction | Constraint | type[Constraint] | Mapping[str, Any] | None
InitializerLike = str | Function | type[Initializer] | Mapping[str, Any]

VOCABULARIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
CLASSES: dict[str, type[Configured]] = {}  # what a file may name: fastdl's own layers, and nothing else
values_from: ContextVar[Function | None] = ContextVar("values_from", default=None)  # a file, while one is loaded
on_its_own: ContextVar[bool] = ContextVar("on_its_own", default=False)  # nobody says whether a model is training
_together: ContextVar[dict[str, Layer] | None] = ContextVar("together", default=None)


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer: what it read, and what it gave."""

    layer: Layer
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    training: bool | None

    def again(self, inputs: Sequence[Tensor], training: bool | None = None) -> list[Tensor]:
        """The outputs of the same use of the layer with other inputs."""
        x: Any = list(inputs) if len(inputs) > 1 or self.layer.takes_several else inputs[0]
        return listed(self.layer(x, training=training if self.training is None else self.training))


def listed(value: Any) -> list[Any]:
    """A list of one, or of several."""
    return list(value) if isinstance(value, list | tuple) else [value]


class Layer(Configured):
    """Base layer. A subclass makes its parameters in `build` and composes ops in `call`.

    `call` takes a Tensor, or a list of them if `takes_several`; and `training`, if it heeds it: True or False to act as
    in training or inference always, None to act as the model does. activity_regularizer: L1, L2 or L1L2, of the output,
    divided by the batch's size. learning_rate_factors: by the name of a weight ("kernel", "bias", …), what the
    optimizer's step on it is multiplied with; weight_decay_factors: the same of its weight decay, which is learning
    rate × weight decay × this factor alone. Weights that are not named have 1.
    """

    takes_several: bool = False
    nameable = False
    trains_by_default: ClassVar[bool] = False  # on arrays, where nobody says whether it is training

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if configured.may_be_named(cls):
            CLASSES[cls.__name__] = cls

    def __init__(
        self,
        *,
        activity_regularizer: RegularizerLike = None,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        learning_rate_factors: Mapping[str, float] | None = None,
        weight_decay_factors: Mapping[str, float] | None = None,
        **unknown: Any,
    ) -> None:
        for argument in unknown:
            names = inspect.signature(type(self)).parameters
            raise UnknownArgumentError(no_attribute(f"{type(self).__name__} has no argument", argument, names))
        self.name = name or auto_name(type(self).__name__)
        shape = (input_dim,) if input_shape is None and input_dim is not None else input_shape
        self.input_shape_argument = None if shape is None else tuple(shape)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        if self.activity_regularizer and self.activity_regularizer.own:
            raise ValueError(
                f"{self.name}: activity_regularizer must be L1, L2 or L1L2, not {activity_regularizer!r}: one of your "
                "own can regularize weights only"
            )
        self.learning_rate_factors = checked_factors("learning_rate_factors", learning_rate_factors)
        self.weight_decay_factors = checked_factors("weight_decay_factors", weight_decay_factors)
        self._trainable = bool(trainable)
        self._parameters: list[Parameter] = []
        self._kept: set[Parameter] = set()  # never trained, as batch norm's moving averages
        self._adopted: list[Layer] = []
        self._called: Call | None = None  # the last use
        self._activity: list[float] = []  # penalties of the outputs of the last use on arrays
        self.built = False

    def build(self, shape: Shape, dtype: Dtype) -> None:
        """Make the parameters for inputs of this shape; called once."""

    # what subclasses take is theirs to say: x or inputs, with or without training
    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The layer as ops."""
        raise NotImplementedError

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The symbolic output of a symbolic input; or, of an array, the array that the layer makes of it."""
        inputs = tuple(listed(x))
        if not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
            return self._on_arrays(x, training)
        if len(inputs) > 1 and not self.takes_several:
            raise ShapeError(f"{self.name} takes one tensor, not {len(inputs)}: join them by Concatenate or Add")
        read = of_one_dtype([self._readable(tensor) for tensor in inputs])
        self._prepare(read)
        if training is None and self.trains_by_default and on_its_own.get():
            training = True
        heeds = training is not None and "training" in inspect.signature(self.call).parameters
        result = self.call(list(read) if self.takes_several else read[0], **({"training": training} if heeds else {}))
        tensors = listed(result)
        if self.activity_regularizer:
            tensors = [ops.Penalty(x, *self.activity_regularizer.strengths, self.name).output for x in tensors]
        # a layer that does nothing gives a tensor of its own too, for it stands in models
        outputs = tuple(
            ops.Reshape(tensor, tuple(size or 0 for size in tensor.shape[1:]), self.name).output
            if tensor in read
            else tensor
            for tensor in tensors
        )
        self._called = Call(self, inputs, outputs, training)
        for tensor in outputs:
            tensor.made_by = self._called
        return list(outputs) if isinstance(result, list | tuple) else outputs[0]

    def _readable(self, tensor: Tensor) -> Tensor:
        """What the layer reads of a tensor that it is called on. ValueError for one that it cannot read."""
        return as_floats(self.name, tensor)

    def _prepare(self, inputs: tuple[Tensor, ...]) -> None:
        """Build for these inputs. ValueError if it was built for others."""
        if not self.built:
            self._build([x.shape for x in inputs] if self.takes_several else inputs[0].shape, inputs[0].dtype)
            self._mark()
        elif self._parameters and self._parameters[0].dtype != inputs[0].dtype:
            raise ValueError(f"{self.name} was built for {self._parameters[0].dtype}, the input is {inputs[0].dtype}")

    def _build(self, shape: Any, dtype: Dtype) -> None:
        """Make the parameters. ValueError for factors of weights that it does not train."""
        self.build(shape, dtype)
        own = [p.name for p in self._parameters if p.path == f"{self.name}/{p.name}" and p not in self._kept]
        for what in FACTORS:
            refuse_unknown(self.name, what, getattr(self, what), own)
        self.built = True

    def _on_arrays(self, x: Any, training: bool | None) -> Any:
        """The layer on arrays (batch, ...), of the dtype that it was built for, as in Keras."""
        dtype = self._parameters[0].dtype if self._parameters else np.dtype(config.floatx())
        values = [numbers(f"{self.name}'s input", each) for each in (listed(x) if self.takes_several else [x])]
        arrays = [np.ascontiguousarray(as_dtype(f"{self.name}'s input", each, dtype)) for each in values]
        sources = [Tensor((None, *array.shape[1:]), dtype, name="input") for array in arrays]
        if any(array.ndim < 2 for array in arrays):
            raise ShapeError(f"{self.name} takes arrays of (batch, ...), not of shape {arrays[0].shape}")
        used = self._called
        outputs = self(sources if self.takes_several else sources[0])
        self._called = used or self._called  # a use on arrays is none in a model
        acts = self.trains_by_default if training is None else bool(training)
        results = compute(Graph(sources, listed(outputs)), arrays, acts, acts)
        if self.activity_regularizer:
            self._activity = [self.activity_regularizer(result) / len(result) for result in results]
        return results if isinstance(outputs, list) else results[0]

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's last use, or a list of them (Keras). ValueError before it is used."""
        return _one(self._use().outputs)

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's last use, or a list of them (Keras). ValueError before it is used."""
        return _one(self._use().inputs)

    @property
    def output_shape(self) -> Any:
        """(None, *outputs of a sample), or a list of such, of the last use; None before it."""
        return _one([tensor.shape for tensor in self._called.outputs]) if self._called else None

    def reads(self, tensor: Tensor) -> bool:
        """Whether the layer's last use read the tensor."""
        return self._called is not None and tensor in self._called.inputs

    def _use(self) -> Call:
        if self._called is None:
            raise ValueError(f"{self.name} has not been used in a model yet")
        return self._called

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Dtype,
        initializer: Function,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
        constraint: Constraint | None = None,
        by_rows: bool = False,
    ) -> Parameter:
        """Make a parameter of this layer. by_rows: a matrix whose rows are looked up (see Parameter)."""
        values = (values_from.get() or initializer)(shape, dtype)
        parameter = Parameter(f"{self.name}/{name}", shape, dtype, values, trainable, by_rows)
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
        return self.add_weight(name, shape, dtype, initializer, True, regularizer, constraint)

    def keep(self, **options: Any) -> None:
        """Keep initializers, regularizers and constraints as attributes of their names, e.g. kernel_constraint."""
        for name, value in options.items():
            setattr(self, name, VOCABULARIES[name.rpartition("_")[2]].get(value))

    def adopt(self, inner: Any, shape: Shape, dtype: Dtype) -> None:
        """Take over the parameters of `inner`, an activation, if it is a layer."""
        if not isinstance(inner, Layer):
            return
        if not inner.built:
            inner._build(shape, dtype)
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

    def _mark(self) -> None:
        for parameter in self._parameters:
            parameter.trainable = self._trainable and parameter not in self._kept

    def _inner_layers(self) -> list[Layer]:
        """Layers that a layer of one's own is made of: its attributes, and those in lists, but not private ones."""
        values = [listed(value) for name, value in vars(self).items() if not name.startswith("_")]
        layers = [value for each in values for value in each if isinstance(value, Layer)]
        return [layer for layer in layers if layer not in self._adopted]

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, in Keras's order."""
        inner = (parameter for layer in self._inner_layers() for parameter in layer.weights)
        return list(dict.fromkeys([*self._parameters, *inner]))

    @property
    def variables(self) -> list[Parameter]:
        return self.weights

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if not parameter.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def losses(self) -> list[float]:
        """The penalties of activities in the last call on arrays, and of the weights that are trained (Keras)."""
        return [*self._activity, *(p.regularizer(p.numpy()) for p in self.weights if p.trainable and p.regularizer)]

    def get_weights(self) -> list[Array]:
        """Copies of all parameters' values."""
        return [parameter.numpy() for parameter in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy values into all parameters. ShapeError if they do not fit; then nothing is changed."""
        assign_all(self.name, self.weights, weights)

    def count_params(self) -> int:
        """Numbers that all parameters hold."""
        return sum(parameter.size for parameter in self.weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as `from_config` takes them (Keras).

        ValueError for a function of one's own, NotImplementedError for an argument that is not kept.
        """
        shape = self.input_shape_argument
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config |= {} if shape is None else {"input_shape": list(shape)}
        if self.activity_regularizer:
            config["activity_regularizer"] = self._plain("activity_regularizer", self.activity_regularizer)
        for what in FACTORS:
            if factors := getattr(self, what):
                config[what] = dict(factors)
        for name, argument in inspect.signature(type(self)).parameters.items():
            if argument.kind is not argument.POSITIONAL_OR_KEYWORD:
                continue  # the base's, which are above, or an older name of another
            if not hasattr(self, name):
                raise NotImplementedError(f"{type(self).__name__} keeps no attribute {name!r}: override get_config")
            config[name] = self._plain(name, getattr(self, name))
        return config

    def _plain(self, name: str, value: Any) -> Any:
        """An argument as JSON can hold it."""
        if isinstance(value, Layer):
            return serialize(value)
        if any(configured.is_one_of(value, module.NAMES) for module in VOCABULARIES.values()):
            return configured.serialize(value)
        if not callable(value):
            return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        known = getattr(value, "__name__", "")
        if activations.NAMES.get(known) is value:
            return known
        raise ValueError(f"{self.name}: its {name} is your own, {value!r}: only fastdl's can be told in words")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and weights of its own (Keras)."""
        inner = config.get("activation")
        return cls(**{**config, "activation": deserialize(inner)} if isinstance(inner, Mapping) else config)

    def __getstate__(self) -> dict[str, Any]:
        """All but the last use, which belongs to a model: for pickle and copy.deepcopy."""
        return {**vars(self), "_called": None, "_activity": []}

    def __repr__(self) -> str:
        made = f", output {self.output_shape}, {self.count_params():,} parameters" if self.built else ", not built yet"
        return f"<{type(self).__name__} name={self.name}{made}>"


@contextmanager
def unused(layers: Sequence[Layer]) -> Iterator[None]:
    """What layers last read and gave stays: calls of them within belong to another graph than their model's own."""
    used = [(layer, layer._called) for layer in layers]
    try:
        yield
    finally:
        for layer, called in used:
            layer._called = called


def checked_seed(seed: int | None) -> int | None:
    """A layer's seed. ValueError unless 0 <= seed < 2**32, or None."""
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**32):
        raise ValueError(f"seed must be an integer in [0, 2**32), not {seed!r}")
    return seed


def no_shape(noise_shape: None) -> None:
    """ValueError for any noise_shape of Keras's but None."""
    if noise_shape is not None:
        raise ValueError(f"noise_shape must be None, not {noise_shape!r}: each number is drawn by itself")


def serialize(layer: Layer) -> dict[str, Any]:
    """The layer's class and arguments, as `deserialize` takes them (Keras). ValueError for a layer of one's own."""
    if not configured.is_one_of(layer, CLASSES):
        raise ValueError(f"{layer.name} is a {type(layer).__name__}, a layer of your own: only fastdl's can be saved")
    return configured.serialize(layer)


def deserialize(config: Mapping[str, Any]) -> Configured:
    """The layer, or Input, that `serialize` described. ValueError if fastdl has none of that name."""
    layer: Configured = made(configured.deserialize(config, CLASSES))
    return layer


def made(layer: Any) -> Any:
    """The layer, which others that are made together with it may now ask for by name."""
    if (known := _together.get()) is not None and isinstance(layer, Layer):
        known[layer.name] = layer
    return layer


@contextmanager
def together() -> Iterator[None]:
    """Layers made within belong to one model: one may name another."""
    token = None if _together.get() is not None else _together.set({})
    try:
        yield
    finally:
        if token:
            _together.reset(token)


def made_before(name: str) -> Layer:
    """The layer of that name of the model that is being made. ValueError if there is none before."""
    known = _together.get() or {}
    if name not in known:
        raise ValueError(f"there is no layer {name!r} before the one that shares its weights")
    return known[name]


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def assign_all(owner: str, parameters: Sequence[Parameter], weights: Sequence[Any]) -> None:
    """Copy values into parameters, all or none. ShapeError if one does not fit."""
    if not isinstance(weights, list | tuple | np.ndarray):
        raise TypeError(f"weights must be a list of arrays, not {weights!r}")
    if len(weights) != len(parameters):
        raise ShapeError(f"{owner} has {len(parameters)} weight arrays, {len(weights)} were given")
    for parameter, weight in zip(parameters, weights, strict=True):
        refuse_masked(parameter.path, weight)
    arrays = [np.asarray(weight) for weight in weights]
    for parameter, array in zip(parameters, arrays, strict=True):
        if array.shape != parameter.shape:
            raise ShapeError(f"{parameter.path} has shape {parameter.shape}, the new value {array.shape}")
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.assign(array)
