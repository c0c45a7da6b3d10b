"""What each ONNX operator is as layers: one handler an operator, which refuses what no dense net holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fastdl import layers
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Shape
from fastdl.fusion.graph.index import Node, Refused
from fastdl.layers.layer import Layer
from fastdl.onnx.reading import Reader

LARGEST = 2**24  # features over which one slope is spread


@dataclass(frozen=True)
class Made:
    """A layer with its weights, in the order in which it makes them. features: of its input, where it knows them."""

    layer: Layer
    weights: tuple[Array, ...] = ()
    features: int | None = None


@dataclass(frozen=True)
class Product:
    """A dense layer that may still get a bias."""

    weight: Array


@dataclass(frozen=True)
class Affine:
    """(x - center) scale + shift, numbers or (features,): what several nodes do may be one layer."""

    center: Array
    scale: Array
    shift: Array

    def then(self, other: Affine) -> Affine:
        """This, and then the other. What is added first stays a center: far from zero, products would lose digits."""
        try:
            if (self.scale == 1).all() and not self.shift.any():
                return Affine(self.center + other.center, other.scale, other.shift)
            shift = (self.shift - other.center) * other.scale + other.shift
            return Affine(self.center, self.scale * other.scale, shift)
        except ValueError:
            raise Refused("constants that follow each other do not have one size") from None

    @property
    def added(self) -> Array | None:
        """The one row that is added, if that is all."""
        return self.shift - self.center if (self.scale == 1).all() else None

    @property
    def idle(self) -> bool:
        return not self.center.any() and (self.scale == 1).all() and not self.shift.any()


@dataclass(frozen=True)
class ByShape:
    """What depends on its input's shape: a layer, or None where nothing is left to do. Refused if it does not fit."""

    make: Callable[[Shape], Made | None]


Part = Made | Product | Affine | ByShape


@dataclass(frozen=True)
class Step:
    """A node, or several, as parts in their order, of `sources`: one value, or those that the one part merges.

    notes: what of it is left out.
    """

    sources: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    last: bool = False  # whether nothing may follow


Handler = Callable[[Reader, Node], Step]


# -- dense layers and normalizations ----------------------------------------------------------------------


def _gemm(reader: Reader, node: Node) -> Step:
    value, _, *bias = reader.only(node, 2, 3)
    transposed = bool(node.attribute("transB", 0))
    if node.attribute("transA", 0):
        raise Refused("it transposes its input (transA), which mixes samples")
    weight = _matrix(reader, node, transposed) * float(node.attribute("alpha", 1.0))
    if not bias[0]:
        return Step((value,), (Product(weight),))
    shift = row(reader, bias[0], weight.shape[1]) * float(node.attribute("beta", 1.0))
    return Step((value,), (_dense(weight, shift),))


def _matmul(reader: Reader, node: Node) -> Step:
    return Step((reader.only(node, 2)[0],), (Product(_matrix(reader, node)),))


def _matrix(reader: Reader, node: Node, transposed: bool = False) -> Array:
    if reader.is_constant(node.inputs[0]):
        raise Refused("its weights stand on the left, so it mixes samples")
    if not reader.is_constant(node.inputs[1]):
        raise Refused("it multiplies two computed values, not an input by weights")
    weight = reader.constant(node.inputs[1])
    if weight.ndim != 2:
        raise Refused(f"its weights have shape {weight.shape}, not (in, out)")
    return weight.T if transposed else weight


def row(reader: Reader, value: str, size: int | None = None) -> Array:
    """A constant as a row over the features, (size,), or of one number: (). Refused for one that differs by sample."""
    if not reader.is_constant(value):
        raise Refused(f"its parameter {value!r} is computed, not a constant")
    array = reader.constant(value)
    numbers: Array
    if array.size == 1:
        numbers = array.reshape(())
    elif array.size == array.shape[-1]:
        numbers = array.reshape(-1)
    else:
        raise Refused(f"its constant of shape {array.shape} is not one row of features")
    if size is None:
        return numbers
    if numbers.size not in (1, size):
        raise Refused(f"its {numbers.size} constants do not fit {size} features")
    return np.array(np.broadcast_to(numbers, (size,)))


def _dense(weight: Array, bias: Array | None = None) -> Made:
    rows, units = weight.shape
    layer = layers.Dense(units, use_bias=bias is not None)
    return Made(layer, (weight,) if bias is None else (weight, bias), rows)


