"""Functions element by element, of one operand or several: neighbours become one kernel (see ext/kernels/formula.h)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.base.order import in_order
from fastdl.compiler.builder import Builder
from fastdl.compiler.formula import Formula
from fastdl.compiler.graph import NodeWriter, Tensor
from fastdl.compiler.phases import read, read_all, write
from fastdl.errors import FusionError
from fastdl.ops.combine import sum_to
from fastdl.ops.symbolic import _Symbolic, broadcast, feature_map, indices

Operand = Tensor | float
MOST = 40  # instructions in one kernel: all of its slots must lie in a thread's scratch


class Function(NamedTuple):
    """What is known of a function besides its kernel: numpy's own, its slopes, its form in ONNX.

    slopes: for each operand what dy is turned into, of (dy, y, *operands); None where it is flat almost everywhere.
    """

    compute: Callable[..., Any]
    slopes: tuple[Callable[..., Any] | None, ...]
    form: Callable[..., Formula]


def _op(function: str, *operands: Operand) -> Any:
    return Elementwise(function, operands).output


def _where(condition: Any, a: Any, b: Any) -> Any:
    return _op("where", condition, a, b)


def _half_where_equal(a: Any, b: Any, wins: Any) -> Any:
    """1 where an operand is taken, 1/2 where both are equal (JAX, PyTorch)."""
    return wins + 0.5 * _op("equal", a, b)


def _to_float(operator: str) -> Callable[..., Formula]:
    return lambda a, b: Formula("Float", Formula(operator, a, b))


def _softplus(a: Any) -> Formula:
    return Formula("Relu", a) + Formula("Log", Formula("Exp", Formula("Neg", Formula("Abs", a))) + 1.0)


def _of_one(operator: str) -> Callable[..., Formula]:
    return lambda a: Formula(operator, a)


def _of_two(operator: str) -> Callable[..., Formula]:
    return lambda a, b: Formula(operator, a, b)


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.asarray(x).dtype])(x)


def _sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _as_float(compare: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison whose result is of the operands' dtype, 1 and 0."""

    def compute(a: Any, b: Any) -> Any:
        return compare(a, b).astype(np.result_type(a, b) if np.result_type(a, b).kind == "f" else np.float32)

    return compute


