"""What running a graph may cost at given input shapes, told beforehand from its text: bytes and operations.

Told only of operators whose cost follows from the shapes of what goes in and comes out, and only where all of these
shapes follow from the inputs'. Of all else nothing is told: a loop, a value that decides a shape, a function that
this onnx does not know; such graphs run in a child process with limits (see confined.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnx.inliner
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fastdl.fusion.graph.inference import inferable

SMALL = 64  # numbers of a constant that may decide a shape
LARGEST = 2**31  # no size is larger, and no number that may decide one: so no product of sizes overflows
LONGEST = 4096  # steps of a recurrent net
LARGEST_WINDOW = 1024  # of a convolution or a pooling: steps, holes, padding; some copy what is padded
# Types of what may decide a shape: sizes, axes, the ends of a Range, the scales of a Resize
INTEGERS = (TensorProto.INT64, TensorProto.INT32)
NUMBERS = (*INTEGERS, TensorProto.FLOAT, TensorProto.DOUBLE)
TEXT = 64  # bytes that a string is counted as

# Operators whose time and memory is in proportion to what they read and give; of `_work` those that compute more.
_PROPORTIONAL = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum
    Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not
    OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
# Of ai.onnx.ml: those that keep the shape of their input, and those that give a column or one for each class.
SAME_SHAPE = frozenset(("Binarizer", "CategoryMapper", "Imputer", "LabelEncoder", "Normalizer", "Scaler"))
_BY_CLASS = "LinearClassifier LinearRegressor SVMClassifier SVMRegressor TreeEnsembleClassifier TreeEnsembleRegressor"
PROPORTIONAL, BY_CLASS = frozenset(_PROPORTIONAL.split()), frozenset(_BY_CLASS.split())
WINDOWS = frozenset(("Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"))
NETS = frozenset(("LSTM", "GRU", "RNN"))

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Bound:
    """Beside the weights: bytes of values needed at the same time, at most, of all values, of outputs; operations."""

    live: int
    total: int
    outputs: int
    work: int


class Unknown(Exception):
    """A cost that cannot be told."""


class Estimator:
    """A model without its weights, to be asked what it costs at one shape of its inputs after another."""

    def __init__(self, model: ModelProto) -> None:
        self.inputs: dict[str, list[int | None]] = {}
        self._constants: set[str] = set()
        self._lean: ModelProto | None = None
        self.followed = False  # whether numbers decided shapes, when it was last asked: more rows may cost less then
        with contextlib.suppress(Unknown):
            self._lean = self._without_weights(_inlined(model))

    def at(self, shapes: Mapping[str, Sequence[int]]) -> Bound | None:
        """The cost at these shapes, by input name; None where it cannot be told."""
        if self._lean is None:
            return None
        for info in self._lean.graph.input:
            if info.name in shapes:
                info.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
                for size in shapes[info.name]:
                    info.type.tensor_type.shape.dim.add(dim_value=size)
        try:
            known, self.followed = _inferred(self._lean)
            return self._cost(known)
        except Unknown:
            return None

    def at_batch(self, rows: int, unstated: int = 8) -> Bound | None:
        """The cost at the inputs' own shapes; where they leave a size open, of so many rows, other sizes `unstated`."""
        shapes = {
            name: [(rows if axis == 0 else unstated) if size is None else size for axis, size in enumerate(shape)]
            for name, shape in self.inputs.items()
        }
        return self.at(shapes)

    def _without_weights(self, model: ModelProto) -> ModelProto:
        """What only its size matters of becomes an input; the numbers that may decide a shape stay."""
        lean = ModelProto(ir_version=max(model.ir_version, 4))
        lean.opset_import.extend(model.opset_import)
        graph = lean.graph
        graph.name = "g"
        stored = {t.name for t in model.graph.initializer}
        sliced_only = _read_by_slices_only(model)
        if model.graph.sparse_initializer:
            raise Unknown
        for info in model.graph.input:
            if info.name in stored:
                continue
            if not info.type.tensor_type.HasField("shape"):
                raise Unknown
            graph.input.add().CopyFrom(info)
            dims = info.type.tensor_type.shape.dim
            self.inputs[info.name] = [
                d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims
            ]

        def keep(tensor: TensorProto, name: str) -> None:
            self._constants.add(name)
            if prod(tensor.dims) > SMALL or tensor.data_type not in NUMBERS:
                graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
                return
            values = numpy_helper.to_array(tensor).astype(np.float64)
            if name not in sliced_only and tensor.data_type in INTEGERS and not (np.abs(values) <= LARGEST).all():
                raise Unknown
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = name

        for tensor in model.graph.initializer:
            keep(tensor, tensor.name)
        for node in model.graph.node:
            value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and value is not None and node.output:
                keep(value, node.output[0])
                continue
            if not self._only_prefixes(node, model):
                _require_known(node)
            graph.node.add().CopyFrom(inferable(node))
        for info in model.graph.output:
            graph.output.add().CopyFrom(info)
            graph.output[-1].type.tensor_type.ClearField("shape")
        return lean

    def _only_prefixes(self, node: NodeProto, model: ModelProto) -> bool:
        """Whether it puts short texts of the file's own beside the caller's, which doubles none again and again."""
        if node.op_type != "StringConcat" or node.domain not in ("", "ai.onnx"):
            return False
        stored = {t.name: t for t in model.graph.initializer if t.name in node.input}
        short = all(len(text) <= TEXT for tensor in stored.values() for text in tensor.string_data)
        return short and len(stored) > 0 and all(name in stored or name in self.inputs for name in node.input)

    def _cost(self, known: dict[str, tuple[int, Shape]]) -> Bound:
        """Sums over the nodes in their order; constants that are computed stay to the end."""
        assert self._lean is not None
        graph = self._lean.graph
        last = {name: position for position, node in enumerate(graph.node) for name in node.input}
        last |= {output.name: len(graph.node) for output in graph.output}
        constant = set(self._constants)
        if not known.keys() >= self.inputs.keys():  # an input of no element type
            raise Unknown
        sizes = {name: _bytes(*known[name]) for name in self.inputs}
        ends: dict[int, list[str]] = {}
        for name in sizes:
            ends.setdefault(last.get(name, 0), []).append(name)
        now = total = peak = sum(sizes.values())
        work = 0
        for position, node in enumerate(graph.node):
            stays = bool(node.op_type == "Constant" or all(name in constant for name in node.input if name))
            read = [known[name] for name in node.input if name in known]
            if len(read) < sum(map(bool, node.input)):
                raise Unknown
            made = [(name, known.get(name) or _by_rule(node, read)) for name in node.output if name]
            for name, (kind, shape) in made:
                known[name] = kind, shape
                sizes[name] = _bytes(kind, shape)
                now += sizes[name]
                total += sizes[name]
                if stays:
                    constant.add(name)
                else:
                    ends.setdefault(last.get(name, position), []).append(name)
            besides, operations = _work(node, read, [value for _, value in made])
            peak = max(peak, now + besides)
            work += operations
            now -= sum(sizes[name] for name in ends.pop(position, ()))
        return Bound(peak, total, sum(sizes.get(output.name, 0) for output in graph.output), work)


