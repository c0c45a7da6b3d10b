"""How far rounding alone may move what a graph gives: its dot products, each off by what float32 loses in a sum.

A sum of n products and a bias, in whatever order, is off by at most γ·(Σ|xᵢ·wᵢ| + |b|) with γ = n·u/(1 − n·u), u half
a unit of the last place (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Rounding errors have either
sign, so that √(n+1)·u in place of γ holds but for few of many sums (Higham and Mary, 2019), and is what is taken here:
the float64 value of each sum is moved by a random share, −1 to 1, of √(n+1)·u·(Σ|xᵢ·wᵢ| + |b|), and the graph goes on
with that. So what is lost in one layer passes through all that follow, as it does in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto

from fastdl.base.arrays import Dtype
from fastdl.fusion.evaluator.operators import attributes, evaluate, kind

SUMS = frozenset((("", "Gemm"), ("", "MatMul"), ("", "Conv")))


def moved(node: NodeProto, inputs: Sequence[Any], result: Any, dtype: Dtype | None, rng: np.random.Generator) -> Any:
    """The result of a dense layer or convolution, off by what its type may lose; all else as it is.

    dtype: of the result in the graph; None where it is not known, and then nothing is moved.
    """
    stated = attributes(node)
    if (
        kind(node) not in SUMS
        or dtype is None
        or dtype.kind != "f"
        or min(stated.get(k, 1) for k in ("alpha", "beta")) < 0
    ):
        return result
    sizes = [np.abs(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in inputs]
    total = evaluate(node, sizes)
    if total is None or not isinstance(result, np.ndarray) or total.shape != result.shape:
        return result
    unit = float(np.finfo(dtype).eps) / 2
    return result + np.sqrt(_terms(node, inputs[1].shape) + 1) * unit * total * rng.uniform(-1, 1, result.shape)


def _terms(node: NodeProto, weight: tuple[int, ...]) -> int:
    """How many products one sum has."""
    if node.op_type == "Conv":
        return prod(weight[1:])
    transposed = node.op_type == "Gemm" and attributes(node).get("transB", 0)
    return int(weight[-1] if transposed or len(weight) == 1 else weight[-2])
