"""Network: layers and the graph traced through them, weights, and prediction. What is trained of it is Model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastdl import config
from fastdl.base.arguments import flag, whole
from fastdl.base.arrays import Dtype
from fastdl.base.columns import is_column
from fastdl.base.naming import free_name, unknown
from fastdl.base.text import preformatted
from fastdl.compiler.feeds import FEEDS, X_FEED
from fastdl.compiler.graph import Graph, Parameter, Tensor, tracing
from fastdl.errors import NotBuiltError, ShapeError
from fastdl.layers.context import Call, calls_noted, listed, losses_added, on_its_own
from fastdl.layers.core import Input
from fastdl.layers.data_tensor import float_dtype, floats_of, graph_of
from fastdl.layers.layer import Layer, unused
from fastdl.layers.on_arrays import with_losses
from fastdl.models import batches, data
from fastdl.models.callback_list import CallbackList, Callbacks
from fastdl.models.feeding import Feeds
from fastdl.models.session import PREDICT_BATCH, Session
from fastdl.models.summary import summary
from fastdl.ops import Penalty


class Network(Layer):
    """Base of Model: layers, a layer itself, and how its outputs are computed.

    session: what runs its programs, for whoever computes with it (see Session). fastdl's own.
    """

    nameable = False
    takes_one_array = False
    _no_other_layers = "`Model.layers` attribute is reserved, and cannot be set: give layers other attributes' names"
    output_names: list[str]

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.outputs_as: Callable[[list[Any]], Any] = list  # what several outputs are given in; fastdl's own
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, not {self.dtype}")
        self._layers: list[Layer] = []
        self._samples: list[tuple[int, ...]] | None = None  # the shapes of the inputs' samples, once they are known
        self._column_dtypes: list[Dtype | None] = []  # of the inputs that are columns; none, or one for each input
        self._graph: Graph | None = None
        self._class_names: list[str] | None = None
        self.output_keys: list[str] | None = None  # of a model whose outputs are a mapping; fastdl's own
        self.added_losses: list[Tensor] = []  # what layers added to the loss (see Layer.add_loss); fastdl's own
        self.stop_predicting = False  # a callback sets it
        self.session = Session(self)

    @property
    def graph(self) -> Graph | None:
        """The graph, once its shape is known. fastdl's own."""
        return self._graph

    @property
    def layers(self) -> list[Layer]:
        """The layers, in Keras's order. AttributeError when it is set."""
        return self._layers

    @layers.setter
    def layers(self, layers: Any) -> None:
        raise AttributeError(self._no_other_layers)

    @property
    def input_samples(self) -> list[tuple[int, ...]] | None:
        """The shapes of the inputs' samples, once they are known. fastdl's own."""
        return self._samples

    @property
    def input_dtypes(self) -> list[Dtype]:
        """The dtypes of the inputs, once their shapes are known: the model's own, or a column's. fastdl's own."""
        return [dtype or self.dtype for dtype in self._column_dtypes or [None] * len(self._samples or [])]

    @property
    def column_dtype(self) -> Dtype | None:
        """The dtype of the one input, if a layer said before its shape was known that it is a column. fastdl's own."""
        return self._column_dtypes[0] if self._column_dtypes else None

    def new_inputs(self) -> list[Input]:
        """Inputs of the model's shapes and dtypes. fastdl's own."""
        return [Input(shape, dtype=dtype) for shape, dtype in zip(self._samples or [], self.input_dtypes, strict=True)]

    def _forget(self) -> None:
        """The layers, or what of them is trained, have changed: all that was made of them is made anew."""
        self._graph = None
        self.session.forget()

    def trace(self, *shapes: tuple[int, ...], dtypes: Sequence[Dtype | None] = ()) -> Graph:
        """The graph; shapes: of the first data's samples, for a model that was given none; dtypes: of those that are
        columns."""
        if self._graph is not None:
            return self._graph
        if self._samples is None:
            if not all(shapes) or not shapes:
                raise NotBuiltError(f"{self.name} has no input shape yet: begin it with Input(shape), or call fit")
            self._samples = [Input(shape).sample for shape in shapes]
            self._column_dtypes = list(dtypes) or self._column_dtypes
        sources = [
            Tensor((None, *sample), dtype, name=name)
            for sample, dtype, name in zip(self._samples, self.input_dtypes, self.input_names, strict=True)
        ]
        token, called = losses_added.set([]), list[Layer]()
        try:
            with floats_of(self.dtype), tracing(), calls_noted(called):
                outputs = listed(self.call(sources if len(sources) > 1 else sources[0]))
                graph = graph_of(sources, outputs)
        except ShapeError:
            if not any(layer.built for layer in self.layers):
                self._samples = None
            raise
        finally:
            self.added_losses = losses_added.get() or []
            losses_added.reset(token)
        self._note_layers(called)
        self.takes_several = len(sources) > 1
        self._graph = graph
        self.output_names = self.output_keys or unique(
            [tensor.made_by.layer.name if tensor.made_by else "output" for tensor in outputs]
        )
        self._called = self._called or Call(self, tuple(sources), tuple(outputs), None)
        self.built = True
        if self.session.trained is None:
            self.session.trained = frozenset(self.trainable_weights)
        return self._graph

    def _note_layers(self, called: Sequence[Layer]) -> None:
        """The layers that a subclass's `call` called: first its attributes, in their order, as in Keras."""
        met = dict.fromkeys(called)
        self._layers = list(dict.fromkeys([*(layer for layer in self._inner_layers() if layer in met), *met]))

    @property
    def input_names(self) -> list[str]:
        """The inputs' names, as a mapping of arrays may give them."""
        return ["input"] if len(self._samples or [()]) == 1 else [f"input_{i}" for i in range(len(self._samples or []))]

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs (Keras)."""
        return list(self.trace().columns)

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
        return only([tensor.shape for tensor in self.trace().columns])

    @property
    def output_shape(self) -> Any:
        """(None, *outputs of a sample), or a list of such. ValueError before it is known."""
        return only([tensor.shape for tensor in self.trace().outputs])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, *outputs of a sample) of inputs of such a shape, or a list of such (Keras). The model is built by it.

        ShapeError if the model takes inputs of another shape.
        """
        shapes = [tuple(each) for each in shapes_of(input_shape)]
        self.build(input_shape)
        if [shape[1:] for shape in shapes] != self._samples:
            takes = only([(None, *sample) for sample in self._samples or []])
            raise ShapeError(f"{self.name} takes inputs of shape {takes}, not {input_shape!r}")
        return only([(shapes[0][0], *tensor.shape[1:]) for tensor in self.trace().outputs])

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """Make the parameters for inputs of (None, *sample), or a list of such. Keras: Model.build."""
        shapes = shapes_of(input_shape)
        if not all(len(shape) > 1 for shape in shapes):
            raise ShapeError(f"input_shape must be (None, sizes of a sample …), or a list of such, not {input_shape!r}")
        self.trace(*(tuple(size or 0 for size in shape[1:]) for shape in shapes))

    def _prepare(self, inputs: Sequence[Tensor], given: Any = None) -> None:
        """For the first tensors that it is called on, as a layer."""
        if self._samples is None:
            floats = [tensor.dtype for tensor in inputs if not is_column(tensor.dtype)]
            self.dtype = floats[0] if floats else float_dtype()
            self._column_dtypes = [tensor.dtype if is_column(tensor.dtype) else None for tensor in inputs]
            self.build([tensor.shape for tensor in inputs])

    def _readable(self, tensor: Tensor) -> Tensor:
        """Its layers say what they can read."""
        return tensor

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, in Keras's order."""
        layers = (parameter for layer in self.layers for parameter in layer.weights)
        return list(dict.fromkeys([*self._parameters, *layers]))

    @property
    def trainable(self) -> bool:
        """Whether `fit` changes any layer; setting it sets all layers'; takes effect at the next `compile` (Keras)."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in dict.fromkeys([*self.layers, *self._inner_layers()]):  # a subclass's, before it is traced
            layer.trainable = value

    def restore_trainable(self, value: bool) -> None:
        """What a saved model says of itself; its layers say of themselves what of them is trainable."""
        self._trainable = bool(value)

    def __call__(self, x: Any, *more: Any, training: bool | None = None) -> Any:
        """Symbolic outputs of symbolic inputs, as a layer; or `predict` of arrays, as one batch.

        training=True draws dropout and other noise, and takes batch norm's statistics from the batch (Keras); the
        model stays as it is. Layers of augmentation act unless training=False; `losses` has activities' penalties.
        """
        if more:
            training = more[0]
        if isinstance(x, Mapping) and x and all(isinstance(tensor, Tensor) for tensor in x.values()):
            x = only([tensor for _, tensor in data.by_name(self.name, x, self.input_names, True)])
        if all(isinstance(tensor, Tensor) for tensor in listed(x)):
            self._prepare(tuple(listed(x)))
            with unused(self.layers):
                return self.answer(listed(super().__call__(x, training=training)))
        feeds = self.session.feeding.inputs(x, check=False)
        graph = self.trace()
        self._activity = []
        if training is None or any(isinstance(op, Penalty) for op in graph.ops):
            graph = self._graph_of_call() if training is None else graph
            if graph.always_draws or any(isinstance(op, Penalty) for op in graph.ops):
                return self._with_penalties(graph, feeds, training is not None and flag("training", training))
        return self.predict(x, training=training)

    def _graph_of_call(self) -> Graph:
        """The graph of a call on arrays of which nobody says whether it is training."""
        if not any(layer.trains_by_default for layer in self._all_layers()):
            return self.trace()
        sources = [Tensor(tensor.shape, tensor.dtype, name=tensor.name) for tensor in self.trace().columns]
        token = on_its_own.set(True)
        try:
            with floats_of(self.dtype), tracing(), unused(self.layers):
                return graph_of(sources, listed(self.call(sources if len(sources) > 1 else sources[0])))
        finally:
            on_its_own.reset(token)

    def _all_layers(self) -> Iterator[Layer]:
        """Its layers, and those of models among them."""
        for layer in self.layers:
            yield layer
            if isinstance(layer, Network):
                yield from layer._all_layers()

    def _with_penalties(self, graph: Graph, feeds: Feeds, training: bool) -> Any:
        """The outputs of all rows as one batch; and what activities add to the loss."""
        arrays = [feeds[X_FEED + FEEDS * i] for i in range(len(graph.inputs))]
        with self.session.lock:
            results, self._activity = with_losses(graph, arrays, [], training)
        return self.answer(results)

    def answer(self, outputs: list[Any]) -> Any:
        """The outputs as the person is given them: one, a list, or a mapping of names. fastdl's own."""
        if self.output_keys:
            return dict(zip(self.output_keys, outputs, strict=True))
        return self.outputs_as(outputs) if len(outputs) > 1 else outputs[0]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or index. ValueError if there is none."""
        if isinstance(index, int | np.integer) and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if name is not None and layer.name == name:
                return layer
        what, value = ("layer", name) if name is not None else ("layer index", index)
        raise ValueError(unknown(what, value, [layer.name for layer in self.layers]))

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} → {self.output_shape}" if self._graph else "no input shape yet"
        parameters = f"{self.count_params():,} parameters"
        return f"<{type(self).__name__} name={self.name}, {len(self.layers)} layers, {parameters}, {shapes}>"

    def _repr_html_(self) -> str:
        return preformatted(self._summary() if self._graph else repr(self))

    def _summary(self) -> str:
        return summary(self.name, self.trace(), self.layers)

    def summary(self, *, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print layers, shapes, parameters (trainable or not) and FLOPs. ValueError before the model is built."""
        (print_fn or print)(self._summary())

    # -- predict ------------------------------------------------------------------------------------------

    @property
    def feature_names(self) -> Any:
        """The columns of the frame that it was trained on, in order, or None; by input, where there are several.

        A frame's columns are taken by these names, in whatever order they stand; arrays have none. They are kept in
        saved and exported files, and can be set, or forgotten with None. fastdl's own.
        """
        columns = self.session.feeding.all_columns()
        return columns.get(self.input_names[0]) if len(self.input_names) == 1 else columns

    @feature_names.setter
    def feature_names(self, names: Any) -> None:
        """DataError unless they are names, each once, for each feature."""
        self.session.feeding.set_columns(names)

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
        training = training is not None and flag("training", training)
        if type(x) is not np.ndarray and batches.streams(x):
            return batches.predict(self.session, x, steps, CallbackList(callbacks), training)
        feeds = self.session.feeding.inputs(x, check=False)
        if batch_size is not None or steps is not None or callbacks:
            most, rows = batches.checked_steps("steps", steps), len(feeds[X_FEED])
            size = batches.batch_size(None if batch_size is None else batch_rows(batch_size), rows, most)
            if most:
                batches.ran_out(-(-rows // size), most)
                taken = -(-most // self.session.steps_per_execution) * self.session.steps_per_execution
                feeds = {feed: array[: size * taken] for feed, array in feeds.items()}
            if callbacks:
                return self._predict_with(CallbackList(callbacks), feeds, size, training)
        return self.answer(self.session.predict(feeds, training=training, noisy=training))

    def _predict_with(self, callbacks: CallbackList, feeds: Feeds, batch: int, training: bool) -> Any:
        """Slice by slice, with callbacks told before and after each."""
        session, rows, most = self.session, len(feeds[X_FEED]), callbacks.most("predict")
        answers, done, self.stop_predicting = session.answers(feeds, self.trace()), 0, False
        callbacks.begin(self, verbose=0, epochs=1, steps=-(-rows // batch))
        callbacks.tell("on_predict_begin", {})
        with session.lock:
            size = batch if most else PREDICT_BATCH
            for i, (part, compute) in enumerate(session.predict_slices(feeds, size, most, training)):
                callbacks.batch_begins("predict", i)
                compute()
                outputs = self.answer([answer[part] for answer in answers])
                done = part.stop
                callbacks.batch_ends("predict", i, {"outputs": outputs})
                if self.stop_predicting:
                    break
        callbacks.pass_ends("predict")
        callbacks.tell("on_predict_end", {})
        return self.answer([answer[:done] for answer in answers])

    def predict_on_batch(self, x: Any) -> Any:
        """As predict. Keras: Model.predict_on_batch."""
        return self.predict(x)


def shapes_of(input_shape: Any) -> list[Any]:
    """One shape, or a list of such, as a list."""
    sizes = list(input_shape) if isinstance(input_shape, list | tuple) else []
    return sizes if sizes and all(isinstance(each, list | tuple) for each in sizes) else [sizes]


def only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def unique(names: Sequence[str]) -> list[str]:
    free: list[str] = []
    for name in names:
        free.append(free_name(name, free))
    return free


def batch_rows(value: Any) -> int:
    return whole("batch_size", 32 if value is None else value)