def _batch_norm(reader: Reader, node: Node) -> Step:
    value, *names = reader.only(node, 5)
    if node.attribute("training_mode", 0) or any(node.outputs[1:]):
        raise Refused("it is in training mode: export the net in inference mode")
    weights = tuple(reader.constant(name) for name in names)
    if weights[0].ndim != 1 or len({weight.shape for weight in weights}) != 1 or not node.attribute("spatial", 1):
        raise Refused("its parameters are not one number a feature each")
    epsilon = _positive(reader.shortest(node.attribute("epsilon", 1e-5)))
    if (weights[3] + epsilon <= 0).any():
        raise Refused("its variance is negative")
    layer = layers.BatchNormalization(momentum=reader.shortest(node.attribute("momentum", 0.9)), epsilon=epsilon)
    return Step((value,), (Made(layer, weights, len(weights[0])),))


def _positive(epsilon: float) -> float:
    if not epsilon > 0:
        raise Refused(f"its epsilon is {epsilon}, not positive")
    return epsilon


def _layer_norm(reader: Reader, node: Node) -> Step:
    value, scale, shift = reader.only(node, 1, 3)
    if any(node.outputs[1:]):
        raise Refused("it gives its statistics out")
    if node.attribute("axis", -1) not in (-1, 1):
        raise Refused("it is not over the features (axis -1)")
    rows = [row(reader, name) for name in (scale, shift) if name]
    if any(row.ndim != 1 for row in rows):
        raise Refused("its parameters are not one number a feature")
    epsilon = _positive(reader.shortest(node.attribute("epsilon", 1e-5)))
    layer = layers.LayerNormalization(epsilon=epsilon, scale=bool(scale), center=bool(shift))
    return Step((value,), (Made(layer, tuple(rows), len(rows[0]) if rows else None),))


# -- numbers added, multiplied ----------------------------------------------------------------------------

ZERO, ONE = np.zeros(()), np.ones(())


def _affine(reader: Reader, node: Node) -> Step:
    first, second = reader.only(node, 2)
    if not any(map(reader.is_constant, (first, second))):
        return _merge(reader, node)
    reversed_ = reader.is_constant(first)
    value, constant = (second, first) if reversed_ else (first, second)
    numbers = row(reader, constant)
    if node.op == "Add":
        part = Affine(-numbers, ONE, ZERO)
    elif node.op == "Mul":
        part = Affine(ZERO, numbers, ZERO)
    elif node.op == "Sub":
        part = Affine(ZERO, -ONE, numbers) if reversed_ else Affine(numbers, ONE, ZERO)
    elif reversed_:
        raise Refused("it divides by a computed value")
    elif (numbers == 0).any():
        raise Refused("it divides by zero")
    else:
        part = Affine(ZERO, 1 / numbers, ZERO)
    return Step((value,), (part,))


MERGES: dict[str, Callable[[], Layer]] = {
    "Add": layers.Add,
    "Sum": layers.Add,
    "Sub": layers.Subtract,
    "Mul": layers.Multiply,
    "Mean": layers.Average,
}


def _merge(reader: Reader, node: Node) -> Step:
    """Branches that meet: values of one shape."""
    if node.op not in MERGES or len(node.inputs) < 2 or any(map(reader.is_constant, node.inputs)):
        raise Refused("it does not merge two computed values as fastdl can")
    return Step(tuple(node.inputs), (Made(MERGES[node.op]()),))


def _concat(reader: Reader, node: Node) -> Step:
    if node.attribute("axis", 0) not in (1, -1) or len(node.inputs) < 2 or any(map(reader.is_constant, node.inputs)):
        raise Refused("it does not put computed features side by side (axis 1)")
    return Step(tuple(node.inputs), (Made(layers.Concatenate()),))


def _neg(reader: Reader, node: Node) -> Step:
    return Step((reader.only(node, 1)[0],), (Affine(ZERO, -ONE, ZERO),))


def _scaler(reader: Reader, node: Node) -> Step:
    """scikit-learn's scalers, as skl2onnx writes them."""
    offset, scale = (np.asarray(node.attribute(name, ()), np.float64) for name in ("offset", "scale"))
    sizes = {offset.size, scale.size} - {1}
    if not offset.size or not scale.size or len(sizes) > 1 or not np.isfinite([offset.sum(), scale.sum()]).all():
        raise Refused("its offset and scale do not fit each other")
    center, factor = (a.reshape(()) if a.size == 1 else a for a in (offset, scale))
    return Step((reader.only(node, 1)[0],), (Affine(center, factor, ZERO),))


