"""Network: layers and the graph traced through them, weights, and prediction. What is trained of it is Model's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastdl import config
from fastdl.base import forks, random
from fastdl.base.arguments import flag, whole
from fastdl.base.arrays import Array
from fastdl.base.naming import free_name, unknown
from fastdl.base.text import preformatted
from fastdl.callbacks.callback_list import CallbackList, Callbacks
from fastdl.compiler.feeds import FEEDS, OUT_FEED, X_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.compiler.program import Program
from fastdl.errors import DataError, ShapeError
from fastdl.layers.core import Input
from fastdl.layers.layer import Call, Layer, listed
from fastdl.layers.preprocessing import Adapted
from fastdl.models import batches, data
from fastdl.models.batches import PREDICT_BATCH
from fastdl.models.engine import Engine, run
from fastdl.ops import BatchNorm

if TYPE_CHECKING:
    from fastdl.models.model import Model

Feeds = dict[int, Array]


class Network(Layer):
    """Base of Model: layers, a layer itself, and how its outputs are computed."""

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, not {self.dtype}")
        self.layers: list[Layer] = []
        self._samples: list[tuple[int, ...]] | None = None  # the shapes of the inputs' samples, once they are known
        self._trained: frozenset[Parameter] | None = None  # what was trainable when it was compiled
        self._graph: Graph | None = None
        self._feature_names: dict[str, list[str]] = {}  # by input, if fit saw frames
        self._class_names: list[str] | None = None
        self._begin()

    def _begin(self) -> None:
        """What belongs to this process: compiled programs, and a lock that nobody holds."""
        self._engine, self._lock = Engine(), threading.RLock()
        forks.watch(self)

    def _in_child(self) -> None:
        """After a fork: begin anew what another thread was in the middle of."""
        if forks.left_behind(self._lock):
            self._begin()

    def trace(self, *shapes: tuple[int, ...]) -> Graph:
        """The graph; shapes: of the first data's samples, for a model that was given none."""
        if self._graph is not None:
            return self._graph
        if self._samples is None:
            if not all(shapes) or not shapes:
                raise ValueError(f"{self.name} has no input shape yet: begin it with Input(shape), or call fit")
            self._samples = [Input(shape).sample for shape in shapes]
        names = self.input_names
        sources = [
            Tensor((None, *sample), self.dtype, name=name) for sample, name in zip(self._samples, names, strict=True)
        ]
        try:
            outputs = listed(self.call(sources if len(sources) > 1 else sources[0]))
        except ShapeError:
            if not any(layer.built for layer in self.layers):
                self._samples = None
            raise
        self._found(sources, outputs)
        self.takes_several = len(sources) > 1
        self._graph = Graph(sources, outputs)
        self.output_names = unique([tensor.made_by.layer.name if tensor.made_by else "output" for tensor in outputs])
        self._called = self._called or Call(self, tuple(sources), tuple(outputs), None)
        self.built = True
        if self._trained is None:
            self._trained = frozenset(self.trainable_weights)
        return self._graph

    def _found(self, sources: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Note the layers, in the order in which a subclass's `call` called them."""
        from fastdl.models.functional import calls_between

        self.layers = list(dict.fromkeys(call.layer for call in calls_between(self.name, sources, outputs)))

    @property
    def input_names(self) -> list[str]:
        """The inputs' names, as a mapping of arrays may give them."""
        return ["input"] if len(self._samples or [()]) == 1 else [f"input_{i}" for i in range(len(self._samples or []))]

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs (Keras)."""
        return list(self.trace().inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs (Keras)."""
        return list(self.trace().outputs)

    @property
    def input(self) -> Any:
        """The symbolic input, or a list of them (Keras)."""
        return only(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic output, or a list of them (Keras)."""
        return only(self.outputs)

    @property
    def input_shape(self) -> Any:
        """(None, *sample), or a list of such. ValueError before it is known."""
        return only([tensor.shape for tensor in self.trace().inputs])

    @property
    def output_shape(self) -> Any:
        """(None, *outputs of a sample), or a list of such. ValueError before it is known."""
        return only([tensor.shape for tensor in self.trace().outputs])

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """Make the parameters for inputs of (None, *sample), or a list of such. Keras: Model.build."""
        given = list(input_shape) if isinstance(input_shape, list | tuple) else []
        shapes = given if given and all(isinstance(each, list | tuple) for each in given) else [given]
        if not all(len(shape) > 1 for shape in shapes):
            raise ShapeError(f"input_shape must be (None, sizes of a sample …), or a list of such, not {input_shape!r}")
        self.trace(*(tuple(size or 0 for size in shape[1:]) for shape in shapes))

    def _prepare(self, inputs: tuple[Tensor, ...]) -> None:
        """For the first tensors that it is called on, as a layer."""
        if self._samples is None:
            self.dtype = inputs[0].dtype
            self.build([tensor.shape for tensor in inputs])

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, in Keras's order."""
        return list(dict.fromkeys(parameter for layer in self.layers for parameter in layer.weights))

    @property
    def trainable(self) -> bool:
        """Whether `fit` changes any layer; setting it sets all layers'; takes effect at the next `compile` (Keras)."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in dict.fromkeys([*self.layers, *self._inner_layers()]):  # a subclass's, before it is traced
            layer.trainable = value

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Symbolic outputs of symbolic inputs, as a layer; or `predict` of arrays, as one batch.

        training=True draws dropout and other noise, and takes batch norm's statistics from the batch (Keras); the
        model stays as it is.
        """
        if isinstance(x, Mapping) and x and all(isinstance(tensor, Tensor) for tensor in x.values()):
            x = [tensor for _, tensor in data.by_name(self.name, x, self.input_names, True)]
        if all(isinstance(tensor, Tensor) for tensor in listed(x)):
            self._prepare(tuple(listed(x)))
            with unused(self.layers):
                return super().__call__(x, training=training)
        return self.predict(x, training=training)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or index. ValueError if there is none."""
        if isinstance(index, int | np.integer) and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if name is not None and layer.name == name:
                return layer
        what, wanted = ("layer", name) if name is not None else ("layer index", index)
        raise ValueError(unknown(what, wanted, [layer.name for layer in self.layers]))

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} → {self.output_shape}" if self._graph else "no input shape yet"
        parameters = f"{self.count_params():,} parameters"
        return f"<{type(self).__name__} name={self.name}, {len(self.layers)} layers, {parameters}, {shapes}>"

    def _repr_html_(self) -> str:
        from fastdl.models.summary import summary

        return preformatted(summary(self) if self._graph else repr(self))

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print layers, shapes, parameters (trainable or not) and FLOPs. ValueError before the model is built."""
        from fastdl.models.summary import summary

        (print_fn or print)(summary(self))

    # -- predict ------------------------------------------------------------------------------------------

    def _ready(self, x: Any, check: bool = True, what: str = "", learns: bool = False) -> Feeds:
        """Check x, of which data, and build what waits for its shape. learns: remember the columns of frames."""
        if type(x) is np.ndarray and self._graph and len(self._graph.inputs) == 1:  # nothing to find out
            return {X_FEED: data.as_rows(f"{what}x", x, self._graph.inputs[0].shape, self.dtype, check)}
        several = len(self._samples) > 1 if self._samples else self._reads_list(x)
        names = self.input_names if self._samples else [f"input_{i}" for i in range(len(x))] if several else ["input"]
        given = data.by_name(what + "x", x, names, several)
        graph = self._graph or self.trace(*(data.numbers(name, each).shape[1:] for name, each in given))
        feeds: Feeds = {}
        for i, ((_, each), source) in enumerate(zip(given, graph.inputs, strict=True)):
            name = f"{what}x[{source.name!r}]" if several else f"{what}x"
            columns = self._columns(i)
            array = data.numbers(name, data.in_order(name, each, columns))
            feeds[X_FEED + FEEDS * i] = data.as_rows(name, array, source.shape, self.dtype, check)
            if i:
                data.same_length(feeds[X_FEED], feeds[X_FEED + FEEDS * i], name)
            if learns and data.is_frame(each):
                self._feature_names[self.input_names[i]] = columns or data.column_names(name, each)
        return feeds

    def _columns(self, i: int) -> list[str] | None:
        """The columns that input i is made of, in order, if fit or the layer that reads it has learnt from a frame."""
        if known := self._feature_names.get(self.input_names[i]):
            return known
        source = self.inputs[i]
        readers = (layer for layer in self.layers if layer._called and source in layer._called.inputs)
        return next((layer.feature_names for layer in readers if isinstance(layer, Adapted)), None)

    @property
    def feature_names(self) -> Any:
        """The columns of the frame that it was trained on, in order, or None; by input, where there are several.

        A frame's columns are taken by these names, in whatever order they stand; arrays have none. They are kept in
        saved and exported files, and can be set, or forgotten with None. fastdl's own.
        """
        return self._all_columns().get(self.input_names[0]) if len(self.input_names) == 1 else self._all_columns()

    @feature_names.setter
    def feature_names(self, names: Any) -> None:
        """DataError unless they are names, each once, for each feature."""
        given = names if isinstance(names, Mapping) else {} if names is None else {self.input_names[0]: names}
        sizes = dict(zip(self.input_names, self._samples or [], strict=False))
        for name, columns in given.items():
            listed = isinstance(columns, list | tuple) and all(isinstance(column, str) for column in columns)
            if name not in self.input_names or not listed or len(set(columns)) != len(columns):
                raise DataError(f"feature_names must be a list of names, each once, not {columns!r} for {name!r}")
            if name in sizes and sizes[name] != (len(columns),):
                raise DataError(f"{len(columns)} feature names for an input of shape {sizes[name]}")
        self._feature_names = {name: list(columns) for name, columns in given.items()}

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes that its one output tells apart, which saved and exported files keep; None if it has
        none. Two for a single sigmoid, the name of 0 first. fastdl's own."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Any) -> None:
        """ValueError unless they are as many as there are classes."""
        if names is not None:
            if not isinstance(names, list | tuple | np.ndarray):
                raise ValueError(f"class_names must be a list of names, not {names!r}")
            if self._graph and len(self._graph.outputs) > 1:
                raise ValueError("class_names are for models of one output")
            outputs = self._graph.outputs[0].features if self._graph else len(names)
            if len(names) != outputs and (len(names), outputs) != (2, 1):
                raise ValueError(f"{len(names)} class names for {outputs} outputs")
        self._class_names = None if names is None else [str(name) for name in names]

    def _all_columns(self) -> dict[str, list[str]]:
        if not self._graph:
            return dict(self._feature_names)
        found = {name: self._columns(i) for i, name in enumerate(self.input_names)}
        return {name: columns for name, columns in found.items() if columns}

    def _reads_list(self, x: Any) -> bool:
        """Whether the first data of a model that states no shape is one array for each of several inputs."""
        return isinstance(x, list | tuple) and all(np.ndim(each) > 1 for each in x)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Callbacks = None,
        *,
        training: bool | None = None,
    ) -> Any:
        """The outputs, (rows, *output shape), or a list of them. NaN in, NaN out. Keras: Model.predict.

        x: arrays, or an iterable of batches, of which `steps` are used, or all; targets in them are left out.
        batch_size is how many rows on_predict_batch_end hears of at once; it has no effect without such a callback.
        training=True: as in training (see `__call__`), all rows in one batch where batch norm is trained.
        """
        training = None if training is None else flag("training", training)
        if type(x) is not np.ndarray and batches.streams(x):
            return batches.predict(cast("Model", self), x, steps, CallbackList(callbacks), bool(training))
        feeds = self._ready(x, check=False)
        if batch_size is not None or steps is not None or callbacks:
            size, wanted = batch_rows(batch_size), batches.checked_steps("steps", steps)
            if wanted:
                feeds = {feed: array[: size * wanted] for feed, array in feeds.items()}
            if callbacks:
                return self._predict_heard(feeds, CallbackList(callbacks), size, bool(training))
        return self._predict(feeds, training=bool(training), noisy=bool(training))

    def _predict(self, feeds: Feeds, training: bool = False, noisy: bool = False) -> Any:
        """noisy: with the noise of training; training: also with the statistics of the batch."""
        graph, rows = self.trace(), len(feeds[X_FEED])
        answers = self._answers(feeds, graph)
        purpose, make = self._predicting(graph, training, noisy)
        seed = int(random.generator().integers(2**63)) if noisy or graph.always_draws else 0
        whole = training and any(isinstance(op, BatchNorm) and not op.frozen for op in graph.ops)
        with self._lock:
            if (whole or rows <= PREDICT_BATCH) and (program := self._engine.small(purpose, rows, make)):
                program.run(feeds, seed=seed)
            else:
                for piece in self._engine.slices(purpose, rows, rows if whole else PREDICT_BATCH, make):
                    run(piece, feeds, step=piece.start // PREDICT_BATCH, seed=seed)
        return only(answers)

    def _answers(self, feeds: Feeds, graph: Graph) -> list[Array]:
        """Room for the outputs, which the feeds lead to."""
        rows, answers = len(feeds[X_FEED]), []
        for i, tensor in enumerate(graph.outputs):
            answer: Array = np.empty((rows, *tensor.shape[1:]), self.dtype)  # type: ignore[arg-type]
            feeds[OUT_FEED + FEEDS * i] = answer if answer.ndim == 2 else answer.reshape(rows, -1)
            answers.append(answer)
        return answers

    def _predicting(self, graph: Graph, training: bool, noisy: bool) -> tuple[str, Callable[[int], Program]]:
        purpose = "predict in training" if training else "predict with noise" if noisy else "predict"
        return purpose, lambda size: Program(graph, size, output=True, training=training, noisy=noisy)

    def _predict_heard(self, feeds: Feeds, heard: CallbackList, batch: int, training: bool) -> Any:
        """Slice by slice, with callbacks told before and after each."""
        graph, rows, most = self.trace(), len(feeds[X_FEED]), heard.most("predict")
        answers = self._answers(feeds, graph)
        purpose, make = self._predicting(graph, training, training)
        seed = int(random.generator().integers(2**63)) if training or graph.always_draws else 0
        size = batch if most else PREDICT_BATCH
        heard.begin(cast("Model", self), verbose=0, epochs=1, steps=-(-rows // batch))
        heard.tell("on_predict_begin", {})
        with self._lock:
            for i, piece in enumerate(self._engine.slices(purpose, rows, size, make, most)):
                heard.batch_begins("predict", i)
                run(piece, feeds, step=piece.start // size, seed=seed)
                end = piece.start + piece.steps * piece.program.batch
                heard.batch_ends("predict", i, {"outputs": only([answer[piece.start : end] for answer in answers])})
        heard.tell("on_predict_end", {})
        return only(answers)

    predict_on_batch = predict


@contextmanager
def unused(layers: Sequence[Layer]) -> Iterator[None]:
    """What layers last read and gave stays: calls of them within belong to another graph than their model's own."""
    used = [(layer, layer._called) for layer in layers]
    try:
        yield
    finally:
        for layer, called in used:
            layer._called = called


def only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        found.append(free_name(name, found))
    return found


def batch_rows(value: Any) -> int:
    return whole("batch_size", 32 if value is None else value)
