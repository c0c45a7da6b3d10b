"""Columns by name as the inputs of a file: text by the one rule, dates as seconds, NaN or "" where missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from onnx import ModelProto

from fastdl.base.arrays import Array, Dtype
from fastdl.base.cells import MARKS, Column, Factor, as_numbers, as_seconds, as_strings, number_of, text_of
from fastdl.base.frames import cells_of, column_of, is_table
from fastdl.base.metadata import COLUMNS_KEY
from fastdl.base.naming import meant
from fastdl.errors import DataError
from fastdl.fusion.runtime.inputs import as_input
from fastdl.fusion.runtime.session import DTYPES, Feed, Port

TEXT = np.dtype(object)
FEW = 8  # cells of a column that are sooner read one by one


class TableInputs:
    """A file's inputs, and what its metadata say of the columns that they are made of, if it is one of raw columns."""

    def __init__(self, ports: Sequence[Port], metadata: Mapping[str, str]) -> None:
        self._ports = list(ports)
        told = _told(metadata)
        self.known = told is not None
        self.label: str | None = None if told is None else told.get("label")
        self._kinds: dict[str, str] = {} if told is None else told.get("columns", {})
        self._matrices: dict[str, list[str]] = {} if told is None else told.get("matrices", {})

    @classmethod
    def of(cls, model: ModelProto) -> Self:
        """Of a model that is at hand."""
        names = {1: "tensor(float)", 8: "tensor(string)", 11: "tensor(double)"}
        ports = [
            Port(
                info.name,
                names.get(info.type.tensor_type.elem_type, ""),
                [dim.dim_value or dim.dim_param for dim in info.type.tensor_type.shape.dim],
            )
            for info in model.graph.input
        ]
        return cls(ports, {entry.key: entry.value for entry in model.metadata_props})

    def takes(self, value: Any) -> bool:
        """Whether the value is to be read column by column."""
        return (self.known or len(self._ports) > 1) and is_table(value)

    def feed_of(self, value: Any) -> Feed:
        """The inputs, from a frame, a mapping of columns, or rows as mappings. DataError that names what is missing."""
        return self.feed(dict(value) if isinstance(value, Mapping) else dict(cells_of(value)))

    def feed(self, columns: Mapping[str, Any]) -> Feed:
        """The inputs from columns by name; those that are none of the file's are ignored."""
        names = [name for port in self._ports for name in self._matrices.get(port.name, [port.name])]
        if missing := [name for name in names if name not in columns]:
            hint = meant(missing[0], map(str, columns))
            listed = ", ".join(map(repr, missing[:5])) + ", …" * (len(missing) > 5)
            told = f"the model's inputs are {names}; it is given no {listed}"
            raise DataError(f"{told}: {hint}" if hint else told)
        return {port.name: self._input(port, columns) for port in self._ports}

    def _input(self, port: Port, columns: Mapping[str, Any]) -> Array:
        dtype = TEXT if port.type == "tensor(string)" else DTYPES[port.type]
        if port.name in self._matrices:
            parts = [self._column(name, columns[name], dtype) for name in self._matrices[port.name]]
            return np.stack(parts, axis=1) if parts else np.empty((0, 0), dtype)
        value = columns[port.name]
        one = len(port.shape) == 1 or (len(port.shape) == 2 and port.shape[1] == 1)
        flat = isinstance(value, Factor) or (isinstance(value, list) and not _nested(value)) or np.ndim(value) == 1
        if not one or not flat:
            return as_input(f"input {port.name!r}", value, dtype)
        column = self._column(port.name, value, dtype)
        return column if len(port.shape) == 1 else column[:, None]

    def _column(self, name: str, cells: Any, dtype: Dtype) -> Array:
        if isinstance(cells, list) and len(cells) <= FEW:  # of a request: the same, cell by cell
            if dtype == TEXT:
                return np.array([text_of(cell) or "" for cell in cells], object)
            if all(type(cell) is float for cell in cells) and self._kinds.get(name) != "date":
                with np.errstate(over="ignore"):
                    return np.array(cells, np.float64).astype(dtype)
        column = column_of(name, cells)
        if dtype == TEXT:
            return as_strings(column)
        if name in self._kinds:
            with np.errstate(over="ignore"):  # beyond float32 is infinite, as the encoder has it
                return (as_seconds if self._kinds[name] == "date" else as_numbers)(column).astype(dtype)
        _require_numbers(name, column)
        return as_input(f"input {name!r}", as_numbers(column), dtype)


def _nested(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], list | tuple | np.ndarray)


def _require_numbers(name: str, column: Column) -> None:
    """DataError for text that is no number, where no training has said that it is as good as missing."""
    if isinstance(column, Factor):
        for level in column.levels:
            if np.isnan(number_of(level)) and level.strip() not in MARKS:
                raise DataError(f"input {name!r} takes numbers, not {level!r}")


def _told(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        told = json.loads(metadata.get(COLUMNS_KEY, "null"))
    except (ValueError, RecursionError):
        return None
    sound = isinstance(told, dict) and all(isinstance(told.get(k, {}), dict) for k in ("columns", "matrices"))
    return told if sound else None
