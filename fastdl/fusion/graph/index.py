"""A mutable index of one ONNX graph: who makes and who reads each value, and what is constant.

Folds speak to this class only. It keeps every promise that must hold for all of them: a name never
overwrites another, a shared parameter is never edited (only new constants are added), a fold that
refuses has changed nothing, and constants stay float64 until they are rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fastdl.base.naming import Names
from fastdl.fusion.graph.weights import LARGE, AnyModel, Lean, outside, without

Array = npt.NDArray[np.float64]
Dim = int | str | None
Inferred = tuple[dict[str, tuple[Dim, ...]], dict[str, np.dtype[Any]]]  # shapes and types, by value

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
KEPT = 2**16  # numbers of a constant that is kept in float64 for good
ROOM = 2**22  # numbers of larger ones that are kept for a while
DEEPEST = 8  # large constants that are computed one from another, each anew, before one is kept for good
LEAN = 2**8  # numbers of an initializer beyond which shape inference is told its type alone
# What gives no infinity, whatever it reads
BOUNDED = ("Softmax", "Sigmoid", "Tanh", "Erf", "HardSigmoid", "Softsign")
# What gives infinity or NaN for some values of moderate size
MAY_OVERFLOW = ("Log", "Exp", "Reciprocal", "Sqrt", "Div", "Pow")


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
        if own and not _well_formed(proto, opset):
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


def _well_formed(proto: NodeProto, opset: int) -> bool:
    """Whether a node has as many inputs and outputs as ONNX defines, the needed ones named, and attributes to type.

    An operator that this onnx does not know at this opset is taken as it is.
    """
    try:
        rules = _rules(proto.op_type, opset)
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
    if needed - {a.name for a in proto.attribute}:
        return False
    return all(kinds[a.name] == a.type for a in proto.attribute if a.name in kinds)


@lru_cache(maxsize=1024)
def _rules(op: str, opset: int) -> tuple[int, int, int, frozenset[str], Mapping[str, int]] | None:
    """Fewest and most inputs, fewest outputs, the attributes needed, all by type; None for an operator not known."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    stated: Mapping[str, Any] = schema.attributes
    kinds = {name: attribute.type.value for name, attribute in stated.items()}
    needed = frozenset(name for name, attribute in stated.items() if attribute.required)
    return schema.min_input, schema.max_input, schema.min_output, needed, kinds


def magnitude(array: npt.NDArray[Any]) -> float:
    """The largest absolute value, 0 of an empty array, NaN where any value is; without a copy."""
    return max(float(array.max(initial=0)), -float(array.min(initial=0)))