def _inlined(model: ModelProto) -> ModelProto:
    """Functions of the file's own put where they are called."""
    if not model.functions:
        return model
    try:
        inlined: ModelProto = onnx.inliner.inline_local_functions(model)
    except Exception:
        raise Unknown from None
    return inlined


def _read_by_slices_only(model: ModelProto) -> set[str]:
    """Values that only Slice reads, which takes huge numbers for "to the end"."""
    others = {name for node in model.graph.node if node.op_type != "Slice" for name in node.input}
    return {name for node in model.graph.node if node.op_type == "Slice" for name in node.input} - others


def _require_known(node: NodeProto) -> None:
    ml = node.domain == "ai.onnx.ml" and node.op_type in SAME_SHAPE | BY_CLASS | {"ArrayFeatureExtractor", "ZipMap"}
    if not (ml or (node.domain in ("", "ai.onnx") and node.op_type in PROPORTIONAL)):
        raise Unknown
    for attribute in node.attribute:
        numbers = [attribute.i, *attribute.ints] if node.op_type != "Slice" and not ml else []
        most = LARGEST_WINDOW if node.op_type in WINDOWS and attribute.name != "group" else LARGEST
        if any(abs(number) > most for number in numbers) or attribute.type == AttributeProto.SPARSE_TENSOR:
            raise Unknown


def _inferred(lean: ModelProto) -> tuple[dict[str, tuple[int, Shape]], bool]:
    """Element type and shape of every value that onnx infers both of, and whether it had to follow numbers for it."""
    known = _shapes(lean, False)
    made = [name for node in lean.graph.node for name in node.output if name]
    if all(name in known for name in made):
        return known, False
    # onnx follows numbers through Concat without asking how many they become
    joined = [node.output[0] for node in lean.graph.node if node.op_type == "Concat" and node.output]
    if any(name not in known or (len(known[name][1]) < 2 and prod(known[name][1]) > 64 * SMALL) for name in joined):
        return known, False
    return _shapes(lean, True), True


