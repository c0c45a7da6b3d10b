"""Serving: one ONNX model behind a checked, thread-safe `predict`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import DataError, ModelFileError, ShapeError

if TYPE_CHECKING:
    from onnx import ModelProto

    from .fusion.session import Binding

CLASS_NAMES_KEY = "fastdl.class_names"  # metadata: a JSON list of names
SMALL = 2_000_000  # parameters up to which a second thread costs more than it gives at batch 1
BOUND_BYTES = 1 << 15  # buffers larger than this cost more to copy than binding saves
BOUND_SHAPES = 8  # batch shapes a thread keeps buffers for
PROBABILITIES = frozenset(("Softmax", "Sigmoid"))  # operators that give nothing but probabilities

Array = npt.NDArray[Any]


class _Local(threading.local):
    """What each thread has of its own: buffers by batch shape, or None for a shape too large to pay."""

    def __init__(self) -> None:
        self.bindings: dict[tuple[tuple[int, ...], ...], Binding | None] = {}


class Runner:
    """An onnxruntime session for one model: a path, serialized bytes, or a ModelProto.

    threads: None lets the size decide (one for small nets). Safe to call from many threads at once.
    Raises ModelFileError for a file that cannot be read or that onnxruntime does not run.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes | ModelProto, threads: int | None = None) -> None:
        from .fusion.model_file import read_model
        from .fusion.session import DTYPES, open_session

        if threads is not None and threads < 1:
            raise ValueError(f"threads must be 1 or more, or None; got {threads}")
        model = read_model(source)
        if threads is None:
            size = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
            threads = 1 if size <= SMALL else _cores()
        try:
            self._session = open_session(model.SerializeToString(), threads=threads)
        except Exception as error:
            line = str(error).splitlines()[0]
            raise ModelFileError(f"onnxruntime does not run the model: {line}") from error
        self._inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]
        dtypes = {**DTYPES, "tensor(string)": np.dtype(object)}
        if not self._inputs or any(i.type not in dtypes for i in self._inputs):
            kinds = [i.type for i in self._inputs]
            raise ModelFileError(f"the model's inputs must be tensors of numbers or strings; they are {kinds}")
        self._dtypes: list[np.dtype[Any]] = [dtypes[i.type] for i in self._inputs]
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._bindable = True
        self._local = _Local()

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the (first) input; None where any size will do."""
        return tuple(d if isinstance(d, int) else None for d in self._inputs[0].shape)

    @property
    def input_dtype(self) -> np.dtype[Any]:
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
        several inputs; converted to the model's dtype. Scores that a model gives as one map a row (ZipMap) come as
        an array (batch, classes). Raises ShapeError for a wrong shape, DataError for what is no number.
        """
        if type(x) is np.ndarray and x.dtype == self._dtypes[0]:
            # The short way: a shape that this thread has met was checked then.
            bound = self._local.bindings.get((x.shape,))
            if bound is not None and self._bindable and len(bound.outputs) == 1:
                try:
                    return bound.run([x])[0]
                except Exception:
                    self._bindable = False  # the output's shape follows from the values, not from the batch
        results = self._run([self._check(i, array) for i, array in enumerate(self._arrays(x))])
        return results[0] if len(results) == 1 else dict(zip(self._outputs, results, strict=True))

    def predict_labels(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Array:
        """The class of each row (batch,): its name if the file holds names, else its number.

        Labels that the model gives itself are taken. Else the largest column wins; one column is a probability, and
        more than 0.5 is class 1. Raises ShapeError for a model that gives neither.
        """
        from .fusion.labels import labels_of

        outputs = self._named(x)
        found = {name: labels for name, array in outputs.items() if (labels := labels_of(array)) is not None}
        if not found:
            shapes = [array.shape for array in outputs.values()]
            raise ShapeError(f"labels need an output of shape (batch,) or (batch, classes), not {shapes}")
        name = min(found, key=lambda name: outputs[name].dtype.kind == "f")
        labels, keys = found[name], self._keys()
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

        Raises ModelFileError for a model that gives none (labels only), or whose scores are no probabilities.
        """
        scores = {name: a for name, a in self._named(x).items() if a.dtype.kind == "f" and a.ndim == 2}
        if len(scores) != 1:
            raise ModelFileError(f"the model gives {len(scores)} outputs of shape (batch, classes), not one")
        ((name, given),) = scores.items()
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
        from .fusion.zip_map import keys

        for name in self._outputs:
            maker = self._makers.get(name)
            if maker is not None and maker.op_type == "ZipMap":
                return np.array(keys(maker))
        return None

    def __repr__(self) -> str:
        return f"Runner(input_shape={self.input_shape}, input_dtype={self.input_dtype})"

    # --- input ---------------------------------------------------------------------------------

    def _arrays(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> list[npt.ArrayLike]:
        names = [i.name for i in self._inputs]
        if isinstance(x, Mapping):
            if set(x) != set(names):
                raise DataError(f"the model's inputs are {names}; got {sorted(map(str, x))}")
            return [x[name] for name in names]
        if len(names) > 1:
            raise DataError(f"the model has several inputs: give a mapping with {names}")
        return [x]

    def _check(self, position: int, given: npt.ArrayLike) -> Array:
        info, dtype = self._inputs[position], self._dtypes[position]
        try:
            array = np.asarray(given)
        except ValueError as error:  # ragged lists
            raise DataError(f"input {info.name!r} is not an array: {error}") from None
        if dtype.kind == "O":
            if array.dtype.kind not in "UO" or not all(isinstance(value, str) for value in array.flat):
                raise DataError(f"input {info.name!r} takes strings, not {array.dtype}")
        elif array.dtype.kind not in "biuf":
            raise DataError(f"input {info.name!r} holds {array.dtype}, not numbers")
        want = info.shape
        fits = array.ndim == len(want) and all(
            not isinstance(w, int) or w == h for w, h in zip(want, array.shape, strict=True)
        )
        if not fits:
            shape = ", ".join(str(w) if isinstance(w, int) else "any" for w in want)
            hint = " (one sample needs a batch axis: x[None])" if array.ndim == len(want) - 1 else ""
            raise ShapeError(f"input {info.name!r} must have shape ({shape}), got {array.shape}{hint}")
        if dtype.kind == "O":
            return array.astype(object)
        return array if array.dtype == dtype else _convert(array, dtype, info.name)

    # --- running -------------------------------------------------------------------------------

    def _run(self, arrays: list[Array]) -> list[Array]:
        feed = {info.name: np.asarray(a, order="C") for info, a in zip(self._inputs, arrays, strict=True)}
        try:
            results: list[Array] = self._session.run(None, feed)
        except Exception as error:
            raise DataError(f"the model cannot run on this input: {str(error).splitlines()[0]}") from error
        if any(not isinstance(result, np.ndarray) or result.dtype.kind == "O" for result in results):
            return [_as_array(result, self._keys()) for result in results]
        if self._bindable:
            self._bind(feed, results)
        return results

    def _bind(self, feed: dict[str, Array], results: list[Array]) -> None:
        """Keep buffers of this shape for this thread, or a None that says it is too large to pay."""
        from .fusion.session import Binding

        bindings, key = self._local.bindings, tuple(array.shape for array in feed.values())
        if key in bindings:
            return
        sizes = [getattr(array, "nbytes", 0) for array in (*feed.values(), *results)]
        while len(bindings) >= BOUND_SHAPES:
            bindings.pop(next(iter(bindings)))
        outputs = dict(zip(self._outputs, results, strict=True))
        bindings[key] = Binding(self._session, feed, outputs) if all(sizes) and sum(sizes) <= BOUND_BYTES else None


def _as_array(result: Any, keys: Array | None) -> Any:
    """One map a row (ZipMap) as an array (rows, classes), columns in the order of the keys; all else as it is."""
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        return result
    order = keys.tolist() if keys is not None else list(result[0]) if result else []
    return np.array([[row[key] for key in order] for row in result], np.float32).reshape(len(result), len(order))


def _cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _convert(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """To the model's dtype; refuses values that it cannot hold, not those that it rounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f":
        lost = np.isinf(converted).any() and not np.isinf(array).any()
    else:
        lost = not np.can_cast(array.dtype, dtype) and not np.array_equal(converted, array)
    if lost:
        raise DataError(f"input {name!r} holds values that {dtype} cannot hold")
    return converted
