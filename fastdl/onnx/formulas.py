"""Activations that a file spells out in several nodes: formulas, and how to find them in a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import activations, layers
from fastdl.compiler.formula import Formula, Value
from fastdl.compiler.graph import Tensor
from fastdl.fusion.graph.node import Node, Refused
from fastdl.layers.layer import Layer
from fastdl.onnx.activation_nodes import slopes, softmax_axis
from fastdl.onnx.numbers import row
from fastdl.onnx.parts import Made, Step
from fastdl.onnx.reading import Reader
from fastdl.ops import Activation

CLOSE = 2e-6  # of a constant: exporters round to float32, and print with six digits
COMMUTE = ("Add", "Mul", "Max", "Min")


class Free(Formula):
    """A constant that a formula leaves open: a number, or a row over the features."""

    def __init__(self, name: str, row: bool = False) -> None:
        super().__init__(f"?{name}")
        self.name, self.row = name, row


Numbers = dict[str, Any]  # floats, and the names of rows


@dataclass(frozen=True)
class Spelling:
    """A formula of an activation's, and the layer for the numbers found in it; None where they do not fit."""

    formula: Formula
    layer: Callable[[Numbers], Layer | None]


X = Formula()


def _named(name: str) -> Callable[[Numbers], Layer]:
    return lambda numbers: layers.Activation(name)


def _own() -> Iterator[Spelling]:
    """The formulas that fastdl exports, float32's and float64's. Single operators are no formulas."""
    for name, function in activations.NAMES.items():
        for dtype in (np.float32, np.float64):
            op = function(Tensor((None, 2), np.dtype(dtype))).op
            if isinstance(op, Activation) and (name, dtype) != ("gelu", np.float64):
                formula = op.form(X)
                if any(isinstance(part, Formula) and part is not X for part in formula.inputs):
                    yield Spelling(formula, _named(name))


def _product(a: Value, b: Value, c: Value) -> Iterator[Formula]:
    """a b c in the three orders of multiplying."""
    for first, second, third in ((a, b, c), (a, c, b), (b, c, a)):
        yield Formula("Mul", Formula("Mul", first, second), third)


def _gelus() -> Iterator[Spelling]:
    for inner in (X / math.sqrt(2), X * math.sqrt(0.5)):
        for formula in _product(X, Formula("Erf", inner) + 1.0, 0.5):
            yield Spelling(formula, _named("gelu"))
    cubes = [Formula("Pow", X, 3.0), X * X * X]
    for cubic in (*(cube * 0.044715 for cube in cubes), X * X * (X * 0.044715), X * 0.044715 * (X * X)):
        for formula in _product(X, Formula("Tanh", (X + cubic) * math.sqrt(2 / math.pi)) + 1.0, 0.5):
            yield Spelling(formula, _named("gelu_tanh"))


def _rectifiers() -> Iterator[Spelling]:
    slope, top, low = Free("slope"), Free("top"), Free("low")
    above, up_to = Formula("Greater", X, low), Formula("LessOrEqual", X, low)

    def relu(numbers: Numbers) -> Layer | None:
        if any(n < 0 for n in numbers.values()):
            return None
        return layers.ReLU(numbers.get("top"), numbers.get("slope", 0.0), numbers.get("low", 0.0))

    def leaky(numbers: Numbers) -> Layer | None:
        return layers.LeakyReLU(numbers["slope"]) if 0 <= numbers["slope"] <= 1 else None

    below = (X - low) * slope
    yield Spelling(Formula("Where", above, X, below), relu)
    yield Spelling(Formula("Where", above, Formula("Min", X, top), below), relu)
    yield Spelling(Formula("Where", up_to, 0.0, X), relu)
    yield Spelling(Formula("Where", above, X, 0.0), relu)
    yield Spelling(Formula("Max", X, 0.0), lambda numbers: layers.ReLU())
    yield Spelling(Formula("Max", X, X * slope), leaky)
    yield Spelling(Formula("Where", Formula("Greater", X, 0.0), X, X * slope), leaky)
    # Keras: relu with a slope, a threshold, a largest value
    kept = (Formula("Where", above, X, 0.0), Formula("Relu", X))
    falls = (Formula("Relu", Formula("Neg", X) + low), Formula("Relu", Formula("Neg", X)))
    for part, fall in zip(kept, falls, strict=True):
        yield Spelling(Formula("Clip", part, 0.0, top) - fall * slope, relu)
        yield Spelling(part - fall * slope, relu)