def subgraphs(node: NodeProto) -> Iterable[onnx.GraphProto]:
    """The graphs that a node (If, Loop, Scan) carries in its attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


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
        self._names = Names(_all_names(graph) | self.captured)
        self._exact: dict[str, Array] = {}
        self._large: dict[str, Array] = {}  # of large ones, those of late
        self._made: dict[str, Callable[[], Array]] = {}  # how large new ones are computed, each time that one is read
        self._depths: dict[str, int] = {}  # of those, how many are computed one from another
        self._deepest = 0  # of what was read of late
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}  # of floating-point constants
        self._derived: dict[tuple[Any, ...], Any] = {}
        self._added: dict[str, None] = {}  # names of new initializers, in order
        # Initializers that nothing reads, and Constants that are gone: what is computed from them may still read them
        self._dropped: set[str] = set()
        self._retired: dict[str, Node] = {}
        self._inferred: Inferred = like._inferred if like is not None else _infer(model)
        self._shapes, self._types = self._inferred[0].copy(), self._inferred[1].copy()
        self._resized: set[str] = set()
        self._in_range: dict[bool, set[str]] = {False: set(), True: set()}  # what `require_range` let pass
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
            found = []
            for node in self._nodes:
                found += [new for new in self._before.pop(node, []) if not new.removed]
                if not node.removed:
                    found.append(node)
            self._nodes, self._settled = found, True
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

    def type(self, value: str) -> np.dtype[Any] | None:
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

    def stored(self, value: str) -> npt.NDArray[Any] | None:
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
            return prod(tensor.dims) if _dtype(tensor.data_type) in FLOATS else 0
        array = self.stored(value)
        return array.size if array is not None and array.dtype in FLOATS else 0

    def constant(self, value: str) -> Array:
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

    def _remember(self, value: str, exact: Array) -> None:
        """Keep a large constant for a while."""
        self._large[value] = exact
        while sum(array.size for array in self._large.values()) > ROOM and len(self._large) > 1:
            self._large.pop(next(iter(self._large)))

    def _read(self, value: str) -> Array:
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

    def require_range(self, value: str, strict: bool = False) -> None:
        """Refuse a value that follows from a constant which is not finite, or by which it may overflow.

        Infinity is where algebra ends: 0·∞ and ∞ − ∞ are no numbers. What comes out of a BOUNDED operator is never so.
        strict: nor from an operator that may give such values for some of moderate size.
        """
        known = self._in_range[strict]
        todo, seen = [value], set[str]()
        while todo:
            source = todo.pop()
            if source in known or source in seen:
                continue
            array = None if source in self._dtypes else self.stored(source)  # a type is noted once it is checked
            if array is not None and array.dtype in FLOATS and not magnitude(array) <= LARGEST[array.dtype]:
                raise Refused(f"{value!r} follows from {source!r}, which is not finite, or by which it may overflow")
            seen.add(source)
            if (node := self.producer(source)) is not None and node.op not in BOUNDED:
                if self._may_overflow(node, strict):
                    raise Refused(f"{value!r} follows from {node.op} {node.label!r}, which may give what is not finite")
                todo.extend(node.inputs if node.op != "Clip" else node.inputs[:1])
                todo.extend(names_inside([node.proto]))
        known |= seen

    def _may_overflow(self, node: Node, strict: bool) -> bool:
        numbers = [number for a in node.proto.attribute for number in (a.f, *a.floats)]
        if node.op != "Clip" and not np.abs(numbers).max(initial=0) <= LARGEST[np.dtype(np.float32)]:
            return True
        if node.op not in MAY_OVERFLOW:
            return False
        if all(map(self.is_constant, node.inputs)):
            return True  # else it would be a constant by now
        divisor = self.stored(node.inputs[1]) if node.op == "Div" else None
        if divisor is not None and divisor.dtype in FLOATS:
            return not np.abs(divisor).min(initial=1) >= 1 / LARGEST[divisor.dtype]
        return strict and not self.is_constant(node.inputs[-1])

    def dtype(self, value: str) -> np.dtype[Any]:
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

    def add_constant(self, hint: str, source: Array | Callable[[], Array], dtype: np.dtype[Any]) -> str:
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

    def add_tensor(self, hint: str, values: npt.NDArray[Any]) -> str:
        """Add a new initializer of any type (an integer shape, say), stored as it is."""
        name = self.fresh(hint)
        # Not ascontiguousarray, which makes a vector of a scalar
        self._initializers[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        self._shapes[name], self._types[name] = values.shape, values.dtype
        return name

    def replace(self, node: Node, constant: str) -> None:
        """Remove a node whose only output is the constant; refuses where the output's name must be kept."""
        value = node.outputs[0]
        self.require_hidden(value)
        self.remove(node)
        self._redirect(value, constant)

    def resize(self, value: str, shape: tuple[Dim, ...]) -> None:
        """Note that `value` has another shape from now on."""
        self._shapes[value] = shape
        self._resized.add(value)

    def rewrite(self, node: Node, op: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Turn a node into another operator with other inputs, and the same outputs and name."""
        self._unlink(node)
        node.become(op, attributes)
        node.inputs = list(inputs)
        self._link(node)

    def insert(self, before: Node, op: str, inputs: Sequence[str]) -> str:
        """A new node in front of another, of the shape and type of what that gives; its one output's name."""
        output = self.fresh(f"{before.outputs[0]}_{op.lower()}")
        node = Node(helper.make_node(op, inputs, [output], name=output))
        self._before.setdefault(before, []).append(node)
        self._settled = False
        self._link(node)
        like = before.outputs[0]
        if like in self._shapes:
            self._shapes[output] = self._shapes[like]
        if like in self._types:
            self._types[output] = self._types[like]
        return output

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
        kept = self.graph_outputs | self.captured
        dropped = []
        for node in [n for n in self.nodes if n.op == "Constant"]:
            if not self._uses.get(node.outputs[0]) and node.outputs[0] not in kept:
                self.remove(node)
                dropped.append(node.outputs[0])
        for name in [*self._initializers, *self._added]:
            if not self._uses.get(name) and name not in kept and name not in self._overridable:
                dropped.append(name)
                self._added.pop(name, None)
        self._dropped.update(dropped)
        return dropped

    def to_model(self) -> Lean:
        """The changed model; everything that no fold touched is as it was. Ends the use of this index."""
        source = self.lean.proto
        model: ModelProto = without(source, "graph")
        model.graph.CopyFrom(without(source.graph, "initializer", "node"))
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
                graph.initializer.append(numpy_helper.from_array(rounded, name))
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
    kept = [item for item in field if wanted(item)]
    if len(kept) != len(field):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(copies)


def constant_value(node: NodeProto) -> TensorProto | npt.NDArray[Any] | None:
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
            names |= _all_names(graph) | names_inside(graph.node)
    return names - {""}


def _all_names(graph: onnx.GraphProto) -> set[str]:
    named = (*graph.input, *graph.output, *graph.initializer, *graph.value_info)
    names = {item.name for item in named} | {s.values.name for s in graph.sparse_initializer}
    for node in graph.node:
        names.update(node.input, node.output)
    return names


def _infer(model: ModelProto) -> Inferred:
    """Shapes and types that follow from the inputs alone: a file's own claims about inner values are not trusted."""
    bare = without(model, "graph")
    bare.graph.CopyFrom(without(model.graph, "initializer", "node", "value_info"))
    listed = {info.name for info in model.graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= LEAN:  # a target shape, say, which the inference reads
            bare.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for node in model.graph.node:
        if (node.domain, node.op_type) == ("ai.onnx.ml", "Scaler"):  # ONNX infers nothing for it: shaped as a Cast is
            node = helper.make_node("Cast", node.input[:1], node.output[:1], to=TensorProto.FLOAT)
        bare.graph.node.append(node)
    for output in bare.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(bare).graph
    except Exception:  # a graph that onnx cannot infer is still passed through, with fewer folds
        graph = bare.graph
    shapes: dict[str, tuple[Dim, ...]] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    types = {t.name: _dtype(t.data_type) for t in model.graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            continue
        types[info.name] = _dtype(kind.elem_type)
        if kind.HasField("shape"):
            shapes[info.name] = tuple(_dim(d) for d in kind.shape.dim)
    return shapes, {name: dtype for name, dtype in types.items() if dtype is not None}


def byte_count(model: ModelProto) -> int:
    """About how many bytes a model takes, from its tensors' dims: protobuf tells by writing all of it."""
    size = without(model, "graph").ByteSize() + without(model.graph, "initializer").ByteSize()
    for tensor in model.graph.initializer:
        dtype = _dtype(tensor.data_type)
        size += tensor.ByteSize() if dtype is None or dtype.kind == "O" else dtype.itemsize * prod(tensor.dims)
    return int(size)


@lru_cache(maxsize=64)
def _dtype(number: int) -> np.dtype[Any] | None:
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
        return dtype if helper.np_dtype_to_tensor_dtype(dtype) == number else None
    except (KeyError, ValueError, TypeError):
        return None


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    return dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
