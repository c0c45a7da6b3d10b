"""Inputs to prove a fusion on: random ones at the scale that the model expects, and the caller's samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper

from fastdl.base.arrays import Array, Dtype
from fastdl.base.naming import free_name
from fastdl.errors import DataError, FusionError
from fastdl.fusion.evaluator.operators import attributes
from fastdl.fusion.folds import constant
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.inference import Dim
from fastdl.fusion.graph.node import Refused
from fastdl.fusion.graph.patterns import Affine
from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.runtime.bounds import limits, proof_fits
from fastdl.fusion.runtime.estimate import Estimator
from fastdl.fusion.runtime.inputs import as_input, feature_names
from fastdl.fusion.runtime.session import Feed

BATCHES = (1, 2, 7, 64)
FEWER = (1024, 256, 64, 16, 7, 2)  # rows that are tried in turn, where so many at a time would take too much
ROWS = 1024  # of the caller's samples at a time
MOST = 1 << 28  # numbers that one value of a graph may hold for a single batch
MOST_AXES = 64
MOST_CODE_NODES = 4  # from an input to the table that it looks into
A_NUMBER = 28  # bytes that a proof takes for a number of a value: four sessions, and a truth in float64

Samples = npt.ArrayLike | Mapping[str, npt.ArrayLike]


class Feeder:
    """Knows a model's real inputs (those that are no initializers), their types, shapes and scale."""

    def __init__(self, source: AnyModel, index: GraphIndex | None = None) -> None:
        """index: of the same model, unchanged."""
        self._index, model = GraphIndex(source, index), Lean.of(source).proto
        constant.fold_all(self._index)  # standardisation may stand in the graph as a computation
        stored = {t.name for t in model.graph.initializer}
        self._dtypes: dict[str, Dtype] = {}
        self._codes: dict[str, npt.NDArray[np.int64] | None] = {}
        self._scales: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
        for info in model.graph.input:
            if info.name in stored:
                continue
            number = info.type.tensor_type.elem_type
            if not number:
                raise FusionError(f"input {info.name!r} is no tensor: there is no way to run the graph on it")
            self._dtypes[info.name] = np.dtype(helper.tensor_dtype_to_np_dtype(number))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        self._tokens = {name: _tokens(model, name) for name in self._dtypes}
        self._names = feature_names(metadata) if len(self._dtypes) == 1 else None
        firsts = [shape[0] for name in self._dtypes if (shape := self._index.shape(name))]
        a_row = 0
        for name in (*self._dtypes, *(name for node in self._index.nodes for name in node.outputs)):
            if (size := prod(d for d in self._index.shape(name) or () if isinstance(d, int))) > MOST:
                raise FusionError(f"{name!r} would hold {size} numbers: too many to run the graph")
            a_row += size
        self._a_row, self._file, self._estimator = a_row, self._index.bytes, Estimator(model)
        self._fitting = 0  # rows that are known to fit
        self.fixed_batch = next((dim for dim in firsts if isinstance(dim, int) and dim > 0), None)

    def fits(self, rows: int) -> bool:
        """Whether a proof of so many rows at once stays within the limits, as far as that can be told."""
        if rows <= self._fitting:
            return True
        bound = self._estimator.at_batch(rows)
        if bound is None:
            return rows * self._a_row * A_NUMBER <= limits(self._file).memory
        fitting = proof_fits(bound, self._file, runs=1)
        if fitting and not self._estimator.followed:  # then fewer rows cost no more
            self._fitting = rows
        return fitting

    def _most(self, rows: int) -> int:
        """Rows at a time, of at most so many: fewer of a large graph."""
        return next((few for few in FEWER if few <= rows and self.fits(few)), 1)

    def random(self, seed: int = 0) -> Iterator[Feed]:
        """Feeds of batch 1, 2, 7 and 64, as far as memory bears it, or of the one batch size that the model states."""
        rng = np.random.default_rng(seed)
        batches = (self.fixed_batch,) * 4 if self.fixed_batch else [self._most(rows) for rows in BATCHES[::-1]][::-1]
        for batch in batches:  # the largest is tried first: where it fits, the others need not be
            yield self.draw(rng, batch)

    def draw(self, rng: np.random.Generator, batch: int) -> Feed:
        """One random feed: floats as the input's own standardisation expects them (see _scale), else standard normal.

        Floats that are codes lie within their tables (see _code_counts). Integers are 0 or 1 (safe as an index),
        booleans fair; strings and integers that are encoded first are of what the encoder knows, and some that it does
        not know. A dim other than the batch that is not stated is taken as 8.
        """
        feed: Feed = {}
        for name, dtype in self._dtypes.items():
            tokens = self._tokens[name]
            if dtype.kind == "O" and tokens is None:
                raise FusionError(f"input {name!r} takes strings: give samples to prove the fusion on")
            shape = [_size(dim, batch if axis == 0 else 8) for axis, dim in enumerate(self._shape(name))]
            if tokens is not None:
                feed[name] = tokens[rng.integers(0, len(tokens), shape)]
                continue
            if dtype.kind != "f":
                feed[name] = rng.integers(0, 2, shape).astype(dtype)
                continue
            if name not in self._codes:
                self._codes[name] = self._code_counts(name)
            if (counts := self._codes[name]) is not None:
                feed[name] = rng.integers(0, counts, shape).astype(dtype)
                continue
            mean, spread = self._scales.get(name) or self._scales.setdefault(name, self._scale(name))
            drawn = mean + spread * rng.standard_normal(shape)
            feed[name] = np.asarray(drawn, dtype).reshape(shape)  # of a number, which a mean of one makes a vector
        return feed

    def _shape(self, name: str) -> tuple[Dim, ...]:
        shape = self._index.shape(name)
        if shape is None:
            raise FusionError(f"input {name!r} states no shape: give samples to prove the fusion on")
        if len(shape) > MOST_AXES:
            raise FusionError(f"input {name!r} has {len(shape)} axes, numpy's arrays at most {MOST_AXES}")
        return shape

    def _code_counts(self, name: str) -> npt.NDArray[np.int64] | None:
        """How many rows the float input's numbers choose from, in the table whose rows they are cast to look up.

        With constants added to the codes, where each column begins, up to where the next one does. None if they are
        no codes.
        """
        value, first = name, np.zeros(1, np.int64)
        for _ in range(MOST_CODE_NODES):
            nodes = [node for node, _ in self._index.uses(value)]
            if len(nodes) != 1:
                return None
            (node,) = nodes
            stored = [self._index.stored(each) for each in node.inputs]
            if node.op == "Gather" and value != name and (table := stored[0]) is not None:
                ends = np.append(first.ravel()[1:], table.shape[node.attribute("axis", 0)])
                counts = ends - first.ravel() if first.size > 1 else ends - first.min()
                return counts if (counts > 0).all() else None
            if node.op == "Add" and value != name and (added := stored[1]) is not None:
                first = added.astype(np.int64)
            elif node.op not in ("Cast", "Reshape"):
                return None
            value = node.outputs[0]
        return None

    def _scale(self, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and standard deviation that the graph takes from this input before it does anything else with it.

        That is a BN, or Sub, Div and the like by constants, up to the first other node; what comes out of them is
        taken as of mean 0 and deviation 1. As (1, …), of the input's rank.
        """
        shape, value = self._shape(name), name
        scale, shift = np.ones(1), np.zeros(1)
        seen = {name}
        try:
            while (affine := self._standardises(value)) is not None and affine.node.outputs[0] not in seen:
                s, c, t = affine.spread(shape)
                if not s.all():
                    break
                scale, shift = scale * s, (shift - c) * s + t
                value = affine.node.outputs[0]
                seen.add(value)
        except Refused:
            pass  # what is not understood ends it
        dims = tuple(dim for dim in shape[1:] if isinstance(dim, int))
        mean, spread = -shift / scale, np.abs(1 / scale)
        if mean.size == 1 or mean.size != prod(dims):
            return mean[:1], spread[:1]
        return mean.reshape(1, *dims), spread.reshape(1, *dims)

    def _standardises(self, value: str) -> Affine | None:
        """The affine node that reads a value, if one does; a batch norm rather than another."""
        nodes = [node for node, _ in self._index.uses(value)]
        for node in sorted(nodes, key=lambda node: node.op != "BatchNormalization"):
            if (affine := Affine.read(self._index, node)) is not None:
                return affine
        return None

    def _check_shape(self, name: str, array: Array) -> None:
        """DataError for samples that the input's stated shape does not take."""
        shape = self._index.shape(name)
        if shape is None or not array.ndim:
            return
        stated = ((want, got) for want, got in zip(shape[1:], array.shape[1:], strict=False) if isinstance(want, int))
        if len(shape) != array.ndim or any(want not in (got, 0, -1) for want, got in stated):
            takes = ", ".join("any" if size is None else str(size) for size in shape)
            raise DataError(f"samples of input {name!r} have shape {array.shape}, the model takes ({takes})")

    def samples(self, given: Samples) -> Iterator[Feed]:
        """The caller's samples in feeds of up to 1024 rows, as memory bears it, or of the size the model states."""
        arrays = dict(given) if isinstance(given, Mapping) else dict.fromkeys(self._dtypes, given)
        if set(arrays) != set(self._dtypes) or not (isinstance(given, Mapping) or len(self._dtypes) == 1):
            raise DataError(f"samples must be a mapping with one array for each of {sorted(self._dtypes)}")
        feed = {
            n: as_input(f"samples of input {n!r}", arrays[n], dtype, self._names) for n, dtype in self._dtypes.items()
        }
        for name, array in feed.items():
            self._check_shape(name, array)
        lengths = {array.shape[0] if array.ndim else 0 for array in feed.values()}
        rows, size = min(lengths, default=0), self.fixed_batch or self._most(ROWS)
        if len(lengths) != 1 or rows == 0 or rows < (self.fixed_batch or 1):
            need = self.fixed_batch or 1
            raise DataError(f"samples must have one number of rows, at least {need}; got {sorted(lengths)}")
        for start in range(0, rows, size):
            # A model of fixed batch takes no remainder, so its last feed repeats some rows.
            first = min(start, rows - size) if self.fixed_batch else start
            yield {name: array[first : first + size] for name, array in feed.items()}


def _tokens(model: Any, name: str) -> Array | None:
    """What a graph that encodes this input before all else may be given: what its encoders know, and others.

    Others only where these become an index too (below zero, the default, is none), or a row of zeros.
    """
    readers = [node for node in model.graph.node if name in node.input]
    if not readers or any(node.op_type not in ("LabelEncoder", "OneHotEncoder") for node in readers):
        return None
    given = [attributes(node) for node in readers]
    strings = {token for each in given for key in ("keys_strings", "cats_strings") for token in each.get(key, ())}
    integers = {token for each in given for key in ("keys_int64s", "cats_int64s") for token in each.get(key, ())}
    unknown = all(
        each.get("zeros", 1) if node.op_type == "OneHotEncoder" else each.get("default_int64", -1) >= 0
        for node, each in zip(readers, given, strict=True)
    )
    if strings:
        tokens = np.array([*sorted(strings), *(("", free_name("unknown", strings)) if unknown else ())], object)
        return tokens
    return np.array([*sorted(integers), *((max(integers) ^ 1, -7) if unknown else ())], np.int64) if integers else None


def _size(dim: Dim, unstated: int) -> int:
    return dim if isinstance(dim, int) and dim >= 0 else unstated
