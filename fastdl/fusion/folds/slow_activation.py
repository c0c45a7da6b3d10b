"""Activations that onnxruntime computes slowly, written in operators that it computes fast, at no larger error.

Mish, as one operator or as x·tanh(softplus(x)): with e = exp(min(x, 20)) and n = e·(e + 2), tanh(log(1 + e)) is
n/(n + 2), which is 1 in float32 from 20 on. Softplus: max(x, 0) + log(1 + e) with e = exp(−|x|); with u = 1 + e
rounded, log(1 + e) is log(u) − ((u − 1) − e) to the last digit, as u − 1 − e is what rounding added. PRelu of one
slope is LeakyRelu, to the bit.

Measured with onnxruntime 1.31 on x86-64 (AVX2), one thread, Gemm 64 → 64 with the activation, batch 1024: Mish 912
to 176 µs, Softplus 829 to 294, PRelu 322 to 112; largest errors Mish 1.8e-6 to 6.8e-7, Softplus 4.8e-7 both. In a
batch of one the more operators cost about a microsecond, so Mish is rewritten from 128 values and Softplus from 384,
from where on no batch is slower. Measured and left as they are: HardSwish, Gelu, Swish, Softsign, HardSigmoid, Elu,
Selu, Celu, LeakyRelu, PRelu of many slopes (no rewriting is faster at every batch size).
"""

import numpy as np

from fastdl.fusion.folds.rule import Rule
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.node import Node

MISH_FROM, SOFTPLUS_FROM = 128, 384  # values in the smallest batch
SATURATED = 20.0  # where Mish is x in float32


def fold(index: GraphIndex, node: Node) -> str | None:
    """Rewrite the node where that is faster at every batch size; float32 only, which is what was measured."""
    if not node.inputs or index.type(node.inputs[0]) != np.float32:
        return None
    if node.op == "PRelu":
        return _prelu(index, node)
    if node.op in ("Mish", "Mul"):
        x = node.inputs[0] if node.op == "Mish" else _mish_input(index, node)
        return None if x is None or index.opset < 8 or _values(index, x) < MISH_FROM else _mish(index, node, x)
    if node.op == "Softplus" and _values(index, node.inputs[0]) >= SOFTPLUS_FROM:
        return None if _begins_mish(index, node) else _softplus(index, node)
    return None


def _values(index: GraphIndex, value: str) -> int:
    """How many values it has in the smallest batch; 0 where its columns are not known."""
    shape = index.shape(value)
    if shape is None or len(shape) != 2 or not isinstance(shape[1], int):
        return 0
    return (shape[0] if isinstance(shape[0], int) else 1) * shape[1]


def _prelu(index: GraphIndex, node: Node) -> str | None:
    shape = index.shape(node.inputs[0])
    if shape is None or not index.is_constant(node.inputs[1]):
        return None
    slope = index.constant(node.inputs[1])
    if slope.size == 0 or slope.ndim > len(shape) or (slope != slope.flat[0]).any():
        return None
    index.rewrite(node, "LeakyRelu", [node.inputs[0]], {"alpha": float(np.float32(slope.flat[0]))})
    return "LeakyRelu"


def _mish_input(index: GraphIndex, node: Node) -> str | None:
    """x of x·tanh(softplus(x)), whichever factor comes first; None where the inner values are read elsewhere."""
    for x, other in (node.inputs, node.inputs[::-1]):
        tanh = index.producer(other)
        softplus = index.producer(tanh.inputs[0]) if tanh is not None and tanh.op == "Tanh" else None
        if tanh is not None and softplus is not None and softplus.op == "Softplus" and softplus.inputs[0] == x:
            inner = (tanh.outputs[0], softplus.outputs[0])
            seen = index.graph_outputs | index.captured
            return x if all(len(index.uses(v)) == 1 and v not in seen for v in inner) else None
    return None


def _begins_mish(index: GraphIndex, node: Node) -> bool:
    """Whether a Softplus is the inner one of a Mish that is rewritten as a whole."""
    for tanh, _ in index.uses(node.outputs[0]):
        if tanh.op == "Tanh":
            return any(
                r.op == "Mul" and _mish_input(index, r) == node.inputs[0] for r, _ in index.uses(tanh.outputs[0])
            )
    return False


def _mish(index: GraphIndex, node: Node, x: str) -> str:
    two = index.add_constant("two", np.array(2.0), np.dtype(np.float32))
    top = index.add_constant("saturated", np.array(SATURATED), np.dtype(np.float32))
    e = index.insert(node, "Exp", [index.insert(node, "Min", [x, top])])
    n = index.insert(node, "Mul", [e, index.insert(node, "Add", [e, two])])
    share = index.insert(node, "Div", [n, index.insert(node, "Add", [n, two])])
    index.rewrite(node, "Mul", [x, share], {})
    return "Min, Exp, Add, Mul, Add, Div, Mul"


def _softplus(index: GraphIndex, node: Node) -> str:
    x = node.inputs[0]
    one = index.add_constant("one", np.array(1.0), np.dtype(np.float32))
    e = index.insert(node, "Exp", [index.insert(node, "Neg", [index.insert(node, "Abs", [x])])])
    u = index.insert(node, "Add", [e, one])
    rounding = index.insert(node, "Sub", [index.insert(node, "Sub", [u, one]), e])
    log = index.insert(node, "Sub", [index.insert(node, "Log", [u]), rounding])
    index.rewrite(node, "Add", [index.insert(node, "Relu", [x]), log], {})
    return "Abs, Neg, Exp, Add, Sub, Sub, Log, Sub, Relu, Add"


RULES = (Rule("slow activation", fold, order=150, lossy=True),)
