"""An ONNX graph as the importer sees it: constants computed, casts and identities looked through, errors by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto, TensorProto

from fastdl.base.arrays import Array, Dtype
from fastdl.errors import ModelFileError
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import COMPARISONS, Node, Refused

DTYPES: dict[int, Dtype] = {
    int(TensorProto.FLOAT): np.dtype(np.float32),
    int(TensorProto.DOUBLE): np.dtype(np.float64),
}
OTHER_FLOATS = ("FLOAT16", "BFLOAT16", "FLOAT8", "FLOAT4")
ROOM = 4  # the numbers that computing constants may make, in those that the file holds


def _permuted(node: Node, a: Array) -> Array:
    return a.transpose(node.attribute("perm", None))


def _reshaped(node: Node, a: Array, shape: Array | None = None) -> Array:
    if shape is None or (shape == 0).any():
        raise Refused("a shape that is copied")
    return a.reshape(tuple(int(size) for size in shape))


def _squeezed(node: Node, a: Array, axes: Array | None = None) -> Array:
    return np.squeeze(a, _axes(node, axes))


def _unsqueezed(node: Node, a: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(a, _axes(node, axes) or ())


def _cast(node: Node, a: Array) -> Array:
    dtype = DTYPES.get(node.attribute("to", 0))
    if dtype is None:
        raise Refused("a cast to no float")
    return a.astype(dtype).astype(np.float64)


def _axes(node: Node, axes: Array | None) -> tuple[int, ...] | None:
    """An attribute until opset 12, an input since."""
    stated = node.attribute("axes", None) if axes is None else axes
    return None if stated is None else tuple(int(axis) for axis in stated)


# What is computed when all inputs are constants; none makes more numbers than its operands hold together.
COMPUTED: dict[str, Callable[..., Array]] = {
    "Identity": lambda node, a: a,
    "Cast": _cast,
    "Transpose": _permuted,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Neg": lambda node, a: -a,
    "Sqrt": lambda node, a: np.sqrt(a),
    "Reciprocal": lambda node, a: 1 / a,
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Div": lambda node, a, b: a / b,
}


class Reader:
    """A checked model's graph. `dtype` is the float that it computes in. ModelFileError for opsets not known."""

    def __init__(self, model: ModelProto, name: str) -> None:
        import onnx

        self.name, self.model = name, model
        self.index = GraphIndex(model)
        newest = onnx.defs.onnx_opset_version()
        if not 7 <= self.index.opset <= newest:
            raise ModelFileError(f"{name}: its opset is {self.index.opset}, fastdl reads 7 to {newest}")
        self._computed: dict[str, Array] = {}
        self._sources: dict[str, str] = {}
        self._stored: dict[str, bool] = {}  # what is asked again and again, as formulas are looked for
        self._numbers: dict[str, float | None] = {}
        self.dtype = self._float()
        self._compute()

    def _float(self) -> Dtype:
        """That of the weights, which are matrices; without any that of the inputs. ModelFileError for shorter ones."""
        graph = self.model.graph
        stored, inputs = {t.data_type for t in graph.initializer}, {i.type.tensor_type.elem_type for i in graph.input}
        for kind in sorted(stored | inputs):
            if (name := TensorProto.DataType.Name(kind)).startswith(OTHER_FLOATS):
                raise ModelFileError(f"{self.name}: it computes in {name.lower()}, fastdl in float32 and float64")
        matrices = {t.data_type for t in graph.initializer if len(t.dims) == 2}
        kinds = {kind for kind in matrices or inputs if kind in DTYPES}
        return DTYPES[TensorProto.DOUBLE if kinds == {TensorProto.DOUBLE} else TensorProto.FLOAT]

    def _compute(self) -> None:
        """What follows from constants alone, in the order of the nodes."""
        room = 1024 + ROOM * sum(int(np.prod(t.dims)) for t in self.model.graph.initializer)
        for node in self.index.nodes:
            values = self._constant_node(node)
            rule = COMPUTED.get(node.op)
            if values is None and rule and node.inputs and all(map(self.is_constant, node.inputs)):
                room -= sum(self._size(value) for value in node.inputs)
                if room >= 0:
                    values = self._result(rule, node)
            if values is not None:
                self._computed[node.outputs[0]] = values

    def _result(self, rule: Callable[..., Array], node: Node) -> Array | None:
        operands = [self._operand(value) for value in node.inputs]
        try:
            widens = node.op in ("Add", "Sub", "Mul", "Div")
            shape = np.broadcast_shapes(*(a.shape for a in operands)) if widens else ()
            if int(np.prod(shape)) > sum(a.size for a in operands):
                return None
            with np.errstate(all="ignore"):
                values = rule(node, *operands)
            return values if np.isfinite(values).all() else None
        except (Refused, ValueError, TypeError, IndexError, OverflowError):
            return None

    def _constant_node(self, node: Node) -> Array | None:
        """A Constant's numbers where they are not a tensor."""
        if node.op != "Constant":
            return None
        for attribute in ("value_float", "value_floats", "value_int", "value_ints"):
            if (value := node.attribute(attribute, None)) is not None:
                return np.asarray(value, np.float64)
        return None

    def _size(self, value: str) -> int:
        array = self._computed.get(value)
        array = self.index.stored(value) if array is None else array
        return 0 if array is None else array.size

    def _operand(self, value: str) -> Array:
        return self._computed[value] if value in self._computed else np.asarray(self.index.stored(value))

    def is_constant(self, value: str) -> bool:
        if value in self._computed:
            return True
        if value not in self._stored:
            self._stored[value] = self.index.stored(value) is not None
        return self._stored[value]

    def constant(self, value: str) -> Array:
        """The finite float64 numbers behind a constant. Refused for anything else."""
        if value not in self._computed:
            return self.index.constant(value)
        return np.asarray(self._computed[value], np.float64)

    def integers(self, value: str) -> list[int]:
        """A constant's whole numbers. Refused for anything else."""
        array = self.whole_numbers(value)
        if array.ndim > 1:
            raise Refused(f"{value!r} is not a row of whole numbers")
        return [int(n) for n in array.ravel()]

    def whole_numbers(self, value: str) -> Array:
        """A constant of whole numbers, of any shape. Refused for anything else."""
        array = self._operand(value) if self.is_constant(value) else None
        if array is None or not (array == np.floor(array)).all():
            raise Refused(f"{value!r} is not a constant of whole numbers")
        return array

    def number(self, value: str) -> float | None:
        """The one number of a float constant, as a model of this dtype keeps it; None for anything else."""
        if value not in self._numbers:
            try:
                array = self.constant(value)
            except Refused:
                array = np.empty(0)
            self._numbers[value] = self.shortest(float(array.reshape(-1)[0])) if array.size == 1 else None
        return self._numbers[value]

    def shortest(self, number: float) -> float:
        """What somebody wrote before it was rounded to float32: 0.1 for 0.10000000149. Of float64 models as it is."""
        return float(str(np.float32(number))) if self.dtype == np.float32 else number

    def source(self, value: str) -> str:
        """The value before casts to the float that the graph computes in, and identities."""
        passed = []
        while value not in self._sources:
            node = self.index.producer(value)
            if node is None or value in self._computed or not self._passes(node):
                break
            passed.append(value)
            value = node.inputs[0]
        value = self._sources.get(value, value)
        self._sources.update(dict.fromkeys(passed, value))
        return value

    def _passes(self, node: Node) -> bool:
        if node.op == "Identity":
            return True
        if node.op != "Cast":
            return False
        to = node.attribute("to", 0)
        if to != TensorProto.BOOL:
            return DTYPES.get(to) == self.dtype
        while node.op == "Cast" and node.attribute("to", 0) == TensorProto.BOOL:
            before = self.index.producer(node.inputs[0])
            if before is None:
                return False
            node = before
        return node.op in COMPARISONS

    def only(self, node: Node, count: int, most: int | None = None) -> Sequence[str]:
        """The node's inputs, `count` of them, up to `most` with those left out as "". Refused for other numbers."""
        inputs = list(node.inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        if not count <= len(inputs) <= (most or count) or not all(inputs[:count]):
            raise Refused(f"it has {len(inputs)} inputs")
        return [*inputs, *[""] * ((most or count) - len(inputs))]
