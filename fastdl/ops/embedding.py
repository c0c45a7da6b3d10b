"""Rows of trained tables, looked up by codes: whole numbers from 0 on. No one-hot matrix is ever built."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Arguments, read, read_all, write
from fastdl.errors import DataError, ShapeError

INT64 = 7  # of ONNX's types
STEPPED_AT_ONCE = 128  # numbers of a whole table are stepped in the time that one row takes by itself


class Embedding(Op):
    """y = each code's row. x: (batch, ...) codes; table: (rows, width) → (batch, ..., width). ShapeError.

    sizes: how many rows of the table each of a sample's codes has for its own, one group below the other; None: all
    share all. The table lies by rows, else ValueError. zero_missing: code 0 gives zeros, and its row is not trained.
    Gradients are summed over the samples in their order; x has none. A code that its table does not have gives zeros;
    where x is an input of the model, it is refused before (check_rows).

    sparse: the optimizer steps the rows that a batch reads alone, in time that does not grow with the table: rows that
    it does not read stay as they are, moments and decay included. So it is in any case where that makes no difference
    but to the time: of large tables, by SGD without momentum, decay or penalty.
    """

    def __init__(
        self,
        x: Tensor,
        table: Parameter,
        sizes: Sequence[int] | None = None,
        zero_missing: bool = False,
        name: str = "",
        sparse: bool = False,
    ) -> None:
        rows, width = table.shape
        if sizes is not None and (len(sizes) != x.features or sum(sizes) != rows):
            raise ShapeError(f"{name}: tables of {list(sizes)} rows do not fit {x.features} codes and {rows} rows")
        if not table.by_rows:
            raise ValueError(f"{name}: the table must lie by rows")
        self.table, self.zero_missing, self.sparse = table, zero_missing, sparse
        self.sizes = [rows] * x.features if sizes is None else list(sizes)
        self.first_rows = [0] * x.features if sizes is None else [0, *accumulate(sizes[:-1])]
        super().__init__([x], (*x.shape, width), [table], name)

    @property
    def flops(self) -> int:
        return 0

    def check_rows(self, name: str, rows: Array) -> None:
        sizes = np.asarray(self.sizes)
        with np.errstate(invalid="ignore"):
            wrong = ~((rows >= 0) & (rows < sizes) & (rows == np.floor(rows)))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{name} holds {rows[row, column]:g} in row {row}, column {column}: {self.name} takes whole numbers "
                f"from 0 to {sizes[column] - 1}"
            )

    def _common(self, build: Builder) -> Arguments:
        columns = build.constant([*self.first_rows, *self.sizes])
        return {
            "x": read_all(build.value(self.inputs[0])),
            "columns": read(build.array(columns)),
            "inputs": len(self.sizes),
            "width": self.table.shape[1],
            "zero_missing": int(self.zero_missing),
        }

    def forward(self, build: Builder) -> None:
        build.emit(
            "embedding_forward",
            table=read_all(build.parameter(self.table)),
            y=write(build.value(self.output)),
            **self._common(build),
            over=self.output.features,
        )

    def backward(self, build: Builder) -> None:
        if build.gradients.needed(self.inputs[0]):
            raise ValueError(
                f"{self.name} looks up codes, which no gradient goes through: nothing trained may give them"
            )
        if not build.steps.trains(self.table):
            return
        if self._steps_rows(build):
            self._step_rows(build)
            return
        slopes = build.gradients.room_for(self.table)
        build.emit(
            "embedding_backward",
            dy=read_all(build.gradients.of(self.output)),
            dtable=write(slopes),
            **self._common(build),
            over=self.table.size,  # as the optimizer's step, so that a thread's own rows are its own there too
            axis=_ext.BY_FEATURE,
        )
        build.steps.train(self.table, slopes)

    def _steps_rows(self, build: Builder) -> bool:
        """Whether only the rows that are read are stepped. ValueError where that was asked for and cannot be."""
        alone = build.steps.at_once([self.table])
        if self.sparse and not alone:
            raise ValueError(
                f"{self.name}: sparse=True steps each batch's rows by themselves, which an optimizer with clipnorm, "
                "global_clipnorm or gradient_accumulation_steps, a rule of whole weights, a penalty of your own or "
                "gradients that ranks share cannot"
            )
        large = self.table.size > STEPPED_AT_ONCE * build.batch * len(self.sizes)
        return alone and (self.sparse or (large and build.steps.leaves_others(self.table)))

    def _step_rows(self, build: Builder) -> None:
        rows, _ = self.table.shape
        build.emit(
            "embedding_step",
            dy=read_all(build.gradients.of(self.output)),
            table=write(build.parameter(self.table)),
            slots=[write(slot) if slot else None for slot in build.steps.slots(self.table)],
            sums=write(build.panel_ref(self.output.features)),
            seen=write(build.array(aligned((padded(rows),), build.dtype))),
            **self._common(build),
            **build.steps.rule(self.table),
            over=rows,
            axis=_ext.BY_FEATURE,
        )
        build.steps.end(self.table)

    def onnx(self, graph: NodeWriter) -> None:
        codes = graph.inner("Cast", [graph.name(self.inputs[0])], self, to=INT64)
        if any(self.first_rows):
            offsets = np.array(self.first_rows, np.int64).reshape([size or 1 for size in self.inputs[0].shape[1:]])
            codes = graph.inner("Add", [codes, graph.constant(offsets, f"{self.name}.first_rows")], self)
        table = self.table.numpy()
        if self.zero_missing:
            table[self.first_rows] = 0
        graph.node("Gather", [graph.constant(table, self.table.path), codes], self, axis=0)
