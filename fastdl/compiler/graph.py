"""A traced model: tensors, parameters and ops in order. Shapes and names only; no arithmetic happens here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Protocol

import numpy as np

from fastdl.base.arrays import Array, Dtype
from fastdl.base.order import in_order
from fastdl.base.scopes import having
from fastdl.compiler.formula import Form
from fastdl.compiler.memory import aligned, fill_strips, from_strips, padded, strips_of, to_strips
from fastdl.errors import ShapeError

Shape = tuple[int | None, ...]


class WeightConstraint(Protocol):
    """What a parameter asks of its constraint. build: the compiler's Builder, which stands above graphs."""

    def emit(self, build: Any, parameter: Parameter) -> None: ...


class WeightPenalty(Protocol):
    """What a parameter asks of its penalty. build: as for a WeightConstraint.

    strengths: its l1 and l2, as far as kernels know it; own: whether it is computed by numpy.
    """

    own: bool

    @property
    def strengths(self) -> tuple[float, float]: ...
    def __call__(self, w: Any, /) -> float: ...
    def penalize(self, build: Any, parameter: Parameter) -> None: ...
    def add_gradient(self, build: Any, parameter: Parameter, gradient: Any) -> None: ...


_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


def is_tracing() -> bool:
    """Whether ops are being composed: within a layer's call, a loss of one's own, or a program that is being built."""
    return _tracing.get()


@contextmanager
def tracing() -> Iterator[None]:
    """Within, functions of tensors give ops, and weights are tensors."""
    with having(_tracing, True):
        yield


class NoTruthError(TypeError):
    """A symbolic tensor was asked whether it is true: in an if, or by `and`, `or` and `not`."""


