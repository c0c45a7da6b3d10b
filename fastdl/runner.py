"""Serving: one ONNX model behind a checked, thread-safe `predict`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastdl import config
from fastdl.base.arrays import Array, Dtype
from fastdl.base.metadata import CLASS_NAMES_KEY
from fastdl.errors import DataError, ModelFileError, ShapeError
from fastdl.fusion.files.model_file import read_model
from fastdl.fusion.files.zip_map import keys
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.runtime.confined import Exceeded
from fastdl.fusion.runtime.inputs import as_input, feature_names
from fastdl.fusion.runtime.labels import labels_of
from fastdl.fusion.runtime.serving import Engine
from fastdl.fusion.runtime.session import DTYPES, Binding, Port
from fastdl.fusion.runtime.tables import TableInputs

if TYPE_CHECKING:
    from onnx import ModelProto


SMALL = 2_000_000  # parameters up to which a second thread costs more than it gives at batch 1
BOUND_BYTES = 1 << 15  # buffers larger than this cost more to copy than binding saves
BOUND_SHAPES = 8  # batch shapes a thread keeps buffers for
# Operators by which a model knows what to make of NaN
NAN_IS_A_VALUE = frozenset(("Imputer", "IsNaN", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"))
PROBABILITIES = frozenset(("Softmax", "Sigmoid"))  # operators that give nothing but probabilities


class _Local(threading.local):
    """What each thread has of its own: buffers by batch shape, or None for a shape too large to pay."""

    def __init__(self) -> None:
        self.bindings: dict[tuple[int, ...], Binding | None] = {}


class Runner:
    """An onnxruntime session for one model: a path, serialized bytes, or a ModelProto.

    threads: of one run (1 or more); None lets the size decide: one for small nets, else `get_num_threads`. limited: a
    model whose cost its size does not tell (a loop, say) runs in a child process with limits of memory and time, in
    proportion to the file and the input, and one of more than 10,000 nodes is refused; False for one that you trust.
    Safe to call from many threads at once. Pickles and copies hold the model's bytes and these options, and open a
    session of their own. Raises ModelFileError for a file that cannot be read, that onnxruntime does not run, or that
    takes too much to open.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | ModelProto, threads: int | None = None, *, limited: bool = True
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be 1 or more, or None; got {threads}")
        model = read_model(source, limited=limited)
        self._options = {"threads": threads, "limited": limited}
        if threads is None:
            size = sum(prod(t.dims) for t in model.graph.initializer)
            threads = 1 if size <= SMALL else config.get_num_threads()
        self._engine = _engine(model, threads, limited)
        self._inputs = self._engine.inputs
        self._outputs = [output.name for output in self._engine.outputs]
        dtypes = {**DTYPES, "tensor(string)": np.dtype(object)}
        if not self._inputs or any(i.type not in dtypes for i in self._inputs):
            kinds = [i.type for i in self._inputs]
            raise ModelFileError(f"the model's inputs must be tensors of numbers or strings; they are {kinds}")
        self._dtypes: list[Dtype] = [dtypes[i.type] for i in self._inputs]
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._takes_nan = any(node.op_type in NAN_IS_A_VALUE for node in model.graph.node)
        self._metadata: dict[str, str] = {entry.key: entry.value for entry in model.metadata_props}
        self._feature_names = feature_names(self._metadata) if len(self._inputs) == 1 else None
        self._tables = TableInputs(self._inputs, self._metadata)
        # Buffers are bound where one tensor of numbers becomes another.
        ports = (*self._inputs, *self._engine.outputs)
        self._bindable = len(self._inputs) == len(self._outputs) == 1 and all(port.type in DTYPES for port in ports)
        self._local = _Local()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs in order: name, type in onnxruntime's words, and shape, None or a name where a size is free."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs in their order, as `inputs`."""
        return tuple(self._engine.outputs)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the (first) input; None where any size will do."""
        return tuple(d if isinstance(d, int) else None for d in self._inputs[0].shape)

    @property
    def input_dtype(self) -> Dtype:
        """dtype of the (first) input; what `predict` is given is converted to it."""
        return self._dtypes[0]

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of the output's columns, if the file holds them."""
        try:
            names = json.loads(self._metadata.get(CLASS_NAMES_KEY, "null"))
        except ValueError:
            names = None
        if isinstance(names, list):
            return [str(name) for name in names]
        keys = self._keys()
        return None if keys is None else [str(key) for key in keys.tolist()]

    def predict(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Any:
        """The model's output for a batch: a new array, or a dict by name when it has several outputs.

        x: array (batch, …) of numbers (strings, where the model takes strings), or a mapping by name when it has
        several inputs; converted to the model's dtype. A model of columns takes a table: a frame of pandas, polars or
        pyarrow, a mapping of columns, or a list of rows as mappings; columns that it does not know are ignored. Scores
        that a model gives as one map a row (ZipMap) come as an array (batch, classes). Raises ShapeError for a wrong
        shape, DataError for what is no number and for a column that is missing.
        """
        if self._bindable and type(x) is np.ndarray and x.dtype == self._dtypes[0]:
            # The short way: a shape that this thread has met was checked then.
            bound = self._local.bindings.get(x.shape)
            if bound is not None:
                try:
                    return bound.run([x])[0]
                except MemoryError:
                    raise
                except Exception:
                    self._bindable = False  # the output's shape follows from the values, not from the batch
        results = self._run(self._checked(x))
        return results[0] if len(results) == 1 else dict(zip(self._outputs, results, strict=True))

    def predict_labels(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Array:
        """The class of each row (batch,): its name if the file holds names, else its number.

        Labels that the model gives itself are taken. Else the largest column wins; one column is a probability, and
        more than 0.5 is class 1. Raises ShapeError for a model that gives neither, DataError where a row's scores are
        NaN, or, of a model that gives labels only, where the row itself holds NaN or Inf.
        """
        outputs = self._named(x)
        if self._tables.label in outputs:
            given = outputs.pop(self._tables.label)
            for name, array in outputs.items():
                _require_no_nan(f"output {name!r}", array)
            return given.astype(str) if given.dtype.kind in "OU" else given
        candidates = {name: labels for name, array in outputs.items() if (labels := labels_of(array)) is not None}
        if not candidates:
            shapes = [array.shape for array in outputs.values()]
            raise ShapeError(f"labels need an output of shape (batch,) or (batch, classes), not {shapes}")
        name = min(candidates, key=lambda name: outputs[name].dtype.kind == "f")
        labels, keys = candidates[name], self._keys()
        scores = {n: a for n, a in outputs.items() if a.dtype.kind == "f" and len(a) == len(labels)}
        for scored, array in scores.items():
            _require_no_nan(f"output {scored!r}", array)
        if not scores and not self._takes_nan:
            for position, array in enumerate(self._checked(x)):
                self._require_finite(position, array)
        if labels.dtype.kind in "OU":
            return labels.astype(str)
        if CLASS_NAMES_KEY not in self._metadata and keys is not None:
            return labels if outputs[name].dtype.kind != "f" else keys[labels]
        names = self.class_names
        if names is None:
            return labels.astype(np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
            raise ModelFileError(f"the model gives label {labels.max()} but names {len(names)} classes")
        return np.array(names)[labels.astype(np.int64)]

    def predict_probabilities(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Array:
        """The probability of each class (batch, classes), or of class 1 where the model gives one column (batch, 1).

        Raises ModelFileError for a model that gives none (labels only), or whose scores are no probabilities;
        DataError where they are NaN.
        """
        scores = {name: a for name, a in self._named(x).items() if a.dtype.kind == "f" and a.ndim == 2}
        if len(scores) != 1:
            raise ModelFileError(f"the model gives {len(scores)} outputs of shape (batch, classes), not one")
        ((name, given),) = scores.items()
        _require_no_nan(f"output {name!r}", given)
        maker = self._makers.get(name)
        if maker is None or maker.op_type not in PROBABILITIES:
            sums = given.sum(axis=1) if given.shape[1] > 1 else np.ones(len(given))
            if not (((given >= 0) & (given <= 1)).all() and np.allclose(sums, 1, atol=1e-3)):
                raise ModelFileError(f"output {name!r} holds scores, not probabilities; see predict")
        return given

    def _named(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        result = self.predict(x)
        return {
            n: np.asarray(a) for n, a in (result if isinstance(result, dict) else {self._outputs[0]: result}).items()
        }

    def _keys(self) -> Array | None:
        """The classes by which a ZipMap at an output names its columns: integers or strings."""
        for name in self._outputs:
            maker = self._makers.get(name)
            if maker is not None and maker.op_type == "ZipMap":
                return np.array(keys(maker))
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self._engine.content, **self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Runner.__init__(self, **state)

    def __repr__(self) -> str:
        return f"Runner(input_shape={self.input_shape}, input_dtype={self.input_dtype})"

    # --- input ---------------------------------------------------------------------------------

    def _checked(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> list[Array]:
        """The inputs in their order, of the model's types and shapes."""
        if self._tables.takes(x):
            feed = self._tables.feed_of(x)
            arrays = [self._check(i, feed[port.name]) for i, port in enumerate(self._inputs)]
            if self._tables.known and len({len(array) for array in arrays}) > 1:
                told = ", ".join(f"{name!r} has {len(array)}" for name, array in feed.items())
                raise DataError(f"the columns differ in length: {told}")
            return arrays
        names = [i.name for i in self._inputs]
        if isinstance(x, Mapping):
            if set(x) != set(names):
                raise DataError(f"the model's inputs are {names}; got {sorted(map(str, x))}")
            return [self._check(i, x[name]) for i, name in enumerate(names)]
        if self._tables.known:
            raise DataError(f"the model takes columns by name: give a frame or a mapping with {names}")
        if len(names) > 1:
            raise DataError(f"the model has several inputs: give a mapping with {names}")
        return [self._check(0, x)]

    def _check(self, position: int, value: npt.ArrayLike) -> Array:
        port, want = self._inputs[position], self._inputs[position].shape
        array = as_input(f"input {port.name!r}", value, self._dtypes[position], self._feature_names)
        fits = array.ndim == len(want) and all(
            not isinstance(w, int) or w == h for w, h in zip(want, array.shape, strict=True)
        )
        if not fits:
            shape = ", ".join(str(w) if isinstance(w, int) else "any" for w in want)
            hint = " (one sample needs a batch axis: x[None])" if array.ndim == len(want) - 1 else ""
            raise ShapeError(f"input {port.name!r} must have shape ({shape}), got {array.shape}{hint}")
        return array

    def _require_finite(self, position: int, array: Array) -> None:
        """Of a model that gives labels only, whose scores nobody sees."""
        if array.dtype.kind == "f" and array.ndim:
            _require_no_nan(
                f"input {self._inputs[position].name!r}", np.where(np.isfinite(array), 0.0, np.nan), "NaN or Inf"
            )

    # --- running -------------------------------------------------------------------------------

    def _run(self, arrays: list[Array]) -> list[Array]:
        # Not np.ascontiguousarray, which makes an array of rank 0 one of rank 1.
        feed = {port.name: np.asarray(a, order="C") for port, a in zip(self._inputs, arrays, strict=True)}
        try:
            results = self._engine.run(feed)
        except MemoryError:
            raise
        except Exceeded as error:
            raise DataError(f"the model is not run on this input: {error}; Runner(limited=False) lifts that") from None
        except Exception as error:
            raise DataError(f"the model cannot run on this input: {_line(error)}") from error
        if self._bindable:
            self._bind(feed, results)
        return [_as_array(result, self._keys()) for result in results]

    def _bind(self, feed: dict[str, Array], results: list[Array]) -> None:
        """Keep buffers of this shape for this thread, or a None that says it is too large to pay."""
        (x,), (result,), session = feed.values(), results, self._engine.session
        bindings = self._local.bindings
        if x.shape in bindings or session is None:
            return
        while len(bindings) >= BOUND_SHAPES:
            bindings.pop(next(iter(bindings)))
        small = x.nbytes and result.nbytes and x.nbytes + result.nbytes <= BOUND_BYTES
        bindings[x.shape] = Binding(session, feed, {self._outputs[0]: result}) if small else None


def _engine(model: ModelProto, threads: int, limited: bool) -> Engine:

    try:
        with memory_errors():
            return Engine(model, threads, limited)
    except MemoryError:
        raise
    except Exceeded as error:
        raise ModelFileError(f"the model is not opened: {error}; Runner(limited=False) lifts that") from None
    except Exception as error:
        raise ModelFileError(f"onnxruntime does not run the model: {_line(error)}") from error


def _require_no_nan(what: str, scores: Array, kind: str = "NaN") -> None:
    """DataError that names the first row with a NaN: it has no label and no probability."""
    if not scores.size:
        return
    rows = np.asarray(np.isnan(scores).reshape(len(scores), -1).any(axis=1))
    if rows.any():
        raise DataError(f"{what} has {kind} in row {rows.argmax()} ({rows.sum()} of {len(rows)} rows): it has no label")


def _line(error: Exception) -> str:
    """The first line of what it says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _as_array(result: Any, keys: Array | None) -> Any:
    """One map a row (ZipMap) as an array (rows, classes), columns in the order of the keys; all else as it is."""
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        return result
    order = keys.tolist() if keys is not None else list(result[0]) if result else []
    return np.array([[row[key] for key in order] for row in result], np.float32).reshape(len(result), len(order))