_FLAT = (None, None)
FUNCTIONS: dict[str, Function] = {
    "add": Function(np.add, (lambda dy, y, a, b: dy, lambda dy, y, a, b: dy), _of_two("Add")),
    "subtract": Function(np.subtract, (lambda dy, y, a, b: dy, lambda dy, y, a, b: -dy), _of_two("Sub")),
    "multiply": Function(np.multiply, (lambda dy, y, a, b: dy * b, lambda dy, y, a, b: dy * a), _of_two("Mul")),
    "divide": Function(np.divide, (lambda dy, y, a, b: dy / b, lambda dy, y, a, b: -(dy * y / b)), _of_two("Div")),
    "maximum": Function(
        np.maximum,
        (
            lambda dy, y, a, b: dy * _half_where_equal(a, b, _op("less", b, a)),
            lambda dy, y, a, b: dy * _half_where_equal(a, b, _op("less", a, b)),
        ),
        _of_two("Max"),
    ),
    "minimum": Function(
        np.minimum,
        (
            lambda dy, y, a, b: dy * _half_where_equal(a, b, _op("less", a, b)),
            lambda dy, y, a, b: dy * _half_where_equal(a, b, _op("less", b, a)),
        ),
        _of_two("Min"),
    ),
    "power": Function(
        np.power,
        (
            lambda dy, y, a, b: dy * b * _op("power", a, b - 1.0),
            lambda dy, y, a, b: dy * _where(_op("less", 0.0, a), y * _op("log", _op("maximum", a, 1e-37)), 0.0),
        ),
        _of_two("Pow"),
    ),
    "less": Function(_as_float(np.less), _FLAT, _to_float("Less")),
    "less_equal": Function(_as_float(np.less_equal), _FLAT, _to_float("LessOrEqual")),
    "equal": Function(_as_float(np.equal), _FLAT, _to_float("Equal")),
    "where": Function(
        lambda c, a, b: np.where(np.asarray(c) != 0, a, b),
        (None, lambda dy, y, c, a, b: _where(c, dy, 0.0), lambda dy, y, c, a, b: _where(c, 0.0, dy)),
        lambda c, a, b: Formula("Where", Formula("Cast", c, to=9), a, b),
    ),
    "negative": Function(np.negative, (lambda dy, y, a: -dy,), _of_one("Neg")),
    "absolute": Function(np.absolute, (lambda dy, y, a: dy * _op("sign", a),), _of_one("Abs")),
    "sign": Function(np.sign, (None,), _of_one("Sign")),
    "square": Function(np.square, (lambda dy, y, a: dy * (2.0 * a),), lambda a: a * a),
    "sqrt": Function(np.sqrt, (lambda dy, y, a: dy * 0.5 / y,), _of_one("Sqrt")),
    "exp": Function(np.exp, (lambda dy, y, a: dy * y,), _of_one("Exp")),
    "expm1": Function(np.expm1, (lambda dy, y, a: dy * (y + 1.0),), lambda a: Formula("Exp", a) - 1.0),
    "log": Function(np.log, (lambda dy, y, a: dy / a,), _of_one("Log")),
    "log1p": Function(np.log1p, (lambda dy, y, a: dy / (a + 1.0),), lambda a: Formula("Log", a + 1.0)),
    "tanh": Function(np.tanh, (lambda dy, y, a: dy * (1.0 - _op("square", y)),), _of_one("Tanh")),
    "sigmoid": Function(_sigmoid, (lambda dy, y, a: dy * (y * (1.0 - y)),), _of_one("Sigmoid")),
    "softplus": Function(lambda x: np.logaddexp(x, 0), (lambda dy, y, a: dy * _op("sigmoid", a),), _softplus),
    "relu": Function(
        lambda x: np.maximum(x, 0), (lambda dy, y, a: _where(_op("less", 0.0, a), dy, 0.0),), _of_one("Relu")
    ),
    "sin": Function(np.sin, (lambda dy, y, a: dy * _op("cos", a),), _of_one("Sin")),
    "cos": Function(np.cos, (lambda dy, y, a: -(dy * _op("sin", a)),), _of_one("Cos")),
    "erf": Function(
        _erf, (lambda dy, y, a: dy * (2 / math.sqrt(math.pi)) * _op("exp", -_op("square", a)),), _of_one("Erf")
    ),
    "floor": Function(np.floor, (None,), _of_one("Floor")),
}


class Elementwise(_Symbolic):
    """y = function(*operands), tensors whose shapes fit together by numpy's rule, and numbers. ShapeError if not."""

    def __init__(self, function: str, operands: Sequence[Operand], name: str = "") -> None:
        self.function, self.operands = function, tuple(operands)
        tensors = [each for each in self.operands if isinstance(each, Tensor)]
        super().__init__(tensors, broadcast(function, [x.shape for x in tensors]), name=name or function)

    def forward(self, build: Builder) -> None:
        waiting = list(in_order([self], lambda op: _inlined(build, op)))
        for op in waiting[MOST - 1 : -1 : MOST]:
            build.value(op.output)
        code = _Code(build, self)
        if not code.fits:
            for x in self.inputs:
                build.value(x)
            code = _Code(build, self)
        code.emit(build)

    def gradient(self, number: int, dy: Tensor) -> Tensor | None:
        place = [i for i, each in enumerate(self.operands) if isinstance(each, Tensor)][number]
        slope = FUNCTIONS[self.function].slopes[place]
        return None if slope is None else sum_to(slope(dy, self.output, *self.operands), self.inputs[number].shape)

    def compute(self, *inputs: Array) -> Array:
        given = iter(inputs)
        operands = [next(given) if isinstance(each, Tensor) else self.output.dtype.type(each) for each in self.operands]
        return np.asarray(FUNCTIONS[self.function].compute(*operands), self.output.dtype)

    def onnx(self, graph: NodeWriter) -> None:
        if self.function == "erf" and self.output.dtype == np.float64:
            raise FusionError("erf of a float64 model cannot be exported, as onnxruntime has no float64 Erf")
        form = FUNCTIONS[self.function].form
        numbers = {i: each for i, each in enumerate(self.operands) if not isinstance(each, Tensor)}

        def of_all(*sources: Formula) -> Formula:
            given = iter(sources)
            return form(*(numbers[i] if i in numbers else next(given) for i in range(len(self.operands))))

        graph.write(of_all, self)


