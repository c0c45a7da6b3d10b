"""One node of an ONNX graph, and what can be told of nodes without their graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper

from fastdl.base.arrays import Array

Floats = npt.NDArray[np.float64]
ML, NEWEST = "ai.onnx.ml", 2**16  # operators of the second domain are looked up in their newest version
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
# A set, which compares by hash first: numpy takes None for float64 when asked whether a dtype equals it
FLOATS = frozenset((np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)))
# Attributes by which a Constant node states its value, other than as a tensor
CONSTANT_ATTRIBUTES = {
    **dict.fromkeys(("value_float", "value_floats"), np.float32),
    **dict.fromkeys(("value_int", "value_ints"), np.int64),
}
# Above these the product of two constants, or of a constant and an input, may overflow: then the order matters in
# which a graph multiplies, and folding changes it.
LARGEST = {np.dtype(np.float16): 2.0**14, np.dtype(np.float32): 2.0**64, np.dtype(np.float64): 2.0**512}


class Refused(Exception):
    """A fold that must not happen; the message is the reason that the report shows."""


class Node:
    """One node of the graph; compared by identity. `op` is the operator where folds may rely on its definition.

    Else it is a name that no fold knows: that of another domain with the domain, or one that says that the node
    does not have the inputs, outputs and attributes that its operator asks for.
    """

    def __init__(self, proto: NodeProto, functions: frozenset[tuple[str, str]] = frozenset(), opset: int = 0) -> None:
        self.proto = proto
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.removed = False
        own = proto.domain in ("", "ai.onnx") and (proto.domain, proto.op_type) not in functions
        self.op: str = f"{proto.op_type}" if own else f"{proto.domain}:{proto.op_type}"
        known = own or (proto.domain == ML and (ML, proto.op_type) not in functions)
        if known and not _well_formed(proto, opset if own else NEWEST, "" if own else ML):
            self.op = f"malformed {self.op}"

    @property
    def label(self) -> str:
        """What a person calls the node: its name, or its operator and output where it has none."""
        return self.proto.name or f"{self.op}({self.outputs[0] if self.outputs else ''})"

    def attribute(self, name: str, default: Any) -> Any:
        """The attribute's value, or `default` where the node does not state it."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return helper.get_attribute_value(attribute)
        return default

    def become(self, op: str, attributes: Mapping[str, Any]) -> None:
        """Turn into another operator of ONNX's own domain, keeping name and doc string."""
        self.op = op
        old, self.proto = self.proto, NodeProto()  # the old one is still the model's own
        self.proto.CopyFrom(old)
        self.proto.op_type, self.proto.domain = op, ""
        del self.proto.attribute[:]
        self.proto.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())

    def state(self, attributes: Mapping[str, Any]) -> None:
        """Give these attributes other values, and keep all else."""
        old, self.proto = self.proto, NodeProto()  # the old one is still the model's own
        self.proto.CopyFrom(old)
        kept = [a for a in old.attribute if a.name not in attributes]
        del self.proto.attribute[:]
        self.proto.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items())])


def _well_formed(proto: NodeProto, opset: int, domain: str) -> bool:
    """Whether a node has as many inputs and outputs as ONNX defines, the needed ones named, and attributes to type.

    An operator that this onnx does not know at this opset is taken as it is.
    """
    try:
        rules = _rules(proto.op_type, opset, domain)
    except TypeError:  # a name that is no text
        return False
    if rules is None:
        return True
    inputs, outputs = list(proto.input), list(proto.output)
    least, most, made, needed, kinds = rules
    if not least <= len(inputs) <= most or len(outputs) < made:
        return False
    if not all((*inputs[:least], *outputs[: max(1, made)])):
        return False
    if domain == "" and needed - {a.name for a in proto.attribute}:
        return False
    return all(kinds[a.name] == a.type for a in proto.attribute if a.name in kinds)


@lru_cache(maxsize=1024)
def _rules(op: str, opset: int, domain: str) -> tuple[int, int, int, frozenset[str], Mapping[str, int]] | None:
    """Fewest and most inputs, fewest outputs, the attributes needed, all by type; None for an operator not known."""
    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None
    stated: Mapping[str, Any] = schema.attributes
    kinds = {name: attribute.type.value for name, attribute in stated.items()}
    needed = frozenset(name for name, attribute in stated.items() if attribute.required)
    return schema.min_input, schema.max_input, schema.min_output, needed, kinds


def magnitude(array: Array) -> float:
    """The largest absolute value, 0 of an empty array, NaN where any value is; without a copy."""
    return max(float(array.max(initial=0)), -float(array.min(initial=0)))


def subgraphs(node: NodeProto) -> Iterable[onnx.GraphProto]:
    """The graphs that a node (If, Loop, Scan) carries in its attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def constant_value(node: NodeProto) -> TensorProto | Array | None:
    """What a Constant node states in numbers: a tensor, or an array of the type that its attribute implies."""
    for attribute in node.attribute:
        if attribute.name in CONSTANT_ATTRIBUTES:
            return np.array(helper.get_attribute_value(attribute), CONSTANT_ATTRIBUTES[attribute.name])
        if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
            tensor: TensorProto = attribute.t
            return tensor
    return None


def names_inside(nodes: Iterable[NodeProto]) -> set[str]:
    """Every name that subgraphs of these nodes mention: more than they capture, which is the safe side."""
    names: set[str] = set()
    for node in nodes:
        for graph in subgraphs(node):
            names |= all_names(graph) | names_inside(graph.node)
    return names - {""}


def all_names(graph: onnx.GraphProto) -> set[str]:
    named = (*graph.input, *graph.output, *graph.initializer, *graph.value_info)
    names = {item.name for item in named} | {s.values.name for s in graph.sparse_initializer}
    for node in graph.node:
        names.update(node.input, node.output)
    return names
