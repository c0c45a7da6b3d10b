"""The base of all layers: a name, parameters, and a `call` that composes ops."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np

from fastdl import activations, config, ops, regularizers
from fastdl.base import configured, registry
from fastdl.base.arguments import UnknownArgumentError
from fastdl.base.arrays import Dtype
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.naming import auto_name, no_attribute
from fastdl.base.scopes import having
from fastdl.compiler.graph import Graph, Tensor, tracing
from fastdl.errors import ConfigError, ShapeError
from fastdl.layers.building import (
    build_arguments,
    buildable,
    names_of_arguments,
    parameters_of,
    policy_of,
    saved_policy,
)
from fastdl.layers.context import (
    Call,
    Phase,
    calls_noted,
    layers_around,
    listed,
    losses_added,
    made,
    note_call,
    on_its_own,
    phase,
    training_around,
)
from fastdl.layers.data_tensor import as_floats, of_one_dtype
from fastdl.layers.factors import FACTORS, checked_factors, refuse_unknown
from fastdl.layers.given import (
    Slot,
    any_batch,
    argument_of,
    batch_of,
    filled,
    gathered,
    mapped,
    refuse_values,
    shapes,
    shapes_as_tensors,
    tensors_in,
    told_batch,
    told_form,
)
from fastdl.layers.on_arrays import rows_of, with_losses
from fastdl.layers.stored import Stored, arguments_of
from fastdl.layers.weighted import ConstraintLike as ConstraintLike
from fastdl.layers.weighted import InitializerLike as InitializerLike
from fastdl.layers.weighted import RegularizerLike as RegularizerLike

ActivationLike = str | Callable[[Tensor], Tensor] | None
CLASSES: dict[str, type[Configured]] = {}  # what a file may name: fastdl's own layers, and nothing else


class Layer(Stored):
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
    scalars: ClassVar[bool] = False  # whether a sample may be one number, without an axis
    needs_shape: ClassVar[bool] = True  # to be built
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
            names = arguments_of(type(self))
            raise UnknownArgumentError(no_attribute(f"{type(self).__name__} has no argument", argument, names))
        self.dtype_policy = policy_of(dtype)
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
        super().__init__(trainable)
        self._called: Call | None = None  # the last use
        self.built = is_fastdls(type(self)) and type(self).build is Layer.build and not self.built_by_use

    def build(self, *shape: Any, **named: Any) -> None:
        """Make the parameters for inputs of this shape; called once."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The layer as ops."""
        raise NotImplementedError

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The symbolic output of symbolic inputs; or, of arrays, the array that the layer makes of them.

        Inputs are what `call` takes: one, a list or a mapping of them, or several arguments, by position or by name.
        What is no input stands by name. training: of layers within it as well. ValueError, ShapeError.
        """
        inputs, training = list[Tensor](), named.pop("training", None)
        form = gathered((args, named), inputs, Tensor)
        if not inputs:
            return self._on_arrays(args, named, training)
        refuse_values(args)
        return self._on_tensors(form, inputs, training)

    def _on_tensors(self, form: Any, inputs: list[Tensor], training: bool | None, arrays: Any = None) -> Any:
        """The layer on tensors in the slots of the form. arrays: what it is called on, where they stand for it."""
        self._check_form(form, inputs)
        read = of_one_dtype([self._readable(tensor) for tensor in inputs])
        self._prepare(read, filled(form, arrays or read))
        args, named = filled(form, [any_batch(tensor) for tensor in read])
        if self.takes_several and not self.own_call and len(args) == 1 and isinstance(args[0], Tensor):
            args = ([args[0]],)
        training = self._said(training)
        note_call(self)
        around = None if isinstance(training, Phase) else training
        names = (*layers_around.get(), self.name) if self.own_call else layers_around.get()
        with tracing(), calls_noted(None), having(training_around, around), having(layers_around, names):
            result = self.call(*args, **named, **self.told(training))
        tensors: list[Tensor] = []
        shape = gathered(result, tensors, Tensor)
        if wrong := self._not_given(shape, tensors):
            raise TypeError(f"{self.name}: call must give tensors (batch, …), not {wrong[0]!r}")
        if any(0 in tensor.shape for tensor in tensors):
            raise ShapeError(f"{self.name} needs sizes that are known: its input is {shapes(inputs)}")
        if self.activity_regularizer:
            tensors = [ops.Penalty(x, *self.activity_regularizer.strengths, self.name).output for x in tensors]
        # a layer that does nothing gives a tensor of its own too, for it stands in models
        batch, given = batch_of(self.name, inputs), tensors_in((args, named))
        outputs = tuple(
            told_batch(ops.Reshape(each, each.shape[1:], self.name).output if each in given else each, batch)
            for each in tensors
        )
        self._called = Call(self, tuple(inputs), outputs, training, *told_form(form, self.own_call))
        for tensor in outputs:
            tensor.made_by = self._called
        return filled(shape, outputs)

    def _said(self, training: bool | None) -> bool | None:
        """What is said of training, here or around the layer."""
        if isinstance(training, Phase) and not self.own_call:
            training = None
        if training is None:
            training = training_around.get()
        return True if training is None and self.trains_by_default and on_its_own.get() else training

    def told(self, training: bool | None) -> dict[str, Any]:
        """What `call` is told of training, if it asks; one's own also which graph is traced. fastdl's own."""
        if "training" not in parameters_of(self.call):
            return {}
        if training is None and self.own_call and (graph := phase.get()) is not None:
            graph.told = True
            return {"training": graph}
        return {} if training is None else {"training": training}

    def _check_form(self, form: Any, inputs: Sequence[Tensor]) -> None:
        """ShapeError for inputs that fastdl's own layers do not take."""
        if self.own_call:
            return
        if not self.takes_several and form != ((Slot(0),), {}):
            raise ShapeError(f"{self.name} takes one tensor, not {len(inputs)}: join them by Concatenate or Add")
        if not (self.scalars or self.unbatched) and any(len(tensor.shape) < 2 for tensor in inputs):
            shape = next(tensor.shape for tensor in inputs if len(tensor.shape) < 2)
            raise ShapeError(f"{self.name} takes arrays of (batch, ...), not of shape {shape}")

    def _not_given(self, shape: Any, tensors: Sequence[Tensor]) -> list[Any]:
        """What `call` must not give."""
        wrong: list[Any] = [tensor for tensor in tensors if not (tensor.batched or self.unbatched)]
        mapped(shape, lambda each: None if isinstance(each, Slot) else wrong.append(each))
        return wrong

    @property
    def compute_dtype(self) -> str:
        """The name of the dtype that it computes in: of what it was built for, or config.floatx() (Keras)."""
        return (self._dtype or np.dtype(config.floatx())).name

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

    def _prepare(self, inputs: Sequence[Tensor], given: Any) -> None:
        """Build for what it is given, arguments by position and by name. ValueError if it was built for others."""
        if not self.built or self._dtype is None:
            args, named = given
            self._build(*build_arguments(self, args, named, inputs[0].dtype), inputs[0].dtype)
        elif (dtype := self._float_dtype()) not in (None, inputs[0].dtype):
            raise ValueError(f"{self.name} was built for {dtype}, the input is {inputs[0].dtype}")

    def _float_dtype(self) -> Dtype | None:
        return next((parameter.dtype for parameter in self._parameters if parameter.dtype.kind == "f"), None)

    def _build(self, args: Sequence[Any], named: Mapping[str, Any], dtype: Dtype) -> None:
        """Make the parameters. ValueError for factors of weights that it does not train."""
        self._dtype, self.building = dtype, True
        try:
            self.build(*args, **named)
        finally:
            self.building = False
        others = {parameter for layer in self._adopted for parameter in layer.weights}
        own = [each.name for each in self._parameters if each not in self._kept and each not in others]
        for what in FACTORS:
            refuse_unknown(self.name, what, getattr(self, what), own)
        self.built = True
        self._mark()
        if not self._trainable:
            self.trainable = False  # of layers that were made in build as well

    def build_for(self, shape: Any = None, dtype: Any = None, **named: Any) -> None:
        """Make the parameters for inputs of this shape, or such by the names of build's arguments, of floatx (Keras).

        ShapeError for what is no shape.
        """
        if self.built and self._dtype is not None:
            return
        if shape is None and not named and is_fastdls(type(self)) and self.needs_shape:
            raise ShapeError(f"{self.name}: input_shape must be as (None, 4), or a list of such, not None")
        if shape is not None and (not isinstance(shape, list | tuple | Mapping) or not shape):
            raise ShapeError(f"{self.name}: input_shape must be as (None, 4), or a list of such, not {shape!r}")
        dtype = np.dtype(dtype or config.floatx())
        args = () if named else (shape, dtype)[: len(names_of_arguments(self.build))]
        self._build(args, named, dtype)

    def _on_arrays(self, args: Sequence[Any], named: Mapping[str, Any], training: bool | None) -> Any:
        """The layer on arrays (batch, ...), of the dtype that it was built for, as in Keras."""
        form, values = self._arrays_in(args, named)
        dtype = self._float_dtype() or np.dtype(config.floatx())
        arrays = [rows_of(f"{self.name}'s input", value, dtype) for value in values]
        sources = [Tensor((None, *array.shape[1:]), dtype, name="input") for array in arrays]
        used, added = self._called, list[Tensor]()
        with having(losses_added, added):
            outputs = self._on_tensors(form, sources, training, arrays)
        self._called = used or self._called  # a use on arrays is none in a model
        acts = self.trains_by_default if training is None else bool(training)
        found: list[Tensor] = []
        shape = gathered(outputs, found, Tensor)
        results, self._activity = with_losses(Graph(sources, found), arrays, added, acts, moves=acts)
        return filled(shape, results)

    def _arrays_in(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """The form of arguments that hold arrays, and these; what is no array may be what numpy makes one of."""
        values: list[Any] = []
        form = gathered((tuple(args), dict(named)), values, np.ndarray)
        if named or len(args) != 1 or (values and self.own_call):
            refuse_values(args)
            return form, values
        if self.takes_several and isinstance(args[0], list | tuple):
            return (([Slot(i) for i in range(len(args[0]))],), {}), list(args[0])
        return ((Slot(0),), {}), [args[0]]

    def compute_output_shape(self, *input_shapes: Any, **named: Any) -> Any:
        """The shapes of what it gives for inputs of such shapes, batch first (Keras). The layer stays as it is."""
        sources = shapes_as_tensors(
            (input_shapes, {argument_of(name): each for name, each in named.items()}), self._dtype
        )
        layer = self if self.built else copy.deepcopy(self)
        with unused([layer]):
            return shapes(layer(*sources[0], **sources[1]))

    def compute_output_spec(self, *args: Any, **named: Any) -> Any:
        """Symbolic tensors of the shapes that `compute_output_shape` gives for such inputs (Keras)."""
        if is_fastdls(type(self).compute_output_shape):
            return self(*args, **named)
        given = build_arguments(self, args, named, None, self.compute_output_shape)
        return shapes_as_tensors(self.compute_output_shape(*given[0], **given[1]), self._dtype)

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

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as `from_config` takes them (Keras).

        ValueError for a function of one's own, NotImplementedError for an argument that is not kept.
        """
        shape = self.input_shape_argument
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, **saved_policy(self.dtype_policy)}
        config |= {} if shape is None else {"input_shape": list(shape)}
        if self.activity_regularizer:
            config["activity_regularizer"] = self._plain("activity_regularizer", self.activity_regularizer)
        for what in FACTORS:
            if factors := getattr(self, what):
                config[what] = dict(factors)
        for name, value in self.made_of().items():
            if name != "activity_regularizer":
                config[name] = self._plain(name, value)
        return config

    def saved_config(self) -> dict[str, Any]:
        """The config that files hold: with all that was learned and is no weight."""
        return self.get_config()

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
            return configured.serialize(value) if hasattr(value, "get_config") else activations.serialize(value)
        except ValueError as error:
            raise ValueError(f"{self.name}: its {name} cannot be told in words: {error}") from None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and weights of its own (Keras)."""
        inner = config.get("activation")
        if isinstance(inner, Mapping) and inner.get("class_name") != "function":
            config = {**config, "activation": deserialize(inner)}
        takes = arguments_of(cls)
        all_options = is_fastdls(cls) or any(each.kind is each.VAR_KEYWORD for each in takes.values())
        later = set() if all_options else {"name", "trainable"} - set(takes)
        try:
            layer = cls(**{name: value for name, value in config.items() if name not in later})
        except ValueError as error:
            if type(error) is not ValueError:
                raise
            raise ConfigError(str(error)) from None
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
    return {"class_name": registry.get_registered_name(type(layer)), "config": layer.saved_config()}


def deserialize(config: Mapping[str, Any]) -> Configured:
    """The layer, or Input, that `serialize` described. ValueError if fastdl has none of that name."""
    layer: Configured = made(configured.deserialize(config, CLASSES))
    return layer


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)
