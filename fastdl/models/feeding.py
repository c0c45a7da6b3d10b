"""From what people pass to `fit`, `evaluate` and `predict` to the feeds of programs: checked, and named when wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fastdl import tree
from fastdl.base.arrays import Array, Dtype
from fastdl.base.columns import TEXT, holds_texts, is_column
from fastdl.compiler.feeds import ABSENT_FEED, FEEDS, W_FEED, X_FEED, Y_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.errors import DataError, ShapeError
from fastdl.layers.data_tensor import encoded
from fastdl.layers.layer import Layer
from fastdl.layers.preprocessing import Adapted
from fastdl.losses import Loss
from fastdl.models import data, structures
from fastdl.models.objective import Objective, by_output
from fastdl.ops import Reshape

Feeds = dict[int, Array]


class Traced(Protocol):
    """What feeds and sessions know of a model: its layers, and the graph that they are traced to."""

    name: str
    dtype: Dtype
    layers: list[Layer]
    output_names: list[str]
    takes_one_array: bool  # whether it has one input whatever its first data are
    stop_predicting: bool  # set by a callback
    input_structure: Any
    output_structure: Any
    optional: frozenset[int]

    @property
    def is_plain(self) -> bool: ...
    @property
    def input_names(self) -> list[str]: ...
    @property
    def input_samples(self) -> list[tuple[int, ...]] | None: ...
    @property
    def column_dtype(self) -> Dtype | None: ...
    @property
    def graph(self) -> Graph | None: ...
    @property
    def weights(self) -> list[Parameter]: ...
    def trace(self, *shapes: tuple[int, ...], dtypes: Sequence[Dtype | None] = (), structure: Any = None) -> Graph: ...
    def graph_for(self, training: bool, absent: frozenset[int] = frozenset()) -> Graph: ...
    def answer(self, outputs: Sequence[Any]) -> Any: ...


class Feeding:
    """Makes feeds for one model, and knows the columns of the frames that it was trained on."""

    def __init__(self, model: Traced) -> None:
        self._model = model
        self.learned_columns: dict[str, list[str]] = {}  # by input, if fit saw frames

    # -- inputs -------------------------------------------------------------------------------------------

    def inputs(self, x: Any, check: bool = True, what: str = "", learns: bool = False) -> Feeds:
        """x, checked; a model that waits for its shape is built. DataError, ShapeError.

        what: of which data, for messages; learns: remember the columns of frames.
        """
        graph = self._model.graph
        if type(x) is np.ndarray and graph and len(graph.inputs) == 1 and not graph.encodes:  # nothing to find out
            rows = data.as_rows(f"{what}x", x, graph.inputs[0].shape, self._model.dtype, check)
            _check_readers(graph, graph.inputs[0], f"{what}x", rows)
            return {X_FEED: rows}
        absent = set[int]()
        arrays = self.arrays(x, check, what, learns, absent)
        graph = self._model.trace()
        if graph.encodes:
            columns = zip(graph.columns, arrays, strict=True)
            arrays = encoded(graph, {source: array.reshape(-1, *_sample(source)) for source, array in columns})
            arrays = [np.ascontiguousarray(array.reshape(len(array), -1), self._model.dtype) for array in arrays]
        for source, array in zip(graph.inputs, arrays, strict=True):
            name = f"{what}x[{source.name!r}]" if len(graph.inputs) > 1 else f"{what}x"
            _check_readers(graph, source, name, array)
        told = {ABSENT_FEED - FEEDS * i: np.zeros((len(arrays[0]), 1), np.bool_) for i in sorted(absent)}
        return {X_FEED + FEEDS * i: array for i, array in enumerate(arrays)} | told

    def arrays(
        self, x: Any, check: bool = True, what: str = "", learns: bool = False, absent: set[int] | None = None
    ) -> list[Array]:
        """x as `inputs` takes it: of each input its rows, (rows, features), or of a column (rows, *sample).

        absent: gathers which optional inputs are None, for which rows of zeros stand; they may not be if it is None.
        """
        model, graph = self._model, self._model.graph
        samples, structure = model.input_samples, model.input_structure
        if samples is None:
            structure = structures.of_data(x, model.takes_one_array)
        names = model.input_names if samples else structures.default_names(structure)
        several = tree.is_nested(structure)
        if several and data.is_frame(x):
            x = {column: x[column] for column in x.columns}
        values = structures.values(what + "x", x, structure, names)
        graph = graph or (model.trace() if samples else self._first_trace(values, structure))
        rows: dict[int, Array] = {}
        for i, ((name, each), source) in enumerate(zip(values, graph.columns, strict=True)):
            if each is None and absent is not None and i in model.optional:
                absent.add(i)
                continue
            if each is None:
                raise DataError(f"{name} is missing: the input {source.name!r} is not optional, but None was given")
            columns = self.columns(i)
            array = data.in_order(name, each, columns)
            if is_column(source.dtype):
                rows[i] = data.as_column(name, array, source.shape, source.dtype)
            else:
                rows[i] = data.as_rows(name, data.numbers(name, array), source.shape, model.dtype, check)
            data.same_length(next(iter(rows.values())), rows[i], name)
            if learns and data.is_frame(each):
                self.learned_columns[model.input_names[i]] = columns or data.column_names(name, each)
        if not rows:
            raise DataError(f"{what}x is missing: all its inputs are None")
        count = len(next(iter(rows.values())))
        for i in absent or ():
            rows[i] = np.zeros((count, graph.columns[i].features), model.dtype)
        return [rows[i] for i in range(len(values))]

    def _first_trace(self, values: list[tuple[str, Any]], structure: Any) -> Graph:
        """The model's graph, for the shapes of its first data where it was given none. Strings are columns."""
        shapes, dtypes = list[tuple[int, ...]](), list[Dtype | None]()
        for name, value in values:
            dtype = self._model.column_dtype or (TEXT if holds_texts(value) else None)
            array = data.read_column(name, value, dtype) if dtype else data.numbers(name, value)
            shapes.append((1,) if dtype and array.ndim == 1 else array.shape[1:])
            dtypes.append(dtype)
        return self._model.trace(*shapes, dtypes=dtypes if any(dtypes) else (), structure=structure)

    def columns(self, i: int) -> list[str] | None:
        """The columns that input i is made of, in order, if fit or the layer that reads it has learnt from a frame."""
        model = self._model
        if known := self.learned_columns.get(model.input_names[i]):
            return known
        source = model.trace().columns[i]
        readers = (layer for layer in model.layers if layer.reads(source))
        return next((layer.feature_names for layer in readers if isinstance(layer, Adapted)), None)

    def all_columns(self) -> dict[str, list[str]]:
        """The columns of each input of which any are known."""
        if not self._model.graph:
            return dict(self.learned_columns)
        columns = {name: self.columns(i) for i, name in enumerate(self._model.input_names)}
        return {name: names for name, names in columns.items() if names}

    def set_columns(self, names: Any) -> None:
        """DataError unless they are names, each once, for each feature; None forgets them."""
        inputs, samples = self._model.input_names, self._model.input_samples
        columns_of = names if isinstance(names, Mapping) else {} if names is None else {inputs[0]: names}
        sizes = dict(zip(inputs, samples or [], strict=False))
        for name, columns in columns_of.items():
            named = isinstance(columns, list | tuple) and all(isinstance(column, str) for column in columns)
            if name not in inputs or not named or len(set(columns)) != len(columns):
                raise DataError(f"feature_names must be a list of names, each once, not {columns!r} for {name!r}")
            if name in sizes and sizes[name] != (len(columns),):
                raise DataError(f"{len(columns)} feature names for an input of shape {sizes[name]}")
        self.learned_columns = {name: list(columns) for name, columns in columns_of.items()}

    # -- targets and weights ------------------------------------------------------------------------------

    def with_targets(
        self,
        objective: Objective,
        x: Feeds,
        y: Any,
        sample_weight: Any,
        check: bool = True,
        class_weight: Any = None,
        what: str = "",
    ) -> Feeds:
        """x, which is checked, with targets, and weights if there are any. DataError, ShapeError, ValueError."""
        rows, names = len(x[X_FEED]), self._model.output_names
        feeds = {**x, **self._targets(objective, y, rows, check, what)}
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("class_weight and sample_weight exclude each other: multiply them into sample_weight")
            if len(names) > 1:
                raise ValueError("class_weight is for models of one output: use sample_weight")
            if (shape := self._model.trace().outputs[0].shape)[2:]:
                raise ValueError(f"class_weight is for outputs of (batch, classes), not {shape}: use sample_weight")
            sample_weight = data.class_weights(feeds[Y_FEED], class_weight, self._classes(objective))
        if sample_weight is not None:
            several = isinstance(sample_weight, Mapping) or (isinstance(sample_weight, list | tuple) and len(names) > 1)
            weights = (
                by_output("sample_weight", sample_weight, names, self._model.output_structure) if several else None
            )
            for i in objective.outputs:
                each = weights[i] if weights else sample_weight
                weight = np.ones(rows, self._model.dtype) if each is None else each
                weight = data.as_rows(what + "sample_weight", weight, (None, 1), self._model.dtype, check)
                if check:
                    data.check_weights(what + "sample_weight", weight)
                data.same_length(rows, weight, what + "sample_weight")
                feeds[W_FEED + FEEDS * i] = weight
        return feeds

    def _targets(self, objective: Objective, y: Any, rows: int, check: bool, what: str) -> Feeds:
        """The targets of `rows` samples, for each output that has a loss."""
        graph, feeds, every = self._model.trace(), Feeds(), self._model.output_names
        given = structures.targets(what + "y", y, self._model.output_structure, every, objective.outputs)
        for i, (name, each) in zip(objective.outputs, given, strict=True):
            output, loss = graph.outputs[i], objective.losses[i]
            assert loss is not None
            if loss.sparse:
                targets = data.as_labels(name, each, output.channels, tuple(size or 0 for size in output.shape[1:-1]))
            else:
                targets = self._rows_for(loss, objective, i, name, each, check)
            data.same_length(rows, targets, name)
            objective.samples[i] = np.shape(each)[1:]
            feeds[Y_FEED + FEEDS * i] = targets
        return feeds

    def _rows_for(self, loss: Loss, objective: Objective, i: int, name: str, value: Any, check: bool) -> Array:
        """The targets of output i: of its shape, or of any where the loss is one's own. ShapeError."""
        output = self._model.trace().outputs[i]
        objective.target_shapes.pop(i, None)
        try:
            targets = data.as_rows(name, value, output.shape, self._model.dtype, check)
        except ShapeError as error:
            sample = np.shape(value)[1:] or (1,)
            if loss.free_targets and np.ndim(value):
                objective.target_shapes[i] = (None, *sample)
                return data.as_rows(name, value, (None, *sample), self._model.dtype, check)
            if "Categorical" not in type(loss).__name__:
                raise
            advice = "for integer labels use the loss sparse_categorical_crossentropy"
            raise ShapeError(f"{error}; {advice}") from None
        if check:
            data.check_targets(name, targets, loss, output.members)
        return targets

    def _classes(self, objective: Objective) -> range | None:
        """The classes that the targets of the one output tell apart; None where the loss does not say."""
        loss, features = objective.losses[0], self._model.trace().outputs[0].features
        assert loss is not None
        if loss.sparse or features > 1:
            return range(features)
        least, most = loss.targets
        return range(int(least), int(most) + 1) if most < np.inf else None


def _sample(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size or 0 for size in tensor.shape[1:])


def _check_readers(graph: Graph, source: Tensor, name: str, rows: Array) -> None:
    """DataError for rows of an input that an op which reads it, perhaps in another shape, is not defined for."""
    for op in graph.consumers.get(source, ()):
        if isinstance(op, Reshape):
            _check_readers(graph, op.output, name, rows)
        op.check_rows(name, rows)
