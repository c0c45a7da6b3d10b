"""Nodes that multiply and add: dense layers, normalizations, arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdl import layers
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Shape
from fastdl.fusion.graph.node import Node, Refused
from fastdl.layers.layer import Layer
from fastdl.onnx.parts import LARGEST, Affine, Handler, Made, Product, Step, dense_layer
from fastdl.onnx.reading import Reader


def _gemm(reader: Reader, node: Node) -> Step:
    value, _, *bias = reader.only(node, 2, 3)
    transposed = bool(node.attribute("transB", 0))
    if node.attribute("transA", 0):
        raise Refused("it transposes its input (transA), which mixes samples")
    weight = _matrix(reader, node, transposed) * float(node.attribute("alpha", 1.0))
    if not bias[0]:
        return Step((value,), (Product(weight),))
    shift = row(reader, bias[0], weight.shape[1]) * float(node.attribute("beta", 1.0))
    return Step((value,), (dense_layer(weight, shift),))


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
    momentum = reader.shortest(node.attribute("momentum", 0.9))
    if not 0 <= momentum <= 1:
        raise Refused(f"its momentum is {momentum}, not between 0 and 1")
    layer = layers.BatchNormalization(momentum=momentum, epsilon=epsilon)
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
    return dense_layer(product.weight)


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
    "ai.onnx.ml:Scaler": _scaler,
}