def _others() -> Iterator[Spelling]:
    alpha = Free("alpha")

    def elu(numbers: Numbers) -> Layer | None:
        return layers.ELU(numbers["alpha"]) if numbers["alpha"] >= 0 else None

    exponential = (Formula("Exp", Formula("Min", X, 0.0)) - 1.0) * alpha
    yield Spelling(Formula("Relu", X) + exponential, elu)
    yield Spelling(Formula("Relu", X) * 1.0 + exponential, elu)
    hard = Formula("HardSigmoid", X, alpha=1 / 6, beta=0.5)
    yield Spelling(X * hard, _named("hard_silu"))
    clipped = Formula("Clip", X + 3.0, 0.0, 6.0)
    for part in (clipped * (1 / 6), clipped / 6.0):
        yield Spelling(part, _named("hard_sigmoid"))
        yield Spelling(X * part, _named("hard_silu"))
    for formula in (*_product(X, clipped, 1 / 6), X * clipped / 6.0):
        yield Spelling(formula, _named("hard_silu"))
    plus = Formula("Softplus", X)
    yield Spelling(Formula("Where", Formula("Greater", X, 20.0), X, plus), _named("softplus"))  # PyTorch
    yield Spelling(X / (Formula("Abs", X) + 1.0), _named("softsign"))
    logistic = Formula("Div", 1.0, Formula("Exp", Formula("Neg", X)) + 1.0)
    yield Spelling(logistic, _named("sigmoid"))
    yield Spelling(X * logistic, _named("silu"))
    yield Spelling(X / (Formula("Exp", Formula("Neg", X)) + 1.0), _named("silu"))
    yield Spelling(X * Formula("Tanh", plus), _named("mish"))
    yield Spelling(Formula("Log", Formula("Softmax", X)), _named("log_softmax"))
    mean = Formula("ReduceMean", X)
    centred = X - mean
    for square in (centred * centred, Formula("Pow", centred, 2.0)):
        root = Formula("Sqrt", Formula("ReduceMean", square) + Free("epsilon"))
        for formula in (centred / root, centred * Formula("Reciprocal", root), centred * Formula("Div", 1.0, root)):
            yield Spelling(formula, _layer_norm)


def _layer_norm(numbers: Numbers) -> Layer | None:
    if not numbers["epsilon"] > 0:
        return None
    return layers.LayerNormalization(epsilon=numbers["epsilon"], center=False, scale=False)


_spellings: dict[str, list[Spelling]] = {}


def _by_operator(operator: str) -> list[Spelling]:
    """All spellings whose last operator is this."""
    if not _spellings:
        for make in (_own, _gelus, _rectifiers, _others):
            for spelling in make():
                _spellings.setdefault(spelling.formula.operator, []).append(spelling)
    return _spellings.get(operator, [])


def find(reader: Reader, node: Node) -> Step | None:
    """The formula that ends in this node as a layer, None if it is none that is known."""
    for spelling in _by_operator(node.op):
        for found in _match(reader, spelling.formula, node.outputs[0], EMPTY):
            if found.source and (layer := spelling.layer(found.numbers)) is not None:
                return Step((found.source,), (Made(layer),))
    slope = Free("slope", row=True)  # PReLU as Keras writes it, with -alpha
    for found in _match(
        reader, Formula("Relu", X) + Formula("Relu", Formula("Neg", X)) * slope, node.outputs[0], EMPTY
    ):
        return Step((found.source,), (slopes(-row(reader, found.numbers["slope"])),))
    return None


@dataclass(frozen=True)
class _Found:
    source: str
    numbers: Numbers


EMPTY = _Found("", {})


def _match(reader: Reader, pattern: Value, value: str, match: _Found) -> Iterator[_Found]:
    """All ways in which the graph above `value` is the wanted formula, given what is found already."""
    value = reader.source(value)
    if isinstance(pattern, Free) and pattern.row:
        if reader.is_constant(value) and pattern.name not in match.numbers:
            yield _Found(match.source, {**match.numbers, pattern.name: value})
    elif isinstance(pattern, Free):
        number = reader.number(value)
        known = match.numbers.get(pattern.name, number)
        if number is not None and known is not None and math.isclose(number, known, rel_tol=CLOSE):
            yield _Found(match.source, {**match.numbers, pattern.name: known})
    elif not isinstance(pattern, Formula):
        number = reader.number(value)
        if number is not None and math.isclose(number, float(pattern), rel_tol=CLOSE, abs_tol=1e-12):
            yield match
    elif pattern is X:
        if match.source in ("", value) and not reader.is_constant(value):
            yield _Found(value, match.numbers)
    else:
        node = reader.index.producer(value)
        if node is not None and node.op == pattern.operator and _attributes(reader, pattern, node):
            inputs = [value for value in node.inputs if value]
            parts = [inputs[0]] if node.op == "ReduceMean" else inputs
            if len(parts) == len(pattern.inputs):
                orders = [parts, parts[::-1]] if node.op in COMMUTE else [parts]
                for order in orders:
                    yield from _match_all(reader, pattern.inputs, order, match)


def _match_all(reader: Reader, patterns: tuple[Value, ...], values: list[str], match: _Found) -> Iterator[_Found]:
    if not patterns:
        yield match
        return
    for each in _match(reader, patterns[0], values[0], match):
        yield from _match_all(reader, patterns[1:], values[1:], each)


DEFAULTS = {"alpha": 0.2, "beta": 0.5}  # HardSigmoid's


def _attributes(reader: Reader, pattern: Formula, node: Node) -> bool:
    """Whether the node's attributes are the formula's; a mean and a softmax are over the features."""
    if node.op == "ReduceMean":
        return node.attribute("keepdims", 1) == 1 and _over_features(reader, node)
    if node.op == "Softmax":
        axis, shape = softmax_axis(reader, node), reader.index.shape(node.inputs[0])
        return axis == -1 or (shape is not None and axis == len(shape) - 1)
    return all(
        math.isclose(float(node.attribute(name, DEFAULTS.get(name, math.nan))), number, rel_tol=CLOSE)
        for name, number in pattern.attributes.items()
    )


def _over_features(reader: Reader, node: Node) -> bool:
    try:
        axes = reader.integers(node.inputs[1]) if len(node.inputs) > 1 else node.attribute("axes", None)
    except Refused:
        return False
    return list(axes or ()) in ([-1], [1])
