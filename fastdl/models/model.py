"""Model: compile, fit, evaluate, predict. The loops run over slices of an epoch; the work is in the programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl import _random, config, losses, metrics, optimizers
from fastdl.callbacks.callback_list import CallbackList, Callbacks
from fastdl.errors import DataError
from fastdl.graph import Array, Graph, Parameter
from fastdl.layers.layer import Layer, assign_all, unique_name
from fastdl.losses import Loss
from fastdl.metrics import Metric
from fastdl.models import data
from fastdl.models.engine import Engine, Slice, run
from fastdl.models.progress import Progress, describe
from fastdl.optimizers import Optimizer
from fastdl.program import OUT_FEED, W_FEED, X_FEED, Y_FEED, Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastdl.callbacks.history import History
    from fastdl.fusion import FusionReport

Feeds = dict[int, Array]
PREDICT_BATCH = 256  # rows whose activations stay in the second-level cache


class Model:
    """Base of models: layers, and a graph traced through them (Keras: Model)."""

    def __init__(self, *, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or unique_name(type(self).__name__)
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, not {self.dtype}")
        self.layers: list[Layer] = []
        self.optimizer: Optimizer | None = None
        self.loss: Loss | None = None
        self.history: History | None = None
        self.stop_training = False  # a callback sets it
        self.initial_epoch = 0  # of the fit that runs; a callback that goes on with another sets it when it begins
        self._metric_names: tuple[list[Any], list[Any]] = [], []
        self._metrics: list[Metric] = []
        self._engine = Engine()
        self._graph: Graph | None = None
        self._seed: int | None = None
        self._lock = threading.RLock()
        self._training = self._testing = False

    # -- what it is ---------------------------------------------------------------------------------------

    def trace(self, shape: tuple[int, ...] | None = None) -> Graph:
        """The graph; `shape` is that of the first data's samples, for a model that was given none."""
        raise NotImplementedError

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, in Keras's order."""
        return [parameter for layer in self.layers for parameter in layer.weights]

    variables = weights

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if not parameter.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Copies of all weights."""
        return [parameter.numpy() for parameter in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy values into all weights, all or none. ShapeError if one does not fit."""
        assign_all(self.name, self.weights, weights)

    def count_params(self) -> int:
        """Numbers that all weights hold."""
        return sum(layer.count_params() for layer in self.layers)

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
        metrics: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Choose optimizer, loss and metrics: Keras names, objects, or numpy functions of your own (see losses.Function
        and metrics.MeanMetricWrapper). weighted_metrics heed the samples' weights. ValueError for unknown ones.
        """
        if loss is None:
            raise ValueError("compile needs a loss, e.g. loss='sparse_categorical_crossentropy'")
        chosen = optimizers.get(optimizer), losses.get(loss)
        self.optimizer, self.loss = chosen
        self._metric_names = _listed(metrics), _listed(weighted_metrics)
        self._engine.clear()
        self._metrics = []

    def _ready(self, x: Any, check: bool = True) -> Array:
        """Check x and build what waits for its shape."""
        if not self.layers:
            raise ValueError(f"{self.name} has no layers")
        array = data.numbers("x", x)
        graph = self.trace(array.shape[1:])
        return data.as_rows("x", array, graph.inputs[0].shape, self.dtype, check)

    def _targets(self, y: Any, x: Array, check: bool = True) -> Array:
        assert self.loss is not None
        output = self.trace().outputs[0]
        if self.loss.sparse:
            rows = data.as_labels("y", y, output.features)
        else:
            rows = data.as_rows("y", y, output.shape, self.dtype, check)
        data.same_length(x, rows)
        return rows

    def _feeds(self, x: Array, y: Any, sample_weight: Any, check: bool = True, class_weight: Any = None) -> Feeds:
        """x, which is checked, with targets, and weights if there are any."""
        feeds = {X_FEED: x, Y_FEED: self._targets(y, x, check)}
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("class_weight and sample_weight exclude each other: multiply them into sample_weight")
            sample_weight = data.class_weights(feeds[Y_FEED], class_weight)
        if sample_weight is not None:
            feeds[W_FEED] = data.as_rows("sample_weight", sample_weight, (None, 1), self.dtype, check)
            data.same_length(x, feeds[W_FEED], "sample_weight")
        return feeds

    def _compiled(self) -> tuple[Optimizer, Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(f"{self.name} is not compiled: call compile(optimizer=…, loss=…) first")
        if not self._metrics:
            output = self.trace().outputs[0]
            self._metrics = [metrics.get(name, self.loss, output) for names in self._metric_names for name in names]
        return self.optimizer, self.loss

    # -- programs -----------------------------------------------------------------------------------------

    def _make(self, training: bool, weighted: bool = False) -> Callable[[int], Program]:
        def make(batch: int) -> Program:
            optimizer, loss = self._compiled()
            graph = self.trace()
            output = graph.outputs[0]
            prediction, terminal = loss.attach(output)
            plain = len(self._metric_names[0])
            return Program(
                graph,
                batch,
                training=training,
                prediction=prediction,
                loss=terminal,
                metrics=[metric.attach(output, prediction) for metric in self._metrics],
                optimizer=optimizer if training else None,
                weighted=weighted,
                weighted_metrics=range(plain, len(self._metrics)),
            )

        return make

    def _slices(self, purpose: str, feeds: Feeds, batch: int, most: int | None = None) -> Iterator[Slice]:
        """A pass over the feeds; with weights by programs of its own."""
        weighted = W_FEED in feeds
        make = self._make(training=purpose == "train", weighted=weighted)
        return self._engine.slices(purpose + " weighted" * weighted, len(feeds[X_FEED]), batch, make, most)

    def _logs(self, programs: Iterable[Program]) -> dict[str, Any]:
        """Loss and metrics of a pass. Each program sums its own, so they do not depend on how the pass was sliced."""
        (total, _, rows), *sums = (
            sum(totals) for totals in zip(*(program.totals for program in programs), strict=True)
        )
        values = {metric.name: metric.value(each) for metric, each in zip(self._metrics, sums, strict=True)}
        return {"loss": float(total / rows), **values}

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
        rows = self._ready(x, check_input)
        optimizer, _ = self._compiled()
        feeds = self._feeds(rows, y, sample_weight, check_input, class_weight)
        held: Feeds | None = None
        if validation_data is not None:
            held_x = data.as_rows(
                "validation x", validation_data[0], self.trace().inputs[0].shape, self.dtype, check_input
            )
            held_weight = validation_data[2] if len(validation_data) > 2 else None
            held = self._feeds(held_x, validation_data[1], held_weight, check_input)
        elif validation_split:
            if not 0 < validation_split < 1:
                raise ValueError(f"validation_split must lie between 0 and 1, not {validation_split}")
            kept = int(len(rows) * (1 - validation_split))
            if not 0 < kept < len(rows):
                raise DataError(f"validation_split={validation_split} of {len(rows)} rows leaves one side empty")
            held = {feed: array[kept:] for feed, array in feeds.items()}
            feeds = {feed: array[:kept] for feed, array in feeds.items()}
            rows = feeds[X_FEED]
        verbosity = 1 if verbose == "auto" else int(verbose)
        steps, heard = -(-len(rows) // batch), CallbackList(callbacks)
        history = heard.history()
        with self._exclusive():
            self.history, self.stop_training, logs = history, False, dict[str, float]()
            heard.begin(self, verbose=verbosity, epochs=epochs, steps=steps)
            heard.tell("set_validation_data", held)
            self.initial_epoch = initial_epoch
            heard.tell("on_train_begin", {})
            for epoch in range(self.initial_epoch, epochs):
                with Progress(epoch, epochs, steps, len(rows), verbosity) as progress:
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
        rows = self._ready(x)
        self._compiled()
        feeds = self._feeds(rows, y, sample_weight, class_weight=class_weight)
        with self._exclusive():
            for piece in self._slices("train", feeds, len(rows)):
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
        rows = self._ready(x)
        self._compiled()
        feeds = self._feeds(rows, y, sample_weight)
        heard.begin(self, verbose=int(verbose not in (0, "auto")), epochs=1, steps=-(-len(rows) // batch))
        logs = self._test(feeds, batch, heard)
        if verbose not in (0, "auto"):
            print(describe(logs))
        return _results(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As evaluate. Keras: Model.test_on_batch."""
        return self.evaluate(x, y, sample_weight=sample_weight, return_dict=return_dict)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = 0, callbacks: Callbacks = None
    ) -> Array:
        """The outputs, (rows, *output shape), in inference. NaN in, NaN out. Keras: Model.predict.

        batch_size is how many rows on_predict_batch_end hears of at once; it has no effect without such a callback.
        """
        rows = self._ready(x, check=False)
        graph = self.trace()
        answer: Array = np.empty((len(rows), *graph.outputs[0].shape[1:]), self.dtype)  # type: ignore[arg-type]
        result = answer if answer.ndim == 2 else answer.reshape(len(rows), -1)

        def make(size: int) -> Program:
            return Program(graph, size, output=True)

        with self._lock:
            if (
                not callbacks
                and len(rows) <= PREDICT_BATCH
                and (small := self._engine.small("predict", len(rows), make))
            ):
                small.run({X_FEED: rows, OUT_FEED: result})
                return answer
            if callbacks:
                pieces = self._predict_heard(CallbackList(callbacks), answer, batch_size, make)
            else:
                pieces = self._engine.slices("predict", len(rows), PREDICT_BATCH, make)
            for piece in pieces:
                run(piece, {X_FEED: rows, OUT_FEED: result})
        return answer

    def _predict_heard(
        self, heard: CallbackList, answer: Array, batch_size: int | None, make: Callable[[int], Program]
    ) -> Iterator[Slice]:
        """The slices of predict, with callbacks told before and after each; the caller runs each in between."""
        batch, most = _batch_size(batch_size), heard.most("predict")
        heard.begin(self, verbose=0, epochs=1, steps=-(-len(answer) // batch))
        heard.tell("on_predict_begin", {})
        size = batch if most else PREDICT_BATCH
        for i, piece in enumerate(self._engine.slices("predict", len(answer), size, make, most)):
            heard.batch_begins("predict", i)
            yield piece
            end = piece.start + piece.steps * piece.program.batch
            heard.batch_ends("predict", i, {"outputs": answer[piece.start : end]})
        heard.tell("on_predict_end", {})

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
        made_again = "_engine", "_lock", "_metrics", "_training", "_testing", "_graph"
        return {name: value for name, value in vars(self).items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._engine, self._lock, self._metrics, self._graph = Engine(), threading.RLock(), [], None
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

        samples = None if verify is None else self._ready(verify).reshape(len(verify), *np.shape(verify)[1:])
        return export(self, self.trace(), Path(path), fuse=fuse, samples=samples, class_names=class_names)


def _listed(metrics: Any) -> list[Any]:
    """One, several, or none."""
    return (
        list(metrics)
        if isinstance(metrics, Sequence) and not isinstance(metrics, str)
        else [metrics] * (metrics is not None)
    )


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def _batch_size(value: Any) -> int:
    return _positive("batch_size", 32 if value is None else value)


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    values = list(logs.values())
    return logs if return_dict else values if len(values) > 1 else values[0]
