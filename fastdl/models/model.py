"""Model: compile, fit, evaluate, predict. The loops run over slices of an epoch; the work is in the programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl import _random, config, losses, metrics, optimizers
from fastdl.errors import DataError
from fastdl.graph import Array, Graph, Parameter
from fastdl.layers.layer import Layer, assign_all, unique_name
from fastdl.losses import Loss
from fastdl.metrics import Metric
from fastdl.models import data
from fastdl.models.engine import Engine, Slice, run
from fastdl.models.history import History
from fastdl.models.progress import Progress, describe
from fastdl.optimizers import Optimizer
from fastdl.program import OUT_FEED, X_FEED, Y_FEED, Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastdl.fusion import FusionReport

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
        self._metric_names: list[str] = []
        self._metrics: list[Metric] = []
        self._engine = Engine()
        self._seed: int | None = None
        self._lock = threading.RLock()
        self._training = False

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
        optimizer: str | Optimizer | type[Optimizer] = "sgd",
        loss: str | Loss | type[Loss] | None = None,
        metrics: Sequence[str] | str | None = None,
    ) -> None:
        """Choose optimizer, loss and metrics (Keras names or objects). ValueError for unknown ones."""
        if loss is None:
            raise ValueError("compile needs a loss, e.g. loss='sparse_categorical_crossentropy'")
        chosen = optimizers.get(optimizer), losses.get(loss)
        names = [metrics] if isinstance(metrics, str) else list(metrics or [])
        self.optimizer, self.loss, self._metric_names = *chosen, names
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

    def _compiled(self) -> tuple[Optimizer, Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(f"{self.name} is not compiled: call compile(optimizer=…, loss=…) first")
        if not self._metrics:
            output = self.trace().outputs[0]
            self._metrics = [metrics.get(name, self.loss, output) for name in self._metric_names]
        return self.optimizer, self.loss

    # -- programs -----------------------------------------------------------------------------------------

    def _make(self, training: bool) -> Callable[[int], Program]:
        def make(batch: int) -> Program:
            optimizer, loss = self._compiled()
            graph = self.trace()
            return Program(
                graph,
                batch,
                training=training,
                prediction=loss.resolve(graph.outputs[0]),
                loss=loss.terminal,
                metrics=[metric.terminal for metric in self._metrics],
                optimizer=optimizer if training else None,
            )

        return make

    def _logs(self, programs: Iterable[Program], rows: int) -> dict[str, float]:
        """Means over a pass. Each program sums its own, so they do not depend on how the pass was sliced."""
        totals = sum((program.totals for program in programs), np.zeros(1 + len(self._metrics)))
        names = ["loss", *(metric.name for metric in self._metrics)]
        return {name: float(total) / rows for name, total in zip(names, totals, strict=True)}

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
        validation_split: float = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        check_input: bool = True,
    ) -> History:
        """Train. x: (rows, *input shape), y: labels or targets; last batch may be smaller. Keras: Model.fit.

        validation_split takes the last share of the rows, before shuffling. check_input=False skips the search
        for NaN and infinities. DataError, ShapeError, before any weight is touched.
        """
        batch = _positive("batch_size", 32 if batch_size is None else batch_size)
        _positive("epochs", epochs)
        rows = self._ready(x, check_input)
        self._compiled()
        targets = self._targets(y, rows, check_input)
        if validation_data is not None:
            held_x = data.as_rows(
                "validation x", validation_data[0], self.trace().inputs[0].shape, self.dtype, check_input
            )
            held: tuple[Array, Array] | None = held_x, self._targets(validation_data[1], held_x, check_input)
        elif validation_split:
            if not 0 < validation_split < 1:
                raise ValueError(f"validation_split must lie between 0 and 1, not {validation_split}")
            kept = int(len(rows) * (1 - validation_split))
            if not 0 < kept < len(rows):
                raise DataError(f"validation_split={validation_split} of {len(rows)} rows leaves one side empty")
            held = rows[kept:], targets[kept:]
            rows, targets = rows[:kept], targets[:kept]
        else:
            held = None
        verbosity = 1 if verbose == "auto" else int(verbose)
        steps = -(-len(rows) // batch)
        history = History({"verbose": verbosity, "epochs": epochs, "steps": steps})
        with self._exclusive():
            self.history = history
            for epoch in range(initial_epoch, epochs):
                with Progress(epoch, epochs, steps, len(rows), verbosity) as progress:
                    logs = self._epoch(rows, targets, batch, shuffle, progress)
                    if held is not None:
                        tested = self._test(*held)
                        logs |= {f"val_{name}": value for name, value in tested.items()}
                    history.append(epoch, logs)
                    progress.finish(logs)
        return history

    def _epoch(self, x: Array, y: Array, batch: int, shuffle: bool, progress: Progress) -> dict[str, float]:
        feeds = {X_FEED: x, Y_FEED: y}
        # a single batch holds the same rows in any order
        index = _random.generator().permutation(len(x)) if shuffle and len(x) > batch else None
        programs, done, logs = set[Program](), 0, dict[str, float]()
        for piece in self._engine.slices("train", len(x), batch, self._make(training=True)):
            programs.add(piece.program)
            self._train(piece, feeds, index)
            done += piece.steps * piece.program.batch
            logs = self._logs(programs, done)
            progress.update(-(-done // batch), done, logs)
        return logs

    def train_on_batch(self, x: Any, y: Any, return_dict: bool = False) -> Any:
        """One step on one batch: its loss, or [loss, metrics …], before the step. Keras: Model.train_on_batch."""
        rows = self._ready(x)
        self._compiled()
        targets = self._targets(y, rows)
        with self._exclusive():
            for piece in self._engine.slices("train", len(rows), len(rows), self._make(training=True)):
                self._train(piece, {X_FEED: rows, Y_FEED: targets}, None)
        return _results(self._logs([piece.program], len(rows)), return_dict)

    # -- evaluate, predict --------------------------------------------------------------------------------

    def _test(self, x: Array, y: Array) -> dict[str, float]:
        programs = set[Program]()
        with self._lock:
            for piece in self._engine.slices("test", len(x), PREDICT_BATCH, self._make(training=False)):
                programs.add(piece.program)
                run(piece, {X_FEED: x, Y_FEED: y})
            return self._logs(programs, len(x))

    def evaluate(
        self, x: Any, y: Any, batch_size: int | None = None, verbose: int | str = 0, return_dict: bool = False
    ) -> Any:
        """Loss, or [loss, metrics …], in inference. batch_size changes nothing here. Keras: Model.evaluate."""
        rows = self._ready(x)
        self._compiled()
        logs = self._test(rows, self._targets(y, rows))
        if verbose not in (0, "auto"):
            print(describe(logs))
        return _results(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any, return_dict: bool = False) -> Any:
        """As evaluate. Keras: Model.test_on_batch."""
        return self.evaluate(x, y, return_dict=return_dict)

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Array:
        """The outputs, (rows, *output shape), in inference. NaN in, NaN out. Keras: Model.predict."""
        rows = self._ready(x, check=False)
        graph = self.trace()
        result = np.empty((len(rows), graph.outputs[0].features), self.dtype)
        with self._lock:
            for piece in self._engine.slices(
                "predict", len(rows), PREDICT_BATCH, lambda batch: Program(graph, batch, output=True)
            ):
                run(piece, {X_FEED: rows, OUT_FEED: result})
        return result.reshape(len(rows), *(size or 0 for size in graph.outputs[0].shape[1:]))

    predict_on_batch = predict

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


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    values = list(logs.values())
    return logs if return_dict else values if len(values) > 1 else values[0]
