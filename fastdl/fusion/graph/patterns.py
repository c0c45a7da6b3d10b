"""What folds read and write: dense layers and affine maps (batch norm among them), in float64 and one normal form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from fastdl.base.arrays import Dtype
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.inference import Dim
from fastdl.fusion.graph.linear_models import CLASSIFIER, MODELS, read_linear_model, stated
from fastdl.fusion.graph.node import FLOATS, LARGEST, Floats, Node, Refused, magnitude
from fastdl.fusion.graph.ranges import require_range

DENSE = ("Gemm", "MatMul")
HEADS = (*DENSE, *MODELS)  # what reads as a dense layer does
FLOAT32 = np.dtype(np.float32)
Values = Floats | Callable[[], Floats]
ROW = 2**22  # at most so many values a row are given a scale and shift of their own


@dataclass(frozen=True)
class Dense:
    """y = x·weight + bias on rank-2 x. weight: (in, out), bias: (out,), both float64."""

    node: Node
    shape: tuple[int, ...]  # of the weight
    read_weight: Callable[[], Floats]  # so that what refers to a layer does not hold it in memory
    bias: Floats
    dtype: Dtype

    @property
    def weight(self) -> Floats:
        """(in, out); computed anew each time, where it is large."""
        return self.read_weight()

    def times(self, scale: Floats) -> Callable[[], Floats]:
        """What computes the weight times a scale that broadcasts along it."""
        return lambda: self.weight * scale

    @classmethod
    def read(cls, index: GraphIndex, node: Node) -> Dense:
        """A Gemm, a MatMul known to be rank 2, or a linear model, by constant parameters, of finite values.

        Refuses any other.
        """
        if node.op in MODELS and node.inputs and node.inputs[0]:
            weight, bias = read_linear_model(index, node)
            require_range(index, node.inputs[0])
            return cls(node, weight.shape, lambda: weight, bias, FLOAT32)
        if len(node.inputs) < 2 or not node.inputs[0]:
            raise Refused(f"{node.label!r} lacks an input")
        shape, dtype = index.constant_shape(node.inputs[1]), index.dtype(node.inputs[1])
        if len(shape) != 2:
            raise Refused(f"weight {node.inputs[1]!r} of {node.label!r} has rank {len(shape)}, not 2")
        if 0 in shape:
            raise Refused(f"weight {node.inputs[1]!r} of {node.label!r} holds nothing")
        if node.op == "MatMul":
            read = index.shape(node.inputs[0])
            if read is None:
                raise Refused(f"the rank of {node.inputs[0]!r}, the input of {node.label!r}, is not known")
            if len(read) != 2:
                raise Refused(f"{node.label!r} works on rank {len(read)}: its axis is not the channel axis")
            require_range(index, node.inputs[0])
            return cls(node, shape, partial(index.constant, node.inputs[1]), np.zeros(shape[1]), dtype)
        if node.attribute("transA", 0):
            raise Refused(f"{node.label!r} transposes its input (transA)")
        transposed = bool(node.attribute("transB", 0))
        rows, columns = shape[::-1] if transposed else shape
        alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
        if not max(abs(alpha), abs(beta)) <= LARGEST[dtype] or np.isnan(beta):
            raise Refused(f"alpha or beta of {node.label!r} is not finite, or so large that values may overflow")
        bias = np.zeros(columns)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = beta * row_vector(index, node.inputs[2], columns, rank=2)
        require_range(index, node.inputs[0])
        return cls(node, (rows, columns), partial(_scaled, index, node.inputs[1], alpha, transposed), bias, dtype)

    def constants(self, index: GraphIndex, weight: Values, bias: Floats, was: str = "") -> tuple[str, str]:
        """Names of new initializers for the changed parameters; may refuse, and changes no node.

        weight: its values, or what computes them from constants of the index (see GraphIndex.add_constant).

        They are called after the old ones; `was` names a constant that becomes a bias.
        """
        return new_parameters(index, self.node, weight, bias, self.dtype, was)

    def write(self, index: GraphIndex, names: tuple[str, str]) -> None:
        """Turn the node into the normal form, Gemm(x, weight, bias) without attributes; a classifier stays one."""
        if self.node.op == CLASSIFIER:
            self.node.state(stated(*(index.constant(name) for name in names)))
            return
        index.rewrite(self.node, "Gemm", [self.node.inputs[0], *names], {})


def _scaled(index: GraphIndex, name: str, alpha: float, transposed: bool) -> Floats:
    weight = index.constant(name).T if transposed else index.constant(name)
    return weight if alpha == 1 else alpha * weight


def row_vector(index: GraphIndex, name: str, size: int, rank: int) -> Floats:
    """A constant that broadcasts along the last axis only, as a vector (size,); `rank` is its partner's."""
    values = index.constant(name)
    one_row = values.ndim <= rank and values.size in (1, size) and values.shape[-1:] in ((), (values.size,))
    if not one_row:
        raise Refused(f"constant {name!r} of shape {values.shape} is not one row of {size}")
    return np.array(np.broadcast_to(values.reshape(-1), (size,)))


