"""Network: layers, weights and prediction. `Tracing` knows of their graphs; what is trained of it is Model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastdl import tree
from fastdl.base.arguments import flag, whole
from fastdl.base.naming import unknown
from fastdl.base.scopes import having
from fastdl.base.text import preformatted
from fastdl.compiler.feeds import FEEDS, X_FEED, absent_inputs
from fastdl.compiler.graph import Graph, Parameter
from fastdl.layers.context import Phase, on_its_own
from fastdl.layers.given import tensors_in
from fastdl.layers.layer import Layer, unused
from fastdl.layers.on_arrays import with_losses
from fastdl.models import batches, structures
from fastdl.models.callback_list import CallbackList, Callbacks
from fastdl.models.feeding import Feeds
from fastdl.models.session import PREDICT_BATCH, Session
from fastdl.models.summary import PLAIN, Manner, summary
from fastdl.models.tracing import Tracing
from fastdl.ops import Penalty


class Network(Tracing):
    """Base of Model: layers, a layer itself, and how its outputs are computed.

    session: what runs its programs, for whoever computes with it (see Session). fastdl's own.
    """

    nameable = False
    takes_one_array = False
    _no_other_layers = "`Model.layers` attribute is reserved, and cannot be set: give layers other attributes' names"

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self._class_names: list[str] | None = None
        self.stop_predicting = False  # a callback sets it
        self.session = Session(self)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in Keras's order. AttributeError when it is set."""
        return self._layers

    @layers.setter
    def layers(self, layers: Any) -> None:
        raise AttributeError(self._no_other_layers)

    def _forget(self) -> None:
        """The layers, or what of them is trained, have changed: all that was made of them is made anew."""
        self._graph, self._others = None, {}
        self.session.forget()

    @property
    def _told_what_to_train(self) -> bool:
        return self.session.optimizer is not None

    def _was_traced(self, before: frozenset[Parameter]) -> None:
        trained = self.session.trained
        new = (parameter for parameter in self.trainable_weights if trained is None or parameter not in before)
        self.session.trained = frozenset(new) | (trained or frozenset())

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

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Symbolic outputs of symbolic inputs, as a layer; or `predict` of arrays, as one batch.

        training=True draws dropout and other noise, and takes batch norm's statistics from the batch (Keras); the
        model stays as it is. Layers of augmentation act unless training=False; `losses` has activities' penalties.
        """
        training = named.pop("training", None)
        given = [*args, *named.values()]
        if len(args) == 2 and (given[1] is None or isinstance(given[1], bool)):
            training = given.pop(1)
        if len(given) != 1:
            raise TypeError(f"{self.name} takes its inputs as one argument: a list, or another structure, of them")
        x = given[0]
        if tensors_in(x):
            if self._samples is None:
                self._takes(x)
            with unused(self.layers):
                return super().__call__(self._as_structured(x), training=training)
        if isinstance(training, Phase):
            training = bool(training)
        feeds = self.session.feeding.inputs(x, check=False)
        graph, absent, acts = self.trace(), absent_inputs(feeds), training is not None and flag("training", training)
        self._activity = []
        if not absent and (training is None or _adds(graph)):
            graph = self._graph_of_call() if training is None else graph
            if graph.always_draws or _adds(graph):
                return self._with_penalties(graph, feeds, acts)
        return self.answer(self.session.predict(feeds, training=acts, noisy=acts))

    def _as_structured(self, x: Any) -> Any:
        """Symbolic inputs in the structure that the model takes them in."""
        values = structures.values(self.name, x, self.input_structure, self.input_names, quiet=True)
        return tree.pack_sequence_as(self.input_structure, [value for _, value in values])

    def _graph_of_call(self) -> Graph:
        """The graph of a call on arrays of which nobody says whether it is training."""
        layers = [self, *self._all_layers()]
        if not any(layer.trains_by_default or (isinstance(layer, Network) and layer.says_training) for layer in layers):
            return self.trace()
        with having(on_its_own, True), unused(self.layers):
            return self._traced(False)[1]

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
            results, self._activity = with_losses(graph, arrays, graph.added, training)
        return self.answer(results)

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

    def _summary(self, manner: Manner = PLAIN) -> str:
        optimizer = self.session.optimizer
        kept = optimizer if optimizer is not None and optimizer.built else None
        return summary(self.name, self.trace(), self.layers, manner, kept)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print layers, shapes, parameters (trainable or not, and the optimizer's) and FLOPs. Keras: Model.summary.

        line_length: in letters; positions: the right ends of the columns, in letters or as shares; expand_nested: the
        layers of models among them too; show_trainable: a column of it; layer_range: from one layer to another, by
        names or patterns of them. ValueError before the model is built.
        """
        manner = Manner(line_length, positions, expand_nested, show_trainable, layer_range)
        (print_fn or print)(self._summary(manner))

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
        if type(x) is np.ndarray and not training and batch_size is None and steps is None and callbacks is None:
            answer = self.session.predict_at_once(x)
            if answer is not None:
                return answer
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


def _adds(graph: Graph) -> bool:
    """Whether layers add to a loss: penalties of activities, or tensors."""
    return bool(graph.added) or any(isinstance(op, Penalty) for op in graph.ops)


def batch_rows(value: Any) -> int:
    return whole("batch_size", 32 if value is None else value)