def _shapes(lean: ModelProto, follow: bool) -> dict[str, tuple[int, Shape]]:
    try:
        graph = onnx.shape_inference.infer_shapes(lean, data_prop=follow).graph
    except Exception:
        raise Unknown from None
    known = {t.name: (t.data_type, tuple(t.dims)) for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        stated = info.type.HasField("tensor_type") and tensor.HasField("shape") and tensor.elem_type
        if stated and all(d.HasField("dim_value") for d in tensor.shape.dim):
            known[info.name] = tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim)
    if any(not 0 <= size <= LARGEST for _, shape in known.values() for size in shape):
        raise Unknown
    return known


def _by_rule(node: NodeProto, read: list[tuple[int, Shape]]) -> tuple[int, Shape]:
    """Shape and type of an output that onnx infers nothing of; never less than it takes."""
    if not read:
        raise Unknown
    kind, shape = read[0]
    if node.op_type == "Reshape" or (node.op_type in SAME_SHAPE and node.domain):
        return (kind if node.op_type == "Reshape" else TensorProto.DOUBLE), (*shape[:1], prod(shape[1:]))
    if node.op_type in BY_CLASS:
        return TensorProto.DOUBLE, (shape[0] if len(shape) > 1 else 1, _classes(node))
    if node.op_type == "ArrayFeatureExtractor" and len(read) == 2:
        return kind, (prod(shape[:-1]), prod(read[1][1]))
    if node.op_type == "ZipMap":
        return TensorProto.STRING, shape
    raise Unknown


def _classes(node: NodeProto) -> int:
    """Columns that a scikit-learn model gives, at most."""
    stated = [a.i for a in node.attribute if a.name in ("targets", "n_targets")]
    if any(not 0 <= number <= LARGEST for number in stated):
        raise Unknown
    labels = [len(a.ints) + len(a.strings) for a in node.attribute if a.name.startswith("class")]
    most: int = max((*stated, *labels, 2))
    return most


def _bytes(kind: int, shape: Shape) -> int:
    if kind == TensorProto.STRING:
        return TEXT * prod(shape)
    try:
        width = int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    except (KeyError, ValueError, TypeError):
        raise Unknown from None
    return max(1, width) * prod(shape)


def _work(node: NodeProto, read: list[tuple[int, Shape]], made: list[tuple[int, Shape]]) -> tuple[int, int]:
    """Bytes that computing takes besides, and operations."""
    touched = sum(prod(shape) for _, shape in (*read, *made))
    besides = sum(_bytes(kind, shape) for kind, shape in made)
    op, out = node.op_type, prod(made[0][1]) if made else 0
    shapes = [shape for _, shape in read]
    attributes = {a.name: a for a in node.attribute}
    if op in ("MatMul", "MatMulInteger", "Gemm", "QLinearMatMul") and shapes[0]:
        turned = op == "Gemm" and "transA" in attributes and attributes["transA"].i
        return besides, touched + 2 * out * shapes[0][0 if turned else -1]
    if op in ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose"):
        weight = shapes[3 if op == "QLinearConv" else 1]
        if len(weight) < 3 or not weight[0]:
            raise Unknown
        taps = prod(weight) // weight[0]
        over = shapes[0] if op == "ConvTranspose" else made[0][1]
        return besides + 8 * taps * prod(over[2:]), touched + 2 * prod(over) * taps
    if op in ("MaxPool", "AveragePool", "LpPool"):
        return besides, touched + out * prod(attributes["kernel_shape"].ints if "kernel_shape" in attributes else ())
    if op == "LRN":
        return besides, touched + out * (attributes["size"].i if "size" in attributes else 1)
    if op == "Einsum":
        return _einsum(attributes["equation"].s if "equation" in attributes else b"", shapes)
    if op in NETS:
        if shapes[0] and shapes[0][0] > LONGEST:
            raise Unknown  # a truth in Python takes its time for each
        steps = shapes[0][0] * (shapes[0][1] if len(shapes[0]) > 1 else 1) if shapes[0] else 0
        return 8 * besides, touched + 2 * steps * sum(map(prod, shapes[1:3]))
    if node.domain == "ai.onnx.ml" and op in BY_CLASS:
        rows = shapes[0][0] if shapes[0] else 1
        stored = max((len(a.floats) + len(a.ints) for a in node.attribute), default=0)
        return besides, touched + rows * stored
    return besides, touched


def _einsum(equation: bytes, shapes: list[Shape]) -> tuple[int, int]:
    """As if every letter were an axis of one array, which is the most that any order of products makes."""
    sizes: dict[str, int] = {}
    terms = equation.decode(errors="replace").replace(" ", "").split("->")[0].split(",")
    if len(terms) != len(shapes) or "." in terms[0]:
        raise Unknown
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            raise Unknown
        sizes |= {letter: max(size, sizes.get(letter, 1)) for letter, size in zip(term, shape, strict=True)}
    most = prod(sizes.values())
    return 8 * most, 2 * most
