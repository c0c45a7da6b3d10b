"""The ONNX nodes by which raw columns become numbers, flags and codes: few, each for all columns of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fastdl.base.arrays import Array
from fastdl.base.naming import Names
from fastdl.compiler.formula import Formula, Value
from fastdl.fusion.graph.memory import tensor_of
from fastdl.tabular.columns.date import PARTS, parts_of
from fastdl.tabular.columns.scaling import LARGEST, REACH, Scaling

ML = "ai.onnx.ml"


class Writer:
    """Nodes and constants of a graph, each with a name of its own."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], base: str, domain: str = "", **attributes: Any) -> str:
        """A node of one output; its name."""
        output = self._names.free(base)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, domain=domain, **attributes))
        return output

    def constant(self, array: Array, base: str) -> str:
        """An initializer; its name."""
        name = self._names.free(base)
        if array.dtype.kind in "OU":
            self.constants.append(numpy_helper.from_array(array.astype(object), name))
        else:
            self.constants.append(tensor_of(np.asarray(array, order="C"), name))
        return name

    def split(self, value: str, sizes: Mapping[str, int]) -> dict[str, str]:
        """Columns of a matrix by the part that they belong to; none for parts without a column."""
        there = {name: size for name, size in sizes.items() if size}
        if len(there) < 2:
            return dict.fromkeys(there, value)
        outputs = {name: self._names.free(name) for name in there}
        lengths = self.constant(np.array(list(there.values()), np.int64), "lengths")
        values = list(outputs.values())
        self.nodes.append(helper.make_node("Split", [value, lengths], values, values[0], axis=1))
        return outputs

    def joined(self, values: Sequence[str], base: str) -> str:
        """Columns beside each other."""
        return self.add("Concat", values, base, axis=1) if len(values) > 1 else values[0]

    def labels(self, value: str, keys: Mapping[Any, float], default: float) -> str:
        """Text or whole numbers as what belongs to them: int64, or float32 where the default is a float."""
        kind = "float" if isinstance(default, float) else "int64"
        of = "string" if all(isinstance(key, str) for key in keys) else "int64"
        given = {f"keys_{of}s": list(keys), f"values_{kind}s": [type(default)(v) for v in keys.values()]}
        return self.add("LabelEncoder", [value], f"{value}_code", ML, **given, **{f"default_{kind}": default})

    def write(self, formula: Formula, names: dict[Formula, str], dtype: type) -> str:
        """The value that the formula gives; names: of what is written already, its inputs first."""

        def name_of(value: Value) -> str:
            if not isinstance(value, Formula):
                return self.constant(np.asarray(value, dtype), "constant")
            if value not in names:
                inputs = [name_of(each) for each in value.inputs]
                names[value] = self.add(value.operator, inputs, value.operator.lower(), **value.attributes)
            return names[value]

        return name_of(formula)