def dense(product: Product) -> Made:
    """The layer of a product that no bias followed."""
    return _dense(product.weight)


def fixed(affine: Affine, shape: Shape) -> Made | None:
    """The layer that does it: Rescaling for one number, else a batch norm that is not trained."""
    if affine.idle:
        return None
    added = affine.shift if not affine.center.any() else affine.added
    if added is not None and affine.scale.size == added.size == 1:
        return Made(layers.Rescaling(float(affine.scale), float(added)))
    if len(shape) != 2 or shape[1] is None:
        raise Refused(f"it differs by feature, on a value of shape {shape}")
    sizes = {row.size for row in (affine.center, affine.scale, affine.shift)} - {1}
    if sizes - {shape[1]} or shape[1] > LARGEST:
        raise Refused(f"its constants of {max(sizes)} numbers do not fit {shape[1]} features")
    center, scale, shift = (np.broadcast_to(row, shape[1]) for row in (affine.center, affine.scale, affine.shift))
    layer = layers.BatchNormalization(epsilon=1e-30, trainable=False)
    return Made(layer, (scale, shift, center, np.ones(shape[1])), shape[1])


# -- activations ------------------------------------------------------------------------------------------


def _named(name: str, reader: Reader, node: Node) -> Step:
    return Step((reader.only(node, 1)[0],), (Made(layers.Activation(name)),))


def _over_features(name: str, reader: Reader, node: Node) -> Step:
    if node.attribute("axis", -1 if reader.index.opset >= 13 else 1) not in (-1, 1):
        raise Refused("it is not over the features (axis -1)")
    return _named(name, reader, node)


def _leaky(reader: Reader, node: Node) -> Step:
    slope = reader.shortest(node.attribute("alpha", 0.01))
    if slope < 0:
        raise Refused(f"its slope is {slope}, negative")
    return Step((reader.only(node, 1)[0],), (Made(layers.LeakyReLU(slope)),))


def _elu(reader: Reader, node: Node) -> Step:
    alpha = reader.shortest(node.attribute("alpha", 1.0))
    if alpha < 0 or (node.op == "Celu" and alpha != 1):
        raise Refused(f"its alpha is {alpha}")
    return Step((reader.only(node, 1)[0],), (Made(layers.ELU(alpha)),))


def _stated(name: str, **numbers: float) -> Handler:
    """An activation whose attributes must be these, and are so where the file is silent only if ONNX says so."""
    defaults = {"HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Swish": {"alpha": 1.0}}
    defaults["Selu"] = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}

    def handle(reader: Reader, node: Node) -> Step:
        for key, wanted in numbers.items():
            number = float(node.attribute(key, defaults[node.op][key]))
            if not np.isclose(number, wanted, rtol=1e-6):
                raise Refused(f"its {key} is {number:.6g}, fastdl's {name} has {wanted:.6g}")
        return _named(name, reader, node)

    return handle


def _gelu(reader: Reader, node: Node) -> Step:
    approximate = node.attribute("approximate", b"none")
    if approximate not in (b"none", b"tanh"):
        raise Refused(f"its approximation {approximate!r} is not known")
    return _named("gelu" if approximate == b"none" else "gelu_tanh", reader, node)


def _prelu(reader: Reader, node: Node) -> Step:
    value, slope = reader.only(node, 2)
    numbers = row(reader, slope)
    if not reader.constant(slope).shape and numbers >= 0:
        return Step((value,), (Made(layers.LeakyReLU(reader.shortest(float(numbers)))),))
    return Step((value,), (slopes(numbers),))


def slopes(numbers: Array) -> ByShape:
    """A PReLU with these slopes, one for all features or one each."""

    def make(shape: Shape) -> Made:
        if len(shape) != 2 or shape[1] is None or shape[1] > LARGEST or numbers.size not in (1, shape[1]):
            raise Refused(f"its {numbers.size} slopes do not fit a value of shape {shape}")
        return Made(layers.PReLU(), (np.broadcast_to(numbers, shape[1]),))

    return ByShape(make)