def new_parameters(
    index: GraphIndex, node: Node, weight: Values, bias: Floats, dtype: Dtype, was: str = ""
) -> tuple[str, str]:
    """Names of new initializers, called after the weight and bias that `node` reads; see Dense.constants."""
    old_weight, old_bias = (*node.inputs, "", "")[1:3]
    hints = (old_weight or f"{node.outputs[0]}_weight", old_bias or was or f"{old_weight or node.outputs[0]}_bias")
    new_weight, new_bias = (f"{hint.removesuffix('_fused')}_fused" for hint in hints)
    return index.add_constant(new_weight, weight, dtype), index.add_constant(new_bias, bias, dtype)


@dataclass(frozen=True)
class Affine:
    """y = (value − center)·scale + shift, by constants that broadcast against `value`.

    A batch norm's are vectors of its channels (axis 1); all others align with the last axes, as numpy's do.
    """

    node: Node
    value: str
    scale: Floats
    center: Floats
    shift: Floats
    constant: str = ""  # name of the one constant, where there is one

    @classmethod
    def read(cls, index: GraphIndex, node: Node) -> Affine | None:
        """Of a BatchNormalization, Add, Sub, Mul, Div by a constant, Neg, Scaler; None for other nodes.

        Refuses one whose constant may be overridden, is not finite or divides by zero, and all training modes; and one
        of values that may not be finite.
        """
        affine = cls._read(index, node)
        if affine is not None:
            largest = max(map(magnitude, affine.parts))
            if not largest <= LARGEST.get(index.type(affine.value), LARGEST[FLOAT32]):
                raise Refused(f"it takes values times {largest:.1e}, by which they may overflow")
            require_range(index, affine.value)
        return affine

    @classmethod
    def _read(cls, index: GraphIndex, node: Node) -> Affine | None:
        if node.op == "BatchNormalization":
            return cls._batch_norm(index, node)
        if node.op == "ai.onnx.ml:Scaler" and node.inputs and node.outputs:
            return cls._scaler(index, node)
        zero, one = np.zeros(()), np.ones(())
        if node.op == "Neg" and len(node.inputs) == 1:
            return cls(node, node.inputs[0], -one, zero, zero)
        if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
            return None
        slot = next((slot for slot in (1, 0) if index.is_constant(node.inputs[slot])), None)
        if slot is None:
            # An initializer that is also an input: say why, as for any other parameter.
            slot = next((slot for slot in (1, 0) if index.overridable(node.inputs[slot])), None)
            if slot is None:
                return None
        name, value = node.inputs[slot], node.inputs[1 - slot]
        if index.is_constant(value) or (node.op == "Div" and slot == 0) or index.type(name) not in FLOATS:
            return None
        c = index.constant(name)
        if node.op == "Add":
            return cls(node, value, one, zero, c, name)
        if node.op == "Sub":
            return cls(node, value, one, c, zero, name) if slot == 1 else cls(node, value, -one, zero, c, name)
        if node.op == "Mul":
            return cls(node, value, c, zero, zero, name)
        with np.errstate(divide="ignore", over="ignore"):
            scale = 1 / c
        if not np.isfinite(scale).all():
            raise Refused(f"it divides by {name!r}, which is zero somewhere")
        return cls(node, value, scale, zero, zero, name)

    @classmethod
    def _batch_norm(cls, index: GraphIndex, node: Node) -> Affine:
        """Of a BatchNormalization in inference (opset 7 on): scale = γ/√(σ² + ε), center = μ, shift = β."""
        if node.attribute("training_mode", 0):
            raise Refused("it is in training mode")
        if any(node.outputs[1:]):
            raise Refused("it gives batch statistics out, so it is in training mode")
        if not node.attribute("spatial", 1):
            raise Refused("spatial=0 normalises each element, not each channel")
        if len(node.inputs) != 5:
            raise Refused(f"it has {len(node.inputs)} inputs, not 5")
        gamma, beta, mean, variance = (index.constant(name) for name in node.inputs[1:])
        if gamma.ndim != 1 or not gamma.shape == beta.shape == mean.shape == variance.shape:
            raise Refused("its parameters are not vectors of one size")
        epsilon = float(node.attribute("epsilon", np.float32(1e-5)))
        if not np.isfinite(epsilon) or (variance < 0).any() or (variance + epsilon <= 0).any():
            raise Refused("its variance is negative, or zero without epsilon")
        return cls(node, node.inputs[0], gamma / np.sqrt(variance + epsilon), mean, beta)

    @classmethod
    def _scaler(cls, index: GraphIndex, node: Node) -> Affine:
        """Of ai.onnx.ml's Scaler: (x − offset)·scale, in float32 whatever it reads."""
        if (dtype := index.type(node.inputs[0])) != np.float32:
            known = "of a type that is not known" if dtype is None else str(dtype)
            raise Refused(f"its input is {known}, which it turns into float32")
        offset, scale = (np.array(node.attribute(k, [d]), np.float64) for k, d in (("offset", 0.0), ("scale", 1.0)))
        if not (np.isfinite(offset).all() and np.isfinite(scale).all()):
            raise Refused("its offset or scale is not finite everywhere")
        return cls(node, node.inputs[0], scale, offset, np.zeros(()))

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """scale, center, shift."""
        return self.scale, self.center, self.shift

    @property
    def uniform(self) -> bool:
        """Whether one scale and one shift hold for all values, wherever they stand."""
        return all(part.size == 1 for part in self.parts)

    def spread(self, shape: Sequence[Dim] | None, size: int | None = None) -> tuple[Floats, Floats, Floats]:
        """Scale, center and shift of each of the `size` values that a row of `shape` holds, in row-major order.

        shape: that of `value`, the batch first; None where its rank is not known. size: None where it is to follow
        from the shape, and then uniform constants stay of size 1. Refuses constants that would change the shape.
        """
        if shape is None:
            if not all(part.size == 1 and part.ndim <= 1 for part in self.parts):
                raise Refused(f"the rank of {self.value!r}, which it works on, is not known")
            shape = (None, size)
        if len(shape) < 2:
            raise Refused(f"{self.value!r}, which it works on, has rank {len(shape)}")
        dims = shape[1:]
        if self.node.op == "BatchNormalization" and len(dims) == 1:
            dims = (self.scale.size,)  # a batch norm states how many channels it reads
        if self.uniform:
            dims = (size or 1,)
        elif not all(isinstance(dim, int) for dim in dims):
            raise Refused(f"the shape of {self.value!r}, which it works on, is not known")
        elif size not in (None, prod(dims)):  # type: ignore[arg-type]
            raise Refused(f"it works on rows of {prod(dims)}, not {size}")  # type: ignore[arg-type]
        if prod(dims) > ROW:  # type: ignore[arg-type]
            raise Refused(f"its rows hold {prod(dims)} values, more than {ROW}")  # type: ignore[arg-type]
        scale, center, shift = (self._spread(part, len(shape), dims) for part in self.parts)  # type: ignore[arg-type]
        return scale, center, shift

    def _spread(self, part: Floats, rank: int, dims: tuple[int, ...]) -> Floats:
        shape = part.shape
        if part.size == 1:
            shape = ()
        elif self.node.op == "BatchNormalization":
            shape = (part.size, *(1,) * (len(dims) - 1))
        elif part.ndim == rank and part.shape[0] == 1:
            shape = part.shape[1:]
        try:
            if part.ndim <= rank:
                return np.broadcast_to(part.reshape(shape), dims).reshape(-1)
        except ValueError:
            pass
        what = f"constant {self.constant!r}" if self.constant else "a parameter"
        raise Refused(f"{what} of shape {part.shape} is not one row of {prod(dims)}")
