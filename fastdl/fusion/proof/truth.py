"""What a graph ought to give: each node in turn, in float64.

A node is evaluated by our own definition (see operators.evaluate), else by ONNX's reference; what neither can,
onnxruntime runs alone, unoptimised, in the types that the graph states, and `Truth.narrow` names its operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from fastdl.base.arrays import Array, Dtype
from fastdl.fusion.evaluator.blas import one_thread
from fastdl.fusion.evaluator.operators import WIDENING, evaluate, kind, text
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import memory_errors, tensor_of
from fastdl.fusion.graph.node import constant_value, names_inside, subgraphs
from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.proof.rounding import moved
from fastdl.fusion.runtime.session import Session

NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPE_ATTRIBUTES = ("to", "dtype", "output_datatype")
# Operators whose result has a type of its own, float32 unless they state another
TYPED = {
    **dict.fromkeys(("RandomNormal", "RandomUniform"), "dtype"),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), "output_datatype"),
}
RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)
# What the reference may get wrong or never end (a regular expression); what depends on bits is float32's alone
RUN_NARROW = frozenset(("BatchNormalization", "BitCast", "MaxUnpool", "RegexFullMatch", "Resize", "StringNormalizer"))
SMALL = 2**16  # numbers of a constant that is kept in float64 from one run to the next

Values = dict[str, Any]


class NoTruth(Exception):
    """A node that nothing evaluates; the message says which and why."""


class Truth:
    """A float64 evaluator of a graph. `narrow`: operators that it has had onnxruntime run in float32 instead."""

    def __init__(
        self,
        source: AnyModel,
        more: Sequence[str] = (),
        *,
        index: GraphIndex | None = None,
        tick: Callable[[], None] = lambda: None,
        rounds: np.random.Generator | None = None,
    ) -> None:
        """more: names of inner values to give after the outputs. tick: called before each node; may raise.

        rounds: moves every sum by what the graph's own type may lose in it (see rounding.py).
        """
        lean = Lean.of(source)
        if lean.proto.functions:
            lean, index = Lean(inline_local_functions(lean.proto), lean.weights), None
        model = lean.proto
        self.narrow: set[str] = set()
        self._tick, self._rounds = tick, rounds
        self._opsets = list(model.opset_import)
        self._version = model.ir_version
        self._index = index or GraphIndex(lean)
        self._dtypes: dict[str, Dtype] = {}  # of values whose type nothing but onnxruntime tells
        self._cache: dict[object, Callable[[Values], list[Any]]] = {}
        self._walks: dict[int, _Walk] = {}  # of subgraphs, by identity
        self._names = [*(output.name for output in model.graph.output), *more]
        self._walk = _Walk(model.graph, self._names, lean)

    def __call__(self, feeds: Mapping[str, Array]) -> list[Any]:
        """The outputs for one batch, arrays or sequences; floating-point feeds of any width are widened.

        Raises NoTruth for a node that nothing evaluates.
        """
        with np.errstate(all="ignore"), one_thread():
            return self._run(self._walk, {name: _wide(value) for name, value in feeds.items()})

    def _run(self, walk: _Walk, values: Values) -> list[Any]:
        for node, read, done in zip(walk.nodes, walk.read, walk.last, strict=True):
            self._tick()
            second = node.input[1] if len(node.input) > 1 and kind(node) in WIDENING else ""
            narrow = None if second in values else walk.narrow(second)
            if narrow is not None:
                values[second] = narrow
            for name in read:
                if name not in values and (constant := walk.constant(name)) is not None:
                    values[name] = constant
            results = self._node(node, values)
            if narrow is not None:
                del values[second]  # another node may want it wide
            values |= zip(filter(None, node.output), results, strict=False)
            for name in done:
                values.pop(name, None)
        return [values[name] if name in values else walk.constant(name) for name in walk.wanted]

    def _node(self, node: NodeProto, values: Values) -> list[Any]:
        key = kind(node)
        if key[0] == "" and node.op_type in RANDOM:
            raise NoTruth(f"{node.op_type} draws random numbers")
        if key[0] == "" and node.op_type == "Constant":
            return [_constant(node)]
        if key[0] == "" and node.op_type == "If":
            branch = "then_branch" if np.asarray(values[node.input[0]]).item() else "else_branch"
            return self._run(self._inner(_attribute(node, branch)), dict(values))
        if key[0] == "" and node.op_type == "Loop":
            return self._loop(node, values)
        inputs = [values[name] if name else None for name in node.input]
        one = bool(node.output[0]) and not any(node.output[1:])
        try:
            if one and (result := evaluate(node, inputs)) is not None:
                if self._rounds is not None:
                    result = moved(node, inputs, result, self._index.type(node.output[0]), self._rounds)
                return [_wide(result)]
        except NotImplementedError:
            return self._by_runtime(node, inputs)
        except (ValueError, IndexError, TypeError, KeyError):
            pass  # the others may know what is meant, or say what does not fit
        if node.op_type in RUN_NARROW:
            return self._by_runtime(node, inputs)
        try:
            return self._by_reference(node, inputs, values)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception:
            return self._by_runtime(node, inputs)

    def _inner(self, graph: GraphProto) -> _Walk:
        if id(graph) not in self._walks:
            self._walks[id(graph)] = _Walk(graph, [output.name for output in graph.output], self._walk.lean)
        return self._walks[id(graph)]

    def _loop(self, node: NodeProto, values: Values) -> list[Any]:
        """Loop: (most, condition, carried…) → (carried…, one scan output each, stacked)."""
        body = _attribute(node, "body")
        most, go, *carried = (values[name] if name else None for name in node.input)
        walk, count = self._inner(body), 0
        scans: list[list[Any]] = [[] for _ in body.output[len(node.input) - 1 :]]
        names = [info.name for info in body.input]
        while (most is None or count < int(np.asarray(most).item())) and (go is None or np.asarray(go).item()):
            self._tick()
            captured = dict(zip(names, [np.int64(count), np.asarray(True), *carried], strict=False))
            go, *results = self._run(walk, {**values, **captured})
            carried, count = results[: len(carried)], count + 1
            for scan, value in zip(scans, results[len(carried) :], strict=True):
                scan.append(value)
        if scans and not count:
            raise NoTruth("a Loop that ends at once gives outputs of unknown shape")
        return [*carried, *(np.stack(scan) for scan in scans)]

    @memory_errors()
    def _by_reference(self, node: NodeProto, inputs: Sequence[Any], values: Values) -> list[Any]:
        """By ONNX's reference, which is asked for one node of nameless inputs, so that equal nodes share it."""
        from onnx.reference import ReferenceEvaluator

        captured = sorted(names_inside([node]) & values.keys())
        key = ("reference", *_key(node, inputs), *captured, id(node) if captured else 0)
        if key not in self._cache:
            single = _single(node, inputs, self._opsets, self._version)
            _widen_nodes(single.graph.node)
            single.graph.input.extend(ValueInfoProto(name=name) for name in captured)
            evaluator = ReferenceEvaluator(single)
            self._cache[key] = lambda feed: list(evaluator.run(None, feed))
        feed = {f"i{slot}": value for slot, value in enumerate(inputs) if value is not None}
        feed |= {name: values[name] for name in captured}
        return [_wide(value) for value in self._cache[key](feed)]

    def _by_runtime(self, node: NodeProto, inputs: Sequence[Any]) -> list[Any]:
        """By onnxruntime, in the types of the graph, float32 where they are not known."""
        self.narrow.add(node.op_type)
        types = [self._dtypes.get(name) or self._index.type(name) or np.dtype(np.float32) for name in node.input]
        narrow = [
            value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
            for value, dtype in zip(inputs, types, strict=True)
        ]
        try:
            if any(value is not None and not isinstance(value, np.ndarray | np.generic) for value in narrow):
                raise NotImplementedError("an input that is no tensor")
            key = ("runtime", *_key(node, narrow))
            if key not in self._cache:
                with memory_errors():
                    content = _single(node, narrow, self._opsets, self._version).SerializeToString()
                session = Session(content, optimise=False)
                self._cache[key] = lambda feed: list(session.run(None, feed))
            results = self._cache[key]({f"i{k}": np.asarray(v) for k, v in enumerate(narrow) if v is not None})
        except MemoryError:
            raise
        except Exception as error:
            raise NoTruth(f"nothing evaluates {node.op_type}: {str(error).splitlines()[0]}") from error
        named = [name for name in node.output if name]
        self._dtypes |= {n: v.dtype for n, v in zip(named, results, strict=True) if isinstance(v, np.ndarray)}
        return [_wide(value) for value in results]


