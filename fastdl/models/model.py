"""Model: compile, fit, evaluate, predict. The loops run over slices of an epoch; the work is in the programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl import _random, config, optimizers
from fastdl.callbacks.callback_list import CallbackList, Callbacks
from fastdl.errors import DataError, ShapeError
from fastdl.graph import Array, Graph, Parameter, Tensor
from fastdl.layers.core import Input
from fastdl.layers.layer import Call, Layer, listed
from fastdl.metrics import Metric
from fastdl.models import data
from fastdl.models.engine import Engine, Slice, run
from fastdl.models.objective import Given, Objective, by_output, checked_losses, checked_share, mapped
from fastdl.models.progress import Progress, describe
from fastdl.ops import BatchNorm
from fastdl.optimizers import Optimizer
from fastdl.program import FEEDS, OUT_FEED, W_FEED, X_FEED, Y_FEED, Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastdl.callbacks.history import History
    from fastdl.fusion import FusionReport

Feeds = dict[int, Array]
PREDICT_BATCH = 256  # rows whose activations stay in the second-level cache


class Model(Layer):
    """Layers, and what is trained of them; a layer itself, for models of models. Keras: Model.

    Model(inputs, outputs) is made of symbolic tensors (see Functional). A subclass makes layers in its __init__ and
    calls them in its `call`.
    """

    def __new__(cls, *args: Any, **options: Any) -> Any:
        if cls is not Model:
            return super().__new__(cls)
        from fastdl.models.functional import Functional

        return super().__new__(Functional)

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, not {self.dtype}")
        self.layers: list[Layer] = []
        self.optimizer: Optimizer | None = None
        self.loss: Any = None  # a Loss, or one for each output
        self.history: History | None = None
        self.stop_training = False  # a callback sets it
        self.initial_epoch = 0  # of the fit that runs; a callback that goes on with another sets it when it begins
        self._samples: list[tuple[int, ...]] | None = None  # the shapes of the inputs' samples, once they are known
        self._given: Given | None = None  # to compile
        self._objective: Objective | None = None
        self._trained: frozenset[Parameter] | None = None  # what was trainable when it was compiled
        self._engine = Engine()
        self._graph: Graph | None = None
        self._seed: int | None = None
        self._lock = threading.RLock()
        self._training = self._testing = False

    # -- what it is ---------------------------------------------------------------------------------------

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
        self._graph = Graph(sources, outputs)
        self.output_names = _unique([tensor.made_by.layer.name if tensor.made_by else "output" for tensor in outputs])
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
        return _only(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic output, or a list of them (Keras)."""
        return _only(self.outputs)

    @property
    def input_shape(self) -> Any:
        """(None, *sample), or a list of such. ValueError before it is known."""
        return _only([tensor.shape for tensor in self.trace().inputs])

    @property
    def output_shape(self) -> Any:
        """(None, *outputs of a sample), or a list of such. ValueError before it is known."""
        return _only([tensor.shape for tensor in self.trace().outputs])

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """Make the parameters for inputs of (None, *sample), or a list of such. Keras: Model.build."""
        shapes = input_shape if isinstance(input_shape[0], list | tuple) else [input_shape]
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
        for layer in self.layers:
            layer.trainable = value

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Symbolic outputs of symbolic inputs, as a layer; or `predict` of arrays, as one batch.

        training=True draws dropout and other noise, and takes batch norm's statistics from the batch (Keras); the
        model stays as it is.
        """
        if all(isinstance(tensor, Tensor) for tensor in listed(x)):
            return super().__call__(x, training=training)
        return self.predict(x, training=training)

    def recalibrate_batch_norm(self, x: Any) -> None:
        """Batch norm's moving averages become the mean and variance, exact and biased, over all rows of x.

        In one pass with all rows as one batch, dropout and noise off, so that each layer's statistics are those of what
        it will read in inference; memory: the activations of all rows. Frozen layers stay as they are. ShapeError.
        """
        feeds = self._ready(x)
        rows = len(feeds[X_FEED])
        with self._exclusive():
            graph = self.trace()
            self._answers(feeds, graph)
            program = Program(graph, rows, training=True, noisy=False, recalibrates=True, output=True)
            program.run(feeds, threads=config.get_num_threads())

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or index. ValueError if there is none."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if name is not None and layer.name == name:
                return layer
        raise ValueError(f"no layer {name or index!r}: the model has {', '.join(layer.name for layer in self.layers)}")

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print layers, shapes, parameters (trainable or not) and FLOPs. ValueError before the model is built."""
        from fastdl.models.summary import summary

        (print_fn or print)(summary(self))

    # -- compile ------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer | type[Optimizer] = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **unused: Any,
    ) -> None:
        """Choose optimizer, loss and metrics: Keras names, objects, or numpy functions of your own (see losses.Function
        and metrics.MeanMetricWrapper). weighted_metrics heed the samples' weights. With several outputs each may be a
        list or a mapping by name, one for each; loss_weights multiply the losses in their sum. ValueError.

        run_eagerly, steps_per_execution and jit_compile are taken, and of no effect.
        """
        for name in set(unused) - {"run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss"}:
            raise TypeError(f"compile has no argument {name!r}")
        if loss is None:
            raise ValueError("compile needs a loss, e.g. loss='sparse_categorical_crossentropy'")
        chosen, wanted, shares = optimizers.get(optimizer), checked_losses(loss), mapped(checked_share, loss_weights)
        self.optimizer, self.loss = chosen, wanted
        self._given, self._objective = Given(wanted, shares, metrics, weighted_metrics), None
        self._engine.clear()
        self._graph = self._trained = None  # what is trainable may have changed
        if self._samples is not None and self.layers:
            self.trace()

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that it was compiled with, once its shape is known."""
        return self._objective.metrics if self._objective else []

    def _ready(self, x: Any, check: bool = True, what: str = "") -> Feeds:
        """Check x, of which data, and build what waits for its shape."""
        several = len(self._samples) > 1 if self._samples else self._reads_list(x)
        names = self.input_names if self._samples else [f"input_{i}" for i in range(len(x))] if several else ["input"]
        arrays = [data.numbers(name, each) for name, each in data.by_name(what + "x", x, names, several)]
        graph = self.trace(*(array.shape[1:] for array in arrays))
        feeds: Feeds = {}
        for i, (array, source) in enumerate(zip(arrays, graph.inputs, strict=True)):
            name = f"{what}x[{source.name!r}]" if several else f"{what}x"
            feeds[X_FEED + FEEDS * i] = data.as_rows(name, array, source.shape, self.dtype, check)
            if i:
                data.same_length(feeds[X_FEED], feeds[X_FEED + FEEDS * i], name)
        return feeds

    def _reads_list(self, x: Any) -> bool:
        """Whether the first data of a model that states no shape is one array for each of several inputs."""
        return isinstance(x, list | tuple) and all(np.ndim(each) > 1 for each in x)

    def _targets(self, y: Any, rows: int, check: bool = True, what: str = "") -> Feeds:
        """The targets of `rows` samples, for each output that has a loss."""
        _, objective = self._compiled()
        graph, feeds, several = self.trace(), Feeds(), len(self.output_names) > 1
        names = [self.output_names[i] for i in objective.outputs]
        for i, (name, each) in zip(objective.outputs, data.by_name(what + "y", y, names, several), strict=True):
            output, loss = graph.outputs[i], objective.losses[i]
            assert loss is not None
            if loss.sparse:
                targets = data.as_labels(name, each, output.features)
            else:
                targets = data.as_rows(name, each, output.shape, self.dtype, check)
            data.same_length(rows, targets, name)
            feeds[Y_FEED + FEEDS * i] = targets
        return feeds

    def _feeds(
        self, x: Feeds, y: Any, sample_weight: Any, check: bool = True, class_weight: Any = None, what: str = ""
    ) -> Feeds:
        """x, which is checked, with targets, and weights if there are any."""
        rows = len(x[X_FEED])
        feeds = {**x, **self._targets(y, rows, check, what)}
        _, objective = self._compiled()
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("class_weight and sample_weight exclude each other: multiply them into sample_weight")
            if len(self.output_names) > 1:
                raise ValueError("class_weight is for models of one output: use sample_weight")
            sample_weight = data.class_weights(feeds[Y_FEED], class_weight)
        if sample_weight is not None:
            several = isinstance(sample_weight, Mapping | list | tuple) and len(self.output_names) > 1
            weights = by_output("sample_weight", sample_weight, self.output_names) if several else None
            for i in objective.outputs:
                given = weights[i] if weights else sample_weight
                weight = np.ones(rows, self.dtype) if given is None else given
                feeds[W_FEED + FEEDS * i] = data.as_rows("sample_weight", weight, (None, 1), self.dtype, check)
                data.same_length(rows, feeds[W_FEED + FEEDS * i], "sample_weight")
        return feeds

    def _compiled(self) -> tuple[Optimizer, Objective]:
        if self.optimizer is None or self._given is None:
            raise RuntimeError(f"{self.name} is not compiled: call compile(optimizer=…, loss=…) first")
        if self._objective is None:
            graph = self.trace()
            self._objective = Objective(self._given, graph, self.output_names)
        return self.optimizer, self._objective

    # -- programs -----------------------------------------------------------------------------------------

    def _make(self, training: bool, weighted: bool = False) -> Callable[[int], Program]:
        def make(batch: int) -> Program:
            optimizer, objective = self._compiled()
            graph = self.trace()
            wanted, measured = objective.readings(graph, weighted)
            return Program(
                graph,
                batch,
                training=training,
                losses=wanted,
                metrics=measured,
                optimizer=optimizer if training else None,
                trained=self._trained,
            )

        return make

    def _slices(self, purpose: str, feeds: Feeds, batch: int, most: int | None = None) -> Iterator[Slice]:
        """A pass over the feeds; with weights by programs of its own."""
        weighted = any(feed % FEEDS == W_FEED for feed in feeds)
        make = self._make(training=purpose == "train", weighted=weighted)
        return self._engine.slices(purpose + " weighted" * weighted, len(feeds[X_FEED]), batch, make, most)

    def _logs(self, programs: Iterable[Program]) -> dict[str, Any]:
        """Loss and metrics of a pass. Each program sums its own, so they do not depend on how the pass was sliced."""
        _, objective = self._compiled()
        sums = [sum(totals) for totals in zip(*(program.totals for program in programs), strict=True)]
        return objective.logs(sums)  # type: ignore[arg-type]

    def _train(self, piece: Slice, feeds: dict[int, Array], index: Array | None) -> None:
        """Run one slice of training."""
        optimizer, _ = self._compiled()
        assert self._seed is not None
        rates = optimizer.rates(piece.steps)
        run(piece, feeds, index=index, rates=rates, step=optimizer.iterations, seed=self._seed)
        optimizer.iterations += piece.steps

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Training holds the model: a second fit at once is an error, a predict waits."""
        if self._training or not self._lock.acquire(blocking=False):
            raise RuntimeError(
                f"{self.name} is being used by another thread: train one model from one thread at a time"
            )
        self._training = True
        try:
            if self._seed is None:
                self._seed = int(_random.generator().integers(2**63))
            yield
        finally:
            self._training = False
            self._lock.release()

    # -- fit ----------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: tuple[Any, ...] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        check_input: bool = True,
    ) -> History:
        """Train. x: (rows, *input shape), y: labels or targets; last batch may be smaller. Keras: Model.fit.

        validation_split takes the last share of the rows, before shuffling; validation_data may hold weights too.
        sample_weight: (rows,); class_weight: by label, 1 for those not named. check_input=False skips the search for
        NaN and infinities. callbacks: see fastdl.callbacks. DataError, ShapeError, before any weight is touched.
        """
        batch = _batch_size(batch_size)
        _positive("epochs", epochs)
        inputs = self._ready(x, check_input)
        optimizer, _ = self._compiled()
        feeds = self._feeds(inputs, y, sample_weight, check_input, class_weight)
        held: Feeds | None = None
        if validation_data is not None:
            held_weight = validation_data[2] if len(validation_data) > 2 else None
            held_x = self._ready(validation_data[0], check_input, "validation ")
            held = self._feeds(held_x, validation_data[1], held_weight, check_input, what="validation ")
        elif validation_split:
            if not 0 < validation_split < 1:
                raise ValueError(f"validation_split must lie between 0 and 1, not {validation_split}")
            count = len(feeds[X_FEED])
            kept = int(count * (1 - validation_split))
            if not 0 < kept < count:
                raise DataError(f"validation_split={validation_split} of {count} rows leaves one side empty")
            held = {feed: array[kept:] for feed, array in feeds.items()}
            feeds = {feed: array[:kept] for feed, array in feeds.items()}
        rows, verbosity = len(feeds[X_FEED]), 1 if verbose == "auto" else int(verbose)
        steps, heard = -(-rows // batch), CallbackList(callbacks)
        history = heard.history()
        with self._exclusive():
            self.history, self.stop_training, logs = history, False, dict[str, float]()
            heard.begin(self, verbose=verbosity, epochs=epochs, steps=steps)
            heard.tell("set_validation_data", held)
            self.initial_epoch = initial_epoch
            heard.tell("on_train_begin", {})
            for epoch in range(self.initial_epoch, epochs):
                with Progress(epoch, epochs, steps, rows, verbosity) as progress:
                    heard.tell("on_epoch_begin", epoch, {})
                    logs = self._epoch(feeds, batch, shuffle, progress, heard)
                    if held is not None:
                        tested = self._test(held, batch, heard)
                        logs |= {f"val_{name}": value for name, value in tested.items()}
                    heard.tell("on_epoch_end", epoch, logs)
                    progress.finish(logs)
                if self.stop_training:
                    break
            optimizer.finalize_variable_values(self.trainable_weights)
            heard.tell("on_train_end", logs)
        return history

    def _epoch(
        self, feeds: Feeds, batch: int, shuffle: bool, progress: Progress, heard: CallbackList
    ) -> dict[str, float]:
        rows = len(feeds[X_FEED])
        optimizer, _ = self._compiled()
        # of the seed and the step alone, so that a training that goes on tomorrow shuffles as it would have today
        order = np.random.default_rng((self._seed or 0, optimizer.iterations))
        # a single batch holds the same rows in any order
        index = order.permutation(rows) if shuffle and rows > batch else None
        programs, steps, done, logs = set[Program](), 0, 0, dict[str, float]()
        for piece in self._slices("train", feeds, batch, heard.most("train")):
            programs.add(piece.program)
            heard.batch_begins("train", steps)
            self._train(piece, feeds, index)
            steps, done = steps + piece.steps, done + piece.steps * piece.program.batch
            logs = self._logs(programs)
            heard.batch_ends("train", steps - 1, logs)
            heard.tell("on_train_slice_end", steps - 1, dict(logs))
            progress.update(steps, done, logs)
            if self.stop_training:
                break
        return logs

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch: its loss, or [loss, metrics …], before the step. Keras: Model.train_on_batch."""
        feeds = self._feeds(self._ready(x), y, sample_weight, class_weight=class_weight)
        with self._exclusive():
            for piece in self._slices("train", feeds, len(feeds[X_FEED])):
                self._train(piece, feeds, None)
        return _results(self._logs([piece.program]), return_dict)

    # -- evaluate, predict --------------------------------------------------------------------------------

    def _test(self, feeds: Feeds, batch: int, heard: CallbackList) -> dict[str, float]:
        """A pass in inference; in batches of `batch` rows if somebody wants to hear of each."""
        most, programs = heard.most("test"), set[Program]()
        with self._lock:
            heard.tell("on_test_begin", {})
            with self._tests():
                for i, piece in enumerate(self._slices("test", feeds, batch if most else PREDICT_BATCH, most)):
                    programs.add(piece.program)
                    heard.batch_begins("test", i)
                    run(piece, feeds)
                    logs = self._logs(programs)
                    heard.batch_ends("test", i, logs)
            heard.tell("on_test_end", logs)
            return logs

    @contextmanager
    def _tests(self) -> Iterator[None]:
        """A pass sums in its programs: one within another would take its sums away."""
        if self._testing:
            raise RuntimeError(f"{self.name} is being evaluated: between its batches it cannot be evaluated again")
        self._testing = True
        try:
            yield
        finally:
            self._testing = False

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss, or [loss, metrics …], in inference. Keras: Model.evaluate.

        batch_size is how many rows on_test_batch_end hears of at once; it has no effect without such a callback.
        """
        batch, heard = _batch_size(batch_size), CallbackList(callbacks)
        feeds = self._feeds(self._ready(x), y, sample_weight)
        steps = -(-len(feeds[X_FEED]) // batch)
        heard.begin(self, verbose=int(verbose not in (0, "auto")), epochs=1, steps=steps)
        logs = self._test(feeds, batch, heard)
        if verbose not in (0, "auto"):
            print(describe(logs))
        return _results(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As evaluate. Keras: Model.test_on_batch."""
        return self.evaluate(x, y, sample_weight=sample_weight, return_dict=return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        callbacks: Callbacks = None,
        *,
        training: bool | None = None,
    ) -> Any:
        """The outputs, (rows, *output shape), or a list of them. NaN in, NaN out. Keras: Model.predict.

        batch_size is how many rows on_predict_batch_end hears of at once; it has no effect without such a callback.
        training=True: as in training (see `__call__`), all rows in one batch where batch norm is trained.
        """
        feeds = self._ready(x, check=False)
        if callbacks:
            return self._predict_heard(feeds, CallbackList(callbacks), _batch_size(batch_size), bool(training))
        return self._predict(feeds, training=bool(training), noisy=bool(training))

    def _predict(self, feeds: Feeds, training: bool = False, noisy: bool = False) -> Any:
        """noisy: with the noise of training; training: also with the statistics of the batch."""
        graph, rows = self.trace(), len(feeds[X_FEED])
        answers = self._answers(feeds, graph)
        purpose, make = self._predicting(graph, training, noisy)
        seed = int(_random.generator().integers(2**63)) if noisy or graph.always_draws else 0
        whole = training and any(isinstance(op, BatchNorm) and not op.frozen for op in graph.ops)
        with self._lock:
            if (whole or rows <= PREDICT_BATCH) and (program := self._engine.small(purpose, rows, make)):
                program.run(feeds, seed=seed)
            else:
                for piece in self._engine.slices(purpose, rows, rows if whole else PREDICT_BATCH, make):
                    run(piece, feeds, step=piece.start // PREDICT_BATCH, seed=seed)
        return _only(answers)

    def _answers(self, feeds: Feeds, graph: Graph) -> list[Array]:
        """Room for the outputs, which the feeds lead to."""
        rows, answers = len(feeds[X_FEED]), []
        for i, tensor in enumerate(graph.outputs):
            answer: Array = np.empty((rows, *tensor.shape[1:]), self.dtype)  # type: ignore[arg-type]
            feeds[OUT_FEED + FEEDS * i] = answer if answer.ndim == 2 else answer.reshape(rows, -1)
            answers.append(answer)
        return answers

    def _predicting(self, graph: Graph, training: bool, noisy: bool) -> tuple[str, Callable[[int], Program]]:
        purpose = "predict" + " in training" * training + " with noise" * noisy
        return purpose, lambda size: Program(graph, size, output=True, training=training, noisy=noisy)

    def _predict_heard(self, feeds: Feeds, heard: CallbackList, batch: int, training: bool) -> Any:
        """Slice by slice, with callbacks told before and after each."""
        graph, rows, most = self.trace(), len(feeds[X_FEED]), heard.most("predict")
        answers = self._answers(feeds, graph)
        purpose, make = self._predicting(graph, training, training)
        seed = int(_random.generator().integers(2**63)) if training or graph.always_draws else 0
        size = batch if most else PREDICT_BATCH
        heard.begin(self, verbose=0, epochs=1, steps=-(-rows // batch))
        heard.tell("on_predict_begin", {})
        with self._lock:
            for i, piece in enumerate(self._engine.slices(purpose, rows, size, make, most)):
                heard.batch_begins("predict", i)
                run(piece, feeds, step=piece.start // size, seed=seed)
                end = piece.start + piece.steps * piece.program.batch
                heard.batch_ends("predict", i, {"outputs": _only([answer[piece.start : end] for answer in answers])})
        heard.tell("on_predict_end", {})
        return _only(answers)

    predict_on_batch = predict

    # -- files --------------------------------------------------------------------------------------------

    def save(self, filepath: str | Path, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write the model, how it was compiled and where training stands: see load_model. Keras: Model.save.

        A safetensors file. ValueError for layers, losses or metrics of one's own; OSError leaves the old file.
        """
        from fastdl.models import saving

        saving.save(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Write the weights alone; layers may be of one's own. Keras: Model.save_weights."""
        from fastdl.models import saving

        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | Path) -> None:
        """Copy in what `save_weights` or `save` wrote, all or none. ModelFileError. Keras: Model.load_weights."""
        from fastdl.models import saving

        saving.load_weights(self, filepath)

    def to_json(self) -> str:
        """The layers and their settings, for models.model_from_json. Keras: Model.to_json."""
        from fastdl.models import saving

        return saving.to_json(self)

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made again when it is needed: for pickle and copy.deepcopy."""
        made_again = "_engine", "_lock", "_objective", "_training", "_testing", "_graph", "_called"
        return {name: value for name, value in vars(self).items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._engine, self._lock, self._objective, self._graph = Engine(), threading.RLock(), None, None
        self._called = None
        self._training = self._testing = False

    # -- export -------------------------------------------------------------------------------------------

    def export(
        self,
        path: str | Path,
        *,
        fuse: bool = True,
        verify: Any = None,
        class_names: Sequence[str] | None = None,
    ) -> FusionReport:
        """Write the model as ONNX, folded and proven; returns the report.

        fuse=False writes the plain graph. verify: samples to prove it on, beside random ones. class_names go into
        the file's metadata. FusionError if the folded graph does not compute the same: then nothing is written.
        """
        from fastdl.onnx.export import export

        samples = None
        if verify is not None:
            feeds, sources = self._ready(verify), self.trace().inputs
            arrays = {
                source.name: feeds[X_FEED + FEEDS * i].reshape(-1, *(size or 0 for size in source.shape[1:]))
                for i, source in enumerate(sources)
            }
            samples = arrays if len(arrays) > 1 else arrays[sources[0].name]
        return export(self, self.trace(), Path(path), fuse=fuse, samples=samples, class_names=class_names)


def _only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def _batch_size(value: Any) -> int:
    return _positive("batch_size", 32 if value is None else value)


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    values = list(logs.values())
    return logs if return_dict else values if len(values) > 1 else values[0]