def _clip(reader: Reader, node: Node) -> Step:
    value, *limits = reader.only(node, 1, 3)
    numbers = []
    for name, key, none in zip(limits, ("min", "max"), (-np.inf, np.inf), strict=True):
        stated = node.attribute(key, none)
        number = reader.number(name) if name else None if abs(stated) > 3e38 else reader.shortest(stated)
        if name and number is None:
            raise Refused(f"its {key} is no constant number")
        numbers.append(number)
    low, top = numbers
    if low != 0 or (top is not None and top < 0):
        raise Refused(f"it clips to [{low}, {top}]: fastdl's ReLU clips from 0 on")
    return Step((value,), (Made(layers.ReLU(None if top is None or top > 3e38 else top)),))


def _thresholded(reader: Reader, node: Node) -> Step:
    threshold = reader.shortest(node.attribute("alpha", 1.0))
    if threshold < 0:
        raise Refused(f"its alpha is {threshold}, negative")
    return Step((reader.only(node, 1)[0],), (Made(layers.ReLU(threshold=threshold)),))


# -- shapes, dropout --------------------------------------------------------------------------------------

KEPT = "the model's output has shape (batch, 1), not (batch,)"


def _dropout(reader: Reader, node: Node) -> Step:
    value, ratio, training = reader.only(node, 1, 3)
    if any(node.outputs[1:]):
        raise Refused("it gives its mask out")
    if training and reader.is_constant(training) and any(reader.integers(training)):
        raise Refused("it is in training mode: export the net in inference mode")
    stated = reader.number(ratio) if ratio else reader.shortest(node.attribute("ratio", 0.5))
    if stated is None or not 0 <= stated <= 1:
        raise Refused(f"its ratio is {stated}")
    return Step((value,), (Made(layers.Dropout(stated)),))


def _flatten(reader: Reader, node: Node) -> Step:
    axis = node.attribute("axis", 1)

    def make(shape: Shape) -> Made | None:
        if axis not in (1, 1 - len(shape)):
            raise Refused(f"it flattens from axis {axis}: the samples' axis must stay")
        return None if len(shape) == 2 else Made(layers.Flatten())

    return Step((reader.only(node, 1)[0],), (ByShape(make),))