class ColumnNodes:
    """Collects what the encoders say of their columns (see columns/encoder.py: Nodes), and writes it."""

    def __init__(self) -> None:
        self.truths: list[tuple[str, Scaling]] = []
        self.floats: list[tuple[str, Scaling]] = []
        self.ranks: list[tuple[str, list[str], Scaling]] = []
        self.doubles: list[tuple[str, Scaling]] = []
        self.dates: list[tuple[str, dict[str, Scaling]]] = []
        self.tables: list[tuple[str, list[str], Array]] = []
        self.codes: list[tuple[str, Mapping[str, int]]] = []
        self._indicators: list[tuple[str, Array]] = []

    # -- what encoders say ----------------------------------------------------------------------------------

    def truth(self, column: str, scaling: Scaling) -> None:
        self.truths.append((column, scaling))

    def number(self, column: str, scaling: Scaling, indicator: Array | None) -> None:
        (self.doubles if scaling.double else self.floats).append((column, scaling))
        self._indicate(column, indicator)

    def rank(self, column: str, levels: list[str], scaling: Scaling, indicator: Array | None) -> None:
        self.ranks.append((column, levels, scaling))
        self._indicate(column, indicator)

    def date(self, column: str, parts: dict[str, Scaling], indicator: Array | None) -> None:
        self.dates.append((column, parts))
        self._indicate(column, indicator)

    def table(self, column: str, levels: list[str], rows: Array) -> None:
        self.tables.append((column, levels, rows))

    def code(self, column: str, codes: Mapping[str, int]) -> None:
        self.codes.append((column, codes))

    def _indicate(self, column: str, indicator: Array | None) -> None:
        if indicator is not None:
            self._indicators.append((column, indicator))

    # -- which columns enter as what ------------------------------------------------------------------------

    @property
    def singles(self) -> list[str]:
        """Columns that enter as float32."""
        return [each[0] for each in (*self.truths, *self.floats)]

    @property
    def doubled(self) -> list[str]:
        """Columns that enter as double."""
        return [each[0] for each in (*self.doubles, *self.dates)]

    @property
    def texts(self) -> list[str]:
        """Columns that enter as text."""
        tables, ranks = [column for column, _, _ in self.tables], [column for column, _, _ in self.ranks]
        return [*tables, *(column for column, _ in self.codes), *ranks]

    # -- writing --------------------------------------------------------------------------------------------

    def write(self, to: Writer, sources: Mapping[str, str], scaled_flags: bool) -> dict[str, str]:
        """Add the nodes; the values that hold numbers and flags, and the codes, those of which there are some.

        sources: values that hold floats, doubles, dates, and the places in tables and codes, (N, columns) each.
        """
        flags: list[str] = []
        values: dict[str, str] = {}
        if any(name in sources for name in ("floats", "doubles", "dates")):
            w = self._centred(to, sources)
            indicated = self._indicated(to, w) if self._indicators else []
            values, truths = self._clipped(to, self._filled(to, w), scaled_flags)
            flags = [*truths, *indicated]
        if "tables" in sources:
            flags.append(self._flags(to, sources["tables"]))
        if flags:
            values["flags"] = to.joined(flags, "flags")
        if "codes" in sources:
            values["codes"] = sources["codes"]
        return values

    def _channels(self) -> list[tuple[str, Scaling]]:
        """All that is scaled, by column, in the order in which it is encoded."""
        ranks = [(column, scaling) for column, _, scaling in self.ranks]
        dates = [(column, scaling) for column, parts in self.dates for scaling in parts.values()]
        return [*self.truths, *self.floats, *ranks, *self.doubles, *dates]

    def _centred(self, to: Writer, sources: Mapping[str, str]) -> str:
        """w = factor (x − center) of all that is scaled, float32, NaN where missing."""
        every = self._channels()
        start = len(self.truths) + len(self.floats) + len(self.ranks)
        end = start + len(self.doubles)
        groups = {"floats": every[:start], "doubles": every[start:end], "dates": every[end:]}
        parts = []
        for name, channels in groups.items():
            if not channels:
                continue
            x = self._date_parts(to, sources[name]) if name == "dates" else sources[name]
            centers, factors = (np.array(c) for c in zip(*(s.constants() for _, s in channels), strict=True))
            if name == "floats":  # of which one node takes care
                parts.append(to.add("Scaler", [x], "scaled", ML, offset=centers.tolist(), scale=factors.tolist()))
                continue
            centred = to.add("Sub", [x, to.constant(centers, "centers")], "centred")
            w = to.add("Mul", [centred, to.constant(factors, "factors")], "scaled")
            parts.append(to.add("Cast", [w], "narrow", to=TensorProto.FLOAT))
        return to.joined(parts, "numbers_scaled")

    def _date_parts(self, to: Writer, seconds: str) -> str:
        """Of (N, dates): the parts that each date's encoder takes, date after date."""
        source = Formula()
        formulas = parts_of(source, lambda value: Formula("Floor", value))
        used = [part for part in PARTS if any(part in parts for _, parts in self.dates)]
        names = {source: seconds}
        values = [to.write(formulas[part], names, np.float64) for part in used]
        columns = [used.index(part) * len(self.dates) + i for i, (_, ps) in enumerate(self.dates) for part in ps]
        joined = to.joined(values, "parts")
        if columns == list(range(len(used) * len(self.dates))):
            return joined
        return to.add("Gather", [joined, to.constant(np.array(columns), "chosen")], "dates", axis=1)

    def _filled(self, to: Writer, w: str) -> str:
        """What stands for the missing ones in their place."""
        values = [scaling.missing for _, scaling in self._channels()]
        return to.add("Imputer", [w], "filled", ML, imputed_value_floats=values, replaced_value_float=float("nan"))

    def _indicated(self, to: Writer, w: str) -> list[str]:
        """The flags that say what is missing."""
        order = [column for column, _ in self._channels()]
        columns = [order.index(column) for column, _ in self._indicators]
        if columns != list(range(len(order))):
            w = to.add("Gather", [w, to.constant(np.array(columns), "chosen")], "indicated", axis=1)
        there, missing = (np.array(c, np.float32) for c in zip(*(v for _, v in self._indicators), strict=True))
        gone = to.add("IsNaN", [w], "is_missing")
        constants = [to.constant(missing, "missing"), to.constant(there, "there")]
        return [to.add("Where", [gone, *constants], "missing_flags")]

    def _clipped(self, to: Writer, w: str, scaled_flags: bool) -> tuple[dict[str, str], list[str]]:
        """The numbers by that name, and the truths if there are some: clipped, truths only where flags are scaled."""
        sizes = {"truths": len(self.truths), "numbers": len(self._channels()) - len(self.truths)}
        if scaled_flags:
            parts = to.split(self._smooth(to, w), sizes)
        else:
            parts = to.split(w, sizes)
            if "numbers" in parts:
                parts["numbers"] = self._smooth(to, parts["numbers"])
        truths = parts.pop("truths", None)
        return parts, [] if truths is None else [truths]

    @staticmethod
    def _smooth(to: Writer, w: str) -> str:
        """3 w / √(1 + w²)."""
        low, high, one, reach = (
            to.constant(np.array(v, np.float32), "constant") for v in (-LARGEST, LARGEST, 1, REACH)
        )
        w = to.add("Clip", [w, low, high], "bounded")
        root = to.add("Sqrt", [to.add("Add", [to.add("Mul", [w, w], "square"), one], "sum")], "root")
        return to.add("Mul", [to.add("Div", [w, root], "clipped"), reach], "numbers_clipped")

    def _flags(self, to: Writer, places: str) -> str:
        """Of the places (N, columns) that texts have among their levels: each column's row of flags."""
        widths = [rows.shape[1] for _, _, rows in self.tables]
        table = np.zeros((max(len(rows) for _, _, rows in self.tables), sum(widths)), np.float32)
        for end, (_, _, rows) in zip(np.cumsum(widths), self.tables, strict=True):
            table[: len(rows), end - rows.shape[1] : end] = rows
        if max(widths) > 1:
            of_flag = np.repeat(np.arange(len(widths)), widths)
            places = to.add("Gather", [places, to.constant(of_flag, "of_flag")], "places", axis=1)
        return to.add("GatherElements", [to.constant(table, "flag_table"), places], "category_flags", axis=0)
