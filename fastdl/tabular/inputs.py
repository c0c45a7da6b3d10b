"""How raw columns enter a file: one input each, or all numbers in one matrix and all texts in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from fastdl.tabular.nodes import ColumnNodes, Writer

Layout = Literal["columns", "matrices"]
LAYOUTS = get_args(Layout)
NUMBERS, TEXTS = "numbers", "texts"  # the two matrices
MISSING = float("nan")


class FromColumns:
    """Each column is an input under its own name, (N, 1), or (N,) where `rank1`."""

    def __init__(self, nodes: ColumnNodes, order: Sequence[str], rank1: bool) -> None:
        self._nodes, self._order, self._rank1 = nodes, order, rank1

    def infos(self) -> list[ValueInfoProto]:
        """The graph's inputs."""
        kinds = dict.fromkeys(self._nodes.singles, TensorProto.FLOAT)
        kinds |= dict.fromkeys(self._nodes.doubled, TensorProto.DOUBLE)
        kinds |= dict.fromkeys(self._nodes.texts, TensorProto.STRING)
        shape: list[str | int | None] = ["N"] if self._rank1 else ["N", 1]
        return [helper.make_tensor_value_info(name, kinds[name], shape) for name in self._order]

    def write(self, to: Writer, whole_codes: bool) -> dict[str, str]:
        """Add the nodes that put columns of one kind beside each other; the values by kind. See ColumnNodes.write."""
        nodes = self._nodes
        ranks = [to.labels(c, {v: float(i) for i, v in enumerate(levels)}, MISSING) for c, levels, _ in nodes.ranks]
        own = {
            "floats": [*nodes.singles, *ranks],
            "doubles": [column for column, _ in nodes.doubles],
            "dates": [column for column, _ in nodes.dates],
            "tables": [to.labels(c, {v: i + 1 for i, v in enumerate(levels)}, 0) for c, levels, _ in nodes.tables],
            "codes": [to.labels(c, codes, 0 if whole_codes else 0.0) for c, codes in nodes.codes],
        }
        return {name: self._stacked(to, columns, name) for name, columns in own.items() if columns}

    def _stacked(self, to: Writer, columns: Sequence[str], base: str) -> str:
        if not self._rank1:
            return to.joined(columns, base)
        if len(columns) == 1:
            return to.add("Reshape", [columns[0], to.constant(np.array([-1, 1]), "shape")], base)
        below = to.add("Concat", columns, base, axis=0)
        shape = to.constant(np.array([len(columns), -1]), "shape")
        return to.add("Transpose", [to.add("Reshape", [below, shape], base)], base, perm=[1, 0])


class FromMatrices:
    """All numbers are one input, (N, numbers), and all texts another; each is there if it has a column.

    A text is told from the same one in another column by the column's number in front of it, so that one LabelEncoder
    reads them all.
    """

    def __init__(self, nodes: ColumnNodes) -> None:
        self._nodes = nodes

    def columns(self) -> dict[str, list[str]]:
        """The columns of each input, in order."""
        own = {NUMBERS: [*self._nodes.singles, *self._nodes.doubled], TEXTS: self._nodes.texts}
        return {name: columns for name, columns in own.items() if columns}

    def infos(self) -> list[ValueInfoProto]:
        """The graph's inputs."""
        kinds = {NUMBERS: TensorProto.DOUBLE if self._nodes.doubled else TensorProto.FLOAT, TEXTS: TensorProto.STRING}
        return [helper.make_tensor_value_info(n, kinds[n], ["N", len(c)]) for n, c in self.columns().items()]

    def write(self, to: Writer, whole_codes: bool) -> dict[str, str]:
        """Add the nodes that take the matrices apart; the values by kind. See ColumnNodes.write."""
        nodes = self._nodes
        sizes = {"floats": len(nodes.singles), "doubles": len(nodes.doubles), "dates": len(nodes.dates)}
        sources = to.split(NUMBERS, sizes)
        if "floats" in sources and nodes.doubled:
            sources["floats"] = to.add("Cast", [sources["floats"]], "floats", to=TensorProto.FLOAT)
        if not nodes.texts:
            return sources
        places = [{v: i + 1 for i, v in enumerate(levels)} for _, levels, _ in nodes.tables]
        codes = [dict(codes) for _, codes in nodes.codes]
        ranks = [{v: i + 1 for i, v in enumerate(levels)} for _, levels, _ in nodes.ranks]
        every = [*places, *codes, *ranks]
        keys = {f"{i}={text}": code for i, own in enumerate(every) for text, code in own.items()}
        prefixes = to.constant(np.array([[f"{i}=" for i in range(len(every))]], object), "prefixes")
        encoded = to.labels(to.add("StringConcat", [prefixes, TEXTS], "prefixed"), keys, 0)
        parts = to.split(encoded, {"tables": len(places), "codes": len(codes), "ranks": len(ranks)})
        if "codes" in parts and not whole_codes:
            parts["codes"] = to.add("Cast", [parts["codes"]], "codes", to=TensorProto.FLOAT)
        if "ranks" in parts:
            most = max(map(len, ranks))
            own = to.labels(parts.pop("ranks"), {i + 1: float(i) for i in range(most)}, MISSING)
            sources["floats"] = to.joined([*([sources["floats"]] if "floats" in sources else []), own], "floats")
        return sources | parts