def _reshape(reader: Reader, node: Node) -> Step:
    value, target = reader.only(node, 2)
    wanted, any_batch = _target(reader, target)

    def make(shape: Shape) -> Made | None:
        features = int(np.prod([size or 0 for size in shape[1:]]))
        batch, *rest = wanted
        if not rest and features == 1 and batch == -1:
            return None
        rest = [features // max(-int(np.prod(rest)), 1) if size == -1 else size for size in rest]
        whole = any_batch or (batch in (-1, 0, _fixed_batch(reader)) and wanted.count(-1) < 2)
        if not whole or not rest or int(np.prod(rest)) != features or min(rest) < 1:
            raise Refused(f"it reshapes {shape} to {wanted}, not to (batch, sizes …)")
        if (None, *rest) == shape:
            return None
        return Made(layers.Flatten() if len(rest) == 1 else layers.Reshape(rest))

    flat = len(wanted) == 1
    return Step((value,), (ByShape(make),), (KEPT,) if flat else (), last=flat)


def _target(reader: Reader, value: str) -> tuple[list[int], bool]:
    """The shape that is asked for, and whether its batch is computed by the graph itself."""
    if reader.is_constant(value):
        return reader.integers(value), False
    node = reader.index.producer(value)
    if node is not None and node.op == "Concat" and not reader.is_constant(node.inputs[0]):
        return [-1, *(n for name in node.inputs[1:] for n in reader.integers(name))], True
    raise Refused("its shape is computed")


def _fixed_batch(reader: Reader) -> int | None:
    shape = reader.index.shape(reader.model.graph.input[0].name)
    return shape[0] if shape and isinstance(shape[0], int) else None


def _squeeze(reader: Reader, node: Node) -> Step:
    value, axes = reader.only(node, 1, 2)
    stated = reader.integers(axes) if axes else list(node.attribute("axes", ()))

    def make(shape: Shape) -> None:
        if shape != (None, 1) or stated not in ([1], [-1]):
            raise Refused(f"it removes axes {stated} of {shape}")

    return Step((value,), (ByShape(make),), (KEPT,), last=True)


# -- scikit-learn's linear models -------------------------------------------------------------------------


def _linear(reader: Reader, node: Node) -> Step:
    """LinearRegressor, and the scores of LinearClassifier."""
    coefficients, intercepts = (np.asarray(node.attribute(f, ()), np.float64) for f in ("coefficients", "intercepts"))
    ends = node.attribute("post_transform", b"NONE")
    known = {b"NONE": None, b"LOGISTIC": "sigmoid", b"SOFTMAX": "softmax"}
    if ends not in known:
        raise Refused(f"its post_transform is {ends.decode(errors='replace')}")
    units = max(intercepts.size, int(node.attribute("targets", 1)) if node.op.endswith("Regressor") else 1)
    units = units if intercepts.size else max(units, len(node.attribute("classlabels_ints", ())))
    if not coefficients.size or coefficients.size % units or not np.isfinite(coefficients).all():
        raise Refused(f"its {coefficients.size} coefficients are not {units} rows")
    if node.op.endswith("Classifier") and units < 2:
        raise Refused("it has one score for two classes")
    weight = coefficients.reshape(units, -1).T
    dense = _dense(weight, intercepts) if intercepts.size == units else _dense(weight)
    last = known[ends]
    parts: tuple[Part, ...] = (dense, Made(layers.Activation(last))) if last else (dense,)
    return Step((reader.only(node, 1)[0],), parts)


def _normalizer(reader: Reader, node: Node) -> Step:
    value = reader.source(reader.only(node, 1)[0])
    before = reader.index.producer(value)
    softmax = before is not None and (
        before.op == "Softmax"
        or (before.op == "ai.onnx.ml:LinearClassifier" and before.attribute("post_transform", b"") == b"SOFTMAX")
    )
    if node.attribute("norm", b"MAX") != b"L1" or not softmax:
        raise Refused("it scales each sample to length 1")
    return Step((value,), ())  # probabilities sum to 1 already


HANDLERS: dict[str, Handler] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Add": _affine,
    "Sub": _affine,
    "Mul": _affine,
    "Div": _affine,
    "Neg": _neg,
    "Sum": _merge,
    "Mean": _merge,
    "Concat": _concat,
    "Relu": partial(_named, "relu"),
    "Sigmoid": partial(_named, "sigmoid"),
    "Tanh": partial(_named, "tanh"),
    "Exp": partial(_named, "exponential"),
    "Softplus": partial(_named, "softplus"),
    "Softsign": partial(_named, "softsign"),
    "Mish": partial(_named, "mish"),
    "HardSwish": partial(_named, "hard_silu"),
    "Softmax": partial(_over_features, "softmax"),
    "LogSoftmax": partial(_over_features, "log_softmax"),
    "HardSigmoid": _stated("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "Selu": _stated("selu", alpha=1.6732632, gamma=1.0507010),
    "Swish": _stated("silu", alpha=1.0),
    "Gelu": _gelu,
    "Elu": _elu,
    "Celu": _elu,
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Clip": _clip,
    "ThresholdedRelu": _thresholded,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ai.onnx.ml:Scaler": _scaler,
    "ai.onnx.ml:LinearRegressor": _linear,
    "ai.onnx.ml:LinearClassifier": _linear,
    "ai.onnx.ml:Normalizer": _normalizer,
}


def take(before: Part, part: Affine) -> Part | None:
    """The part before, with this one in it; None if it has no place for it."""
    if isinstance(before, Affine):
        return before.then(part)
    if isinstance(before, Product):
        units, row = before.weight.shape[1], part.added
        if row is not None and row.size in (1, units):
            return _dense(before.weight, np.array(np.broadcast_to(row, (units,))))
    return _into_layer_norm(before, part) if isinstance(before, Made) else None


def _into_layer_norm(before: Made, part: Affine) -> Made | None:
    """A layer norm that was spelled out takes the row that multiplies it, then the row that is added."""
    layer = before.layer
    if not isinstance(layer, layers.LayerNormalization) or layer.center:
        return None
    if part.scale.ndim == 1 and not layer.scale and not part.center.any() and not part.shift.any():
        made = layers.LayerNormalization(epsilon=layer.epsilon, center=False)
        return replace(before, layer=made, weights=(part.scale,), features=part.scale.size)
    row = part.added
    if row is not None and row.ndim == 1:
        made = layers.LayerNormalization(epsilon=layer.epsilon, scale=layer.scale)
        return replace(before, layer=made, weights=(*before.weights, row), features=row.size)
    return None
