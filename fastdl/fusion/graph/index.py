"""A mutable index of one ONNX graph: who makes and who reads each value, and what is constant.

Folds speak to this class only. It keeps every promise that must hold for all of them: a name never
overwrites another, a shared parameter is never edited (only new constants are added), a fold that
refuses has changed nothing, and constants stay float64 until they are rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from fastdl.base.arrays import Array, Dtype
from fastdl.base.naming import Names
from fastdl.fusion.graph.inference import Dim, Inferred, byte_count, dtype_of, infer
from fastdl.fusion.graph.memory import tensor_of
from fastdl.fusion.graph.node import (
    FLOATS,
    LARGEST,
    Floats,
    Node,
    Refused,
    all_names,
    constant_value,
    magnitude,
    names_inside,
)
from fastdl.fusion.graph.weights import LARGE, AnyModel, Lean, outside, without

KEPT = 2**16  # numbers of a constant that is kept in float64 for good
ROOM = 2**22  # numbers of larger ones that are kept for a while
DEEPEST = 8  # large constants that are computed one from another, each anew, before one is kept for good


class GraphIndex:
    """The graph of `model`, indexed. Folds change the index alone; `to_model()` gives a changed copy."""

    def __init__(self, source: AnyModel, like: GraphIndex | None = None) -> None:
        """like: an index of the same model, which nothing has changed: what it has inferred is taken over."""
        self.lean, self._like = Lean.of(source), like
        model, graph = self.lean.proto, self.lean.proto.graph
        functions = frozenset((f.domain, f.name) for f in model.functions)
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        self._nodes = [Node(proto, functions, self.opset) for proto in graph.node]
        self._settled = True  # `_nodes` holds no removed node and misses no new one
        self._before: dict[Node, list[Node]] = {}  # new nodes, by the one in front of which they stand
        self.graph_inputs = frozenset(i.name for i in graph.input)
        self.graph_outputs = frozenset(o.name for o in graph.output)
        self._initializers = {t.name: t for t in graph.initializer}
        # Before IR version 4 every initializer had to be listed as an input, and none could be overridden.
        lists_all = model.ir_version < 4
        self._overridable = frozenset() if lists_all else self.graph_inputs & self._initializers.keys()
        self.captured = frozenset(names_inside(graph.node))
        self._names = Names(all_names(graph) | self.captured)
        self._exact: dict[str, Floats] = {}
        self._large: dict[str, Floats] = {}  # of large ones, those of late
        self._made: dict[str, Callable[[], Floats]] = {}  # how large new ones are computed, each time that one is read
        self._depths: dict[str, int] = {}  # of those, how many are computed one from another
        self._deepest = 0  # of what was read of late
        self._dtypes: dict[str, Dtype] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}  # of floating-point constants
        self._derived: dict[tuple[Any, ...], Any] = {}
        self._added: dict[str, None] = {}  # names of new initializers, in order
        # Initializers that nothing reads, and Constants that are gone: what is computed from them may still read them
        self._dropped: set[str] = set()
        self._retired: dict[str, Node] = {}
        self._inferred: Inferred = like._inferred if like is not None else infer(model)
        self._shapes, self._types = self._inferred[0].copy(), self._inferred[1].copy()
        self._resized: set[str] = set()
        self.in_range: dict[bool, set[str]] = {False: set(), True: set()}  # what `ranges.require_range` let pass
        # How many numbers constants may still hold that are computed from constants
        constants = (a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute)
        self.spare = 4 * sum(prod(t.dims) for t in (*graph.initializer, *constants)) + 2**20
        self._producers: dict[str, Node] = {}
        self._uses: dict[str, dict[Node, list[int]]] = {}  # by reader, the input slots
        for node in self._nodes:
            self._link(node)

    # --- reading -------------------------------------------------------------------------------

    @cached_property
    def bytes(self) -> int:
        """About how many the model takes as a file."""
        return byte_count(self.lean.proto) if self._like is None else self._like.bytes

    @property
    def nodes(self) -> list[Node]:
        """The nodes in order, as they are now."""
        if not self._settled:
            live = []
            for node in self._nodes:
                live += [new for new in self._before.pop(node, []) if not new.removed]
                if not node.removed:
                    live.append(node)
            self._nodes, self._settled = live, True
        return self._nodes

    def producer(self, value: str) -> Node | None:
        """The node that makes `value`, or None for inputs and initializers."""
        return self._producers.get(value)

    def uses(self, value: str) -> list[tuple[Node, int]]:
        """Every (node, input slot) that reads `value`; readers inside subgraphs are in `captured`."""
        return [(node, slot) for node, slots in self._uses.get(value, {}).items() for slot in slots]

    def require_hidden(self, value: str) -> None:
        """Refuse a value that is seen from outside its readers: a graph output, or read in a subgraph."""
        if value in self.graph_outputs:
            raise Refused(f"{value!r} is a graph output")
        if value in self.captured:
            raise Refused(f"{value!r} is read inside a subgraph")

    def require_private(self, value: str) -> None:
        """Refuse a value that has any other use than the one input that reads it."""
        self.require_hidden(value)
        if len(uses := self.uses(value)) > 1:
            readers = ", ".join(node.label for node, _ in uses)
            raise Refused(f"{value!r} has another use (read by {readers})")

    def origin(self, value: str) -> str:
        """Where `value` comes from, in words, for a reason."""
        if (node := self.producer(value)) is not None:
            return f"{node.op} {node.label!r}"
        return "a graph input" if value in self.graph_inputs else "an initializer"

    def shape(self, value: str) -> tuple[Dim, ...] | None:
        """The shape as ONNX infers it (not as the file claims it), or None where the rank is unknown."""
        return self._shapes.get(value)

    def type(self, value: str) -> Dtype | None:
        """The element type as ONNX infers it; None where it is not known, or no type that numpy has."""
        return self._types.get(value)

    def is_constant(self, value: str) -> bool:
        """Whether `value` is an initializer that no caller may override, or a Constant."""
        if value in self._overridable:
            return False
        node = self.producer(value)
        return value in self._initializers or value in self._added or (node is not None and node.op == "Constant")

    def overridable(self, value: str) -> bool:
        """Whether `value` is an initializer in whose place a caller may pass another."""
        return value in self._overridable

    def stored(self, value: str) -> Array | None:
        """The constant behind `value` (initializer or Constant node) as stored; None if there is none."""
        if value in self._overridable:
            return None
        if value in self._added:
            return self.constant(value).astype(self._dtypes[value])
        tensor = self._initializers.get(value)
        node = self.producer(value) or self._retired.get(value)
        if tensor is None and node is not None and node.op == "Constant":
            tensor = constant_value(node.proto)
        if isinstance(tensor, np.ndarray):
            return tensor
        if not isinstance(tensor, TensorProto):
            return None
        try:
            array = self.lean.values(tensor)
            # A type that numpy has not (bfloat16 in some versions of onnx) comes as another: it would be lost
            return array if helper.np_dtype_to_tensor_dtype(array.dtype) == tensor.data_type else None
        except (ValueError, TypeError, OverflowError, KeyError):
            return None

    def constants(self) -> list[str]:
        """The names of all that is stored: initializers, and what Constant nodes make."""
        made = (node.outputs[0] for node in self.nodes if node.op == "Constant")
        return [*self._initializers, *self._added, *made]

    def stored_floats(self, value: str) -> int:
        """How many floating-point numbers a constant holds; 0 for all else."""
        if (tensor := self._initializers.get(value)) is not None:
            return prod(tensor.dims) if dtype_of(tensor.data_type) in FLOATS else 0
        array = self.stored(value)
        return array.size if array is not None and array.dtype in FLOATS else 0

    def constant(self, value: str) -> Floats:
        """The float64 values (read-only) behind a floating-point constant; refuses all that is not one."""
        self._deepest = max(self._deepest, self._depths.get(value, 0))
        if value in self._large:
            return self._large[value]
        if value in self._exact:
            return self._exact[value]
        exact = self._made[value]() if value in self._made else self._read(value)
        exact.setflags(write=False)
        if exact.size <= KEPT:
            self._exact[value] = exact
        else:
            self._remember(value, exact)
        return exact

    def forget(self) -> None:
        """Drop what is kept for a while."""
        self._large.clear()

    def _remember(self, value: str, exact: Floats) -> None:
        """Keep a large constant for a while."""
        self._large[value] = exact
        while sum(array.size for array in self._large.values()) > ROOM and len(self._large) > 1:
            self._large.pop(next(iter(self._large)))

    def _read(self, value: str) -> Floats:
        """A stored constant in float64, checked the first time."""
        if value in self._overridable:
            raise Refused(f"parameter {value!r} is also a graph input, so a caller may override it")
        array = self.stored(value)
        if array is None:
            raise Refused(f"parameter {value!r} is not a constant")
        if value in self._dtypes:
            return array.astype(np.float64)
        if array.dtype not in FLOATS:
            raise Refused(f"parameter {value!r} is {array.dtype}, not floating point")
        if not np.isfinite(largest := magnitude(array)):
            raise Refused(f"parameter {value!r} is not finite everywhere")
        if largest > LARGEST[array.dtype]:
            raise Refused(f"parameter {value!r} holds {largest:.1e}, by which {array.dtype} may overflow")
        self._dtypes[value] = array.dtype
        return array.astype(np.float64)

    def is_checked(self, value: str) -> bool:
        """Whether it is a floating-point constant that `constant` has let pass."""
        return value in self._dtypes

    def dtype(self, value: str) -> Dtype:
        """The dtype in which a floating-point constant is stored; refuses what `constant` refuses."""
        if value not in self._dtypes:
            self.constant(value)
        return self._dtypes[value]

    def constant_shape(self, value: str) -> tuple[int, ...]:
        """The shape of a floating-point constant; refuses what `constant` refuses, but computes it only once."""
        if value not in self._sizes:
            self._sizes[value] = self.constant(value).shape
        return self._sizes[value]

    def derived(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """What follows from constants alone, which never change, and is small: computed once for each key."""
        if key not in self._derived:
            self._derived[key] = compute()
        return self._derived[key]

    # --- changing ------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A name that nothing in the graph or its subgraphs bears."""
        return self._names.free(hint)

    def add_constant(self, hint: str, source: Floats | Callable[[], Floats], dtype: Dtype) -> str:
        """Add a new initializer, in float64 until it is written; refuses what over- or underflows `dtype`.

        source: its values, or what computes them from other constants. A large one that is computed is not kept, as in
        float64 all of them would take twice the model's room: it is computed again whenever it is read.
        """
        self._deepest = 0
        values = source() if callable(source) else source
        depth = self._deepest + 1
        largest = magnitude(values)
        if not np.isfinite(largest):
            raise Refused(f"folded parameter {hint!r} would not be finite in {dtype}")
        if largest > LARGEST[np.dtype(dtype)]:
            raise Refused(f"folded parameter {hint!r} would hold {largest:.1e}, by which {dtype} may overflow")
        if abs(float(np.asarray(largest).astype(dtype)) - largest) > float(np.finfo(dtype).eps) * largest:
            raise Refused(f"folded parameter {hint!r} would be too small for {dtype}")
        name = self.fresh(hint)
        exact = np.asarray(values, dtype=np.float64, order="C")
        exact.setflags(write=False)
        if callable(source) and exact.size > KEPT and depth <= DEEPEST:
            self._made[name], self._depths[name] = source, depth
            self._remember(name, exact)
        else:
            self._exact[name] = exact
        self._dtypes[name], self._added[name] = np.dtype(dtype), None
        self._shapes[name], self._types[name] = values.shape, np.dtype(dtype)
        return name

    def add_tensor(self, hint: str, values: Array) -> str:
        """Add a new initializer of any type (an integer shape, say), stored as it is."""
        name = self.fresh(hint)
        # Not ascontiguousarray, which makes a vector of a scalar
        self._initializers[name] = tensor_of(np.asarray(values, order="C"), name)
        self._shapes[name], self._types[name] = values.shape, values.dtype
        return name

    def replace(self, node: Node, constant: str) -> None:
        """Remove a node whose only output is the constant; refuses where the output's name must be kept."""
        value = node.outputs[0]
        self.require_hidden(value)
        self.remove(node)
        self._redirect(value, constant)

    def learn(self, inferred: Inferred) -> None:
        """Take over shapes and types of the graph as it is now."""
        self._shapes |= inferred[0]
        self._types |= inferred[1]

    def resize(self, value: str, shape: tuple[Dim, ...]) -> None:
        """Note that `value` has another shape from now on."""
        self._shapes[value] = shape
        self._resized.add(value)

    def rewrite(self, node: Node, op: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Turn a node into another operator with other inputs, and the same outputs and name."""
        self.set_inputs(node, inputs)
        node.become(op, attributes)

    def insert(self, before: Node, op: str, inputs: Sequence[str], like: str = "", **attributes: Any) -> str:
        """A new node in front of another, of the shape and type of `like` or what that gives; its one output's name."""
        output, like = self.fresh(f"{before.outputs[0]}_{op.lower()}"), like or before.outputs[0]
        self.make(before, op, inputs, [output], **attributes)
        known: dict[str, Any]
        for known in (self._shapes, self._types):
            known |= {output: known[like]} if like in known else {}
        return output

    def make(self, before: Node, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A new node in front of another, also of one that is removed, for values that nothing makes."""
        node = Node(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))
        self._before.setdefault(before, []).append(node)
        self._settled = False
        self._link(node)

    def set_inputs(self, node: Node, inputs: Sequence[str]) -> None:
        """Let a node read other values, by the same operator and attributes."""
        self._unlink(node)
        node.inputs = list(inputs)
        self._link(node)

    def remove(self, node: Node) -> None:
        """Take a node out; its outputs must have no reader left."""
        self._unlink(node)
        node.removed = True
        self._settled = False

    def absorb(self, into: Node, node: Node) -> None:
        """Remove `node`, which alone reads `into`'s output, and let `into` make its output instead."""
        self.remove(node)
        self._unlink(into)
        into.outputs[0] = node.outputs[0]
        self._link(into)

    def bypass(self, node: Node, source: str | None = None) -> None:
        """Remove a node whose first output equals its (first) input; refuses where names must be kept."""
        source, value = source or node.inputs[0], node.outputs[0]
        if value in self.captured:
            raise Refused(f"{value!r} is read inside a subgraph")
        if value not in self.graph_outputs:
            self.remove(node)
            self._redirect(value, source)
            return
        maker = self.producer(source)
        if maker is None:
            raise Refused(f"it joins {self.origin(source)} to graph output {value!r}, whose names are kept")
        self.require_hidden(source)
        self.remove(node)
        self._unlink(maker)
        maker.outputs = [value if name == source else name for name in maker.outputs]
        self._link(maker)
        self._redirect(source, value)

    def prune(self) -> list[str]:
        """Drop initializers and Constant nodes that nothing reads; returns their names."""
        visible = self.graph_outputs | self.captured
        dropped = []
        for node in [n for n in self.nodes if n.op == "Constant"]:
            if not self._uses.get(node.outputs[0]) and node.outputs[0] not in visible:
                self.remove(node)
                dropped.append(node.outputs[0])
        for name in [*self._initializers, *self._added]:
            if not self._uses.get(name) and name not in visible and name not in self._overridable:
                dropped.append(name)
                self._added.pop(name, None)
        self._dropped.update(dropped)
        return dropped

    def to_model(self) -> Lean:
        """The changed model; everything that no fold touched is as it was. Ends the use of this index."""
        source = self.lean.proto
        model: ModelProto = without(source, "graph")
        model.graph.MergeFrom(without(source.graph, "initializer", "node"))
        stored, graph = source.graph.initializer, model.graph
        before = {t.name for t in stored}
        gone = before & self._dropped
        weights = {name: array for name, array in self.lean.weights.items() if name not in gone}
        graph.initializer.extend(t for t in stored if t.name not in gone)
        new = [t for name, t in self._initializers.items() if name not in before and name not in self._dropped]
        graph.initializer.extend(new)
        for name in self._added:
            rounded = self.constant(name).astype(self._dtypes[name])  # one by one: they are most of the memory
            self.forget()
            if not self._made:
                self._exact.pop(name)
            if self.lean.weights and rounded.size >= LARGE:
                weights[name] = np.asarray(rounded, order="C")
                number = helper.np_dtype_to_tensor_dtype(rounded.dtype)
                graph.initializer.append(outside(name, number, rounded.shape))
            else:
                graph.initializer.append(tensor_of(rounded, name))
        if model.ir_version < 4:
            _keep(graph.input, lambda i: i.name not in gone)
            names = {t.name for t in new} | self._added.keys()
            listed = (t for t in graph.initializer if t.name in names)
            graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in listed)
        for node in self.nodes:
            proto = graph.node.add()
            proto.CopyFrom(node.proto)
            proto.input[:] = node.inputs
            proto.output[:] = node.outputs
        alive = {name for node in self.nodes for name in node.outputs}
        alive |= {t.name for t in graph.initializer} | self.captured
        alive -= self._resized
        _keep(graph.value_info, lambda v: v.name in alive)
        return Lean(model, weights)

    # --- the books -----------------------------------------------------------------------------

    def _link(self, node: Node) -> None:
        for slot, name in enumerate(node.inputs):
            if name:
                self._uses.setdefault(name, {}).setdefault(node, []).append(slot)
        for name in node.outputs:
            if name:
                self._producers[name] = node

    def _unlink(self, node: Node) -> None:
        for name in set(node.inputs) - {""}:
            self._uses[name].pop(node)
        for name in node.outputs:
            self._producers.pop(name, None)
            if node.op == "Constant":
                self._retired[name] = node

    def _redirect(self, old: str, new: str) -> None:
        for node, slots in self._uses.pop(old, {}).items():
            for slot in slots:
                node.inputs[slot] = new
            self._uses.setdefault(new, {}).setdefault(node, []).extend(slots)


def _keep(field: Any, wanted: Any) -> None:
    left = [item for item in field if wanted(item)]
    if len(left) != len(field):
        copies = [type(item).FromString(item.SerializeToString()) for item in left]
        del field[:]
        field.extend(copies)