class Arithmetic:
    """Operators of tensors and parameters: each is a function of fastdl.ops, which gives a tensor.

    `==` stays identity, for tensors are keys of dictionaries: ops.equal compares values.
    """

    apply: ClassVar[Callable[..., Any]]  # the ops' own, which stand above: (name of the function, operands)
    as_layer: ClassVar[Callable[..., Any]]  # the same as a layer of a model: (name, operands, options)
    apply_numpy: ClassVar[Callable[..., Any]]  # the same for a numpy function: (ufunc, method, operands, options)

    def __array_ufunc__(self, function: Any, method: str, *operands: Any, **options: Any) -> Any:
        return self.apply_numpy(function, method, operands, options)

    def __array_function__(self, function: Any, types: Any, operands: Any, options: Any) -> Any:
        return self.apply_numpy(function, "__call__", operands, options)

    def __add__(self, other: Any) -> Any:
        return self.apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self.apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self.apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.apply("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.apply("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return self.apply("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.apply("power", other, self)

    def __matmul__(self, other: Any) -> Any:
        return self.apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self.apply("matmul", other, self)

    def __neg__(self) -> Any:
        return self.apply("negative", self)

    def __abs__(self) -> Any:
        return self.apply("absolute", self)

    def __lt__(self, other: Any) -> Any:
        return self.apply("less", self, other)

    def __le__(self, other: Any) -> Any:
        return self.apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.apply("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.apply("greater_equal", self, other)

    def __getitem__(self, key: Any) -> Any:
        return self.apply("get_item", self, key)


class Tensor(Arithmetic):
    """A symbolic array: `shape` (None for the batch), `dtype`, and the op that computes it (None for an input).

    Without a batch axis it is one array for all samples, as a weight is: in programs, the same numbers beside each.
    made_by: the call of a layer that gave it, for models to be made of calls. batch_size: what a person has told of the
    batch, which then is the first entry of `shape`; within layers and programs no tensor knows it.
    """

    made_by: Any = None
    batch_size: int | None = None

    def __init__(self, shape: Shape, dtype: Dtype, op: Op | None = None, name: str = "") -> None:
        self.shape, self.dtype, self.op, self.name = shape, dtype, op, name

    @property
    def features(self) -> int:
        """Numbers that one sample holds."""
        return math.prod(size or 0 for size in self.sample)

    @property
    def batched(self) -> bool:
        """Whether each sample has numbers of its own."""
        return bool(self.shape) and (self.shape[0] is None or self.batch_size is not None)

    @property
    def sample(self) -> Shape:
        """The shape of what a sample holds."""
        return self.shape[1:] if self.batched else self.shape

    @property
    def ndim(self) -> int:
        """The number of axes, the batch's among them (Keras)."""
        return len(self.shape)

    @property
    def channels(self) -> int:
        """The size of the last axis: what a Dense layer, a softmax or a loss looks at together."""
        if self.batched and len(self.shape) == 1:
            raise ShapeError(
                f"{self.name or 'a tensor'} of shape {self.shape} has one number a sample, and no axis: Flatten() it"
            )
        return self.shape[-1] or 0

    @property
    def members(self) -> int:
        """How many times a sample has such a last axis: 1 of (batch, features)."""
        return math.prod(size or 0 for size in self.shape[1:-1])

    def __bool__(self) -> bool:
        raise NoTruthError(
            f"{self.name or 'a symbolic tensor'} has no values yet, and is not true or false: choose by ops.where"
        )

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(f"{self.name or 'a tensor'} has no values yet: compute with it by fastdl.ops")

    def __iter__(self) -> Any:
        raise TypeError(
            f"{self.name or 'a symbolic tensor'} has no values yet: take parts of it by ops.split, or [:, i]"
        )

    def __repr__(self) -> str:
        return f"<Tensor {self.name or '?'} {self.shape} {self.dtype}>"


class Target(Tensor):
    """The targets of an output: what losses and metrics that are made of ops read beside it.

    output: its number, where a loss reads several; None: that of the terminal.
    """

    output: int | None = None


def features_of(owner: str, shape: Shape) -> int:
    """The features of (batch, features). ShapeError for other ranks."""
    if len(shape) != 2 or shape[1] is None:
        raise ShapeError(f"{owner} takes (batch, features), not {shape}: put a Flatten() before it")
    return shape[1]


class Parameter(Arithmetic):
    """A trained or kept array of `shape` (1-D or 2-D) and `dtype`, in `storage` laid out as the kernels want it.

    regularizer: its penalty, while it is trained; constraint: what each step of the optimizer ends with.
    learning_rate_factor: of the optimizer's step on it; weight_decay_factor: of its weight decay, which the other
    factor does not touch. Both take effect at the next `compile`.
    by_rows: a matrix lies row by row, without gaps, as tables are whose rows are looked up, and not in strips.
    overwrite_with_gradient: an optimizer's `apply` puts the gradient in its place (Keras); fit refuses it.
    """

    def __init__(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: Dtype,
        value: Array | None,
        trainable: bool = True,
        by_rows: bool = False,
    ) -> None:
        """value: None for zeros."""
        self.path, self.shape, self.dtype, self.trainable, self.by_rows = path, shape, dtype, trainable, by_rows
        self.regularizer: WeightPenalty | None = None
        self.constraint: WeightConstraint | None = None
        self.learning_rate_factor = self.weight_decay_factor = 1.0
        self.overwrite_with_gradient = False
        self.size = math.prod(shape)
        self.storage = self.like()
        if value is not None:
            self.assign(value)

    @property
    def rows(self) -> int:
        """Of a matrix; a vector is one row."""
        return self.shape[0] if len(self.shape) == 2 else 1

    @property
    def in_strips(self) -> bool:
        return len(self.shape) == 2 and not self.by_rows

    @property
    def layout(self) -> tuple[int, int]:
        """(rows, columns) of its storage, for kernels that go over all numbers: one row unless it lies in strips."""
        return (self.shape[0], self.shape[1]) if self.in_strips else (1, self.size)

    def like(self) -> Array:
        """Zeroed storage of the same layout: a gradient or an optimizer's slot."""
        if not self.in_strips:
            return aligned((padded(self.size),), self.dtype)
        return strips_of(self.shape, self.dtype)

    def laid_out(self, value: Array) -> Array:
        """An array of the parameter's shape and dtype in storage of the same layout."""
        if self.in_strips:
            return to_strips(value)
        storage = self.like()
        storage[: self.size] = value.ravel()
        return storage

    def assign(self, value: Any) -> None:
        """Copy new values in. ShapeError if the shape differs."""
        array = np.asarray(value, self.dtype)
        if array.shape != self.shape:
            raise ShapeError(f"{self.path} has shape {self.shape}, the new value {array.shape}")
        if self.in_strips:
            fill_strips(self.storage, array)
        else:
            self.storage[: self.size] = array.ravel()

    def assign_add(self, value: Any) -> None:
        """Add to the values. ShapeError if the shape differs (Keras)."""
        self.assign(self.numpy() + np.asarray(value))

    def assign_sub(self, value: Any) -> None:
        """Subtract from the values. ShapeError if the shape differs (Keras)."""
        self.assign(self.numpy() - np.asarray(value))

    def numpy(self) -> Array:
        """A copy of the values, (in, out) or (features,)."""
        if self.in_strips:
            return from_strips(self.storage, self.shape[1])
        return self.storage[: self.size].reshape(self.shape).copy()

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy.deepcopy: the values, for a copy of the storage would lie anywhere in memory."""
        return {**vars(self), "storage": self.numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.storage = self.like()
        self.assign(state["storage"])

    @property
    def value(self) -> Array:
        """As `numpy`."""
        return self.numpy()

    @property
    def name(self) -> str:
        """The last part of `path`, which starts with the layer's name."""
        return self.path.rpartition("/")[2]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self) -> str:
        return f"<Parameter {self.path} {self.shape} {self.dtype} trainable={self.trainable}>"


class NodeWriter(Protocol):
    """What an op sees while its graph is written as ONNX: names of values, constants, and nodes."""

    def name(self, tensor: Tensor) -> str: ...
    def same(self, output: Tensor, source: Tensor) -> None: ...
    def constant(self, value: Parameter | Array, name: str = "") -> str: ...
    def shape_constant(self, shape: Sequence[int]) -> str: ...
    def number(self, value: float, op: Op) -> str: ...
    def node(self, operator: str, inputs: Sequence[str], op: Op, **attributes: Any) -> None: ...
    def inner(self, operator: str, inputs: Sequence[str], op: Op, **attributes: Any) -> str: ...
    def write(self, form: Form, op: Op) -> None: ...
    def refuse_noise(self, op: Op) -> None: ...


class Op:
    """One operation: its shape rule (the constructor), forward and backward kernels, ONNX form and cost.

    A subclass fills in `forward`, `backward` and `onnx`; a test walks `Op.registry` to see that none is missing. They
    are given the compiler's Builder, which stands above graphs, so that here it is Any.
    """

    registry: ClassVar[dict[str, type[Op]]] = {}
    lazy: ClassVar[bool] = False  # whether kernels are emitted where its output is first read, not at its turn
    randomness: ClassVar[int | None] = None  # of an op that draws random numbers: which kind of streams it has
    active: bool | None = None  # whether it draws always or never; None: in training
    seed: int | None = None  # of draws of its own
    rectifies: bool = False  # whether it is a ReLU, which the kernels of the ops around it can do as well
    inputs: tuple[Tensor, ...]
    parameters: tuple[Parameter, ...] = ()
    output: Tensor

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):  # else a base of several
            Op.registry[cls.__name__] = cls

    def __init__(
        self, inputs: Sequence[Tensor], shape: Shape, parameters: Sequence[Parameter] = (), name: str = ""
    ) -> None:
        self.inputs, self.parameters, self.name = tuple(inputs), tuple(parameters), name
        self.output = Tensor(shape, inputs[0].dtype, self, name)

    @property
    def inference_inputs(self) -> tuple[Tensor, ...]:
        """What it reads in inference, and so in a file."""
        return self.inputs

    def check_rows(self, name: str, rows: Array) -> None:
        """DataError for rows (rows, features) of a model's input that the op, which reads them, is not defined for."""

    def forward(self, build: Any) -> None:
        """Emit the kernels that compute the output."""
        raise NotImplementedError

    def backward(self, build: Any) -> None:
        """Emit the kernels that turn the output's gradient into the inputs' and the parameters'."""
        raise NotImplementedError

    def onnx(self, graph: NodeWriter) -> None:
        """Add the nodes that compute the output in inference."""
        raise NotImplementedError

    @property
    def flops(self) -> int:
        """Floating-point operations for one sample, forward."""
        return self.output.features


class Graph:
    """The ops between `inputs` and `outputs`, each after those it reads.

    columns: what a model is given, where its inputs are computed of that before the graph runs; else the inputs.
    added: tensors that layers add to the loss.
    """

    added: tuple[Tensor, ...] = ()

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], columns: Sequence[Tensor] | None = None
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.columns = self.inputs if columns is None else tuple(columns)
        self.ops = tuple(in_order(_makers(self.outputs), lambda op: _makers(op.inputs)))
        self.consumers: dict[Tensor, list[Op]] = {}
        self.draws = any(op.randomness is not None for op in self.ops)  # random numbers, in training or always
        self.always_draws = any(op.active is True for op in self.ops)
        for op in self.ops:
            for tensor in op.inputs:
                self.consumers.setdefault(tensor, []).append(op)

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of all its ops, each once."""
        return tuple(dict.fromkeys(parameter for op in self.ops for parameter in op.parameters))

    @property
    def checks(self) -> bool:
        """Whether an op of it looks at rows before it runs."""
        return any(type(op).check_rows is not Op.check_rows for op in self.ops)

    @property
    def encodes(self) -> bool:
        """Whether its inputs are computed of columns before it runs."""
        return self.columns is not self.inputs

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """All that is there before any op: what a model is given, and what that is encoded to."""
        return tuple(dict.fromkeys((*self.columns, *self.inputs)))

    @property
    def flops(self) -> int:
        """Floating-point operations for one sample, forward."""
        return sum(op.flops for op in self.ops)


def _makers(tensors: Iterable[Tensor]) -> Iterator[Op]:
    return (tensor.op for tensor in tensors if tensor.op is not None)
