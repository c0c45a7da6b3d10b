"""The base of all layers: a name, parameters, and a `call` that composes ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np

from fastdl import activations, config, constraints, initializers, ops, regularizers
from fastdl.base import configured
from fastdl.base.arguments import UnknownArgumentError
from fastdl.base.arrays import Array, Dtype, as_dtype, numbers
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.naming import auto_name, free_name, no_attribute
from fastdl.compiler.graph import Graph, Parameter, Shape, Tensor, tracing
from fastdl.constraints import Constraint
from fastdl.errors import ShapeError
from fastdl.initializers import Function, Initializer
from fastdl.layers.building import buildable, checked_dtype
from fastdl.layers.context import Call, calls_noted, listed, losses_added, made, note_call, on_its_own, values_from
from fastdl.layers.data_tensor import as_floats, of_one_dtype
from fastdl.layers.factors import FACTORS, checked_factors, refuse_unknown
from fastdl.layers.weights import assign_all
from fastdl.ops.on_arrays import compute
from fastdl.regularizers import Regularizer

ActivationLike = str | Callable[[Tensor], Tensor] | None
RegularizerLike = str | regularizers.OwnFunction | Regularizer | type[Regularizer] | Mapping[str, Any] | None
ConstraintLike = str | constraints.OwnFunction | Constraint | type[Constraint] | Mapping[str, Any] | None
InitializerLike = str | Function | type[Initializer] | Mapping[str, Any]

VOCABULARIES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
CLASSES: dict[str, type[Configured]] = {}  # what a file may name: fastdl's own layers, and nothing else


class Layer(Configured):
    """Base layer. A subclass makes its parameters in `build` and composes ops in `call`.

    `call` takes a Tensor, or a list of them if `takes_several`; and `training`, if it heeds it: True or False to act as
    in training or inference always, None to act as the model does. activity_regularizer: L1, L2 or L1L2, of the output,
    divided by the batch's size. learning_rate_factors: by the name of a weight ("kernel", "bias", …), what the
    optimizer's step on it is multiplied with; weight_decay_factors: the same of its weight decay, which is learning
    rate × weight decay × this factor alone. Weights that are not named have 1.
    """

    takes_several: bool = False
    unbatched: ClassVar[bool] = False  # whether it may give one array for all samples
    nameable = False
    built_by_use: ClassVar[bool] = False  # whether it counts as built once it is used only, without weights as well
    by_number: ClassVar[bool] = False  # whether it computes each number by itself, so that arrays may have one axis
    building: bool = False  # within `build`
    trains_by_default: ClassVar[bool] = False  # on arrays, where nobody says whether it is training

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in vars(cls):
            cls.build = buildable(cls.build)  # type: ignore[method-assign]
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
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        for argument in unknown:
            names = inspect.signature(type(self)).parameters
            raise UnknownArgumentError(no_attribute(f"{type(self).__name__} has no argument", argument, names))
        checked_dtype(dtype)
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
        self._dtype: Dtype | None = None  # of its inputs, once it is built
        self._parameters: list[Parameter] = []
        self._kept: set[Parameter] = set()  # never trained, as batch norm's moving averages
        self._adopted: list[Layer] = []
        self._called: Call | None = None  # the last use
        self._activity: list[float] = []  # penalties of the outputs of the last use on arrays
        self.built = is_fastdls(type(self)) and type(self).build is Layer.build and not self.built_by_use

    def build(self, shape: Shape, dtype: Dtype) -> None:
        """Make the parameters for inputs of this shape; called once."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The layer as ops."""
        raise NotImplementedError

    def __call__(self, x: Any, *more: Any, training: bool | None = None) -> Any:
        """The symbolic output of a symbolic input; or, of an array, the array that the layer makes of it.

        Several inputs come as a list, or, where `call` takes them so, as several arguments. training may come second.
        """
        if more and not isinstance(more[0], Tensor | np.ndarray):
            training, more = more[0], more[1:]
        inputs = (x, *more) if more else tuple(listed(x))
        if not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
            return self._on_arrays(inputs if more else x, training, bool(more))
        if (len(inputs) > 1 or isinstance(x, list)) and not self.takes_several:
            if not self.own_call:
                raise ShapeError(f"{self.name} takes one tensor, not {len(inputs)}: join them by Concatenate or Add")
            self.takes_several = True
        read = of_one_dtype([self._readable(tensor) for tensor in inputs])
        self._prepare(read)
        if training is None and self.trains_by_default and on_its_own.get():
            training = True
        heeds = training is not None and "training" in inspect.signature(self.call).parameters
        given = read if more else (read if isinstance(x, tuple) else list(read),) if self.takes_several else read[:1]
        note_call(self)
        with tracing(), calls_noted(None):  # what it calls itself is no call of the model's
            result = self.call(*given, **({"training": training} if heeds else {}))
        tensors = listed(result)
        if wrong := [each for each in tensors if not isinstance(each, Tensor) or not (each.batched or self.unbatched)]:
            raise TypeError(f"{self.name}: call must give tensors (batch, …), not {wrong[0]!r}")
        if self.activity_regularizer:
            tensors = [ops.Penalty(x, *self.activity_regularizer.strengths, self.name).output for x in tensors]
        # a layer that does nothing gives a tensor of its own too, for it stands in models
        outputs = tuple(
            ops.Reshape(tensor, tuple(size or 0 for size in tensor.shape[1:]), self.name).output
            if tensor in read
            else tensor
            for tensor in tensors
        )
        self._called = Call(self, inputs, outputs, training, bool(more))
        for tensor in outputs:
            tensor.made_by = self._called
        if not isinstance(result, list | tuple):
            return outputs[0]
        return outputs if isinstance(result, tuple) else list(outputs)

    @property
    def own_call(self) -> bool:
        """Whether `call` is one's own, and not fastdl's."""
        return not is_fastdls(type(self).call)

    def add_loss(self, loss: Any) -> None:
        """Add to the model's loss what `call` has computed: a tensor (batch, …), of which the mean counts, or one
        number for the batch; or a list of such (Keras). TypeError for what is no tensor."""
        for each in listed(loss):
            if not isinstance(each, Tensor):
                raise TypeError(f"{self.name}: add_loss takes tensors that call has computed, not {each!r}")
            if (added := losses_added.get()) is not None:
                added.append(each)

    def _readable(self, tensor: Tensor) -> Tensor:
        """What the layer reads of a tensor that it is called on. ValueError for one that it cannot read."""
        return as_floats(self.name, tensor)

    def _prepare(self, inputs: tuple[Tensor, ...]) -> None:
        """Build for these inputs. ValueError if it was built for others."""
        if not self.built or self._dtype is None:
            self._build([x.shape for x in inputs] if self.takes_several else inputs[0].shape, inputs[0].dtype)
            self._mark()
        elif self._parameters and self._parameters[0].dtype != inputs[0].dtype:
            raise ValueError(f"{self.name} was built for {self._parameters[0].dtype}, the input is {inputs[0].dtype}")

    def _build(self, shape: Any, dtype: Dtype) -> None:
        """Make the parameters. ValueError for factors of weights that it does not train."""
        self._dtype = dtype
        names = list(inspect.signature(self.build).parameters)
        self.building = True
        try:
            if len(names) > 1 and names[1].endswith("shape") and isinstance(shape, list):  # one of each input (Keras)
                self.build(*shape)
            else:
                self.build(*(shape, dtype)[: len(names)])  # type: ignore[arg-type]
        finally:
            self.building = False
        own = [p.name for p in self._parameters if p.path == f"{self.name}/{p.name}" and p not in self._kept]
        for what in FACTORS:
            refuse_unknown(self.name, what, getattr(self, what), own)
        self.built = True

    def build_for(self, shape: Any) -> None:
        """Make the parameters for inputs of this shape, of which the batch's size does not count, of floatx (Keras)."""
        if self.built and self._dtype is not None:
            return
        if not isinstance(shape, list | tuple) or not shape:
            raise ShapeError(f"{self.name}: input_shape must be as (None, 4), or a list of such, not {shape!r}")
        sizes = [(None, *x[1:]) for x in shape] if isinstance(shape[0], list | tuple) else (None, *shape[1:])
        self._build(sizes, np.dtype(config.floatx()))
        self._mark()

    def _on_arrays(self, x: Any, training: bool | None, apart: bool = False) -> Any:
        """The layer on arrays (batch, ...), of the dtype that it was built for, as in Keras."""
        dtype = self._parameters[0].dtype if self._parameters else np.dtype(config.floatx())
        several = apart or self.takes_several
        values = [numbers(f"{self.name}'s input", each) for each in (listed(x) if several else [x])]
        arrays = [np.ascontiguousarray(as_dtype(f"{self.name}'s input", each, dtype)) for each in values]
        if self.by_number and len(arrays) == 1 and arrays[0].ndim == 1:
            return self._on_arrays(arrays[0][:, None], training)[:, 0]
        sources = [Tensor((None, *array.shape[1:]), dtype, name="input") for array in arrays]
        if any(array.ndim < 2 for array in arrays):
            raise ShapeError(f"{self.name} takes arrays of (batch, ...), not of shape {arrays[0].shape}")
        used = self._called
        outputs = self(*sources) if apart else self(sources if self.takes_several else sources[0])
        self._called = used or self._called  # a use on arrays is none in a model
        acts = self.trains_by_default if training is None else bool(training)
        results = compute(Graph(sources, listed(outputs)), arrays, acts, acts)
        if self.activity_regularizer:
            self._activity = [self.activity_regularizer(result) / len(result) for result in results]
        return type(outputs)(results) if isinstance(outputs, list | tuple) else results[0]

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
        name: Any = None,
        shape: Any = None,
        dtype: Any = None,
        initializer: InitializerLike | None = None,
        trainable: bool = True,
        regularizer: RegularizerLike = None,
        constraint: ConstraintLike = None,
        by_rows: bool = False,
    ) -> Parameter:
        """Make a parameter of this layer. by_rows: a matrix whose rows are looked up (see Parameter).

        The shape may come first, as in Keras; defaults are its: glorot_uniform, and the dtype of the inputs, or before
        they are known that of config.floatx().
        """
        if isinstance(name, list | tuple | int):
            name, shape, initializer = None, name, initializer if shape is None else shape
        taken = {parameter.name for parameter in self._parameters}
        name = name or free_name("variable", taken)
        shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        dtype = np.dtype(dtype or self._dtype or config.floatx())
        regularizer, constraint = regularizers.get(regularizer), constraints.get(constraint)
        draw = initializers.get("glorot_uniform" if initializer is None else initializer)
        values = (values_from.get() or draw)(shape, dtype)
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
        if isinstance(value, Configured):
            return self._named(name, value)
        if not callable(value):
            return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        return self._named(name, value)

    def _named(self, name: str, value: Any) -> Any:
        """A function, or an object that is made of its arguments, by its name."""
        try:
            return configured.serialize(value) if isinstance(value, Configured) else activations.serialize(value)
        except ValueError as error:
            raise ValueError(f"{self.name}: its {name} cannot be told in words: {error}") from None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and weights of its own (Keras)."""
        inner = config.get("activation")
        if isinstance(inner, Mapping) and inner.get("class_name") != "function":
            config = {**config, "activation": deserialize(inner)}
        takes = inspect.signature(cls).parameters
        all_options = is_fastdls(cls) or any(each.kind is each.VAR_KEYWORD for each in takes.values())
        later = set() if all_options else {"name", "trainable"} - set(takes)
        layer = cls(**{name: value for name, value in config.items() if name not in later})
        for name in later & set(config):
            setattr(layer, name, config[name])
        return layer

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


def serialize(layer: Layer) -> dict[str, Any]:
    """The layer's class and arguments, as `deserialize` takes them (Keras). ValueError for a layer of one's own."""
    if not configured.is_one_of(layer, CLASSES):
        raise ValueError(
            f"{layer.name} is a {type(layer).__name__} of your own, and a file would mean fastdl's layer of that name: "
            "rename the class, or register it by saving.register_keras_serializable"
        )
    return configured.serialize(layer)


def deserialize(config: Mapping[str, Any]) -> Configured:
    """The layer, or Input, that `serialize` described. ValueError if fastdl has none of that name."""
    layer: Configured = made(configured.deserialize(config, CLASSES))
    return layer


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)