class _Walk:
    """The nodes of a graph that its wanted values need, in order, and after which node each value is read no more."""

    def __init__(self, graph: GraphProto, wanted: Sequence[str], lean: Lean) -> None:
        self.wanted, self.lean = list(wanted), lean
        self.graph = graph  # kept, so that no other takes its identity
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._kept: Values = {}
        if graph.sparse_initializer:
            raise NoTruth("sparse initializers")
        needed, self.nodes, self.read, self.last = set(wanted), list[NodeProto](), list[set[str]](), list[list[str]]()
        made = {name for node in graph.node for name in node.output}
        for node in reversed(graph.node):
            if needed.isdisjoint(node.output):
                continue
            read = {*node.input, *names_inside([node])} - {""}
            self.nodes.append(node)
            self.read.append(read)
            self.last.append([name for name in read - needed if name in made or name in self._stored])
            needed |= read
        for entries in (self.nodes, self.read, self.last):
            entries.reverse()

    def narrow(self, name: str) -> Any:
        """A large initializer of float32 as it is stored; None for all else."""
        tensor = self._stored.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or prod(tensor.dims) <= SMALL:
            return None
        return self.lean.values(tensor)

    def constant(self, name: str) -> Any:
        """An initializer in float64, or None: large ones are widened anew each time, not kept."""
        if name in self._kept:
            return self._kept[name]
        tensor = self._stored.get(name)
        if tensor is None:
            return None
        values = _wide(self.lean.values(tensor))
        if values.size <= SMALL:
            self._kept[name] = values
        return values


