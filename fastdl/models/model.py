"""Model: compile, fit, evaluate, predict. The loops run over slices of an epoch; the work is in the programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdl import config, optimizers
from fastdl.base import random
from fastdl.base.arguments import flag, shown, whole
from fastdl.base.arguments import path as checked_path
from fastdl.base.naming import no_attribute
from fastdl.callbacks.callback_list import CallbackList, Callbacks
from fastdl.callbacks.divergence import ADVICE
from fastdl.compiler.feeds import FEEDS, W_FEED, X_FEED, Y_FEED
from fastdl.compiler.graph import Array
from fastdl.compiler.program import Program
from fastdl.errors import DivergenceWarning, ShapeError, warn
from fastdl.metrics import Metric
from fastdl.models import batches, data
from fastdl.models.batches import Source
from fastdl.models.engine import Slice, run
from fastdl.models.network import Feeds, Network, batch_rows
from fastdl.models.objective import Given, Objective, by_output, checked_losses, checked_share, mapped
from fastdl.models.progress import Progress, describe
from fastdl.models.scale import warn_of_scale
from fastdl.optimizers import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastdl.callbacks.history import History
    from fastdl.fusion import FusionReport


COMPILE = "optimizer", "loss", "loss_weights", "metrics", "weighted_metrics"


class Model(Network):
    """A network that is trained; a layer itself, for models of models. Keras: Model.

    Model(inputs, outputs) is made of symbolic tensors (see Functional). A subclass makes layers in its __init__ and
    calls them in its `call`.
    """

    def __new__(cls, *args: Any, **options: Any) -> Any:
        if cls is not Model:
            return super().__new__(cls)
        from fastdl.models.functional import Functional

        return super().__new__(Functional)

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.optimizer: Optimizer | None = None
        self.loss: Any = None  # a Loss, or one for each output
        self.history: History | None = None
        self.stop_training = False  # a callback sets it
        self.initial_epoch = 0  # of the fit that runs; a callback that goes on with another sets it when it begins
        self._given: Given | None = None  # to compile
        self._objective: Objective | None = None
        self._seed: int | None = None
        self._diverged = False  # in the last train_on_batch

    def _begin(self) -> None:
        super()._begin()
        self._training = self._testing = False

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
            raise TypeError(no_attribute("compile has no argument", name, COMPILE))
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

    def _targets(self, y: Any, rows: int, check: bool = True, what: str = "") -> Feeds:
        """The targets of `rows` samples, for each output that has a loss."""
        _, objective = self._compiled()
        graph, feeds = self.trace(), Feeds()
        names = [self.output_names[i] for i in objective.outputs]
        if len(names) < len(self.output_names):  # what outputs without a loss are given is not needed
            if isinstance(y, Mapping):
                y = {name: each for name, each in y.items() if name in names or name not in self.output_names}
            elif isinstance(y, list | tuple) and len(y) == len(self.output_names):
                y = [y[i] for i in objective.outputs]
        listed = isinstance(y, list | tuple) and len(y) == 1 < len(self.output_names)
        several = len(names) > 1 or listed
        for i, (name, each) in zip(objective.outputs, data.by_name(what + "y", y, names, several), strict=True):
            output, loss = graph.outputs[i], objective.losses[i]
            assert loss is not None
            if loss.sparse:
                targets = data.as_labels(name, each, output.features)
            else:
                try:
                    targets = data.as_rows(name, each, output.shape, self.dtype, check)
                except ShapeError as error:
                    if "Categorical" not in type(loss).__name__:
                        raise
                    told = "for integer labels use the loss sparse_categorical_crossentropy"
                    raise ShapeError(f"{error}; {told}") from None
                if check:
                    data.check_targets(name, targets, loss)
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
            sample_weight = data.class_weights(feeds[Y_FEED], class_weight, self._classes())
        if sample_weight is not None:
            several = isinstance(sample_weight, Mapping) or (
                isinstance(sample_weight, list | tuple) and len(self.output_names) > 1
            )
            weights = by_output("sample_weight", sample_weight, self.output_names) if several else None
            for i in objective.outputs:
                given = weights[i] if weights else sample_weight
                weight = np.ones(rows, self.dtype) if given is None else given
                weight = data.as_rows(what + "sample_weight", weight, (None, 1), self.dtype, check)
                if check:
                    data.check_weights(what + "sample_weight", weight)
                data.same_length(rows, weight, what + "sample_weight")
                feeds[W_FEED + FEEDS * i] = weight
        return feeds

    def _classes(self) -> range | None:
        """The classes that the targets of its one output tell apart; None where the loss does not say."""
        _, objective = self._compiled()
        loss, features = objective.losses[0], self.trace().outputs[0].features
        assert loss is not None
        if loss.sparse or features > 1:
            return range(features)
        least, most = loss.targets
        return range(int(least), int(most) + 1) if most < np.inf else None

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

    def _purpose(self, purpose: str, feeds: Feeds) -> tuple[str, Callable[[int], Program]]:
        """The programs' name and maker; with weights they are others."""
        weighted = any(feed % FEEDS == W_FEED for feed in feeds)
        return purpose + " weighted" * weighted, self._make(training=purpose == "train", weighted=weighted)

    def _slices(
        self, purpose: str, feeds: Feeds, batch: int, most: int | None = None, rows: int | None = None
    ) -> Iterator[Slice]:
        """A pass over `rows` rows of the feeds, or all."""
        name, make = self._purpose(purpose, feeds)
        return self._engine.slices(name, rows or len(feeds[X_FEED]), batch, make, most)

    def _step(self, purpose: str, feeds: Feeds, steps: int, met: set[Program]) -> Slice:
        """So many batches like the feeds, of a pass in which the programs `met` have run."""
        name, make = self._purpose(purpose, feeds)
        return self._engine.some(name, len(feeds[X_FEED]), steps, make, met)

    def _logs(self, programs: Iterable[Program]) -> dict[str, Any]:
        """Loss and metrics of a pass. Each program sums its own, so they do not depend on how the pass was sliced."""
        _, objective = self._compiled()
        passed = list(programs)
        sums = [sum(totals) for totals in zip(*(program.totals for program in passed), strict=True)]
        return objective.logs(sums, sum(program.penalties for program in passed))  # type: ignore[arg-type]

    def _train(self, piece: Slice, feeds: dict[int, Array], index: Array | None) -> None:
        """Run one slice of training."""
        optimizer, _ = self._compiled()
        assert self._seed is not None
        rates = optimizer.rates(piece.steps)
        try:
            run(piece, feeds, index=index, rates=rates, step=optimizer.iterations, seed=self._seed)
        finally:
            optimizer.iterations += piece.program.steps_done

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
                self._seed = int(random.generator().integers(2**63))
            yield
        finally:
            self._training = False
            self._lock.release()

    # -- fit ----------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        check_input: bool = True,
    ) -> History:
        """Train. x: (rows, *input shape), y: labels or targets; last batch may be smaller. Keras: Model.fit.

        Or x is an iterable of batches (x, y) or (x, y, sample_weight): an epoch is one pass over it, or the next
        steps_per_epoch batches. validation_split takes the last share of the rows, before shuffling; validation_data is
        (x, y), (x, y, sample_weight) or such an iterable, and validation_steps how many batches of it are used.
        sample_weight: (rows,); class_weight: by label, 1 for those not named. check_input=False skips the search for
        NaN and infinities. callbacks: see fastdl.callbacks. DataError, ShapeError, before any weight is touched, or at
        the batch that is wrong.
        """
        batch_rows(batch_size)
        whole("epochs", epochs)
        whole("initial_epoch", initial_epoch, 0)
        verbosity = shown("verbose", verbose)
        shuffle, check_input = flag("shuffle", shuffle), flag("check_input", check_input)
        source, held = batches.for_fit(
            batches.Given(self, batch_size, check_input, class_weight, shuffle, training=True),
            (x, y, sample_weight),
            steps_per_epoch,
            validation_data,
            validation_steps,
            validation_split,
        )
        optimizer, objective = self._compiled()
        if isinstance(source, batches.Rows) and not optimizer.iterations:
            warn_of_scale(self, objective, source.feeds)
        heard = CallbackList(callbacks)
        history = heard.history()
        heard.watch()
        with self._exclusive():
            self.history, self.stop_training, logs = history, False, dict[str, float]()
            heard.begin(self, verbose=verbosity, epochs=epochs, steps=source.steps)
            heard.tell("set_validation_data", held.feeds if isinstance(held, batches.Rows) else None)
            self.initial_epoch = initial_epoch
            optimizer.resume()
            heard.tell("on_train_begin", {})
            for epoch in range(self.initial_epoch, epochs):
                with Progress(epoch, epochs, source.steps, verbosity) as progress:
                    heard.tell("on_epoch_begin", epoch, {})
                    logs = self._epoch(source, progress, heard)
                    if held is not None:
                        tested = self._test(held, heard)
                        logs |= {f"val_{name}": value for name, value in tested.items()}
                    heard.tell("on_epoch_end", epoch, logs)
                    progress.finish(logs)
                if self.stop_training:
                    break
            if optimizer.use_ema:
                optimizer.finalize_variable_values(self.trainable_weights)
            heard.tell("on_train_end", logs)
        return history

    def _epoch(self, source: Source, progress: Progress, heard: CallbackList) -> dict[str, float]:
        programs, steps, done, logs = set[Program](), 0, 0, dict[str, float]()
        for piece, feeds, index in source.train(heard.most("train")):
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
        feeds = self._feeds(self._ready(x, learns=True), y, sample_weight, class_weight=class_weight)
        optimizer, _ = self._compiled()
        with self._exclusive():
            optimizer.resume()
            for piece in self._slices("train", feeds, len(feeds[X_FEED])):
                self._train(piece, feeds, None)
            logs = self._logs([piece.program])
        diverged, self._diverged = self._diverged, not math.isfinite(logs["loss"])
        if self._diverged and not diverged:
            found = f"loss became {logs['loss']} at step {optimizer.iterations}"
            warn(f"training of {self.name} diverged: {found}; {ADVICE}", DivergenceWarning)
        return _results(logs, return_dict)

    # -- evaluate, predict --------------------------------------------------------------------------------

    def _test(self, source: Source, heard: CallbackList) -> dict[str, float]:
        """A pass in inference."""
        programs = set[Program]()
        with self._lock:
            heard.tell("on_test_begin", {})
            with self._tests():
                for i, (piece, feeds, _) in enumerate(source.test(heard.most("test"))):
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
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss, or [loss, metrics …], in inference, of arrays, or of an iterable of batches as in `fit`. Keras:
        Model.evaluate.

        batch_size is how many rows on_test_batch_end hears of at once; it has no effect without such a callback, or
        steps: as many batches are used.
        """
        batch_rows(batch_size)
        steps, aloud = batches.checked_steps("steps", steps), shown("verbose", verbose, 0)
        return_dict = flag("return_dict", return_dict)
        heard, given = CallbackList(callbacks), batches.Given(self, batch_size)
        source = batches.source(given, (x, y, sample_weight), steps)
        heard.begin(self, verbose=int(aloud > 0), epochs=1, steps=source.steps)
        logs = self._test(source, heard)
        if aloud:
            print(describe(logs))
        return _results(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As evaluate. Keras: Model.test_on_batch."""
        return self.evaluate(x, y, sample_weight=sample_weight, return_dict=return_dict)

    # -- statistics -------------------------------------------------------------------------------------------

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
        self._objective = self._graph = self._called = None
        self._begin()

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

        fuse=False writes the plain graph. verify: samples to prove it on, beside random ones. class_names, the model's
        own if None, go into the file's metadata: one a column, or two for a sigmoid, the name of 0 first. FusionError
        if the folded graph does not compute the same: then nothing is written. While another thread trains the model
        it waits for the end of that, as save and predict do.
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
        with self._lock:
            return export(
                self,
                self.trace(),
                Path(checked_path("path", path)),
                fuse=fuse,
                samples=samples,
                class_names=class_names,
            )


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    values = list(logs.values())
    return logs if return_dict else values if len(values) > 1 else values[0]