def _inlined(build: Builder, op: Elementwise) -> list[Elementwise]:
    """The ops whose functions are computed within op's kernel: of the same shape, and read by nobody so far."""
    made = [
        x.op for x in op.inputs if x.features == op.output.features and feature_map(x.shape, op.output.shape) is None
    ]
    return [each for each in made if isinstance(each, Elementwise) and build.waits(each)]


class _Code:
    """The instructions of an op and of those that it is made of."""

    def __init__(self, build: Builder, last: Elementwise) -> None:
        self.last, self.inputs, self.constants = last, dict[tuple[Tensor, bytes], Array | None](), dict[float, int]()
        self._steps: list[tuple[str, Elementwise, list[Any]]] = []
        shape = last.output.shape
        inlined = {last: _inlined(build, last)}
        for op in in_order([last], lambda op: inlined.setdefault(op, _inlined(build, op))):
            operands: list[Any] = []
            for each in op.operands:
                if not isinstance(each, Tensor):
                    self.constants.setdefault(float(each), len(self.constants))
                    operands.append(float(each))
                elif each.op in inlined[op]:
                    operands.append(each.op)
                else:
                    map_ = feature_map(each.shape, shape)
                    key = each, b"" if map_ is None else map_.tobytes()
                    self.inputs[key] = map_
                    operands.append(key)
            self._steps.append((op.function, op, operands))
        self._place()

    def _place(self) -> None:
        """Which slot each input, constant and result has; a slot is free again after its last reader."""
        first = len(self.inputs) + len(self.constants)
        slots: dict[Any, int] = {key: i for i, key in enumerate(self.inputs)}
        slots |= {number: len(self.inputs) + i for number, i in self.constants.items()}
        last_read = {each: i for i, (_, _, operands) in enumerate(self._steps) for each in operands}
        free: list[int] = []
        self.slots, self.rows = first, list[list[int]]()
        for i, (function, op, operands) in enumerate(self._steps):
            read_from = [slots[each] for each in operands]
            free += {slots[each] for each in operands if isinstance(each, Elementwise) and last_read[each] == i}
            if not free:
                free.append(self.slots)
                self.slots += 1
            slots[op] = free.pop()
            self.rows.append(
                [_ext.FUNCTIONS[function][0], slots[op], *read_from, *[read_from[0]] * (3 - len(read_from))]
            )

    @property
    def fits(self) -> bool:
        return len(self.inputs) <= _ext.FORMULA_INPUTS and self.slots <= _ext.FORMULA_SLOTS

    def emit(self, build: Builder) -> None:
        most, output = _ext.FORMULA_INPUTS, self.last.output
        rest: list[Any] = [None] * (most - len(self.inputs))
        refs = [build.value(x) for x, _ in self.inputs]
        maps = list(self.inputs.values())
        build.emit(
            "formula",
            inputs=[
                *(read(ref) if each is None else read_all(ref) for ref, each in zip(refs, maps, strict=True)),
                *rest,
            ],
            maps=[*(None if each is None else read_all(build.array(indices(each))) for each in maps), *rest],
            constants=read_all(build.array(build.constant([*self.constants] or [0.0]))),
            code=read_all(build.array(indices(self.rows))),
            y=write(build.value(output)),
            widths=[*(x.features for x, _ in self.inputs), *[0] * len(rest)],
            input_count=len(self.inputs),
            constant_count=len(self.constants),
            slots=self.slots,
            count=len(self.rows),
            features=output.features,
        )


__all__ = ["Elementwise"]
