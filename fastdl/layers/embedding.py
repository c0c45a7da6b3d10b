"""Embeddings: a trained row for each of a set of codes. Keras's Embedding, and one for the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from fastdl import ops
from fastdl.base.arguments import flag, whole
from fastdl.base.arrays import Array, Dtype
from fastdl.compiler.graph import Parameter, Shape, Tensor, features_of
from fastdl.errors import ShapeError
from fastdl.initializers import Function
from fastdl.layers.layer import ConstraintLike, InitializerLike, Layer, RegularizerLike

EXACT = {"float32": 2**24, "float64": 2**53}  # up to where a dtype holds every whole number


class _Lookup(Layer):
    """Base: `embeddings`, a table of (rows, width)."""

    embeddings_initializer: Function

    def _table(self, rows: int, width: int, dtype: Dtype, zeroed: Sequence[int] = ()) -> Parameter:
        """ValueError for more rows than the dtype can number."""
        if rows > EXACT[dtype.name]:
            raise ValueError(
                f"{self.name} has {rows:,} rows, and codes in {dtype} are exact up to {EXACT[dtype.name]:,}: "
                "make the model with dtype='float64'"
            )

        def values(shape: tuple[int, ...], dtype: Dtype) -> Array:
            table: Array = self.embeddings_initializer(shape, dtype)
            table[list(zeroed)] = 0
            return table

        return self.add_weight(
            (rows, width),
            values,
            dtype,
            name="embeddings",
            regularizer=self.embeddings_regularizer,  # type: ignore[attr-defined]
            constraint=self.embeddings_constraint,  # type: ignore[attr-defined]
            by_rows=True,
        )


class Embedding(_Lookup):
    """The row of each code of x: (batch, ...) of whole numbers below input_dim → (batch, ..., output_dim).

    Codes come in the model's dtype, as all that it reads. DataError for one that is not a whole number from 0 to
    input_dim - 1; where the codes are computed inside the model, such a one gives zeros. mask_zero must be False:
    nothing here is masked. weights: the rows to begin with, alone or in a list of one; configs do not hold them. Keras:
    layers.Embedding. sparse: the optimizer steps the rows that a batch reads alone, as PyTorch's SparseAdam, in time
    that does not grow with input_dim: see ops.Embedding; Keras steps all. ValueError if float32 cannot hold codes up to
    input_dim; ShapeError for weights of another shape.
    """

    scalars, needs_shape = True, False

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        mask_zero: bool = False,
        *,
        weights: Any = None,
        sparse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim, self.output_dim = whole("input_dim", input_dim), whole("output_dim", output_dim)
        self.mask_zero, self.sparse = flag("mask_zero", mask_zero), flag("sparse", sparse)
        if self.mask_zero:
            raise ValueError(f"{self.name}: mask_zero must be False, as no layer of fastdl reads a mask")
        self.keep(
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )

        if weights is not None:
            self.build_for()
            alone = isinstance(weights, list | tuple) and len(weights) == 1
            self.set_weights(weights if alone else [weights])

    def build(self, shape: Shape, dtype: Dtype) -> None:
        self.embeddings = self._table(self.input_dim, self.output_dim, dtype)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.Embedding(inputs, self.embeddings, name=self.name, sparse=self.sparse).output

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | ({"sparse": True} if self.sparse else {})


class CategoryEmbedding(_Lookup):
    """The rows of codes of several categories, each column with a table of its own, side by side.

    x: (batch, columns) of whole numbers → (batch, columns * output_dim). cardinalities: how many codes each column has,
    0 to cardinality - 1; all tables lie one below the other in one weight, (sum of cardinalities, output_dim).
    zero_missing: code 0 stands for what is missing or unknown, gives zeros, and is never trained. DataError for other
    codes, as Embedding's, which sparse is as well; ShapeError for another number of columns; ValueError if float32
    cannot number the rows.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        output_dim: int,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        zero_missing: bool = False,
        sparse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(cardinalities, list | tuple | np.ndarray) or len(cardinalities) == 0:
            raise ValueError(f"cardinalities must be a list of one number a column, not {cardinalities!r}")
        self.cardinalities = [whole("each of cardinalities", each) for each in cardinalities]
        self.output_dim, self.zero_missing = whole("output_dim", output_dim), flag("zero_missing", zero_missing)
        self.sparse = flag("sparse", sparse)
        self.keep(
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )

    def build(self, shape: Shape, dtype: Dtype) -> None:
        columns = features_of(self.name, shape)
        if columns != len(self.cardinalities):
            raise ShapeError(f"{self.name} has {len(self.cardinalities)} cardinalities, the input {columns} columns")
        firsts = [0, *accumulate(self.cardinalities[:-1])] if self.zero_missing else []
        self.embeddings = self._table(sum(self.cardinalities), self.output_dim, dtype, firsts)

    def call(self, inputs: Tensor) -> Tensor:
        tables = self.cardinalities, self.zero_missing, self.name, self.sparse
        rows = ops.Embedding(inputs, self.embeddings, *tables).output
        return ops.Reshape(rows, (rows.features,), f"{self.name}.side_by_side").output
