"""Formulas of ONNX operators, as trees: an op says here what it computes, the exporter writes the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastdl.base.arrays import Array


class Formula:
    """operator(inputs) with ONNX's names; numbers and arrays stand for constants. Without operator: the op's input."""

    def __init__(self, operator: str = "", *inputs: Value, **attributes: Any) -> None:
        self.operator, self.inputs, self.attributes = operator, inputs, attributes

    def __add__(self, other: Value) -> Formula:
        return Formula("Add", self, other)

    def __sub__(self, other: Value) -> Formula:
        return Formula("Sub", self, other)

    def __mul__(self, other: Value) -> Formula:
        return Formula("Mul", self, other)

    def __truediv__(self, other: Value) -> Formula:
        return Formula("Div", self, other)


Value = Formula | float | Array
Form = Callable[..., Formula]  # of the op's inputs