def _attribute(node: NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def _constant(node: NodeProto) -> Any:
    """The value of a Constant node, as exact as it is stated."""
    value, attribute = constant_value(node), node.attribute[0]
    if value is not None:
        return _wide(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    if attribute.name in ("value_string", "value_strings"):
        return np.array(text(helper.get_attribute_value(attribute)), dtype=object)
    raise NoTruth(f"a Constant by {attribute.name}")


def _wide(value: Any) -> Any:
    """Every float as float64, of arrays in sequences too; all else as it is."""
    if isinstance(value, list):
        return [_wide(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "f" or value.dtype.name == "bfloat16":
            return np.asarray(value, dtype=np.float64)
        return np.asarray(value)
    return value


def _key(node: NodeProto, inputs: Sequence[Any]) -> tuple[object, ...]:
    """What nodes share that one evaluator can serve."""
    stated = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    types = [None if value is None else getattr(value, "dtype", type(value)) for value in inputs]
    return (node.domain, node.op_type, *stated, "|", *types, "|", *(bool(name) for name in node.output))


def _single(
    node: NodeProto, inputs: Sequence[Any], opsets: Iterable[onnx.OperatorSetIdProto], version: int
) -> ModelProto:
    """A model of one node; its inputs are called i0, i1, …"""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = ["" if value is None else f"i{slot}" for slot, value in enumerate(inputs)]
    infos = []
    for name, value in zip(copy.input, inputs, strict=True):
        if name:
            info = ValueInfoProto(name=name)
            if isinstance(value, np.ndarray | np.generic):
                text = value.dtype.kind in "OU"
                number = TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(value.dtype)
                info = helper.make_tensor_value_info(name, number, None)
            infos.append(info)
    outputs = [ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([copy], "one", infos, outputs)
    return helper.make_model(graph, opset_imports=list(opsets), ir_version=version)


def _widen_graph(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for info in (*graph.input, *graph.output):
        _widen_type(info.type)
    del graph.value_info[:]
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Any) -> None:
    node: NodeProto
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                # These are float32 by definition; as a tensor they can be wider.
                values = np.array(helper.get_attribute_value(attribute), dtype=np.float64)
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))
            elif attribute.name in TYPE_ATTRIBUTES and attribute.i in NARROW:
                attribute.i = TensorProto.DOUBLE
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = numpy_helper.from_array(np.zeros(1))
            node.attribute.append(helper.make_attribute("value", zero))
        stated = TYPED.get(node.op_type)
        if stated and not any(attribute.name == stated for attribute in node.attribute):
            node.attribute.append(helper.make_attribute(stated, TensorProto.DOUBLE))
        for graph in subgraphs(node):
            _widen_graph(graph)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in NARROW:
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(tensor_of(wide, tensor.name))


def _widen_type(kind: onnx.TypeProto) -> None:
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type in NARROW:
        kind.tensor_type.elem_type = TensorProto.DOUBLE
